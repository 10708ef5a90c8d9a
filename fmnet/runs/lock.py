"""One process at a time writes the results of a run; any number of shards prepare them."""

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fmnet.errors import Fault, RunError

#: Tells a run folder from a folder of somebody's own.
MARKER = ".fmnet-run"
#: What a file system says that knows no locks, as some of clusters do.
LOCKLESS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


def mark_run_folder(run_dir: Path) -> None:
    """Make a folder, if it isn't there, and tell it from one of somebody's own.

    Raises
    ------
    RunError
        If the folder can't be made.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        (run_dir / MARKER).write_text(
            "Written by fmnet; a run may replace what is here.\n", "utf-8"
        )
    except OSError as error:
        raise refuse(run_dir, str(error), "choose another run_dir") from error


@contextmanager
def holding(run_dir: Path, is_shared: bool) -> Iterator[None]:
    """Hold a run folder until the end of the block, or of the process, however it ends.

    Parameters
    ----------
    run_dir : Path
        Made and marked if it isn't yet.
    is_shared : bool
        Whether others that share may hold it as well: shards do, a whole run doesn't.

    Raises
    ------
    RunError
        If another process holds it.
    """
    mark_run_folder(run_dir)
    with (run_dir / MARKER).open("r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(_held(run_dir)) from error
        except OSError as error:
            if error.errno not in LOCKLESS:
                raise
        yield


def refuse(run_dir: Path, found: str, action: str) -> RunError:
    """Say why a folder can't be written to."""
    return RunError(Fault(str(run_dir), found, "a new or empty folder that can be written", action))


def _held(run_dir: Path) -> Fault:
    return Fault(
        str(run_dir),
        "another process at work in it",
        "one process at a time, or shards alone",
        "wait until it ends, or end it; then give the same command again",
    )
