"""Work in a process of its own: what it takes in time and memory, with nothing left from before."""

import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from time import perf_counter
from typing import Any

import psutil

#: Seconds between two looks at the memory.
PERIOD = 0.002


@dataclass(frozen=True)
class Cost:
    """What a piece of work took.

    Parameters
    ----------
    seconds : float
        Without starting the process and importing.
    peak_mb : float
        Largest resident memory beyond what the process had when the work began, in MB.
    """

    seconds: float
    peak_mb: float


def measure_alone(work: Callable[..., Any], *arguments: Any) -> Cost:
    """Run picklable work in a fresh process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_measure, work, arguments).result()


def _measure(work: Callable[..., Any], arguments: tuple[Any, ...]) -> Cost:
    process, done = psutil.Process(), threading.Event()
    before = process.memory_info().rss
    peak = before

    def look() -> None:
        nonlocal peak
        while not done.wait(PERIOD):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        started = perf_counter()
        work(*arguments)
        seconds = perf_counter() - started
    finally:
        done.set()
        watcher.join()
    return Cost(seconds, (max(peak, process.memory_info().rss) - before) / 1e6)
