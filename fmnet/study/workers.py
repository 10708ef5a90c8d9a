"""Units of work shared among processes that end when the one that started them does."""

import os
import pickle
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import cache, lru_cache
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, TypeVar

import torch

from fmnet.errors import Fault, TrainingError

Shared = TypeVar("Shared")
Unit = TypeVar("Unit")
Result = TypeVar("Result")


def map_units(
    work: Callable[[Shared, Unit], Result], shared: Shared, units: Sequence[Unit], n_jobs: int
) -> Iterator[tuple[Unit, Result]]:
    """Work on units in this process, or in several, which share its processors evenly.

    Parameters
    ----------
    work : callable
        A function of a module, which takes `shared` and one unit.
    shared : object
        Sent to each process once.
    units : sequence
        What is to be done.
    n_jobs : int
        Processes.

    Yields
    ------
    tuple
        A unit and what came of it, in the order in which they are done.

    Raises
    ------
    TrainingError
        If a process is killed.
    """
    if min(n_jobs, len(units)) < 2:
        yield from ((unit, work(shared, unit)) for unit in units)
        return
    pool = _start_pool(n_jobs)
    with tempfile.TemporaryDirectory(prefix="fmnet-shared-") as folder:
        path = Path(folder) / "shared.pickle"
        path.write_bytes(pickle.dumps(shared))
        futures = {pool.submit(_work_on, work, path, unit): unit for unit in units}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            _start_pool.cache_clear()
            raise TrainingError(_ended()) from error
        finally:
            for future in futures:
                future.cancel()


@cache
def _start_pool(n_jobs: int) -> ProcessPoolExecutor:
    """Start processes once for all that a program does: each takes seconds to import torch."""
    threads = max(1, (os.cpu_count() or 1) // n_jobs)
    # Forked workers would share torch's threads and hang.
    return ProcessPoolExecutor(n_jobs, get_context("spawn"), start_worker, (threads,))


def _ended() -> Fault:
    return Fault(
        "compute.n_jobs",
        "a process that was ended from outside, perhaps for want of memory",
        "processes that end by themselves",
        "use fewer processes, and give the command again: it goes on with what is done",
    )


def _work_on(work: Callable[[Any, Any], Any], path: Path, unit: Any) -> Any:
    return work(_read_shared(path), unit)


@lru_cache(maxsize=1)
def _read_shared(path: Path) -> Any:
    """Read what all units of one call share; written by the parent for its workers alone."""
    return pickle.loads(path.read_bytes())


def start_worker(threads: int) -> None:
    """Set up a fresh worker: how many threads it computes with, and whose end is its own."""
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
