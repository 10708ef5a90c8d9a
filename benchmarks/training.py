"""A whole cross-validation: fmnet beside MONAI and Lightning in the usual form, and nilearn."""

import logging
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarks.decoding import decode_linearly
from benchmarks.race import Goal, describe_settings, growth, race_table, write_results
from benchmarks.setting import Setting
from benchmarks.throughput import Throughput
from benchmarks.usual import usual_form
from fmnet.baselines.base import Baseline, FoldScores, score_fold
from fmnet.baselines.linear import LinearSvm
from fmnet.crossval.fold_loop import Pipeline, crossvalidate
from fmnet.crossval.workers import map_units
from fmnet.data.folds import Fold
from fmnet.training.compute import Compute
from fmnet.training.scan_set import ScanSet
from fmnet.types import Count, Counts

#: People of the smallest and the largest cohort of the growth table.
SIZES = (16, 32, 64, 128, 256)


@dataclass(frozen=True)
class TrainingSpeed:
    """How long the network's and the linear model's part of a study take.

    Parameters
    ----------
    setting : Setting
        The study.
    accelerator, precision : str
        For the usual form; fmnet's are in ``setting.trainer``.
    ways : dict
        By name, further ways to compute that are tried on the first repeat.
    n_turns : int
        Into how many parts the repeats are divided; in each, every rival has its turn.
    sizes : list of int
        Numbers of people for the growth of cost, on a coarse grid.
    throughput : Throughput
        Volumes per second of one large network.
    """

    setting: Setting = field(default_factory=Setting)
    accelerator: Literal["cpu", "gpu"] = "cpu"
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    compute: Compute = field(default_factory=lambda: Compute(n_jobs=-1))
    ways: dict[str, Compute] = field(default_factory=dict)
    n_turns: Count = 2
    sizes: Counts = SIZES
    throughput: Throughput = field(default_factory=Throughput)

    def run(self, out: Path) -> list[str]:
        """Time everything in turns; write tables and ratios."""
        logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore")
        with tempfile.TemporaryDirectory(prefix="fmnet-train-") as place:
            folder = Path(place)
            study = self._race(folder)
            ways = self._race_ways(folder)
            grown = self._grow(folder)
        tables = {
            "study": study,
            "ways_to_compute": ways,
            "growth_with_people": grown,
            "throughput": self.throughput.measure(),
        }
        ratio = dict(zip(study["rival"], study["ratio"], strict=True))
        exponent = growth(grown["people"].tolist(), grown["seconds"].tolist())
        goals = [
            Goal("network, usual form over fmnet", ratio["MONAI + Lightning"], 3.0),
            Goal("network and linear model, usual forms over fmnet", _both(study), 3.0),
            Goal("exponent of cost against people", exponent, 1.1, is_floor=False),
            *self.throughput.goals(tables["throughput"]),
        ]
        return write_results(out, tables, goals, describe_settings(self))

    def _race(self, folder: Path) -> pd.DataFrame:
        """Cross-validate in turns, from maps on disk on."""
        setting = self.setting
        listing = setting.make_maps(folder)
        started = perf_counter()
        data = setting.open(listing, folder)
        times: dict[str, list[float]] = {"fmnet": [perf_counter() - started]}
        pipeline = setting.pipeline(data, self.compute)
        usual = usual_form(setting, data, folder / "cache", self.accelerator, self.precision)
        rivals: dict[str, Callable[[list[Fold]], Any]] = {
            "fmnet": lambda folds: crossvalidate(pipeline, data, folds),
            "MONAI + Lightning": usual.crossvalidate,
            "fmnet, linear SVM": partial(_fit_linear, pipeline, data),
            "nilearn Decoder": partial(decode_linearly, data.cohort, self.compute.n_jobs),
        }
        folds = pipeline.build_folds(data.cohort)
        blocks = np.array_split(np.arange(setting.n_repeats), min(self.n_turns, setting.n_repeats))
        for block in tqdm(blocks, desc="turns", leave=False):
            own = [fold for fold in folds if fold.repeat in block]
            for name, work in rivals.items():
                started = perf_counter()
                work(own)
                times.setdefault(name, []).append(perf_counter() - started)
        totals = race_table({name: [sum(seconds)] for name, seconds in times.items()})
        return totals[["rival", "seconds", "ratio"]]

    def _race_ways(self, folder: Path) -> pd.DataFrame:
        """Compute the first repeat in each further way; only the network."""
        setting = self.setting
        data = setting.open(setting.make_maps(folder), folder)
        times: dict[str, list[float]] = {}
        for name, compute in self.ways.items():
            pipeline = setting.pipeline(data, compute)
            folds = [fold for fold in pipeline.build_folds(data.cohort) if fold.repeat == 0]
            started = perf_counter()
            crossvalidate(pipeline, data, folds)
            times[name] = [perf_counter() - started]
        return race_table(times)[["rival", "seconds", "ratio"]] if times else pd.DataFrame()

    def _grow(self, folder: Path) -> pd.DataFrame:
        """Time one repeat for more and more people, from maps on disk to scores."""
        rows = []
        for n_subjects in self.sizes:
            small = replace(
                self.setting, n_subjects=n_subjects, voxel_size_mm=8, n_repeats=1, max_epochs=3
            )
            listing = small.make_maps(folder)
            started = perf_counter()
            data = small.open(listing, folder / str(n_subjects))
            pipeline = small.pipeline(data, Compute())
            crossvalidate(pipeline, data, pipeline.build_folds(data.cohort))
            rows.append({"people": n_subjects, "seconds": perf_counter() - started})
        return pd.DataFrame(rows)


def _fit_linear(pipeline: Pipeline, data: ScanSet, folds: list[Fold]) -> list[FoldScores]:
    return [
        scores for _, scores in map_units(_fit_fold, (data, LinearSvm()), folds, pipeline.n_jobs)
    ]


def _fit_fold(shared: tuple[ScanSet, Baseline], fold: Fold) -> FoldScores:
    data, baseline = shared
    return score_fold(baseline, data, fold)


def _both(study: pd.DataFrame) -> float:
    """Seconds of the usual forms over those of fmnet, for the network and the linear model."""
    seconds = dict(zip(study["rival"], study["seconds"], strict=True))
    usual = seconds["MONAI + Lightning"] + seconds["nilearn Decoder"]
    return float(usual / (seconds["fmnet"] + seconds["fmnet, linear SVM"]))
