"""How long a permutation of the network takes, and how many make a night."""

import logging
import tempfile
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Literal

import pandas as pd
from tqdm import tqdm

from benchmarks.race import Goal, describe_settings, growth, race_table, write_results
from benchmarks.setting import Setting
from benchmarks.usual import usual_form
from fmnet.crossval.permutation import PermutationPlan, run_permutations
from fmnet.training.compute import Compute
from fmnet.training.scan_set import ScanSet
from fmnet.types import Count, Counts

#: As many permutations as p-values of 0.001 need.
MANY = 1000


@dataclass(frozen=True)
class PermutationSpeed:
    """Permutations of the network through all of its folds and inner folds.

    Parameters
    ----------
    setting : Setting
        The study.
    n : int
        Permutations, run in each way.
    ways : dict
        By name, how they are computed; the first is what the others are compared with.
    accelerator, precision : str
        For the usual form; fmnet's are in ``setting.trainer``.
    sizes : list of int
        Numbers of permutations for the growth of cost, on a coarse grid.
    minutes : float
        Hoped for 1,000 permutations in the fastest way; 0 for no goal.
    """

    setting: Setting = field(default_factory=Setting)
    n: Count = 2
    ways: dict[str, Compute] = field(default_factory=lambda: {"one process": Compute()})
    accelerator: Literal["cpu", "gpu"] = "cpu"
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    sizes: Counts = (1, 2, 4, 8, 16)
    minutes: float = 0.0

    def run(self, out: Path) -> list[str]:
        """Time each way on the same permutations; write tables and ratios."""
        logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore")
        with tempfile.TemporaryDirectory(prefix="fmnet-permute-") as place:
            ways, grown = self._race(Path(place)), self._grow(Path(place))
        exponent = growth(grown["permutations"].tolist(), grown["seconds"].tolist())
        goals = [Goal("exponent of cost against permutations", exponent, 1.1, is_floor=False)]
        if self.minutes:
            fastest = float(ways["minutes_for_1000"].min())
            goals.append(Goal("minutes for 1,000 permutations", fastest, self.minutes, False))
        tables = {"permutations": ways, "growth_with_permutations": grown}
        return write_results(out, tables, goals, describe_settings(self))

    def _race(self, folder: Path) -> pd.DataFrame:
        setting = self.setting
        data = setting.open(setting.make_maps(folder), folder)
        times = {}
        for name, compute in tqdm(self.ways.items(), desc="ways", leave=False):
            times[name] = [self._time(setting, data, compute, self.n, folder / name) / self.n]
        usual = usual_form(setting, data, folder / "cache", self.accelerator, self.precision)
        folds = setting.pipeline(data, Compute()).build_folds(data.cohort)
        started = perf_counter()
        usual.crossvalidate(folds)
        times["MONAI + Lightning"] = [perf_counter() - started]
        table = race_table(times)[["rival", "seconds", "ratio"]]
        return table.assign(minutes_for_1000=table["seconds"] * MANY / 60)

    def _grow(self, folder: Path) -> pd.DataFrame:
        small = replace(self.setting, n_subjects=24, voxel_size_mm=8, max_epochs=3)
        data = small.open(small.make_maps(folder), folder)
        rows = [
            {"permutations": n, "seconds": self._time(small, data, Compute(), n, folder / f"{n}")}
            for n in self.sizes
        ]
        return pd.DataFrame(rows)

    def _time(
        self, setting: Setting, data: ScanSet, compute: Compute, n: int, folder: Path
    ) -> float:
        pipeline = setting.pipeline(data, compute)
        plan = PermutationPlan(n, n_repeats=setting.n_repeats, models=())
        started = perf_counter()
        run_permutations(pipeline, data, plan, folder)
        return perf_counter() - started
