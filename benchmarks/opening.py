"""How fast a study of many BOLD runs is opened, first and again, and how that grows."""

import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.fresh_process import Cost, measure_alone
from benchmarks.race import growth, race, race_table
from benchmarks.readers import read_cached, read_persistent
from fmnet.bold.bold_file import BoldRun
from fmnet.bold.decoded import DecodedBold, open_runs
from fmnet.data.store import SETTLING_NS, ArrayStore

SECOND = "fmnet, second start"
AND_WINDOWS = "and a window of each run"


def open_study(runs: Sequence[BoldRun], folder: Path, n_jobs: int, n_window: int = 0) -> None:
    """Open all runs of a study and, if asked for, read the first volumes of each."""
    for run in open_runs(runs, ArrayStore(folder, DecodedBold()), n_jobs):
        if n_window:
            run.read_window(0, n_window)


def opening_table(
    runs: Sequence[BoldRun], folder: Path, n_window: int, n_rounds: int
) -> pd.DataFrame:
    """Open a study in fresh processes, and let MONAI's data sets do the like.

    Returns
    -------
    DataFrame
        One row per way: ``rival, seconds, fastest, slowest`` and ``peak_mb``, the largest memory
        beyond that of the process before.
    """
    settle()
    costs: dict[str, list[Cost]] = {}

    def measure(name: str, works: Iterable[partial[Any]]) -> None:
        costs[name] = [measure_alone(work) for work in works]

    for jobs in (1, 2):
        places = [folder / f"{jobs}-{number}" for number in range(n_rounds)]
        name = f"fmnet, first start, {jobs} job{'s' * (jobs > 1)}"
        measure(name, [partial(open_study, runs, place, jobs) for place in places])
    again = partial(open_study, runs, folder / "1-0", 1)
    measure(SECOND, [again] * n_rounds)
    measure(f"{SECOND} {AND_WINDOWS}", [partial(again, n_window=n_window)] * n_rounds)
    cached = partial(read_persistent, runs, folder / "monai", n_window)
    measure(f"MONAI PersistentDataset, first start {AND_WINDOWS}", [cached])
    measure(f"MONAI PersistentDataset, second start {AND_WINDOWS}", [cached] * n_rounds)
    measure(f"MONAI CacheDataset, any start {AND_WINDOWS}", [partial(read_cached, runs, n_window)])
    table = race_table({name: [cost.seconds for cost in found] for name, found in costs.items()})
    table["peak_mb"] = [max(cost.peak_mb for cost in found) for found in costs.values()]
    return table.drop(columns="ratio")


def growth_row(
    what: str, runs: Mapping[int, Sequence[BoldRun]], folder: Path, n_rounds: int, is_again: bool
) -> dict[str, object]:
    """Open studies of several sizes, for the first time or again; the fastest of each counts."""

    def openings(size: int) -> Iterable[None]:
        for number in itertools.repeat(0) if is_again else itertools.count():
            open_runs(runs[size], ArrayStore(folder / f"{size}-{number}", DecodedBold()))
            yield

    rivals = {str(size): partial(next, iter(openings(size))) for size in runs}
    seconds = race(rivals, n_rounds, what)["fastest"].tolist()
    sizes = list(runs)
    return {
        "what": what,
        "from": sizes[0],
        "to": sizes[-1],
        "seconds_from": seconds[0],
        "seconds_to": seconds[-1],
        "exponent": growth(sizes, seconds),
    }


def settle() -> None:
    """Wait until files just made count as left alone, see `fmnet.data.store`."""
    time.sleep(SETTLING_NS / 1e9)
