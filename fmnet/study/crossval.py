"""Cross-validation of the network and its baselines in the same folds."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from tqdm import tqdm

from fmnet.data.cohort import Cohort
from fmnet.data.folds import Fold, rows_of
from fmnet.study.baselines.base import Baseline, FoldScores, score_fold
from fmnet.study.data import StudyData
from fmnet.training.fit import Trainable
from fmnet.training.fold import SmoothedCohort, TrainedFold, train_on_fold

NETWORK = "cnn"
#: Part of the seeds of trainings that differ in nothing but random numbers.
SEEDS = 4_000_000


@dataclass(frozen=True, eq=False)
class Pipeline:
    """Everything between labelled scans and out-of-fold scores, all choices included.

    Parameters
    ----------
    trainable : Trainable
        The network and how it is trained.
    baselines : dict
        By name.
    build_folds : callable
        Cohort to folds.
    seed : int
        Everything random derives from it.
    """

    trainable: Trainable
    baselines: dict[str, Baseline]
    build_folds: Callable[[Cohort], list[Fold]]
    seed: int


def fold_seed(seed: int, *path: int) -> int:
    """Derive a seed for one training, the same whatever ran before it."""
    return int(np.random.SeedSequence([seed, *path]).generate_state(1)[0])


def crossvalidate_network(
    pipeline: Pipeline, data: StudyData, folds: list[Fold], title: str = NETWORK
) -> tuple[pd.DataFrame, list[int]]:
    """Train on each fold and score its test subjects once.

    Parameters
    ----------
    pipeline, data, folds
        What is trained, on what.
    title : str
        Before the progress bars; empty for none.

    Returns
    -------
    tuple
        Predictions, and the number of epochs that each fold chose.
    """
    tables: list[pd.DataFrame] = []
    epochs: list[int] = []
    for fold in folds:
        name = f"repeat-{fold.repeat}_fold-{fold.fold}"
        place = f"{title} {len(tables) + 1}/{len(folds)}" if title else None
        seed = fold_seed(pipeline.seed, fold.repeat, fold.fold)
        trained = train_with_progress(pipeline.trainable, data.smoothed, fold, seed, name, place)
        score = trained.scores(data.smoothed.rows(fold.test)).astype(float)
        scores = FoldScores(score, trained.calibration.probability(score))
        tables.append(fold_rows(data.cohort, fold, NETWORK, scores))
        epochs.append(trained.n_epochs)
    return pd.concat(tables, ignore_index=True), epochs


def crossvalidate_seeds(
    pipeline: Pipeline, data: StudyData, folds: list[Fold], n_seeds: int
) -> pd.DataFrame:
    """Train the network again on the folds of the first repeat, with other random numbers.

    Returns
    -------
    DataFrame
        The out-of-fold table of `n_seeds` - 1 further trainings, with a column ``seed``.
    """
    first = [fold for fold in folds if fold.repeat == 0]
    quiet = replace(pipeline, trainable=replace(pipeline.trainable, build_loggers=()))
    tables = []
    numbers = range(1, n_seeds)
    for number in tqdm(numbers, desc="seeds", unit="seed", leave=False, disable=n_seeds == 1):
        other = replace(quiet, seed=fold_seed(pipeline.seed, SEEDS, number))
        table, _ = crossvalidate_network(other, data, first, title="")
        tables.append(table.assign(seed=number))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def train_with_progress(
    trainable: Trainable,
    smoothed: SmoothedCohort,
    fold: Fold,
    seed: int,
    name: str,
    place: str | None,
) -> TrainedFold:
    """Train on one fold with a progress bar over epochs, or without one."""
    total = (len(fold.validation) + 1) * trainable.recipe.max_epochs
    with tqdm(total=total, desc=place, unit="epoch", leave=False, disable=place is None) as bar:
        return train_on_fold(trainable, smoothed, fold, seed, name, bar.update)


def crossvalidate_baselines(
    pipeline: Pipeline, data: StudyData, folds: list[Fold], has_bars: bool = True
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Fit each baseline on each fold and score its test subjects once.

    Returns
    -------
    tuple
        Predictions, and by name what the cohort lacks for the baselines that were passed over.
    """
    scans, baselines = data.baseline_data, pipeline.baselines
    lacking = {name: lack for name, one in baselines.items() if (lack := one.lacks(scans))}
    tables = [
        fold_rows(data.cohort, fold, name, score_fold(baseline, scans, fold))
        for name, baseline in baselines.items()
        if name not in lacking
        for fold in tqdm(folds, desc=name, unit="fold", leave=False, disable=not has_bars)
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(), lacking


def mean_scores(predictions: pd.DataFrame, model: str) -> pd.DataFrame:
    """Average a model's out-of-fold scores over repeats: one row per scan."""
    rows = predictions[predictions["model"] == model]
    return rows.groupby(["participant_id", "scan_id"], as_index=False)[["label", "score"]].mean()


def fold_rows(cohort: Cohort, fold: Fold, model: str, scores: FoldScores) -> pd.DataFrame:
    """List what a model says about a test fold: one row per scan of the out-of-fold table."""
    rows = rows_of(fold.test, cohort.participant_ids)
    return pd.DataFrame(
        {
            "participant_id": [cohort.participant_ids[row] for row in rows],
            "scan_id": [cohort.scans[row].scan_id for row in rows],
            "repeat": fold.repeat,
            "fold": fold.fold,
            "model": model,
            "label": cohort.labels[rows],
            "score": scores.score,
            "probability": scores.probability,
        }
    )
