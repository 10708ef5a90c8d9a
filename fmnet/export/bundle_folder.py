"""Write a bundle whole or not at all, whatever ends the export."""

import fcntl
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypeVar

from fmnet.data.files import draft_folder, keep_folder

Result = TypeVar("Result")
#: Within the folder that an export works in: a file that it holds locked, and the older bundle.
LOCK, ASIDE = "lock", "replaced"
#: Without locks, a folder that nothing was written into for so long is nobody's.
LEFT_SECONDS = 24 * 3600.0


def write_bundle_whole(write: Callable[[Path], Result], target: Path) -> Result:
    """Write a folder beside its place and move it there once it is whole.

    A bundle that is replaced is moved aside first. Whatever ends the process in between, the next
    export brings it back, see `clear_remains`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        _ending_by_exception(),
        draft_folder(target) as working,
        (working / LOCK).open("x") as lock,
    ):
        with suppress(OSError):  # where a file system knows no locks, see `_is_left`
            fcntl.flock(lock, fcntl.LOCK_EX)
        folder, aside = working / "bundle", working / ASIDE
        folder.mkdir()
        result = write(folder)
        try:
            if target.exists():
                target.replace(aside)
            keep_folder(folder, target)
        except BaseException:
            if aside.exists() and not target.exists():
                aside.replace(target)
            raise
    return result


def clear_remains(target: Path) -> None:
    """Clear away what exports to a place that were killed have left, but for what they moved aside.

    Folders of exports that are at work are left alone.
    """
    name = re.compile(re.escape(f".{target.name}-") + r"([a-z0-9_]{8}|[0-9a-f]{32}\.part)")
    for entry in os.listdir(target.parent):
        working = target.parent / entry
        if not name.fullmatch(entry) or working.is_symlink() or not working.is_dir():
            continue
        if not _is_left(working):
            continue
        if (working / ASIDE).is_dir() and not os.path.lexists(target):
            (working / ASIDE).replace(target)
        shutil.rmtree(working, ignore_errors=True)


def _is_left(working: Path) -> bool:
    """Tell whether the export that made a folder has ended, by its lock, or by the folder's age."""
    try:
        with (working / LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except BlockingIOError:
        return False
    except OSError:  # made before there were locks, or where the file system knows none
        others = {entry.name for entry in working.iterdir()} - {"bundle", ASIDE, LOCK}
        return not others and time.time() - working.stat().st_mtime > LEFT_SECONDS


@contextmanager
def _ending_by_exception() -> Iterator[None]:
    """Let SIGTERM end the block like an interruption, so that what it began is cleared away."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
