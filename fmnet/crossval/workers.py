"""Map a function over units of work in several processes, which end with the one that began."""

import os
import pickle
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import cache, lru_cache
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, TypeVar

import torch
from joblib import cpu_count  # of this job, where a cluster gives it a share of a machine

from fmnet.errors import Fault, TrainingError

#: Forked workers would share torch's threads and hang.
SPAWNING = get_context("spawn")

Shared = TypeVar("Shared")
Unit = TypeVar("Unit")
Result = TypeVar("Result")


def map_units(
    work: Callable[[Shared, Unit], Result], shared: Shared, units: Sequence[Unit], n_jobs: int
) -> Iterator[tuple[Unit, Result]]:
    """Work on units in this process, or in several, which share its processors evenly.

    Yields each unit with its result, in the order in which they are done. `work` is a function of a
    module; `shared` is sent to each process once.

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
            _end_pool(pool)
            raise TrainingError(
                Fault(
                    "compute.n_jobs",
                    "a process that was ended from outside, perhaps for want of memory",
                    "processes that end by themselves",
                    "use fewer processes, and give the command again: it goes on with what is done",
                )
            ) from error
        except BaseException:
            _end_pool(pool)
            raise


@cache
def _start_pool(n_jobs: int) -> ProcessPoolExecutor:
    """Start processes once for all that a program does: each takes seconds to import torch."""
    threads = max(1, int(cpu_count()) // n_jobs)
    return ProcessPoolExecutor(n_jobs, SPAWNING, start_worker, (threads,))


def _end_pool(pool: ProcessPoolExecutor) -> None:
    """End what nobody waits for any more; the next call starts other processes."""
    _start_pool.cache_clear()
    pool.shutdown(wait=False, cancel_futures=True)
    for worker in active_children():
        if isinstance(worker, SPAWNING.Process):  # joblib's own, say, are left alone
            worker.kill()


def _work_on(work: Callable[[Any, Any], Any], path: Path, unit: Any) -> Any:
    return work(_read_shared(path), unit)


@lru_cache(maxsize=1)
def _read_shared(path: Path) -> Any:
    """Read what all units of one call share; written by the parent for its workers alone."""
    return pickle.loads(path.read_bytes())


def start_worker(threads: int) -> None:
    """Set up a fresh worker: how many threads it computes with, and whose end is its own."""
    torch.set_num_threads(threads)
    # A cluster warns all processes of a job before it ends them; who started these requeues it
    for name in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(name, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
