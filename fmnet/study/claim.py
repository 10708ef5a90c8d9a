"""Whose folder a run may write to, and what becomes of the run that was there before."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fmnet.errors import Fault, RunError
from fmnet.study.run_folder import (
    FILES,
    FOLDERS,
    OPENINGS,
    changed_settings,
    read_json,
    write_json,
)

#: Tells a run folder from a folder of somebody's own.
MARKER = ".fmnet-run"
#: Where an earlier run waits until the one that replaces it has results.
REPLACED = ".replaced"


def claim_run_folder(run_dir: Path, config_yaml: str, overwrite: bool, resume: bool) -> bool:
    """Decide what to do with a folder, before anything is computed.

    Nothing is changed, but that a run comes back which one that was killed had put aside. A run
    that was stopped before its report is gone on with where the configuration is the same.

    Parameters
    ----------
    run_dir : Path
        Where results are to go.
    config_yaml : str
        The configuration.
    overwrite : bool
        Whether an earlier run may be replaced.
    resume : bool
        Whether an earlier run of this configuration is gone on with.

    Returns
    -------
    bool
        Whether there are results to go on with.

    Raises
    ------
    RunError
        If the folder can't be written, is no run folder, or holds another run.
    """
    _check_writable(run_dir)
    if run_dir.exists() and any(run_dir.iterdir()) and not (run_dir / MARKER).is_file():
        action = "choose another run_dir: a run replaces what its folder holds"
        raise _refuse(run_dir, "files that no fmnet run has made", action)
    if (run_dir / REPLACED).is_dir():
        _bring_back(run_dir)
    if not (run_dir / "predictions.tsv").exists():
        return False
    changed = changed_settings(run_dir, config_yaml)
    is_finished = (run_dir / "metrics.json").exists()
    if resume or not (overwrite or is_finished or changed):
        if changed:
            found = f"a run with other settings for {', '.join(changed)}"
            raise _refuse(run_dir, found, "repeat the command as it was, or choose another run_dir")
        return True
    if not overwrite:
        found = "the results of an earlier run"
        if not is_finished:
            found = f"an unfinished run with other settings for {', '.join(changed)}"
        action = (
            "choose another run_dir; resume=true adds to the results (permutations, reruns), "
            "overwrite=true replaces them"
        )
        raise _refuse(run_dir, found, action)
    return False


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
        raise _refuse(run_dir, str(error), "choose another run_dir") from error


@contextmanager
def replacing(run_dir: Path, kept: tuple[str, ...] = ()) -> Iterator[None]:
    """Make room for new results; an earlier run comes back if there are none in the end.

    What is recorded about openings of its lock-box stays.

    Parameters
    ----------
    run_dir : Path
        The folder.
    kept : tuple of str
        What stays in its place, since the new run goes on with it.

    Raises
    ------
    RunError
        If the folder can't be made.
    """
    aside = run_dir / REPLACED
    mark_run_folder(run_dir)
    try:
        _move(run_dir, aside, kept)
    except OSError as error:
        raise _refuse(run_dir, str(error), "choose another run_dir") from error
    try:
        yield
    except BaseException:
        _bring_back(run_dir)
        raise
    _keep_openings(run_dir)
    shutil.rmtree(aside)


def _move(source: Path, target: Path, kept: tuple[str, ...] = ()) -> None:
    target.mkdir(exist_ok=True)
    for name in (*FILES, *FOLDERS):
        if name not in kept and (source / name).exists():
            (source / name).replace(target / name)


def _bring_back(run_dir: Path) -> None:
    """Put an earlier run back to its place, unless its successor has results."""
    aside = run_dir / REPLACED
    if not (run_dir / "predictions.tsv").exists():
        for name in (*FILES, *FOLDERS):
            if (aside / name).exists() and (run_dir / name).is_dir():
                shutil.rmtree(run_dir / name)
        _move(aside, run_dir)
    else:
        _keep_openings(run_dir)
    shutil.rmtree(aside)


def _keep_openings(run_dir: Path) -> None:
    try:
        openings = read_json(run_dir / REPLACED / "manifest.json")[OPENINGS]
    except (OSError, KeyError, json.JSONDecodeError):
        return
    path = run_dir / "manifest.json"
    write_json(read_json(path) | {OPENINGS: openings}, path)


def _check_writable(run_dir: Path) -> None:
    there = next(folder for folder in (run_dir, *run_dir.absolute().parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise _refuse(run_dir, f"'{there}', which can't be written into", "choose another run_dir")


def _refuse(run_dir: Path, found: str, action: str) -> RunError:
    return RunError(Fault(str(run_dir), found, "a new or empty folder that can be written", action))
