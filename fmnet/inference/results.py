"""Write predictions one by one, as a table or as JSON; the file gets its name in the end."""

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from textwrap import indent
from types import TracebackType
from typing import Any, TextIO, get_args

from fmnet import __version__
from fmnet.data.files import draft_path, keep_draft
from fmnet.data.tables import write_row, write_table
from fmnet.errors import Fault, OutputError, printable
from fmnet.inference.bundle import Bundle
from fmnet.inference.bundle_files import CHECKSUMS, is_number, sha256_of
from fmnet.inference.calibration import calibration_sentence
from fmnet.inference.predict import (
    USUAL,
    Prediction,
    Request,
    Status,
    predictions_table,
    table_row,
)
from fmnet.inference.quality import Reading
from fmnet.inference.sets import level_sentence, predictive_values
from fmnet.inference.study_results import IN_SHORT, NOT_RECORDED

try:
    import fcntl
except ImportError:  # there is none on Windows
    fcntl = None  # type: ignore[assignment]


#: How the predictions of a JSON document begin, and how they and it end.
LIST, END = '"predictions": [', '\n  ],\n  "complete": {}\n}}\n'

#: The form of a document, as prediction.schema.json describes it.
SCHEMA = "fmnet-prediction-1"
BEFORE = "This signature was exported by an earlier fmnet"
NO_SETS = "neither sets of groups nor intervals of probabilities"
NO_GATES = "only the checks of before (coverage, scale)"
AGAIN = "Export it again from its run."
OF_SCORES = ("score", "probability", "probability_low", "probability_high")
OF_GROUPS = (*OF_SCORES, "set")
COLUMNS = {
    "participant_id": "Whose scan it is.",
    "scan": "The scan, by its BIDS entities or the files that were named.",
    "score": "What the network gives: the higher, the more like the positive group.",
    "probability": "Probability",
    "probability_low": "Lower end of the 95 % interval of the probability.",
    "probability_high": "Upper end of the 95 % interval of the probability.",
    "set": "Groups that can't be ruled out: one of them; both, where nothing can be said; or "
    "neither, where the score is unlike those of either, and has no probability.",
    "status": "ok: scored. cannot_say: readable, but unlike what the signature learned from. "
    "forced: scored all the same, because somebody asked for it. error: not usable.",
    "gates_failed": "Checks that the scan did not pass.",
    "in_training": "Whether the signature learned from this scan; n/a where nobody knows.",
    "reason": "Why there is no score; of one that there is, what it can't be read without.",
}
#: What is said of a signature with each prediction, besides its evidence in short.
WITH_EACH = ("evidence_note", "base_rate", "outputs", "warnings", "intended_use")


def check_out(out: Path) -> None:
    """Raise `OutputError` if a file can't be written there, before anything is scored."""
    if os.path.isdir(out):
        raise _unwritable(out, "a folder")
    if is_device(out):
        return
    target = Path(os.path.realpath(out))
    folder = next(parent for parent in target.parents if os.path.lexists(parent))
    if not os.path.isdir(folder):
        raise _unwritable(out, f"'{folder}', which is no folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unwritable(out, f"'{folder}', which can't be written into")


def about_signature(bundle: Bundle, request: Request = USUAL) -> dict[str, Any]:
    """Say what predictions can't be read without: which signature, what was asked, what is known.

    A JSON document of predictions begins with it; ``evidence_note`` says something where
    ``evidence`` is None.
    """
    metadata, evidence = bundle.metadata, bundle.evidence
    training, target = metadata["training"], bundle.target
    told_apart: dict[str, Any]
    meaning: dict[str, Any]
    if target is None:
        told_apart = {name: training[name] for name in ("positive", "negative")}
        meaning = {
            "probability": f"of {training['positive']}. {meaning_of(bundle, request)}",
            "base_rate": base_rate(bundle, request),
            "sets": sets_sentence(bundle, request),
            "predictive_values": worth_of_sets(bundle, request),
        }
    else:
        told_apart = {"target": target["kind"], "predicts": target["title"]}
        meaning = {"outputs": target["outputs"]}
    synthetic = "trained on synthetic data: for demonstration only" if bundle.is_synthetic else ""
    warnings = [training.get("control"), synthetic, *bundle.warnings]
    return {
        "schema": SCHEMA,
        "fmnet": __version__,
        "signature": {
            "name": Path(os.path.abspath(bundle.folder)).name,
            "path": str(bundle.folder),
            "format_version": metadata["format_version"],
            "sha256": sha256_of(bundle.folder / CHECKSUMS),
            **told_apart,
        },
        "request": asdict(request),
        "intended_use": metadata["intended_use"],
        "warnings": list(filter(None, warnings)),
        **meaning,
        "evidence": None if evidence is None else asdict(evidence),
        "evidence_note": f"{NOT_RECORDED} in its bundle" if evidence is None else None,
    }


def meaning_of(bundle: Bundle, request: Request) -> str:
    """Say what scans' numbers mean, probabilities at the prevalence that was asked for."""
    if bundle.calibration is None:
        return bundle.meaning
    return calibration_sentence(bundle.calibration.at_prevalence(request.prevalence))


def base_rate(bundle: Bundle, request: Request) -> float | None:
    """Give the fraction of the positive group for which probabilities are stated."""
    if bundle.calibration is None:
        return None
    return bundle.calibration.at_prevalence(request.prevalence).base_rate


def sets_sentence(bundle: Bundle, request: Request) -> str:
    """Say at which level sets hold people's groups; empty where there are none."""
    return "" if bundle.unseen is None else level_sentence(bundle.unseen, request.level)


def missing_sentence(bundle: Bundle) -> str:
    """Say what a bundle of before has not, or one of too few people; empty for others."""
    lacks = [] if bundle.unseen is not None or bundle.target is not None else [NO_SETS]
    lacks += [NO_GATES] if bundle.gates is None else []
    if lacks:
        return f"{BEFORE}, so there are {' and '.join(lacks)}. {AGAIN}"
    if bundle.gates is None or bundle.gates.false_alarms is not None:
        return ""
    return (
        f"With {bundle.gates.n_people} people in its training, little is looked at before a scan "
        "is scored: scale, sign and coverage, within wide limits. Look at the scans yourself."
    )


def worth_of_sets(bundle: Bundle, request: Request) -> dict[str, Any] | None:
    """Say what sets of one group alone are worth at the prevalence that was asked for."""
    rate = base_rate(bundle, request)
    if bundle.unseen is None or rate is None:
        return None
    return asdict(predictive_values(bundle.unseen, request.level, rate))


def full_record(prediction: Prediction, columns: Sequence[str] = ()) -> dict[str, Any]:
    """List all that is known of a prediction; `prediction_of` reads it back."""
    readings = [
        # as asdict gives it, which takes as long as all gates
        vars(one)
        | {"fault": None if one.fault is None else asdict(one.fault), "passed": one.is_passed}
        for one in prediction.readings
    ]
    groups = None if prediction.groups is None else list(prediction.groups)
    return {**prediction.record(columns), "groups": groups, "readings": readings}


def describe_columns(about: Mapping[str, Any], columns: Sequence[str] = ()) -> dict[str, Any]:
    """Describe a table's columns as the JSON file beside a BIDS table does."""
    said = dict(COLUMNS)
    said["probability"] = f"Probability {about.get('probability', '')}"
    said["set"] = f"{said['set']} {about.get('sets', '')}"
    if columns:
        said = {name: said[name] for name in said if name not in OF_GROUPS}
        said |= {name: "See outputs." for name in columns}
    return {name: {"Description": text.strip()} for name, text in said.items()}


def record_with_evidence(
    prediction: Prediction, columns: Sequence[str], about: Mapping[str, Any]
) -> dict[str, Any]:
    """List a prediction with what it can't be read without, should it be copied elsewhere."""
    known = about.get("evidence")
    return {
        **full_record(prediction, columns),
        "evidence": known and {name: known[name] for name in IN_SHORT if name in known},
        **{name: about[name] for name in WITH_EACH if name in about},
    }


def prediction_of(record: Any, columns: Sequence[str] = ()) -> Prediction:
    """Read a prediction off what `full_record` listed.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    try:
        numbers = {name: record[name] for name in columns or OF_SCORES}
        texts = [record["scan"], record["reason"], *(record["groups"] or [])]
        if record["status"] not in get_args(Status) or not all(map(_is_text, texts)):
            raise ValueError("texts that are none")
        if not all(map(_is_number_or_none, numbers.values())):
            raise ValueError("numbers that are none")
        readings = tuple(_reading_of(one) for one in record["readings"])
        low, high = record.get("probability_low"), record.get("probability_high")
        return Prediction(
            record["scan"],
            numbers[columns[0] if columns else "score"],
            None if columns else record["probability"],
            record["status"],
            record["reason"],
            {name: one for name, one in numbers.items() if columns and one is not None},
            None if low is None or high is None else (low, high),
            None if record["groups"] is None else tuple(record["groups"]),
            readings,
            record["in_training"],
        )
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"no prediction ({type(error).__name__}: {error})") from error


def _reading_of(content: Mapping[str, Any]) -> Reading:
    """Read what a gate measured; raise `ValueError`, or what Python does, if it is no reading."""
    fault = None if content["fault"] is None else Fault(**content["fault"])
    told = {name: value for name, value in content.items() if name not in {"passed", "fault"}}
    reading = Reading(**told, fault=fault)
    numbers = (reading.value, reading.low, reading.high, reading.false_alarms)
    texts = [reading.gate, reading.unit, *(asdict(fault).values() if fault else ())]
    if not all(map(_is_number_or_none, numbers)) or not all(map(_is_text, texts)):
        raise ValueError("a reading with other values")
    return reading


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number_or_none(value: Any) -> bool:
    return value is None or is_number(value)


class Results:
    """Predictions, written as they come: a table, or JSON if the name ends in ``.json``.

    As a context, it gives the file its name in the end: with all predictions, or, where the block
    is left by an exception, with those that came before it. What was there under that name stays
    until then, and for good if there is no prediction. Of a process that is killed, they stay in a
    file next to it, ``.NAME-....part``, until a later one has written all of them.

    A JSON document says of each prediction what is known of the signature, so that one that is
    copied elsewhere keeps its warnings; ``complete`` is false where some are missing. It is whole
    after each prediction.

    `out` of None prints the table; a name that ends in ``.csv`` gives commas, another tabs. `about`
    is what a JSON document says of the signature, see `about_signature`, and ``columns`` what its
    scans get, `Bundle.columns`; both may be set later, but before the block is entered. ``counts``
    are of predictions, by status.

    Raises
    ------
    OutputError
        If it can't be written; what was before there is there still.
    """

    def __init__(self, out: Path | None, about: Mapping[str, Any] | None = None) -> None:
        self.out = out
        self.about = dict(about or {})
        self.columns: tuple[str, ...] = ()
        self.counts: Counter[str] = Counter()
        suffix = "" if out is None else out.suffix.lower()
        self._is_json = suffix == ".json"
        self._separator = "," if suffix == ".csv" else "\t"
        self._part: Path | None = None
        self._file: TextIO | None = None
        self._end = 0  # where the next prediction goes

    def __enter__(self) -> "Results":
        try:
            self._file = self._open()
            if self._is_json:  # all but the predictions, which are the last field but one
                text = f"{as_json(self.about).removesuffix('}').rstrip()},\n  {LIST}"
                self._write_on(self._file, text)
            else:
                write_table(predictions_table([], self.columns), self._file, self._separator)
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from error
        return self

    def add(self, prediction: Prediction) -> None:
        """Write a prediction."""
        if self._file is None:
            raise ValueError("a file that is closed takes no predictions")
        try:
            if self._is_json:
                self._add_record(self._file, prediction)
            else:
                write_row(table_row(prediction, self.columns).values(), self._file, self._separator)
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from error
        self.counts[prediction.status] += 1

    def _add_record(self, file: TextIO, prediction: Prediction) -> None:
        record = record_with_evidence(prediction, self.columns, self.about)
        if self._part is not None:  # over the end of what is there
            file.seek(self._end)
        comma = "," if self.counts else ""
        self._write_on(file, f"{comma}\n{indent(as_json(record), '    ')}")

    def _write_on(self, file: TextIO, text: str) -> None:
        """Write more of a document; a file is whole after it, a pipe when all is written."""
        file.write(text)
        if self._part is not None:
            end = file.tell()
            file.write(END.format("false"))
            self._end = end

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, OutputError):
            return
        try:
            self.finish(is_whole=error is None)
        except OSError as late:
            raise self._failed(late) from late

    def finish(self, is_whole: bool) -> None:
        """Give the file its name, unless it is empty because nothing was come to."""
        file, self._file = self._file, None
        if file is None or file is sys.stdout:
            return
        if self._is_json:
            if self._part is not None:
                file.seek(self._end)
                file.truncate()  # what an interruption left of a prediction
            file.write(END.format("true" if is_whole else "false"))
        file.flush()
        if self._part is None:  # a device, which keeps nothing
            file.close()
            return
        if is_whole or self.counts:
            target = self._part.with_name(Path(os.path.realpath(self.out or "")).name)
            keep_draft(file, target)
            if is_whole:  # of killed processes
                _clear_remains(target)
        file.close()
        self._remove_part()

    def _open(self) -> TextIO:
        if self.out is None:
            return sys.stdout
        if is_device(self.out):
            return self.out.open("w", encoding="utf-8")
        # what a link points at is replaced, and not the link
        target = Path(os.path.realpath(self.out))
        target.parent.mkdir(parents=True, exist_ok=True)
        self._part = draft_path(target)
        file = self._part.open("x", encoding="utf-8")
        hold(file)
        return file

    def _failed(self, error: OSError) -> OSError | OutputError:
        """Leave nothing; a pipe that nobody reads any more is not for us to judge."""
        self._remove_part()
        if isinstance(error, BrokenPipeError):
            return error
        return _unwritable(self.out or Path("standard output"), f"{error.strerror or error}")

    def _remove_part(self) -> None:
        if self._part is not None:
            with suppress(OSError):
                self._part.unlink(missing_ok=True)


def _clear_remains(target: Path) -> None:
    """Clear away the rows that killed processes have left of a table that is whole by now."""
    name = re.compile(re.escape(f".{target.name}-") + r"[0-9a-f]{32}\.part")
    with suppress(OSError):
        for part in [one for one in target.parent.iterdir() if name.fullmatch(one.name)]:
            with part.open("r+", encoding="utf-8") as file:
                if fcntl is not None and hold(file):
                    part.unlink()


def hold(file: TextIO) -> bool:
    """Hold a file until the process ends, however it ends; false if another one holds it."""
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def as_json(content: dict[str, Any]) -> str:
    """Write JSON that steers no terminal, null for what is no finite number."""
    return json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_plain(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    return printable(value) if isinstance(value, str) else value


def is_device(out: Path) -> bool:
    """Tell what is written to and never replaced: /dev/stdout, a pipe."""
    return os.path.exists(out) and not os.path.isfile(out)


def _unwritable(out: Path, found: str) -> OutputError:
    return OutputError(Fault(str(out), found, "a file that can be written", "choose another --out"))
