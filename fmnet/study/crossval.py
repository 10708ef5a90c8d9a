"""Cross-validation of the network and its baselines in the same folds."""

import numpy as np
import pandas as pd
from tqdm import tqdm

from fmnet.data.cohort import Cohort
from fmnet.data.folds import Fold, rows_of
from fmnet.data.grid import smooth_values
from fmnet.deploy.preparation import PreparationSettings
from fmnet.study.baselines.base import Baseline, BaselineData, FoldScores, score_fold
from fmnet.training.fit import Trainable
from fmnet.training.fold import SmoothedCohort, TrainedFold, train_on_fold

NETWORK = "cnn"


def smooth_cohort(cohort: Cohort, settings: PreparationSettings) -> SmoothedCohort:
    """Smooth all scans of a cohort, each by itself."""
    return SmoothedCohort(
        smooth_values(cohort.values(), cohort.grid, settings.fwhm_mm),
        cohort.labels,
        cohort.participant_ids,
        cohort.grid,
        cohort.listing.contrasts,
        settings,
    )


def fold_seed(seed: int, *path: int) -> int:
    """Derive a seed for one training, the same whatever ran before it."""
    return int(np.random.SeedSequence([seed, *path]).generate_state(1)[0])


def crossvalidate_network(
    trainable: Trainable, cohort: Cohort, smoothed: SmoothedCohort, folds: list[Fold], seed: int
) -> tuple[pd.DataFrame, list[int]]:
    """Train on each fold and score its test subjects once.

    Returns
    -------
    tuple
        Predictions, and the number of epochs that each fold chose.
    """
    tables: list[pd.DataFrame] = []
    epochs: list[int] = []
    for fold in folds:
        name = f"repeat-{fold.repeat}_fold-{fold.fold}"
        place = f"{NETWORK} {len(tables) + 1}/{len(folds)}"
        chosen = fold_seed(seed, fold.repeat, fold.fold)
        trained = train_with_progress(trainable, smoothed, fold, chosen, name, place)
        rows = smoothed.rows(fold.test)
        score = trained.scores(smoothed, rows).astype(float)
        probability = trained.calibration.probability(score)
        tables.append(_rows_table(cohort, fold, NETWORK, FoldScores(score, probability)))
        epochs.append(trained.n_epochs)
    return pd.concat(tables, ignore_index=True), epochs


def train_with_progress(
    trainable: Trainable, smoothed: SmoothedCohort, fold: Fold, seed: int, name: str, place: str
) -> TrainedFold:
    """Train on one fold with a progress bar over epochs."""
    total = (len(fold.validation) + 1) * trainable.recipe.max_epochs
    with tqdm(total=total, desc=place, unit="epoch", leave=False) as bar:
        return train_on_fold(trainable, smoothed, fold, seed, name, bar.update)


def crossvalidate_baselines(
    baselines: dict[str, Baseline], cohort: Cohort, folds: list[Fold]
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Fit each baseline on each fold and score its test subjects once.

    Returns
    -------
    tuple
        Predictions, and by name what the cohort lacks for the baselines that were passed over.
    """
    data = BaselineData(cohort)
    lacking = {name: lack for name, one in baselines.items() if (lack := one.lacks(data))}
    tables = [
        _rows_table(cohort, fold, name, score_fold(baseline, data, fold))
        for name, baseline in baselines.items()
        if name not in lacking
        for fold in tqdm(folds, desc=name, unit="fold", leave=False)
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(), lacking


def mean_scores(predictions: pd.DataFrame, model: str) -> pd.DataFrame:
    """Average a model's out-of-fold scores over repeats: one row per scan."""
    rows = predictions[predictions["model"] == model]
    return rows.groupby(["participant_id", "scan_id"], as_index=False)[["label", "score"]].mean()


def _rows_table(cohort: Cohort, fold: Fold, model: str, scores: FoldScores) -> pd.DataFrame:
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
