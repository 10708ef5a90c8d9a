"""Units of work shared among processes that end when the one that started them does."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import wait
from typing import Any, ClassVar, TypeVar

import torch
from joblib import cpu_count  # of this job, where a cluster gives it a share of a machine

Shared = TypeVar("Shared")
Unit = TypeVar("Unit")
Result = TypeVar("Result")


def count_jobs(n_jobs: int) -> int:
    """Read a number of processes as scikit-learn does: -1 is one for each processor."""
    return int(cpu_count()) if n_jobs < 1 else n_jobs


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
        Processes; -1 for one per processor.

    Yields
    ------
    tuple
        A unit and what came of it, in the order in which they are done.
    """
    n_jobs = min(count_jobs(n_jobs), len(units))
    if n_jobs < 2:
        yield from ((unit, work(shared, unit)) for unit in units)
        return
    threads = max(1, cpu_count() // n_jobs)
    # Forked workers would share torch's threads and hang.
    context = get_context("spawn")
    with ProcessPoolExecutor(n_jobs, context, _Worker.start, (work, shared, threads)) as pool:
        futures = {pool.submit(_Worker.work_on, unit): unit for unit in units}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in active_children():  # nobody waits for what they work on
                worker.kill()
            raise


class _Worker:
    """What a process keeps from one unit to the next."""

    work: ClassVar[Callable[[Any, Any], Any]]
    shared: ClassVar[Any]

    @classmethod
    def start(cls, work: Callable[[Any, Any], Any], shared: Any, threads: int) -> None:
        start_worker(threads)
        cls.work, cls.shared = work, shared

    @classmethod
    def work_on(cls, unit: Any) -> Any:
        return cls.work(cls.shared, unit)


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
