"""An exported signature, loaded to score new scans; needs no torch."""

import html
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from fmnet.api.images import ImageFile, is_place, listed, on_disk
from fmnet.data.nifti import to_image
from fmnet.data.tables import write_table
from fmnet.errors import ConfigError, Fault, InputError
from fmnet.inference.bold import NOTHING
from fmnet.inference.bundle import INTENDED_USE, Bundle, read_bundle
from fmnet.inference.cli import describe
from fmnet.inference.find import find_new_runs, find_new_scans
from fmnet.inference.predict import USUAL, NewScan, Prediction, Request, predictions_table
from fmnet.inference.results import about_signature
from fmnet.inference.scoring import AnyScan, Task, choose_jobs, open_scorer, score_all
from fmnet.inference.signature_files import read_weights
from fmnet.inference.signing import check_signature

#: What names of maps are joined by, so that they are one scan's.
JOINT = ","


class Signature:
    """A signature that was exported, ready to score new scans on a plain CPU.

    Made by `fmnet.load`, `Study.export` or `SignatureClassifier.export`. Research use only: a score
    says how much a scan resembles those of one group of research participants rather than another.

    Parameters
    ----------
    bundle : Bundle
        As `fmnet.inference.bundle.read_bundle` gives it.

    See Also
    --------
    fmnet.load : Read one from its folder.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    @property
    def folder(self) -> Path:
        """Folder of the bundle."""
        return self._bundle.folder

    @property
    def metadata(self) -> dict[str, Any]:
        """What ``metadata.json`` holds: versions, input, training, evidence, warnings."""
        return self._bundle.metadata

    @property
    def about(self) -> dict[str, Any]:
        """What no prediction can be read without: meaning, evidence, warnings, intended use."""
        return about_signature(self._bundle)

    @property
    def contrasts(self) -> tuple[str, ...]:
        """Names of the maps that a scan needs, in this order."""
        return tuple(self._bundle.preparation.contrasts)

    @property
    def weights_img_(self) -> Any:
        """Weights of the linear part as a nibabel image, (X, Y, Z) or (X, Y, Z, C).

        Of a network that has none, the linear map that comes nearest to it; None where the bundle
        has neither.
        """
        facts = self._bundle.signature
        weights = None if facts is None else read_weights(self._bundle, tuple(facts.files))
        return None if weights is None else image_of(self._bundle.preparation.grid, weights.values)

    def predict(
        self,
        images: Any,
        prevalence: float | None = None,
        level: float | None = None,
        force: bool = False,
        n_jobs: int = 1,
        space: str = "",
    ) -> pd.DataFrame:
        """Score scans; those that can't be scored honestly get the reason and no score.

        Parameters
        ----------
        images : path, nibabel image, list of these, DataFrame
            Each member of a list is a scan: a map, or for signatures of BOLD a preprocessed run;
            a tuple of them for several contrasts, or several runs of a session. A DataFrame has
            ``participant_id`` and ``path``, one row per map, perhaps ``contrast`` and ``space``. A
            path may also be a table (.tsv, .csv) or a BIDS-derivatives folder. A 4-D nibabel image
            is one map for each volume.
        prevalence : float, optional
            Fraction of the positive group among those who are scanned, between 0 and 1, for which
            probabilities are stated; the signature's own base rate if left out.
        level : float, optional
            Fraction of each group's people whose set has to hold their group; 0.8 if left out.
        force : bool
            Whether scans that fail a check are scored all the same, and marked.
        n_jobs : int
            How many processes score; -1 for as many as pay off. With several, a script needs
            ``if __name__ == "__main__":``.
        space : str
            Space of the images, whatever their names say; empty to believe the names.

        Returns
        -------
        DataFrame
            One row per scan, in the order of the images (of a DataFrame, of its people), in the
            columns of ``fmnet predict``: ``scan``, ``score``,
            ``probability`` with its 95 % interval, ``set``, ``status``, ``gates_failed``,
            ``in_training``, ``reason``. Signatures of a target have its outputs in place of what
            is said of two groups.

        Raises
        ------
        ConfigError
            If the signature has no such answer.
        InputError
            If `images` are nothing that can be read.
        """
        request = _request(self._bundle, prevalence, level, force)
        with tempfile.TemporaryDirectory(prefix="fmnet-") as folder:
            scans = _find(self._bundle, images, Path(folder), space)
            scorer = open_scorer(self._bundle, request, has_cards=False)
            jobs = choose_jobs(None if n_jobs == -1 else n_jobs, scorer, len(scans))
            tasks = [Task(scan) for scan in scans]
            answers = dict(score_all(scorer, tasks, jobs))
        found = [_without(answers[row].prediction, folder) for row in range(len(scans))]
        return _typed(predictions_table(found, self._bundle.columns))

    def __repr__(self) -> str:
        return f"<fmnet.Signature: {describe(self._bundle)}>"

    def _repr_html_(self) -> str:
        said = html.escape(describe(self._bundle))
        return f"<p><strong>fmnet signature.</strong> {said}</p><p>{html.escape(INTENDED_USE)}</p>"


def load(bundle: str | PathLike[str], key: str | PathLike[str] | None = None) -> Signature:
    """Load an exported signature.

    The hash of each file is checked, nothing in it is executed, and neither torch nor the training
    data are needed.

    Parameters
    ----------
    bundle : path
        Folder that ``fmnet export`` wrote.
    key : path, optional
        Public key (PEM, Ed25519) whose owner has to have signed the bundle.

    Returns
    -------
    Signature
        Its ``predict`` scores scans.

    Raises
    ------
    BundleError
        If it is no bundle, damaged, altered, of another format, or not signed by that key.

    Examples
    --------
    >>> import fmnet
    >>> signature = fmnet.load("bundle")  # doctest: +SKIP
    >>> table = signature.predict(["sub-01_stat-z_statmap.nii.gz"])  # doctest: +SKIP
    """
    folder = Path(bundle)
    if key is not None:
        check_signature(folder, Path(key))
    return Signature(read_bundle(folder))


def image_of(grid: Any, values: Any) -> Any:
    """Turn values of voxels, (C, V), into a nibabel image, (X, Y, Z) or (X, Y, Z, C)."""
    volumes = grid.unmask(values)
    return to_image(volumes[0] if len(volumes) == 1 else volumes.transpose(1, 2, 3, 0), grid.affine)


def _request(bundle: Bundle, prevalence: float | None, level: float | None, force: bool) -> Request:
    given = {"prevalence": prevalence, "level": level}
    asked = [name for name, value in given.items() if value is not None]
    if asked and bundle.target is not None:
        found = f"{' and '.join(asked)} of a signature of {bundle.target['title']}"
        accepted = "a signature that tells two groups apart"
        raise ConfigError(Fault(asked[0], found, accepted, "leave it out"))
    return Request(prevalence, USUAL.level if level is None else level, force)


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Give numbers and truth values their types: a missing one is NaN, or pandas' NA."""
    texts = {"scan", "set", "status", "gates_failed", "reason", "in_training"}
    numbers = {name: float for name in table if name not in texts}
    known = table["in_training"].map({"true": True, "false": False}).astype("boolean")
    return table.astype(numbers).assign(in_training=known)


def _find(bundle: Bundle, images: Any, folder: Path, space: str) -> list[AnyScan]:
    """Find the scans that `images` name; images in memory are written to `folder` meanwhile."""
    if isinstance(images, pd.DataFrame):
        return _of_table(bundle, images, folder, space)
    if is_place(images):
        return _of_source(bundle, str(images), space)
    found: list[AnyScan] = []
    for files in on_disk(listed(images, splits=bundle.contract is None), folder):
        found += _named(bundle, files, space)
    return found


def _named(bundle: Bundle, files: Iterable[ImageFile], space: str) -> list[AnyScan]:
    """Find one scan by its files, called as its owner calls it."""
    files = tuple(files)
    source = JOINT.join(str(one.path) for one in files)
    name = JOINT.join(one.name for one in files)
    return [_renamed(one, source, name) for one in _of_source(bundle, source, space)]


def _renamed(scan: AnyScan, source: str, name: str) -> AnyScan:
    if isinstance(scan, Prediction):
        return replace(scan, scan=name) if scan.scan == source else scan
    return replace(scan, name=name) if scan.name == source else scan


def _of_source(bundle: Bundle, source: str, space: str) -> list[AnyScan]:
    if bundle.contract is None:
        scans, errors = find_new_scans(source, bundle, space)
        return [*errors, *scans]
    runs, errors = find_new_runs(source, bundle, space, NOTHING)
    return [*errors, *runs]


def _of_table(bundle: Bundle, table: pd.DataFrame, folder: Path, space: str) -> list[AnyScan]:
    """Read a table of maps as ``fmnet predict`` reads a file; of runs, join those of a session."""
    lacks = [name for name in ("participant_id", "path") if name not in table]
    if lacks:
        found = f"a DataFrame without {' and '.join(lacks)}"
        accepted, action = "participant_id and path, one row per image", "add or rename the column"
        raise InputError(Fault("images", found, accepted, action))
    files = on_disk([(one,) for one in table["path"]], folder)
    paths = [str(file.path.absolute()) for (file,) in files]
    if bundle.contract is None:
        path = folder / "images.tsv"
        write_table(table.assign(path=paths), path)
        scans = _of_source(bundle, str(path), space)
        ids = [str(one) for one in table["participant_id"].drop_duplicates()]
        return sorted(scans, key=lambda one: _place(one, paths, ids))
    found_runs: list[AnyScan] = []
    by = [name for name in ("participant_id", "session") if name in table]
    for key, rows in table.assign(path=paths).fillna({"session": ""}).groupby(by, sort=False):
        name = "_ses-".join(str(one) for one in key if one != "")
        runs = tuple(ImageFile(name, Path(path)) for path in rows["path"])
        source = JOINT.join(str(one.path) for one in runs)
        found_runs += [_renamed(one, source, name) for one in _of_source(bundle, source, space)]
    return found_runs


def _place(scan: AnyScan, paths: list[str], ids: list[str]) -> tuple[int, int]:
    """Say after whom in a table, and after which of their rows, a scan comes."""
    files = map(str, scan.files) if isinstance(scan, NewScan) else ()
    name = scan.scan if isinstance(scan, Prediction) else scan.name
    of = (n for n, one in enumerate(ids) if name == one or name.startswith(f"{one}_"))
    return next(of, len(ids)), min((paths.index(one) for one in files if one in paths), default=-1)


def _without(prediction: Prediction, folder: str) -> Prediction:
    """Leave a temporary folder out of what is said of a scan."""
    scan, reason = (text.replace(f"{folder}/", "") for text in (prediction.scan, prediction.reason))
    return replace(prediction, scan=scan, reason=reason)
