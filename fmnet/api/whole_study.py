"""A whole study from Python: cross-validation, baselines, audits, signature and report."""

import html
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from fmnet.api.cohort_tables import FAMILY, choose_labels, labels_of, write_tables
from fmnet.api.composed import compose_study
from fmnet.api.images import is_place
from fmnet.api.loaded import Signature, load
from fmnet.config.entry import build
from fmnet.config.primary import PRIMARIES
from fmnet.data.bids import STATMAP, find_participants, read_tree
from fmnet.data.tables import write_table
from fmnet.errors import CohortError, Fault, FmnetError, InputError, RunError
from fmnet.evaluation.conclusions import Conclusion
from fmnet.report.sentences import stopped, verdict

#: What runs are called, after their entities.
BOLD = "bold"
#: In a folder of what was given in memory: says that fmnet made it.
OWN = ".fmnet-input"


class Study:
    """The results of a study, as its run folder holds them.

    Parameters
    ----------
    folder : path
        A run folder that `fmnet.study` or ``fmnet train`` wrote.

    Raises
    ------
    RunError
        If it holds no finished run.

    See Also
    --------
    fmnet.study : Make one.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._trusted: tuple[str, ...] = ()
        try:
            text = (self.folder / "metrics.json").read_text("utf-8")
        except OSError as error:
            accepted, action = "the folder of a finished run", "correct the path"
            raise RunError(Fault(str(folder), "no metrics.json", accepted, action)) from error
        self._metrics: dict[str, Any] = json.loads(text)

    @property
    def metrics(self) -> dict[str, Any]:
        """What ``metrics.json`` holds: the figures of each model, tests, audits, the signature."""
        return self._metrics

    @property
    def predictions(self) -> pd.DataFrame:
        """Out-of-fold scores: one row for each scan, repeat and model."""
        # with torch, for which wrong settings needn't wait
        from fmnet.runs.record import SCANNED, SCORED, read_predictions

        columns = SCANNED if "target" in self._metrics else SCORED
        return read_predictions(self.folder / "predictions.tsv", columns)

    @property
    def verdict(self) -> list[str]:
        """What the study found, and what speaks against it, sentence by sentence."""
        if "conclusions" not in self._metrics:
            return [stopped(one["text"]) for one in self._metrics["verdict"]]
        found = [Conclusion(**one) for one in self._metrics["conclusions"]]
        said = (verdict([one], self._metrics["titles"]) for one in found)
        return [sentence for sentence in said if sentence]

    @property
    def report(self) -> Path:
        """The page with all results, ``report.html``."""
        return self.folder / "report.html"

    def export(
        self,
        out: str | Path,
        model: str = "auto",
        overwrite: bool = False,
        allow_uninformative: bool = False,
        trusted_packages: Sequence[str] = (),
    ) -> Signature:
        """Export the signature, so that it scores new scans without torch.

        Parameters
        ----------
        out : path
            Folder of the bundle.
        model : {"auto", "network", "linear"}
            Which final model; ``auto`` takes the one with the larger out-of-fold AUC.
        overwrite : bool
            Whether a bundle at `out` may be replaced.
        allow_uninformative : bool
            Whether a model is exported that is not above chance; all its predictions say so.
        trusted_packages : sequence of str
            Packages of one's own whose network builders may be run.

        Returns
        -------
        Signature
            As `fmnet.load` gives it.

        Raises
        ------
        ExportError
            If the model is not above chance, or its forms disagree.
        """
        PRIMARIES["export"].function()(
            run_dir=str(self.folder),
            out=str(out),
            model=model,
            overwrite=overwrite,
            allow_uninformative=allow_uninformative,
            trusted_packages=[*self._trusted, *trusted_packages],
        )
        return load(out)

    def __repr__(self) -> str:
        return f"<fmnet.Study in {self.folder}: {' '.join(self.verdict)}>"

    def _repr_html_(self) -> str:
        said = "".join(f"<li>{html.escape(one)}</li>" for one in self.verdict)
        return (
            f"<p><strong>fmnet study</strong> in {html.escape(str(self.folder))}. Research use "
            f"only.</p><ul>{said}</ul><p>Report: {html.escape(str(self.report))}</p>"
        )


def study(
    images: Any,
    y: Any = None,
    *,
    participants: Any = None,
    label: str = "group",
    positive: Any = None,
    groups: Any = None,
    contrasts: Sequence[str] | None = None,
    network: Any = "prior_cnn",
    baselines: str = "default",
    n_splits: int = 5,
    n_repeats: int = 1,
    n_permutations: int = 0,
    out: str | Path = "fmnet_study",
    overwrite: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> Study:
    """Study whether scans tell two groups apart: cross-validate, test, audit, map and report.

    All that is learned is learned within training folds, and people (and families) are never split.
    It is ``fmnet train`` with plain values.

    Parameters
    ----------
    images : list, DataFrame, path
        A list with one scan for each member: paths or nibabel images, or tuples of them for several
        contrasts. A DataFrame with ``participant_id`` and ``path``, one row per map, perhaps
        ``contrast``, ``space``, the label column and covariates. A table (.tsv, .csv) of the same
        columns, or a folder: BIDS derivatives with maps, or what fMRIPrep wrote.
    y : array-like, optional
        Group of each scan; without it, the column `label` says it.
    participants : DataFrame or path, optional
        One row per person: ``participant_id``, the label column, and covariates that are audited
        (age, sex, site, mean_framewise_displacement, family, ...).
    label : str
        Column of the groups.
    positive : optional
        The group that larger scores speak for; by default ``FM``, or else the last of two in the
        order of their names.
    groups : array-like, optional
        Whom each scan belongs together with: such people are never split.
    contrasts : list of str, optional
        Which contrasts are studied; of a list of tuples the names of its maps.
    network : str or callable
        An option of ``network``, such as ``prior_cnn``, ``small_cnn``, ``densenet``, ``resnet``; or
        a function of a module of your own, from input shape, (C, X, Y, Z), to a `ScoreNetwork`,
        with settings by `functools.partial`.
    baselines : str
        An option of ``baselines``, such as ``default``, ``linear``, ``none``.
    n_splits, n_repeats : int
        Folds, and how often people are dealt to folds anew.
    n_permutations : int
        How often everything is repeated on shuffled labels.
    out : path
        The run folder. What was given in memory goes beside it, into ``OUT_input``.
    overwrite : bool
        Whether a finished run in `out` may be replaced.
    settings : dict, optional
        Any other key of the configuration, ``{"trainer.max_epochs": 3, "preparation.voxel_size_mm":
        8}``; these win. Components of your own are classes or functions: ``{"loss": MyLoss}``.

    Returns
    -------
    Study
        Its verdict, figures, predictions and report.

    Raises
    ------
    FmnetError
        With everything that is wrong with settings or people.

    Examples
    --------
    >>> import fmnet
    >>> study = fmnet.study(maps, y, out="my_study")  # doctest: +SKIP
    >>> study.verdict  # doctest: +SKIP
    """
    asked = dict(settings or {})
    folder = Path(out)
    beside = folder.with_name(f"{folder.name}_input")
    is_new = not beside.exists()
    _claim(folder, beside, overwrite or bool(asked.get("resume")))
    own = {"run_dir": str(folder), "store_dir": str(beside / "store"), "overwrite": overwrite}
    given = {
        "network": (network, "prior_cnn"),
        "baselines": (baselines, "default"),
        "folds.n_splits": (n_splits, 5),
        "folds.n_repeats": (n_repeats, 1),
        "permutation.n": (n_permutations, 0),
    }
    # what is left as it is may be changed by an experiment or a target
    own |= {key: value for key, (value, usual) in given.items() if value != usual}
    try:
        found = _cohort_settings(images, y, participants, label, groups, contrasts, beside)
        if "cohort" in asked:
            del found["cohort"]
        if "target" not in asked:
            found |= _labels(found, label, positive)
        config = compose_study(found | own | asked)
    except FmnetError:
        if is_new:  # a study that never began leaves nothing
            shutil.rmtree(beside)
        raise
    run_study = PRIMARIES["train"].function()
    run_study(**build(config), config_yaml=OmegaConf.to_yaml(config))
    done = Study(folder)
    done._trusted = (str(config.network["_target_"]).rpartition(".")[0],)  # it has run already
    return done


def _claim(folder: Path, beside: Path, goes_on: bool) -> None:
    """Refuse folders of others, and a finished run, before anything is written beside it."""
    if (folder / "metrics.json").exists() and not goes_on:
        from fmnet.runs.lock import claim_run_folder  # with torch

        claim_run_folder(folder, "", overwrite=False, resume=False)
    if beside.exists() and not (beside / OWN).exists() and any(beside.iterdir()):
        found, accepted = "files that fmnet.study has not made", "a new or empty folder"
        raise InputError(Fault(str(beside), found, accepted, "choose another out"))
    beside.mkdir(parents=True, exist_ok=True)
    (beside / OWN).touch()


def _cohort_settings(
    images: Any,
    y: Any,
    participants: Any,
    label: str,
    groups: Any,
    contrasts: Sequence[str] | None,
    folder: Path,
) -> dict[str, Any]:
    """Say in the configuration's keys which cohort it is; tables are written where needed."""
    found: dict[str, Any] = {}
    if is_place(images):
        source, is_folder = Path(images).absolute(), Path(images).is_dir()
        if y is not None or groups is not None:
            given, column = ("y", label) if y is not None else ("groups", FAMILY)
            accepted = f"a column '{column}' of its table, or of participants"
            action = "add the column, or list the images one by one"
            raise InputError(Fault(given, f"values beside {images}", accepted, action))
        found["cohort"] = _kind_of(source) if is_folder else "table"
        found["cohort.root" if is_folder else "cohort.images"] = str(source)
        if isinstance(participants, pd.DataFrame):
            folder.mkdir(parents=True, exist_ok=True)
            write_table(participants, folder / "participants.tsv")
            participants = folder / "participants.tsv"
        if participants is not None:
            found["cohort.participants"] = str(Path(participants).absolute())
    else:
        tables = write_tables(images, folder, y, participants, groups, label, contrasts)
        found = {"cohort": "table", **{f"cohort.{name}": path for name, path in tables.items()}}
    if contrasts is not None:
        found["cohort.contrasts"] = list(contrasts)
    return found


def _kind_of(folder: Path) -> str:
    """Tell a folder of maps from one of BOLD runs alone."""
    images = read_tree(folder).images
    has_maps = any(image.suffix == STATMAP for image in images)
    return "bids" if has_maps or not any(image.suffix == BOLD for image in images) else "bold"


def _labels(cohort: Mapping[str, Any], label: str, positive: Any) -> dict[str, Any]:
    """Say which groups are told apart, by the labels that tables hold."""
    tables = [cohort.get("cohort.images"), cohort.get("cohort.participants")]
    if not any(tables):
        with suppress(CohortError):  # the reader looks further, and says where
            tables = [find_participants(Path(cohort["cohort.root"]))]
    known = labels_of([Path(one) for one in tables if one], label)
    found: dict[str, Any] = {"cohort.label": label}
    if known or positive is not None:
        chosen, other = choose_labels(known, positive)
        found |= {"cohort.positive": chosen, "cohort.negative": other}
    return found
