"""Lock the folder of a run, and let a new run replace the one that was there before.

One process at a time writes results; any number of shards prepare them. The lock is the system's
own (flock) and ends with the process, however that ends. The package filelock does less: shards
share a folder, which its ReadWriteLock does by a SQLite file that clusters' file systems corrupt;
its SoftReadWriteLock outlives processes that are killed; and where a file system knows no locks,
people may go on without one here.

A run that replaces another writes its results into ``.new`` while the other stays as it is. Once
they are whole, one rename to ``.ready`` decides that they take its place; whoever finds a
``.ready`` afterwards goes on with that, so that a kill at any time leaves one of the two whole.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fmnet.errors import Fault, RunError
from fmnet.inference.bundle_files import CHECKSUMS, read_bounded
from fmnet.runs.record import OPENINGS, added_baselines, changed_settings
from fmnet.runs.run_folder import (
    FILES,
    FOLDERS,
    NEW,
    READY,
    RESULTS,
    as_json,
    check_run_files,
    listed_files,
    read_json,
    write_run_files,
)

#: Tells a run folder from a folder of somebody's own.
MARKER = ".fmnet-run"
#: What a file system says that knows no locks, as some of clusters do.
LOCKLESS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
#: Where logs of an earlier run wait until the one that replaces it has results.
REPLACED = ".replaced"
#: Folder of what is written one by one.
PERMUTATIONS = "permutations"
#: How cohort.tsv marks subjects who are set aside, see `fmnet.data.cohort.Cohort.table`.
BOX = b"lock-box"


def mark_run_folder(run_dir: Path) -> None:
    """Make a folder, if it isn't there, and tell it from one of somebody's own.

    Raises
    ------
    RunError
        If the folder can't be made.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        said = "Written by fmnet; a run may replace what is here.\n"
        (run_dir / MARKER).write_text(said, "utf-8")
    except OSError as error:
        raise refuse(run_dir, str(error), "choose another run_dir") from error


@contextmanager
def holding(run_dir: Path, is_shared: bool) -> Iterator[None]:
    """Hold a run folder until the end of the block, or of the process, however it ends.

    The folder is made and marked if it isn't yet. Shards share it (`is_shared`), a whole run
    doesn't.

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
            raise RunError(
                Fault(
                    str(run_dir),
                    "another process at work in it",
                    "one process at a time, or shards alone",
                    "wait until it ends, or end it; then give the same command again",
                )
            ) from error
        except OSError as error:
            if error.errno not in LOCKLESS:
                raise
        yield


def refuse(run_dir: Path, found: str, action: str) -> RunError:
    """Say why a folder can't be written to."""
    return RunError(Fault(str(run_dir), found, "a new or empty folder that can be written", action))


def claim_run_folder(run_dir: Path, config_yaml: str, overwrite: bool, resume: bool) -> bool:
    """Decide what to do with a folder, before anything is computed.

    Nothing is changed, but that what a run that was killed had begun to replace is settled. A run
    that was stopped before its report is gone on with where the configuration is the same.

    Returns
    -------
    bool
        Whether there are results to go on with.

    Raises
    ------
    RunError
        If the folder can't be written, is no run folder, holds another run, or one with files that
        are damaged.
    """
    there = next(folder for folder in (run_dir, *run_dir.absolute().parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise refuse(run_dir, f"'{there}', which can't be written into", "choose another run_dir")
    if run_dir.exists() and any(run_dir.iterdir()) and not (run_dir / MARKER).is_file():
        action = "choose another run_dir: a run replaces what its folder holds"
        raise refuse(run_dir, "files that no fmnet run has made", action)
    if any((run_dir / name).is_dir() for name in (NEW, READY, REPLACED)):
        with holding(run_dir, is_shared=False):
            settle(run_dir)
    if not ((run_dir / "predictions.tsv").exists() or (run_dir / CHECKSUMS).exists()):
        return False
    if overwrite and not resume:
        _openings(run_dir)
        return False
    is_finished = (run_dir / "metrics.json").exists()
    if is_finished and not resume:
        action = (
            "choose another run_dir; resume=true adds to the results (permutations, reruns), "
            "overwrite=true replaces them"
        )
        raise refuse(run_dir, "the results of an earlier run", action)
    check_run_files(run_dir, ["config.yaml"])
    if changed := changed_settings(run_dir, config_yaml):
        what = f"with other settings for {', '.join(changed)}"
        if added := added_baselines(run_dir, config_yaml):  # an earlier version had fewer
            without = " ".join(f"~baselines.{name}" for name in added)
            what += f" (without {', '.join(added)}: add {without} to go on with it)"
        if resume:
            action = "repeat the command as it was, or choose another run_dir"
            raise refuse(run_dir, f"a run {what}", action)
        action = "repeat the command as it was, choose another run_dir, or set overwrite=true"
        raise refuse(run_dir, f"an unfinished run {what}", action)
    # what is gone on with: final models are fitted again, the lock-box isn't looked at
    # nor the figures of a run that was stopped before its report
    unread = ("lockbox.tsv", "lockbox.json", *(() if is_finished else ("metrics.json",)))
    check_run_files(run_dir, [name for name in RESULTS if name in FILES and name not in unread])
    return True


@contextmanager
def replacing(run_dir: Path, kept: tuple[str, ...] = ()) -> Iterator[Path]:
    """Give a folder for new results; they take the place of an earlier run's once they are whole.

    What is recorded about openings of its lock-box stays. The caller holds `run_dir`.

    What is `kept` stays in its place, since the new run goes on with it: ``logs``, or nothing. New
    results are written by `fmnet.runs.run_folder.write_run_files`.

    Raises
    ------
    RunError
        If the folder can't be made.
    """
    mark_run_folder(run_dir)
    settle(run_dir)
    openings = _openings(run_dir)
    draft, aside = run_dir / NEW, run_dir / REPLACED
    try:
        draft.mkdir()
        aside.mkdir()
        if "logs" not in kept and (run_dir / "logs").exists():
            (run_dir / "logs").replace(aside / "logs")
    except OSError as error:
        raise refuse(run_dir, str(error), "choose another run_dir") from error
    try:
        yield draft
        write_run_files(draft, {})  # lists what is there
        if openings:
            manifest = read_json(draft / "manifest.json") | {OPENINGS: openings}
            write_run_files(draft, {"manifest.json": as_json(manifest)})
        draft.replace(run_dir / READY)
    except BaseException:
        settle(run_dir)
        raise
    settle(run_dir)


def settle(run_dir: Path) -> None:
    """Finish, or take back, what a run that was killed had begun; the caller holds the folder.

    Whatever stops it, it comes to the same when it is called again.
    """
    if (run_dir / READY).is_dir():
        _install_new(run_dir)
    elif (run_dir / REPLACED).is_dir():
        _bring_back(run_dir)
    _remove(run_dir / NEW)
    for pattern in (".*.part", f"{PERMUTATIONS}/.*.part"):  # of files that were being written
        for draft in sorted(run_dir.glob(pattern)):
            _remove(draft)


def _install_new(run_dir: Path) -> None:
    """Put new results into the place of old ones; their list of hashes goes last."""
    ready = run_dir / READY
    if (ready / CHECKSUMS).exists():
        new = {name.split("/")[0] for name in listed_files(ready)}
        (run_dir / "metrics.json").unlink(missing_ok=True)  # first: it marks a run as finished
        for name in (*FILES, *FOLDERS):
            if name not in {*new, "logs", CHECKSUMS}:
                _remove(run_dir / name)
        for name in [name for name in (*FILES, *FOLDERS) if name in new]:
            if (ready / name).exists():
                (ready / name).replace(run_dir / name)
        (ready / CHECKSUMS).replace(run_dir / CHECKSUMS)
    _remove(run_dir / REPLACED)
    _remove(ready)


def _bring_back(run_dir: Path) -> None:
    """Put back what waits for a successor that came to nothing.

    Runs before this one put all of their predecessor aside; one of theirs that has results stays.
    """
    aside = run_dir / REPLACED
    if (run_dir / "predictions.tsv").exists() and (aside / "predictions.tsv").exists():
        if openings := _openings(aside):
            manifest = read_json(run_dir / "manifest.json") | {OPENINGS: openings}
            write_run_files(run_dir, {"manifest.json": as_json(manifest)})
    else:
        for name in (*FILES, *FOLDERS):
            if (aside / name).exists():
                if (run_dir / name).is_dir():
                    _remove(run_dir / name)
                (aside / name).replace(run_dir / name)
    _remove(aside)


def _openings(run_dir: Path) -> list[dict[str, object]]:
    """Read how often a run's lock-box was opened.

    Raises
    ------
    RunError
        If it has one, and the record can't be read.
    """
    path = run_dir / "manifest.json"
    try:
        check_run_files(run_dir, ["manifest.json"])
        return list(read_json(path).get(OPENINGS, [])) if path.exists() else []
    except RunError as error:
        if not _has_box(run_dir):
            return []
        action = "restore it from a copy, or choose another run_dir"
        found = "a damaged manifest.json, which says how often the lock-box was opened"
        raise refuse(run_dir, found, action) from error


def _has_box(run_dir: Path) -> bool:
    if any((run_dir / name).exists() for name in ("lockbox.tsv", "lockbox.json")):
        return True
    try:
        return BOX in read_bounded(run_dir / "cohort.tsv", 2**30)
    except OSError:
        return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
