"""Differences between models over the folds that they share."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t as student

Floats = NDArray[np.float64]

#: Differences of AUC below this are rounding.
SMALLEST = 1e-9
#: Columns of a table of folds that are no models.
FOLD = ("repeat", "fold", "n_test", "n_train", "n_pairs")
#: What three digits can say of a p-value.
SMALLEST_P = 0.001
NOT_TESTED = {"ci": None, "t": None, "df": None, "se": None, "p": None}


def compare_models(fold_aucs: pd.DataFrame, first: str) -> list[dict[str, Any]]:
    """Compare every pair of models by the corrected resampled t-test, Holm-corrected.

    What is tested is the difference of the two AUCs that are stated, over all pairs of scans within
    test folds: the mean of the differences in the folds, each counted by its pairs. Folds share
    training subjects, so that their differences are correlated: the variance is multiplied by
    ``1/k + n_test/n_train`` instead of ``1/k`` (for 1/k the sum of squared weights, where folds
    differ in size). A model that scores everybody alike is not tested against: whether another is
    above chance is for permutations to say.

    Parameters
    ----------
    fold_aucs : DataFrame
        From `fmnet.study.metrics.fold_aucs`: ``repeat, fold, n_test, n_train, n_pairs`` and one
        column a model.
    first : str
        The model whose comparisons are the question; they are corrected among themselves as well.

    Returns
    -------
    list of dict
        ``one, other, difference, ci, t, df, se, p``; ``p_holm``, corrected for all pairs; for
        pairs with `first`, ``p_holm_first``, corrected for those. None where no test is possible.

    References
    ----------
    Nadeau, C., & Bengio, Y. (2003). Inference for the generalization error. Machine Learning, 52.
    """
    models = [name for name in fold_aucs.columns if name not in FOLD]
    n_pairs = fold_aucs["n_pairs"].to_numpy(float)
    # NaN where the test people are all there are, as in a lock-box: then there is no test.
    share = float((fold_aucs["n_test"] / fold_aucs["n_train"].replace(0, np.nan)).mean())
    constant = {name for name in models if (fold_aucs[name] == 0.5).all()}
    rows: list[dict[str, Any]] = [
        {"one": one, "other": other}
        | corrected_t_test((fold_aucs[one] - fold_aucs[other]).to_numpy(float), share, n_pairs)
        | (NOT_TESTED if constant & {one, other} else {})
        for one, other in combinations(models, 2)
    ]
    _correct(rows, "p_holm")
    _correct([row for row in rows if first in {row["one"], row["other"]}], "p_holm_first")
    return rows


def _correct(rows: list[dict[str, Any]], name: str) -> None:
    tested = [row for row in rows if row["p"] is not None]
    corrected = iter(holm([row["p"] for row in tested]))
    for row in rows:
        row[name] = None if row["p"] is None else next(corrected)


def corrected_t_test(
    differences: Floats, test_share: float, counts: Floats | None = None
) -> dict[str, Any]:
    """Test whether the mean of K fold-wise differences is 0.

    Parameters
    ----------
    differences : ndarray of float, shape (K,)
        One per fold and repeat.
    test_share : float
        Test over training subjects.
    counts : ndarray of float, shape (K,), optional
        How much each fold counts; all alike by default.
    """
    is_known = np.isfinite(differences)
    known, n = differences[is_known], int(is_known.sum())
    weights = np.ones(n) if counts is None else counts[is_known]
    weights = weights / weights.sum()
    mean, squares = float(weights @ known), float(weights @ weights)
    is_testable = n > 1 and np.isfinite(test_share)
    # unbiased where folds vary alike; where large folds vary less, too large rather than too small
    variance = weights @ (known - mean) ** 2 / (1 - squares) if is_testable else 0.0
    scale = float(np.sqrt(variance * (squares + test_share))) if is_testable else 0.0
    # Folds that all differ by the same amount, as small ones may, say nothing about its spread.
    if not scale > SMALLEST:
        is_same = n > 1 and abs(mean) < SMALLEST
        return {"difference": mean} | NOT_TESTED | ({"p": 1.0} if is_same else {})
    half = float(student.ppf(0.975, n - 1)) * scale
    return {
        "difference": mean,
        # of two AUCs, which differ by 1 at most
        "ci": [max(mean - half, -1.0), min(mean + half, 1.0)],
        "t": mean / scale,
        "df": n - 1,
        "se": scale,
        "p": float(2 * student.sf(abs(mean) / scale, n - 1)),
    }


def say_p(p: float) -> str:
    """Write a p-value, which is never 0: ``p = 0.032``, ``p < 0.001``."""
    return "p < 0.001" if p < SMALLEST_P else f"p = {p:.3f}"


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number.

    References
    ----------
    Holm, S. (1979). A simple sequentially rejective multiple test procedure. Scand. J. Stat., 6.
    """
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    raised = np.maximum.accumulate(np.asarray(p_values, dtype=float)[order] * factors)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(raised, 1.0)
    return [float(p) for p in corrected]
