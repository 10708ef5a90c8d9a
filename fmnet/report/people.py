"""Tabulate people by the out-of-fold scores of one model: calls, mistakes, and who stands out."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnet.evaluation.metrics import BASE_RATE

#: Robust standard deviations from the median of their group that scores stand out by
#: (Iglewicz and Hoaglin 1993).
FAR = 3.5
#: So many scans a group needs for its spread to be known at all.
LEAST = 8
#: The median absolute deviation of a normal variable times this is its standard deviation.
MAD_TO_SD = 1.4826
#: How many misjudged scans are named, and how many scans a page lists.
MISJUDGED, LISTED = 10, 1000


@dataclass(frozen=True, eq=False)
class Calls:
    """Whom a model calls positive, out of fold.

    Parameters
    ----------
    counts : NDArray
        Scans, the mean over repeats: shape (2, 2), rows by group and columns by call, the positive
        class first.
    n_repeats : int
        Drawings of the folds.
    """

    counts: NDArray[np.float64]
    n_repeats: int

    @property
    def fractions(self) -> NDArray[np.float64]:
        """Fractions of each group: shape (2, 2), NaN for a group without scans."""
        sums = self.counts.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):
            return np.asarray(self.counts / sums)


def count_calls(predictions: pd.DataFrame, model: str) -> Calls:
    """Count the calls of a model by group: the confusion matrix, mean over repeats."""
    rows = predictions[predictions["model"] == model]
    is_positive = (rows["label"] == 1).to_numpy()
    is_called = (rows["probability"] > BASE_RATE).to_numpy()
    n_repeats = max(rows["repeat"].nunique(), 1)
    counts = [
        [np.sum(group & called) / n_repeats for called in (is_called, ~is_called)]
        for group in (is_positive, ~is_positive)
    ]
    return Calls(np.array(counts, dtype=float), n_repeats)


def people_table(predictions: pd.DataFrame, model: str) -> pd.DataFrame:
    """Tabulate all scans with what a model makes of them out of fold, in the order of their names.

    Returns
    -------
    DataFrame
        ``participant_id, scan_id, label``; ``score`` and ``probability``, means over repeats;
        ``called`` (0 or 1), by that probability; ``folds``, of each repeat, as text; ``wrong``, the
        fraction of repeats with a wrong call; ``distance``, of the score from the median of the
        group in robust standard deviations, NaN where that can't be told; ``is_far``.
    """
    rows = predictions[predictions["model"] == model].sort_values("repeat", kind="stable")
    wrong = (rows["probability"] > BASE_RATE) != (rows["label"] == 1)
    by_scan = rows.assign(wrong=wrong).groupby(["participant_id", "scan_id"])
    table = by_scan[["label", "score", "probability", "wrong"]].mean()
    table["folds"] = by_scan["fold"].agg(lambda folds: " ".join(map(str, folds)))
    table = table.reset_index().astype({"label": int})
    table["called"] = (table["probability"] > BASE_RATE).astype(int)
    table["distance"] = table.groupby("label")["score"].transform(robust_distances)
    return table.assign(is_far=table["distance"].abs() > FAR)


def robust_distances(scores: pd.Series) -> pd.Series:
    """Measure how far scores lie from their median, in robust standard deviations.

    These are 1.4826 times the median absolute deviation; NaN for fewer than eight scores, or if
    half of them are alike.
    """
    away = scores - scores.median()
    spread = MAD_TO_SD * away.abs().median()
    if len(scores) < LEAST or not spread > 0:
        return pd.Series(np.nan, index=scores.index)
    return away / spread


def listed_people(table: pd.DataFrame) -> pd.DataFrame:
    """Keep as many scans as a page lists: those that stand out or are misjudged before others."""
    if len(table) <= LISTED:
        return table
    first = table.assign(wrong=table["wrong"].round(6)).sort_values(
        ["is_far", "wrong"], ascending=False, kind="stable"
    )
    return table.loc[np.sort(first.index[:LISTED])]


def misjudged(table: pd.DataFrame) -> pd.DataFrame:
    """Choose the scans that were put on the wrong side in most repeats, the surest first.

    At most ten of `people_table`.
    """
    wrong = table[table["wrong"] > 0.5]
    errors = (wrong["probability"] - wrong["label"]).abs()
    return wrong.loc[errors.sort_values(ascending=False, kind="stable").index].head(MISJUDGED)
