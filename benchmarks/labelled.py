"""Networks and linear models on real maps with labels, in the same folds."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from tqdm import tqdm

from benchmarks.power.checks import (
    baseline_faults,
    chosen_models,
    linear_names,
    model_name_faults,
    preparation_faults,
    unknown_names,
)
from benchmarks.power.contender import BaselineRacer, Contender, LabelledRacer, NetworkRacer
from benchmarks.power.describe import describe
from benchmarks.power.summary import CLOSED_FORM, DEFAULT, LINEAR
from benchmarks.race import Goal, write_results
from fmnet.baselines.base import Baseline
from fmnet.data.cohort import Cohort, open_cohort
from fmnet.data.folds import build_folds
from fmnet.data.image_table import read_image_table
from fmnet.data.scans import MapsOnGrid
from fmnet.data.store import ArrayStore
from fmnet.data.tables import write_table
from fmnet.data.template import build_grid
from fmnet.data.volume import FloatArray
from fmnet.errors import ConfigError
from fmnet.evaluation.comparison import best_rival, comparison_of
from fmnet.evaluation.evaluate import study_metrics
from fmnet.inference.preparation import PreparationSettings
from fmnet.training.compute import Compute
from fmnet.training.scan_set import MapScans, ScanSet
from fmnet.training.trainer import CPU_TRAINER, TrainerBuilder
from fmnet.types import Count, Jobs, Seed, Several, VoxelSize


@dataclass(frozen=True, eq=False)
class LabelledMaps:
    """Maps of a cohort, (N, C, V), with NaN where missing; `seed` is that of trainings."""

    cohort: Cohort
    values: FloatArray
    seed: int

    def prepare(self, settings: PreparationSettings) -> ScanSet:
        """Smooth the maps for a model."""
        return MapScans(self.cohort, self.values, settings)


@dataclass(frozen=True)
class LabelledBenchmark:
    """Tell two labels apart in real maps, split by person.

    Parameters
    ----------
    contenders : dict
        By name, networks; ``default`` is the one that the goal is about.
    baselines : dict
        By name; a linear one among them.
    images : Path
        Table, see `fmnet.data.image_table.read_image_table`.
    label, positive, negative
        Column to predict and its two values.
    space : str
        Of the maps.
    voxel_size_mm : int
        Of the template grid.
    n_splits, n_repeats, inner_splits, seed
        See `fmnet.data.folds.build_folds`.
    only : list of str or None
        Which of them race, ``linear`` for all linear baselines; all of them if None.
    trainer : callable
        See `fmnet.training.trainer.TrainerBuilder`.
    n_jobs, n_stacked
        See `fmnet.training.compute.Compute`.

    Raises
    ------
    ConfigError
        With all that is wrong with names and preparations.
    """

    contenders: dict[str, Contender]
    baselines: dict[str, Baseline]
    images: str | Path
    label: str = "group"
    positive: str | int = "FM"
    negative: str | int | None = None
    space: str = "MNI152"
    voxel_size_mm: VoxelSize = 4
    n_splits: Several = 5
    n_repeats: Count = 10
    inner_splits: Several = 3
    only: Sequence[str] | None = None
    trainer: TrainerBuilder = CPU_TRAINER
    n_jobs: Jobs = 1
    n_stacked: Count | Literal["auto"] = "auto"
    seed: Seed = 0

    def __post_init__(self) -> None:
        models = [*self.contenders, *self.baselines]
        faults = [
            *unknown_names("suite.only", self.only or (), [*models, LINEAR]),
            *model_name_faults([LINEAR, *models]),
            *baseline_faults(self.baselines),
            *preparation_faults(self.contenders, self.voxel_size_mm),
        ]
        if faults:
            raise ConfigError(faults)

    def run(self, out: Path) -> list[str]:
        """Write out-of-fold scores, the models' AUCs and differences; return them in words."""
        maps = self._read()
        folds = build_folds(
            maps.cohort, self.n_splits, self.n_repeats, self.inner_splits, self.seed
        )
        tables = []
        for name, racer in tqdm(self._racers().items(), desc="models", unit="model"):
            scored = racer.predict(maps, folds).assign(model=name)
            # no probability is reported, so that none is learned
            tables.append(scored.assign(probability=0.5))
        predictions = pd.concat(tables, ignore_index=True)
        out.mkdir(parents=True, exist_ok=True)
        write_table(predictions.drop(columns="probability"), out / "predictions.tsv")
        metrics = study_metrics(predictions, self.seed)
        models = tabulate(metrics)
        found = compare(metrics, linear_names(self.baselines))
        named = {"models": models} | ({"differences": found} if len(found) else {})
        goals = [
            Goal(f"AUC of {DEFAULT} less that of {row['rival']}", row["difference"], 0.0)
            for row in found.to_dict("records")
            if row["model"] == DEFAULT and row["is_best_linear"]
        ]
        return write_results(out, named, goals, describe(self))

    def _read(self) -> LabelledMaps:
        listing = read_image_table(
            self.images,
            label=self.label,
            positive=self.positive,
            negative=self.negative,
            space=self.space,
        )
        with tempfile.TemporaryDirectory(prefix="fmnet-labelled-") as folder:
            grid = build_grid(self.voxel_size_mm)
            cohort = open_cohort(listing, ArrayStore(Path(folder), MapsOnGrid(grid)), self.n_jobs)
            return LabelledMaps(cohort, cohort.values(), self.seed)

    def _racers(self) -> dict[str, LabelledRacer]:
        compute = Compute(n_jobs=self.n_jobs, n_stacked=self.n_stacked)
        return {
            name: BaselineRacer(self.baselines[name])
            if name in self.baselines
            else NetworkRacer(self.contenders[name], self.trainer, compute)
            for name in chosen_models(self.only, self.contenders, self.baselines)
        }


def tabulate(metrics: dict[str, Any]) -> pd.DataFrame:
    """List the models' AUCs with their 95 % intervals over people."""
    rows = [
        {"model": name, "auc": one["auc"], "low": one["auc_ci"][0], "high": one["auc_ci"][1]}
        for name, one in metrics["models"].items()
    ]
    return pd.DataFrame(rows)


def compare(metrics: dict[str, Any], linear: Sequence[str]) -> pd.DataFrame:
    """List the differences of networks to linear baselines and to the closed form.

    Intervals allow for folds that share people, see
    `fmnet.evaluation.comparison.corrected_t_test`. The best linear baseline is the one with the
    largest AUC in these same folds, which favours it.
    """
    models = list(metrics["models"])
    best = best_rival(metrics["models"], {name: "linear" for name in linear})
    rows = []
    for model in (name for name in models if name not in linear):
        for rival in (name for name in models if name in {CLOSED_FORM, *linear} - {model}):
            found = comparison_of(metrics, model, rival)
            if found is None:
                continue
            sign = 1 if found["one"] == model else -1
            ends = sorted(sign * end for end in found["ci"]) if found["ci"] else [None, None]
            step = {"difference": sign * found["difference"], "low": ends[0], "high": ends[1]}
            of = {"model": model, "rival": rival}
            rows.append({**of, **step, "p": found["p"], "is_best_linear": rival == best})
    return pd.DataFrame(rows)
