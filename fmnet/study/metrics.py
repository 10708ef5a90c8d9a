"""Figures from out-of-fold scores, with intervals over subjects."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PairCounts:
    """For each pair of scans, how often they stood in one test fold and which scored higher.

    Scores are compared only within a fold: networks of different folds have no common scale, and
    pooling them biases the AUC (a constant predictor would fall below 0.5).

    Parameters
    ----------
    won, met : ndarray of float, shape (N, N)
        Positive scan in the row, negative in the column; a tie counts one half.
    units : ndarray of int, shape (N,)
        Number of the subject that each scan belongs to.
    """

    won: Floats
    met: Floats
    units: NDArray[np.intp]

    def auc(self, weights: Floats) -> float:
        """AUC with scan weights, (N,)."""
        return float((weights @ self.won @ weights) / (weights @ self.met @ weights))


def count_pairs(predictions: pd.DataFrame) -> PairCounts:
    """Compare the scans of each test fold; `predictions` holds one model."""
    scans = pd.Index(sorted(predictions["scan_id"].unique()))
    people = predictions.drop_duplicates("scan_id").set_index("scan_id")["participant_id"]
    won, met = np.zeros((2, len(scans), len(scans)))
    for _, fold in predictions.groupby(["repeat", "fold"]):
        rows = scans.get_indexer(fold["scan_id"])
        label, score = fold["label"].to_numpy(int), fold["score"].to_numpy(float)
        positive, negative = label == 1, label == 0
        higher = np.sign(score[positive][:, None] - score[negative][None]) / 2 + 0.5
        cells = np.ix_(rows[positive], rows[negative])
        won[cells] += higher
        met[cells] += 1
    return PairCounts(won, met, pd.factorize(people.loc[scans])[0])


def bootstrap_auc(pairs: PairCounts, n_draws: int, seed: int) -> Floats:
    """Draw subjects with replacement, all their scans together: (n_draws,) AUCs."""
    rng = np.random.default_rng(seed)
    n_units = int(pairs.units.max()) + 1
    draws = rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=n_draws)
    weights = draws[:, pairs.units].astype(float)
    usable = [row for row in weights if row @ pairs.met @ row > 0]
    return np.array([pairs.auc(row) for row in usable])


def rates(predictions: pd.DataFrame) -> dict[str, float]:
    """Sensitivity, specificity and balanced accuracy with the threshold at score 0."""
    called = predictions["score"] > 0
    is_positive = predictions["label"] == 1
    sensitivity = float(called[is_positive].mean())
    specificity = float((~called[~is_positive]).mean())
    return {
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "sensitivity": sensitivity,
        "specificity": specificity,
    }


def model_metrics(
    predictions: pd.DataFrame, n_draws: int = 2000, seed: int = 0
) -> dict[str, object]:
    """Figures of one model.

    Parameters
    ----------
    predictions : DataFrame
        Out-of-fold scores of one model: repeat, fold, participant_id, scan_id, label, score.
    n_draws : int
        Bootstrap draws for the interval.
    seed : int
        Of the draws.

    Returns
    -------
    dict
        ``auc``, mean over all pairs within test folds; ``auc_ci``, its 95 % percentile interval
        over subjects; ``auc_by_repeat``; and `rates`.
    """
    pairs = count_pairs(predictions)
    interval = np.quantile(bootstrap_auc(pairs, n_draws, seed), [0.025, 0.975])
    by_repeat = [count_pairs(rows) for _, rows in predictions.groupby("repeat")]
    return {
        "auc": pairs.auc(np.ones(len(pairs.units))),
        "auc_ci": [float(limit) for limit in interval],
        "auc_by_repeat": [pairs.auc(np.ones(len(pairs.units))) for pairs in by_repeat],
        **rates(predictions),
    }


def study_metrics(predictions: pd.DataFrame, seed: int) -> dict[str, object]:
    """Figures of every model in a predictions table, under ``models.<name>``."""
    models = {
        str(name): model_metrics(rows, seed=seed)
        for name, rows in predictions.groupby("model", sort=False)
    }
    first = predictions[predictions["model"] == predictions["model"].iloc[0]]
    scans = first.drop_duplicates("scan_id")
    return {
        "n_subjects": int(first["participant_id"].nunique()),
        "n_scans": len(scans),
        "n_positive": int(scans["label"].sum()),
        "models": models,
    }
