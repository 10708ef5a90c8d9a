"""Write predictions row by row; their table gets its name in the end."""

import os
import re
import sys
import uuid
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TextIO

from fmnet.data.tables import write_table
from fmnet.deploy.predict import Prediction, predictions_table
from fmnet.errors import Fault, OutputError

try:
    import fcntl
except ImportError:  # there is none on Windows
    fcntl = None  # type: ignore[assignment]


def check_out(out: Path) -> None:
    """Raise `OutputError` if a file can't be written there, before anything is scored."""
    if os.path.isdir(out):
        raise _unwritable(out, "a folder")
    if _is_device(out):
        return
    target = Path(os.path.realpath(out))
    folder = next(place for place in target.parents if os.path.lexists(place))
    if not os.path.isdir(folder):
        raise _unwritable(out, f"'{folder}', which is no folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unwritable(out, f"'{folder}', which can't be written into")


class Results:
    """A table of predictions, written as they come.

    As a context, it gives the table its name in the end: with all rows, or, where the block is left
    by an exception, with those that came before it. What was there under that name stays until
    then, and for good if there is no row. Of a process that is killed, the rows stay in a file
    beside, ``.NAME-....part``, until a later one has written all of the table.

    Parameters
    ----------
    out : Path or None
        Where it goes: with commas if the name ends in ``.csv``, else with tabs. None to print it.

    Attributes
    ----------
    counts : Counter
        Of rows, by status.

    Raises
    ------
    OutputError
        If it can't be written; what was there before is there still.
    """

    def __init__(self, out: Path | None) -> None:
        self.out = out
        self.counts: Counter[str] = Counter()
        self._separator = "," if out is not None and out.suffix.lower() == ".csv" else "\t"
        self._part: Path | None = None
        self._file: TextIO | None = None

    def __enter__(self) -> "Results":
        try:
            self._file = self._open()
            write_table(predictions_table([]), self._file, self._separator)
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from error
        return self

    def add(self, prediction: Prediction) -> None:
        """Write a row."""
        if self._file is None:
            raise ValueError("a table that is closed takes no rows")
        row = predictions_table([prediction])
        try:
            write_table(row, self._file, self._separator, header=False, for_people=True)
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from error
        self.counts[prediction.status] += 1

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
        """Give the table its name, unless it is empty because nothing was come to."""
        file, self._file = self._file, None
        if file is None or file is sys.stdout:
            return
        file.flush()
        if self._part is None:  # a device, which keeps nothing
            file.close()
            return
        os.fsync(file.fileno())
        file.close()
        if is_whole or self.counts:
            target = self._part.with_name(Path(os.path.realpath(self.out or "")).name)
            self._part.replace(target)
            if is_whole:
                _clear_remains(target)
        self._remove_part()

    def _open(self) -> TextIO:
        if self.out is None:
            return sys.stdout
        if _is_device(self.out):
            return self.out.open("w", encoding="utf-8")
        # what a link points at is replaced, and not the link
        target = Path(os.path.realpath(self.out))
        target.parent.mkdir(parents=True, exist_ok=True)
        self._part = target.with_name(f".{target.name}-{uuid.uuid4().hex}.part")
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


def _is_device(out: Path) -> bool:
    """Tell what is written to and never replaced: /dev/stdout, a pipe."""
    return os.path.exists(out) and not os.path.isfile(out)


def _unwritable(out: Path, found: str) -> OutputError:
    return OutputError(Fault(str(out), found, "a file that can be written", "choose another --out"))
