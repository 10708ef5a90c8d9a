"""How fast BOLD runs are made ready, and in how much memory, by us and by nibabel and nilearn."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarks.cleaners import agreement, clean_with_fmnet, clean_with_nilearn
from benchmarks.fresh_process import Cost, measure_alone
from benchmarks.opening import settle
from benchmarks.preprocessed_files import make_preprocessed
from benchmarks.race import Goal, race_table, write_results
from benchmarks.reading import ThreeCounts
from fmnet.bold.bids_files import PreprocessedRun
from fmnet.bold.cleaned import CleanedBold
from fmnet.bold.settings import CleaningSettings
from fmnet.data.store import ArrayStore
from fmnet.data.template import build_grid
from fmnet.types import Count, Several, VoxelSize

OURS, FEW, AGAIN, THEIRS = "fmnet", "fmnet, few runs", "fmnet, again", "nibabel and nilearn"


@dataclass(frozen=True)
class Preparing:
    """Resample, mask and clean runs, each way in fresh processes and in turns.

    Parameters
    ----------
    n_runs : int
        Of the study.
    n_files : int
        Distinct images among them; each run has its own confounds.
    n_rival_runs : int
        Of them, that nilearn is given, for it takes longer; fmnet is given the same ones as well.
    shape
        Voxels along x, y and z.
    n_volumes : int
        Of each run.
    voxel_size_mm : int
        Of the template grid.
    n_rounds : int
        How often each is timed.
    cleaning : CleaningSettings
        What is taken out.
    """

    n_runs: Several = 70
    n_files: Count = 4
    n_rival_runs: Count = 4
    shape: ThreeCounts = (64, 64, 36)
    n_volumes: Several = 200
    voxel_size_mm: VoxelSize = 4
    n_rounds: Count = 2
    cleaning: CleaningSettings = field(default_factory=CleaningSettings)

    def run(self, out: Path) -> list[str]:
        """Measure everything; tables in `out`, figures and goals in words."""
        x, y, z = self.shape
        with tempfile.TemporaryDirectory(prefix="fmnet-prepare-") as place:
            folder = Path(place)
            runs = make_preprocessed(
                folder / "runs", self.n_runs, self.n_files, (x, y, z), self.n_volumes
            )
            settle()
            costs = [self._measure(runs, folder / f"round-{k}") for k in range(self.n_rounds)]
            compared = self._compare(runs[: self.n_rival_runs], folder / "compared")
        tables = {"preparing_runs": self._table(costs), "agreement_with_nilearn": compared}
        return write_results(out, tables, self._goals(tables), asdict(self))

    @property
    def _counts(self) -> dict[str, int]:
        few = min(self.n_rival_runs, self.n_runs)
        return {OURS: self.n_runs, AGAIN: self.n_runs, FEW: few, THEIRS: few}

    def _measure(self, runs: Sequence[PreprocessedRun], folder: Path) -> dict[str, Cost]:
        """Let each prepare its runs once, from nothing; what they wrote is removed."""
        few, grid = runs[: self.n_rival_runs], build_grid(self.voxel_size_mm)
        stores = [
            ArrayStore(folder / name, CleanedBold(grid, self.cleaning)) for name in ("all", "few")
        ]
        works = {
            OURS: partial(clean_with_fmnet, runs, stores[0]),
            THEIRS: partial(clean_with_nilearn, few, grid, self.cleaning, folder / "nilearn"),
            AGAIN: partial(clean_with_fmnet, runs, stores[0]),
            FEW: partial(clean_with_fmnet, few, stores[1]),
        }
        bar = tqdm(works.items(), desc="preparing runs", unit="way", leave=False)
        costs = {name: measure_alone(work) for name, work in bar}
        shutil.rmtree(folder)
        return costs

    def _table(self, costs: Sequence[dict[str, Cost]]) -> pd.DataFrame:
        """Summarise seconds for each run, and the largest memory beyond that of the process."""
        counts = self._counts
        times = {name: [cost[name].seconds / n for cost in costs] for name, n in counts.items()}
        table = race_table(times).rename(columns={"seconds": "seconds_per_run"})
        table.insert(1, "runs", list(counts.values()))
        table["peak_mb"] = [max(cost[name].peak_mb for cost in costs) for name in counts]
        return table

    def _compare(self, runs: Sequence[PreprocessedRun], folder: Path) -> pd.DataFrame:
        store = ArrayStore(
            folder / "fmnet", CleanedBold(build_grid(self.voxel_size_mm), self.cleaning)
        )
        clean_with_nilearn(runs, store.grid, self.cleaning, folder / "nilearn")
        rows = []
        for number, run in enumerate(runs):
            theirs = np.load(folder / "nilearn" / f"{number}.npy")
            rows.append({"run": run.bold.run_id} | agreement(store.add(run), theirs))
        return pd.DataFrame(rows)

    def _goals(self, tables: dict[str, pd.DataFrame]) -> list[Goal]:
        table = tables["preparing_runs"].set_index("rival")
        seconds, peak = table["seconds_per_run"], table["peak_mb"]
        least = float(tables["agreement_with_nilearn"]["correlation_inside"].min())
        return [
            Goal("times as fast as nibabel and nilearn", seconds[THEIRS] / seconds[OURS], 5),
            Goal("share of their memory", peak[OURS] / peak[THEIRS], 0.2, False),
            Goal("seconds to prepare a run", seconds[OURS], 2, False),
            Goal("seconds for all runs again", seconds[AGAIN] * self.n_runs, 2, False),
            Goal("memory for all runs over that for few", peak[OURS] / peak[FEW], 1.2, False),
            Goal("least correlation with nilearn's values, inside", least, 0.999),
        ]
