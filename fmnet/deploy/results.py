"""Write predictions, whole or not at all."""

import io
import os
import uuid
from contextlib import suppress
from pathlib import Path

from fmnet.data.tables import write_table
from fmnet.deploy.predict import Prediction, predictions_table
from fmnet.errors import Fault, OutputError


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


def write_results(predictions: list[Prediction], out: Path) -> None:
    """Write one row per scan; with commas if the name ends in ``.csv``, else with tabs.

    Raises
    ------
    OutputError
        If the file can't be written; nothing is left of it then.
    """
    text = io.StringIO()
    write_table(predictions_table(predictions), text, "," if out.suffix.lower() == ".csv" else "\t")
    try:
        _write_whole(text.getvalue(), out)
    except OSError as error:
        raise _unwritable(out, f"{error.strerror or error}") from error


def _write_whole(text: str, out: Path) -> None:
    if _is_device(out):
        out.write_text(text, "utf-8")
        return
    target = Path(os.path.realpath(out))  # what a link points at is replaced, and not the link
    temporary = target.with_name(f".{target.name}-{uuid.uuid4().hex}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _is_device(out: Path) -> bool:
    """Tell what is written to and never replaced: /dev/stdout, a pipe."""
    return os.path.exists(out) and not os.path.isfile(out)


def _unwritable(out: Path, found: str) -> OutputError:
    return OutputError(Fault(str(out), found, "a file that can be written", "choose another --out"))
