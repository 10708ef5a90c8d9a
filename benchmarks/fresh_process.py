"""Work in a process of its own: what it takes in time and memory, with nothing left from before."""

import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from time import perf_counter, sleep
from typing import Any

import psutil

from fmnet.errors import BenchmarkError, Fault

#: Seconds between two looks at the memory.
PERIOD = 0.002
#: The same of commands, whose whole family of processes is looked at.
COMMAND_PERIOD = 0.01


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


@dataclass(frozen=True)
class CommandCost:
    """What a command took.

    Parameters
    ----------
    seconds : float
        From its start to its end.
    cpu_seconds : float
        Of all processors, its own and of the processes that it started, as last seen.
    peak_mb : float
        Largest resident memory of all of them together, in MB.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float


def measure_alone(work: Callable[..., Any], *arguments: Any) -> Cost:
    """Run picklable work in a fresh process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_measure, work, arguments).result()


def measure_command(command: Sequence[str]) -> CommandCost:
    """Run a command, and look at it and the processes that it starts until it ends.

    Raises
    ------
    BenchmarkError
        If it fails; with the last thing that it said.
    """
    started = perf_counter()
    process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said, peak = list[str](), 0
    reader = threading.Thread(target=lambda: said.extend(process.stderr))
    reader.start()
    cpu: dict[int, float] = {}
    while process.poll() is None:
        resident = 0
        for one in _family(process):
            try:
                resident += one.memory_info().rss
                cpu[one.pid] = sum(one.cpu_times()[:2])
            except psutil.Error:  # it has ended
                continue
        peak = max(peak, resident)
        sleep(COMMAND_PERIOD)
    seconds = perf_counter() - started
    reader.join()
    if process.returncode:
        found = said[-1].strip() if said else "no message"
        accepted, action = "an answer", "run it by itself, or choose another suite.bundle"
        raise BenchmarkError(Fault(" ".join(command)[:300], found, accepted, action))
    return CommandCost(seconds, sum(cpu.values()), peak / 1e6)


def _family(process: psutil.Popen) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


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
