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
from fmnet.data.derivative import (
    DESCRIPTION,
    IGNORE,
    describe_derivative,
    describe_source,
    ignore_lines,
)
from fmnet.data.files import read_json, write_atomically
from fmnet.data.tables import say_some, subject_key
from fmnet.errors import ConfigError, Fault, OutputError, VolumeError
from fmnet.inference.predict import Prediction, failed
from fmnet.inference.results import as_json, prediction_of, record_with_evidence
from fmnet.inference.scoring import AnyScan, Scorer, name_of
from fmnet.inference.table_results import asked_of, identify

#: Name of the command in data sets that it wrote, and how names of its files end.
GENERATOR, ENDING = "fmnet-predict", "_fmnet"
DERIVATIVES = "derivatives"
IGNORED = "Predictions about people, for which BIDS has no names."
#: What BIDS and schedulers put beside people's folders.
BESIDE = re.compile(r"\..*|README.*|CHANGES|LICENSE|CITATION\.cff|code|logs|.*\.(log|out|err)")
#: Of a data set's description, by what its predictions are settled.
OWN = "Fmnet"
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
    if os.path.isdir(out) and not is_own(out):
        names = sorted(name for name in os.listdir(out) if not BESIDE.fullmatch(name))
        if names:
            raise _refuse(out_dir, f"files of others ({say_some(names)})")


def is_own(out: Path) -> bool:
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
    of_whom = [entities_of_scan(scan, options.bids_dir) for scan in listed]
    if not any("sub" in entities for entities in of_whom):
        reasons = [one.reason for one in listed if isinstance(one, Prediction)]
        found = f"nobody to score ({' | '.join(reasons)})" if reasons else "nobody to score"
        accepted = "a data set with people in folders sub-*"
        action = "see what the brackets say" if reasons else "name its folder"
        raise ConfigError(Fault(str(options.bids_dir), found, accepted, action))
    chosen = choose_labels(of_whom, options)
    there = {subject_key(of_whom[number].get("sub", "")) for number in chosen}
    missing = []
    for label in options.participant_label:
        if (key := subject_key(label)) not in there:
            accepted = ", ".join(f"ses-{one.removeprefix('ses-')}" for one in options.session_label)
            fault = Fault(f"sub-{key}", "no scan of that session", accepted, "choose another one")
            missing.append(failed(f"sub-{key}", [fault]))
    return [*missing, *(listed[number] for number in chosen)]


def choose_labels(of_whom: Sequence[Mapping[str, str]], options: Namespace) -> list[int]:
    """Choose by the labels of people and sessions that were asked for: numbers of entities.

    Raises
    ------
    ConfigError
        If there is no such label.
    """
    chosen = set(range(len(of_whom)))
    for entity, name in (("sub", "participant"), ("ses", "session")):
        labels = getattr(options, f"{name}_label")
        asked = {subject_key(label.removeprefix(f"{entity}-")) for label in labels}
        there = {subject_key(one[entity]) for one in of_whom if entity in one}
        if absent := sorted(asked - there):
            found = f"no {name} {say_some(absent)}"
            accepted = say_some(sorted(there), 50) or f"none, for there are no {name}s"
            action = f"choose among them, with or without {entity}-"
            raise ConfigError(Fault(f"--{name}-label", found, accepted, action))
        if asked:
            keys = [subject_key(one.get(entity, "")) for one in of_whom]
            chosen &= {number for number, key in enumerate(keys) if key in asked}
    return sorted(chosen)


def entities_of_scan(scan: AnyScan, root: Path) -> dict[str, str]:
    """Read whose scan it is, off its name or, of one that can't be read, off its path in `root`."""
    path = Path(name_of(scan).split(",")[0])
    parts = path.relative_to(root).parts if path.is_relative_to(root) else path.parts[-1:]
    words = [word for part in parts for word in part.split(".")[0].split("_")]
    return read_entities(words)


def entities_of_file(path: Path) -> dict[str, str]:
    """Read the entities of a file's name."""
    return read_entities(path.name.split(".")[0].split("_"))


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
        self.predictions: list[Prediction] = []
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
        return str(self._out_dir)

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
        self.cards = [stem and with_ending(stem, "html") for stem in self._stems]
        conflicts = [] if self._may_overwrite else self._conflicts()
        if conflicts:
            names = say_some([str(path.relative_to(self._out_dir)) for path in conflicts])
            found = f"results of another signature or request, or of files as they were ({names})"
            action = "choose another OUT_DIR, or say --overwrite to replace them"
            raise OutputError(Fault(self.place, found, "results of the same", action))
        self._describe()
        yield
        self._clear_errors()

    def _name_files(self) -> list[Path | None]:
        """Name each scan's files, without their ending; None for what is nobody's."""
        stems, taken = list[Path | None](), set[str]()
        for scan in self._listed:
            entities = entities_of_scan(scan, self._bids_dir)
            if "sub" not in entities:
                stems.append(None)
                continue
            parts = [f"{one}-{entities[one]}" for one in ("sub", *SCAN_ENTITIES) if one in entities]
            name = "_".join(parts)
            is_error = isinstance(scan, Prediction)
            name += "_desc-error" if is_error and self._is_scan(name) else ""
            own, number = name, 1
            while own in taken:  # a number alone would make run-12 of the second run-1
                number += 1
                own = f"{name}{'' if '_desc-' in name else '_desc-'}{number}"
            taken.add(own)
            folders = [part for part in parts[:2] if part.startswith(("sub-", "ses-"))]
            stems.append(self._out_dir.joinpath(*folders, f"{own}{ENDING}"))
        return stems

    def _is_scan(self, name: str) -> bool:
        return any(not isinstance(one, Prediction) and one.name == name for one in self._listed)

    def _conflicts(self) -> list[Path]:
        """Find what an earlier run wrote, by number of scan; give what is no result of this one."""
        conflicts, asked = [], asked_of(self._about)
        with suppress(VolumeError):
            described = read_json(self._out_dir / DESCRIPTION).get(OWN)
            conflicts += [] if described in (None, asked) else [self._out_dir / DESCRIPTION]
        for number, (scan, stem) in enumerate(zip(self._listed, self._stems, strict=True)):
            if stem is None or not os.path.lexists(path := with_ending(stem, "json")):
                continue
            try:
                document, prediction = read_result(path, self._columns)
            except VolumeError:
                conflicts.append(path)
                continue
            if prediction.status == "error":  # of which another try may be more than that
                continue
            inputs = "" if isinstance(scan, Prediction) else identify(scan)
            if asked_of(document) != asked or document.get("inputs") != inputs:
                conflicts.append(path)
            elif with_ending(stem, "html").exists():
                self.known[number] = prediction
        return conflicts

    def _describe(self) -> None:
        """Write what BIDS wants to know of a data set that was derived from another."""
        signature = self._about["signature"]
        said = f"Predictions by the signature '{signature['name']}' (sha256 {signature['sha256']})"
        by = {"Name": GENERATOR, "Version": __version__, "Description": said}
        name, sources = "Predictions of fmnet. Research use only", [describe_source(self._bids_dir)]
        content = describe_derivative(name, by, sources) | {OWN: asked_of(self._about)}
        write_result(self._out_dir / DESCRIPTION, f"{as_json(content)}\n")
        if not (self._out_dir / IGNORE).exists():  # somebody may have one of their own
            patterns = (f"*{ENDING}.json", f"*{ENDING}.html", "group*")
            write_result(self._out_dir / IGNORE, ignore_lines(IGNORED, patterns))

    def keep(self, number: int, prediction: Prediction) -> None:
        """Write the prediction of a scan, by its number; they come in any order."""
        scan, stem = self._listed[number], self._stems[number]
        if stem is None:
            return
        record = record_with_evidence(prediction, self._columns, self._about)
        inputs = "" if isinstance(scan, Prediction) else identify(scan)
        content = {**self._about, "inputs": inputs, "predictions": [record], "complete": True}
        write_result(with_ending(stem, "json"), f"{as_json(content)}\n")

    def add(self, prediction: Prediction) -> None:
        """Count a prediction."""
        self.counts[prediction.status] += 1
        self.predictions.append(prediction)

    def finish(self, is_whole: bool) -> None:
        """Do nothing: each prediction is written already."""

    def _clear_errors(self) -> None:
        """Remove errors of before that are cured, of the people and sessions that were listed."""
        there = {stem for stem in self._stems if stem is not None}
        sessions = {(one.get("sub"), one.get("ses")) for one in map(entities_of_file, there)}
        for folder in {self._out_dir / f"sub-{subject}" for subject, _ in sessions}:
            for path in folder.rglob(f"*{ENDING}.json"):
                stem, whose = path.with_suffix(""), entities_of_file(path)
                is_listed = (whose.get("sub"), whose.get("ses")) in sessions or "ses" not in whose
                if stem in there or not is_listed:
                    continue
                with suppress(VolumeError, OSError):
                    if read_result(path, self._columns)[1].status == "error":
                        path.unlink()
                        with_ending(stem, "html").unlink(missing_ok=True)


def read_result(path: Path, columns: Sequence[str]) -> tuple[dict[str, Any], Prediction]:
    """Read what was written of one scan: the whole document, and the prediction in it.

    Raises
    ------
    VolumeError
        If it is no such document.
    """
    document = read_json(path)
    try:
        (record,) = document["predictions"]
        asked_of(document)
        return document, prediction_of(record, columns)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        found = f"a file that is no result of {GENERATOR} ({type(error).__name__}: {error})"
        fault = Fault(str(path), found, "as it was written", "remove it, and predict again")
        raise VolumeError(fault) from error


def write_result(path: Path, content: str) -> None:
    """Write a file; raise `OutputError` if that can't be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content, is_synced=False)
    except OSError as error:
        raise _refuse(path, f"{error.strerror or error}") from error


def with_ending(stem: Path, ending: str) -> Path:
    """Name one of a scan's files."""
    return stem.with_name(f"{stem.name}.{ending}")


def _refuse(out: Path, found: str) -> OutputError:
    return OutputError(Fault(str(out), found, OUT_ACCEPTED, "choose another OUT_DIR"))
