"""``fmnet-predict`` as a BIDS App: a folder for each person, then the table of all of them."""

import os
import re
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fmnet import __version__
from fmnet.data.bids import SCAN_ENTITIES, read_entities
from fmnet.data.files import read_json, write_atomically
from fmnet.data.tables import say_some, subject_key
from fmnet.errors import ConfigError, Fault, OutputError, VolumeError, printable
from fmnet.inference.bundle import Bundle
from fmnet.inference.predict import Prediction, failed
from fmnet.inference.results import as_json, prediction_of, record_with_evidence
from fmnet.inference.scoring import Scorer
from fmnet.inference.table_results import AnyScan, asked_of, identify, name_of

#: Name of the command in data sets that it wrote, and how names of its files end.
GENERATOR, ENDING = "fmnet-predict", "_fmnet"
DESCRIPTION, DERIVATIVES = "dataset_description.json", "derivatives"
#: What BIDS and schedulers put beside people's folders.
BESIDE = re.compile(r"\..*|README.*|CHANGES|LICENSE|CITATION\.cff|code|logs|.*\.(log|out|err)")
TABLE, PAGE = "group_predictions", "group.html"
OUT_ACCEPTED = "a folder that is empty, new, or of this command"


def check_folders(bids_dir: Path, out_dir: Path) -> None:
    """Check a BIDS App's two folders, before anything is read or scored.

    Raises
    ------
    ConfigError
        If there is no such data set.
    OutputError
        If results would get among the data, or among files of others, or can't be written.
    """
    if not os.path.isdir(bids_dir):
        found = "a file" if os.path.lexists(bids_dir) else "no such folder"
        action = "correct the path of BIDS_DIR"
        raise ConfigError(Fault(str(bids_dir), found, "a BIDS data set", action))
    data, out = (Path(os.path.realpath(path)) for path in (bids_dir, out_dir))
    inside = out.relative_to(data).parts if out.is_relative_to(data) else (DERIVATIVES, "")
    if inside[:1] != (DERIVATIVES,) or len(inside) < 2:
        action = f"write into {bids_dir / DERIVATIVES / 'fmnet'}"
        accepted = "a folder of its own"
        raise OutputError(Fault(str(out_dir), "a folder among the data", accepted, action))
    if os.path.lexists(out) and not os.path.isdir(out):
        raise _refuse(out_dir, "a file")
    folder = next(one for one in (out, *out.parents) if os.path.lexists(one))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _refuse(out_dir, f"'{folder}', which can't be written into")
    if os.path.isdir(out) and not _is_own(out):
        names = sorted(name for name in os.listdir(out) if not BESIDE.fullmatch(name))
        if names:
            raise _refuse(out_dir, f"files of others ({say_some(names)})")


def _is_own(out: Path) -> bool:
    """Tell whether a data set says that this command wrote it."""
    try:
        stated = read_json(out / DESCRIPTION).get("GeneratedBy")
    except VolumeError:
        return False
    entries = stated if isinstance(stated, list) else []
    return GENERATOR in [one.get("Name") for one in entries if isinstance(one, dict)]


def choose_people(listed: Sequence[AnyScan], options: Namespace) -> list[AnyScan]:
    """Choose the scans of the people and sessions that were asked for; of all, if none were.

    Raises
    ------
    ConfigError
        If nobody has such a label, naming those that there are, or nothing can be read at all.
    """
    of_whom = {n: _entities_of(scan, options.bids_dir) for n, scan in enumerate(listed)}
    if not any("sub" in entities for entities in of_whom.values()):
        reasons = [one.reason for one in listed if isinstance(one, Prediction)]
        found = f"nobody to score ({' | '.join(reasons)})" if reasons else "nobody to score"
        accepted, action = "a data set with people in folders sub-*", "name its folder"
        raise ConfigError(Fault(str(options.bids_dir), found, accepted, action))
    chosen = set(of_whom)
    for entity, name in (("sub", "participant"), ("ses", "session")):
        asked = [label.removeprefix(f"{entity}-") for label in getattr(options, f"{name}_label")]
        if not asked:
            continue
        there = {subject_key(one[entity]): one[entity] for one in of_whom.values() if entity in one}
        if absent := [label for label in asked if subject_key(label) not in there]:
            found = f"no {name} {say_some(absent)}"
            accepted = say_some(sorted(there.values()), 50) or f"none, for there are no {name}s"
            action = "choose among them, with or without the prefix"
            raise ConfigError(Fault(f"--{name}-label", found, accepted, action))
        keys = set(map(subject_key, asked))
        chosen &= {n for n, one in of_whom.items() if subject_key(one.get(entity, "")) in keys}
    missing = []
    for label in options.participant_label:
        key = subject_key(label.removeprefix("sub-"))
        if not any(subject_key(of_whom[number].get("sub", "")) == key for number in chosen):
            where, found = f"sub-{label.removeprefix('sub-')}", "no scan of that session"
            accepted, action = f"ses-{', '.join(options.session_label)}", "choose another session"
            missing.append(failed(where, [Fault(where, found, accepted, action)]))
    return [*missing, *(listed[number] for number in sorted(chosen))]


def _entities_of(scan: AnyScan, root: Path) -> dict[str, str]:
    """Read whose scan it is, off its name or, of one that can't be read, off its path."""
    path = Path(name_of(scan).split(",")[0])
    parts = path.relative_to(root).parts if path.is_relative_to(root) else path.parts[-1:]
    words = [word for part in parts for word in part.split(".")[0].split("_")]
    return read_entities(words)


class PersonFolders:
    """Results of a BIDS App: a JSON document and a page for each scan, in its person's folder.

    Parameters
    ----------
    bids_dir, out_dir : Path
        The data set, and where results go.
    may_overwrite : bool
        Whether results of another signature or request may be replaced; those of the same are kept,
        and their scans not scored again.
    """

    def __init__(self, bids_dir: Path, out_dir: Path, may_overwrite: bool) -> None:
        self.counts: Counter[str] = Counter()
        self.unscored: list[Prediction] = []
        self._bids_dir, self._out_dir, self._may_overwrite = bids_dir, out_dir, may_overwrite
        self.cards: list[Path | None] = []
        self.known: dict[int, Prediction] = {}
        self._about: dict[str, Any] = {}
        self._columns: tuple[str, ...] = ()
        self._listed: Sequence[AnyScan] = ()
        self._stems: list[Path | None] = []

    @property
    def place(self) -> str:
        """Name where they are."""
        return printable(str(self._out_dir))

    @contextmanager
    def open(
        self, scorer: Scorer, about: Mapping[str, Any], listed: Sequence[AnyScan]
    ) -> Iterator[None]:
        """Take predictions of the listed scans within the block; see what there are from before.

        Raises
        ------
        OutputError
            If there are results of another signature, request or version, or of files that have
            changed since, and they may not be replaced.
        """
        self._about, self._columns, self._listed = dict(about), scorer.bundle.columns, listed
        self._stems = self._name_files()
        self.cards = [stem and stem.with_name(f"{stem.name}.html") for stem in self._stems]
        self._look_up()
        self._describe()
        yield

    def _name_files(self) -> list[Path | None]:
        """Name each scan's files, without their ending; None for what is nobody's."""
        stems, taken = list[Path | None](), Counter[str]()
        for scan in self._listed:
            entities = _entities_of(scan, self._bids_dir)
            if "sub" not in entities:
                stems.append(None)
                continue
            parts = [f"{one}-{entities[one]}" for one in ("sub", *SCAN_ENTITIES) if one in entities]
            name = "_".join(parts)
            is_error = isinstance(scan, Prediction)
            name += "_desc-error" if is_error and self._is_scan(name) else ""
            taken[name] += 1
            name += str(taken[name]) if taken[name] > 1 else ""
            folders = [part for part in parts[:2] if part.startswith(("sub-", "ses-"))]
            stems.append(self._out_dir.joinpath(*folders, f"{name}{ENDING}"))
        return stems

    def _is_scan(self, name: str) -> bool:
        return any(not isinstance(one, Prediction) and one.name == name for one in self._listed)

    def _look_up(self) -> None:
        """Find what an earlier run wrote, by number of scan."""
        conflicts = []
        for number, (scan, stem) in enumerate(zip(self._listed, self._stems, strict=True)):
            if stem is None or not os.path.lexists(path := stem.with_name(f"{stem.name}.json")):
                continue
            try:
                document = read_document(path)
                (record,) = document["predictions"]
                prediction = prediction_of(record, self._columns)
                is_same = asked_of(document) == asked_of(self._about)
            except (VolumeError, KeyError, TypeError, ValueError):
                conflicts.append(path)
                continue
            if prediction.status == "error":
                continue
            is_same &= not isinstance(scan, Prediction) and document["inputs"] == identify(scan)
            if not is_same:
                conflicts.append(path)
            elif stem.with_name(f"{stem.name}.html").exists():
                self.known[number] = prediction
        if conflicts and not self._may_overwrite:
            names = say_some([str(path.relative_to(self._out_dir)) for path in conflicts])
            found = f"results of another signature or request, or of files as they were ({names})"
            action = "choose another OUT_DIR, or say --overwrite to replace them"
            raise OutputError(Fault(self.place, found, "results of the same", action))

    def _describe(self) -> None:
        """Write what BIDS wants to know of a data set that was derived from another."""
        signature = self._about["signature"]
        said = f"Predictions by the signature '{signature['name']}' (sha256 {signature['sha256']})"
        source = {"URL": Path(os.path.realpath(self._bids_dir)).as_uri()}
        with suppress(VolumeError):
            stated = read_json(self._bids_dir / DESCRIPTION)
            doi = stated.get("DatasetDOI")
            source |= {"DOI": doi} if isinstance(doi, str) else {}
        content = {
            "Name": "Predictions of fmnet. Research use only",
            "BIDSVersion": "1.10.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": GENERATOR, "Version": __version__, "Description": said}],
            "SourceDatasets": [source],
        }
        self._write(self._out_dir / DESCRIPTION, content)

    def keep(self, number: int, prediction: Prediction) -> None:
        """Write the prediction of a scan, by its number; they come in any order."""
        scan, stem = self._listed[number], self._stems[number]
        if stem is None:
            return
        record = record_with_evidence(prediction, self._columns, self._about)
        inputs = "" if isinstance(scan, Prediction) else identify(scan)
        content = {**self._about, "inputs": inputs, "predictions": [record], "complete": True}
        self._write(stem.with_name(f"{stem.name}.json"), content)

    def _write(self, path: Path, content: dict[str, Any]) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, f"{as_json(content)}\n", is_synced=False)
        except OSError as error:
            raise _refuse(path, f"{error.strerror or error}") from error

    def add(self, prediction: Prediction) -> None:
        """Count a prediction."""
        self.counts[prediction.status] += 1
        if prediction.status != "ok":
            self.unscored.append(prediction)

    def finish(self, is_whole: bool) -> None:
        """Do nothing: each prediction is written already."""


def read_document(path: Path) -> dict[str, Any]:
    """Read what the first stage wrote of a scan; raise `VolumeError` if it is no such document."""
    return read_json(path)


def make_group(bundle: Bundle, about: Mapping[str, Any], options: Namespace) -> int:
    """Gather all people's results into a table and a page; returns the program's exit code."""
    raise NotImplementedError


def _refuse(out: Path, found: str) -> OutputError:
    return OutputError(Fault(str(out), found, OUT_ACCEPTED, "choose another OUT_DIR"))
