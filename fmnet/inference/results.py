"""Write predictions one by one, as a table or as JSON; the file gets its name in the end."""

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from textwrap import indent
from types import TracebackType
from typing import Any, TextIO

from fmnet.data.files import draft_path, keep_draft
from fmnet.data.tables import write_table
from fmnet.errors import Fault, OutputError, printable
from fmnet.inference.bundle import Bundle
from fmnet.inference.bundle_files import CHECKSUMS, sha256_of
from fmnet.inference.predict import Prediction, predictions_table
from fmnet.inference.study_results import IN_SHORT, NOT_RECORDED

try:
    import fcntl
except ImportError:  # there is none on Windows
    fcntl = None  # type: ignore[assignment]


#: How the predictions of a JSON document begin, and how they and it end.
LIST, END = '"predictions": [', '\n  ],\n  "complete": {}\n}}\n'

#: What is said of a signature with each prediction, besides its evidence in short.
WITH_EACH = ("evidence_note", "base_rate", "outputs", "warnings", "intended_use")


def check_out(out: Path) -> None:
    """Raise `OutputError` if a file can't be written there, before anything is scored."""
    if os.path.isdir(out):
        raise _unwritable(out, "a folder")
    if _is_device(out):
        return
    target = Path(os.path.realpath(out))
    folder = next(parent for parent in target.parents if os.path.lexists(parent))
    if not os.path.isdir(folder):
        raise _unwritable(out, f"'{folder}', which is no folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unwritable(out, f"'{folder}', which can't be written into")


def about_signature(bundle: Bundle) -> dict[str, Any]:
    """Say what predictions can't be read without: which signature, and what is known of it.

    A JSON document of predictions begins with it; ``evidence_note`` says something where
    ``evidence`` is None.
    """
    metadata, evidence = bundle.metadata, bundle.evidence
    training, target = metadata["training"], bundle.target
    told_apart: dict[str, Any]
    meaning: dict[str, Any]
    if target is None:
        told_apart = {name: training[name] for name in ("positive", "negative")}
        rate = None if bundle.calibration is None else bundle.calibration.base_rate
        meaning = {"probability": f"of {training['positive']}. {bundle.meaning}", "base_rate": rate}
    else:
        told_apart = {"target": target["kind"], "predicts": target["title"]}
        meaning = {"outputs": target["outputs"]}
    synthetic = "trained on synthetic data: for demonstration only" if bundle.is_synthetic else ""
    warnings = [training.get("control"), synthetic, *bundle.warnings]
    return {
        "signature": {
            "name": Path(os.path.abspath(bundle.folder)).name,
            "path": str(bundle.folder),
            "format_version": metadata["format_version"],
            "sha256": sha256_of(bundle.folder / CHECKSUMS),
            **told_apart,
        },
        "intended_use": metadata["intended_use"],
        "warnings": list(filter(None, warnings)),
        **meaning,
        "evidence": None if evidence is None else asdict(evidence),
        "evidence_note": f"{NOT_RECORDED} in its bundle" if evidence is None else None,
    }


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
                text = f"{_as_json(self.about).removesuffix('}').rstrip()},\n  {LIST}"
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
                row = predictions_table([prediction], self.columns)
                write_table(row, self._file, self._separator, header=False, for_people=True)
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from error
        self.counts[prediction.status] += 1

    def _add_record(self, file: TextIO, prediction: Prediction) -> None:
        known = self.about.get("evidence")
        record = {
            **prediction.record(self.columns),
            "evidence": known and {name: known[name] for name in IN_SHORT if name in known},
            **{name: self.about[name] for name in WITH_EACH if name in self.about},
        }
        if self._part is not None:  # over the end of what is there
            file.seek(self._end)
        comma = "," if self.counts else ""
        self._write_on(file, f"{comma}\n{indent(_as_json(record), '    ')}")

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
        if _is_device(self.out):
            return self.out.open("w", encoding="utf-8")
        # what a link points at is replaced, and not the link
        target = Path(os.path.realpath(self.out))
        target.parent.mkdir(parents=True, exist_ok=True)
        self._part = draft_path(target)
        file = self._part.open("x", encoding="utf-8")
        _is_held(file)
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
                if not _is_held(file):
                    part.unlink()


def _is_held(file: TextIO) -> bool:
    """Hold a file until the process ends, however it ends; tell whether another one does."""
    if fcntl is None:
        return True  # nobody knows
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def _as_json(content: dict[str, Any]) -> str:
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


def _is_device(out: Path) -> bool:
    """Tell what is written to and never replaced: /dev/stdout, a pipe."""
    return os.path.exists(out) and not os.path.isfile(out)


def _unwritable(out: Path, found: str) -> OutputError:
    return OutputError(Fault(str(out), found, "a file that can be written", "choose another --out"))
