"""Whether sets and intervals hold for new people, whom the final model of a study scores."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import SeedSequence
from tqdm import tqdm

from benchmarks.new_scores import (
    Floats,
    ScoredCohort,
    measure_probabilities,
    measure_sets,
    summarise_probabilities,
    summarise_sets,
)
from benchmarks.power.describe import digest
from benchmarks.power.planted import PlantedCohort
from benchmarks.race import Goal, describe_settings, write_results
from fmnet.crossval.final import FINAL
from fmnet.crossval.fold_loop import fold_seed
from fmnet.crossval.workers import map_units
from fmnet.data.files import write_atomically
from fmnet.data.folds import build_folds, build_inner_folds
from fmnet.data.template import build_grid
from fmnet.inference.preparation import PreparationSettings
from fmnet.networks.backbones import NetworkBuilder
from fmnet.synthetic.effects import Effect
from fmnet.synthetic.maps import draw_background, effect_pattern
from fmnet.training.compute import Compute, plan_compute
from fmnet.training.fit import FoldTask, Trainable, train_on_folds
from fmnet.training.trainer import CPU_TRAINER
from fmnet.types import Count, Fraction, Jobs, Seed, VoxelSize

#: Of the folds of a study: outer, and inner of each.
N_SPLITS, INNER_SPLITS = 5, 3
#: Smoothness of backgrounds, as that of synthetic cohorts.
SMOOTHNESS_MM = 8.0
#: Of all cohorts, how many may fall short of a level, for each group.
MOST_SHORT = 0.1


@dataclass(frozen=True)
class Coverage:
    """Train on many synthetic cohorts as a study does, and score new people by each final model.

    Parameters
    ----------
    build_network : callable
        Input shape to a fresh network, which needs no gradient step.
    preparation : PreparationSettings
        Of its scans.
    groups : list of pairs of int
        Positive and negative people of a cohort.
    effect_sizes : list of float
        Between-subject SDs at the planted peaks.
    n_cohorts : int
        For each pair and each size.
    n_new : int
        New people of each group for each cohort.
    levels : list of float
        Of the sets; beside them, the largest that can be promised.
    prevalences : list of float
        For which probabilities and predictive values are stated.
    voxel_size_mm : int
        Edge length.
    n_jobs : int
        Processes.
    seed : int
        Other seeds, other cohorts.
    """

    build_network: NetworkBuilder
    preparation: PreparationSettings
    groups: Sequence[Sequence[Count]] = ((35, 35), (20, 50))
    effect_sizes: Sequence[float] = (1.2,)
    n_cohorts: Count = 100
    n_new: Count = 300
    levels: Sequence[Fraction] = (0.8, 0.9)
    prevalences: Sequence[Fraction] = (0.5, 0.1)
    voxel_size_mm: VoxelSize = 12
    n_jobs: Jobs = 1
    seed: Seed = 0

    def run(self, out: Path) -> list[str]:
        """Score what `out` doesn't hold yet of cohorts of these settings; tabulate what is there.

        Scores of a cohort are kept in a file of its own, named after the settings: change the
        network's code, and they have to be removed.
        """
        units = [
            (int(n_positive), int(n_negative), float(size), number)
            for number in range(self.n_cohorts)  # so that some of everything are done first
            for n_positive, n_negative in self.groups
            for size in self.effect_sizes
        ]
        known = self.build_network, self.preparation, self.n_new, self.voxel_size_mm, self.seed
        folder = out / f"scores-{digest(*known)}"
        folder.mkdir(parents=True, exist_ok=True)
        paths = {unit: folder / f"{'-'.join(map(str, unit))}.json" for unit in units}
        missing = [unit for unit in units if not paths[unit].exists()]
        with tqdm(total=len(units), initial=len(units) - len(missing), unit="cohort") as bar:
            for unit, scores in map_units(score_cohort, self, missing, self.n_jobs):
                write_atomically(paths[unit], json.dumps(scores) + "\n")
                bar.update()
        sets, probabilities = [], []
        for unit in units:
            cohort = ScoredCohort.read(json.loads(paths[unit].read_text("utf-8")))
            told = dict(
                zip(("n_positive", "n_negative", "effect_size", "cohort"), unit, strict=True)
            )
            told["auc"] = cohort.auc
            for level in [*self.levels, 1.0]:
                sets += [told | {"asked": level} | row for row in measure_sets(cohort, level)]
            for prevalence in self.prevalences:
                rows = measure_probabilities(cohort, prevalence)
                probabilities += [told | {"prevalence": prevalence} | row for row in rows]
        tables = {
            "sets": summarise_sets(pd.DataFrame(sets)),
            "probabilities": summarise_probabilities(pd.DataFrame(probabilities)),
        }
        return write_results(out, tables, _goals(tables["sets"]), describe_settings(self))


def _goals(sets: pd.DataFrame) -> list[Goal]:
    """List whether the promise was kept, by groups, size and level."""
    goals = []
    for row in sets[sets["rule"] == "fmnet"].to_dict("records"):
        people = f"{row['n_positive']}/{row['n_negative']} people, effect {row['effect_size']:g}"
        for group in ("positive", "negative"):
            what = f"cohorts below {100 * row['level']:.3g} % of the {group} group, {people}"
            goals.append(Goal(what, row[f"short_{group}"], MOST_SHORT, is_floor=False))
    return goals


def score_cohort(suite: Coverage, unit: tuple[int, int, float, int]) -> dict[str, Any]:
    """Train the models of one cohort's folds and the final one, and score who is new to each.

    Returns
    -------
    dict
        As `ScoredCohort.read` takes it.
    """
    n_positive, n_negative, size, number = unit
    n = n_positive + n_negative
    seed = SeedSequence([suite.seed, n_positive, n_negative, round(1000 * size), number])
    counts = [n_positive, n_negative, suite.n_new, suite.n_new]
    everybody = draw_maps(suite.voxel_size_mm, np.repeat([1, 0, 1, 0], counts), size, seed)
    people = PlantedCohort(
        everybody.background[:n],
        everybody.values[:n],
        everybody.labels[:n],
        everybody.families[:n],
        everybody.effect,
        everybody.grid,
    ).cohort
    scans = everybody.prepare(suite.preparation)
    trainable = plan_compute(Trainable(suite.build_network, CPU_TRAINER, None), Compute(), scans)
    folds = build_folds(people, N_SPLITS, 1, INNER_SPLITS, number)
    tasks = [
        FoldTask(scans, fold, fold_seed(number, fold.repeat, fold.fold), "fold") for fold in folds
    ]
    final = build_inner_folds(people, INNER_SPLITS, number)
    tasks.append(FoldTask(scans, final, fold_seed(number, FINAL), "final"))
    *models, exported = train_on_folds(trainable, tasks, is_calibrated=False)
    scores, fold_of = np.zeros(n), np.zeros(n, dtype=int)
    for fold, model in zip(folds, models, strict=True):
        rows = scans.rows(fold.test)
        scores[rows], fold_of[rows] = model.scores(rows), fold.fold
    new: Floats = exported.scores(np.arange(n, n + 2 * suite.n_new)).astype(float)
    return {
        "labels": everybody.labels[:n].tolist(),
        "scores": scores.tolist(),
        "folds": fold_of.tolist(),
        "new_positive": new[: suite.n_new].tolist(),
        "new_negative": new[suite.n_new :].tolist(),
    }


def draw_maps(
    voxel_size_mm: int, labels: np.ndarray[Any, Any], size: float, seed: SeedSequence
) -> PlantedCohort:
    """Draw people of the synthetic cohorts, (N,) of 0 and 1, without files."""
    grid = build_grid(voxel_size_mm)
    children = seed.spawn(len(labels))
    backgrounds = [draw_background(grid, SMOOTHNESS_MM, 1, child) for child in children]
    background = np.stack([own[:, grid.mask] for own in backgrounds])
    effect = Effect(effect_pattern(grid)[grid.mask][None, None], size)
    values = effect.plant(background, labels).astype(np.float32)
    families = tuple(map(str, range(len(labels))))
    return PlantedCohort(background, values, labels, families, effect, grid)
