"""How long permutations take: of models that share what needs no labels, and of networks."""

import logging
import tempfile
import warnings
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.race import Goal, describe_settings, growth, race_table, write_results
from benchmarks.setting import Setting
from benchmarks.usual import usual_form
from fmnet.baselines.base import Baseline, Model
from fmnet.crossval.exchange import exchange, find_cells
from fmnet.crossval.fold_loop import TrainedNetwork
from fmnet.crossval.permutation import PermutationPlan, run_permutations
from fmnet.data.folds import Fold
from fmnet.networks.backbones import NetworkBuilder
from fmnet.training.compute import Compute
from fmnet.training.fit import Trainable
from fmnet.training.scan_set import ScanSet
from fmnet.types import NETWORK, Count, Counts

#: As many permutations as p-values of 0.001 need.
MANY = 1000


@dataclass(frozen=True)
class LabelingSpeed:
    """All models of a study that are permuted, under many labelings at once and one at a time.

    Seconds are of this process alone (`time.process_time`), so that others on the machine count
    little.

    Parameters
    ----------
    setting : Setting
        The study; its network is fitted in closed form.
    baselines : dict
        Models beside the network, by name.
    n : int
        Labelings at once.
    n_single : int
        Labelings one at a time.
    n_processes : int
        Processors that the minutes are of.
    minutes : float
        Hoped for 1,000 permutations of all models.
    """

    setting: Setting = field(default_factory=Setting)
    baselines: dict[str, Baseline] = field(default_factory=dict)
    n: Count = 200
    n_single: Count = 1
    n_processes: Count = 2
    minutes: float = 10.0

    def run(self, out: Path) -> list[str]:
        """Time each model on the same labelings and folds; write a table."""
        with tempfile.TemporaryDirectory(prefix="fmnet-permute-") as place:
            data = self.setting.open(self.setting.make_maps(Path(place)), Path(place))
            table = self.race(data)
        total = table[~table["model"].str.startswith("path ")].sum(numeric_only=True)
        minutes = float(total["seconds"]) / 60 / self.n_processes
        what = f"minutes for 1,000 permutations of all models on {self.n_processes} processors"
        goals = [
            Goal(what, minutes, self.minutes, is_floor=False),
            Goal("times faster than one at a time", total["single"] / total["seconds"], 1.0),
            Goal("largest difference of a score", float(table["differ"].max()), 1e-5, False),
        ]
        return write_results(out, {"labelings": table}, goals, describe_settings(self))

    def race(self, data: ScanSet) -> pd.DataFrame:
        """Compare, for each model and path: seconds for 1,000 permutations, and the ratio."""
        folds = self.setting.pipeline(data, Compute()).build_folds(data.cohort)
        cells = find_cells(data.cohort, folds, 0)
        orders = [exchange(data.cohort, np.random.default_rng(k), cells) for k in range(self.n)]
        labelings = np.stack([order.labels for order in orders])
        rows = [
            self._time(name, model, data, folds, labelings)
            for name, model in tqdm(
                self._models(data.input_shape[0]).items(), desc="models", leave=False
            )
        ]
        return pd.DataFrame(rows)

    def _models(self, n_contrasts: int) -> dict[str, Model]:
        network: Any = self.setting.network
        models: dict[str, Model] = {NETWORK: TrainedNetwork(_closed(network), 0), **self.baselines}
        for path in getattr(network, "keywords", {}).get("paths", ()):
            if path == "contrast_products" and n_contrasts == 1:  # there is nothing to multiply
                continue
            models[f"path {path}"] = TrainedNetwork(_closed(partial(network, paths=[path])), 0)
        return models

    def _time(
        self,
        name: str,
        model: Model,
        data: ScanSet,
        folds: list[Fold],
        labelings: NDArray[np.int64],
    ) -> dict[str, Any]:
        started = process_time()
        found = [model.scores_of_labelings(data, fold, labelings) for fold in folds]
        seconds, started = (process_time() - started) / self.n, process_time()
        few = labelings[: self.n_single]
        single = [Model.scores_of_labelings(model, data, fold, few) for fold in folds]
        one = (process_time() - started) / self.n_single
        pairs = zip(found, single, strict=True)
        differ = max(
            np.abs(all_[: len(few)] - own).max() / (own.std() or 1.0)  # the dummy scores all alike
            for all_, own in pairs
        )
        at_once, alone = seconds * MANY, one * MANY
        times = {"seconds": at_once, "single": alone, "ratio": alone / at_once}
        return {"model": name, **times, "differ": float(differ)}


def _closed(network: NetworkBuilder) -> Trainable:
    return Trainable(network, max_epochs=0)


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
