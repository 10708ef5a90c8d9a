"""Differences between models over the folds that they share."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t as student

from fmnet.evaluation.intervals import training_share

Floats = NDArray[np.float64]

#: Differences of AUC below this are rounding.
SMALLEST = 1e-9
#: Columns of a table of folds that are no models.
FOLD = ("repeat", "fold", "n_test", "n_train", "n_pairs")
NOT_TESTED = {"ci": None, "t": None, "df": None, "se": None, "p": None}


def compare_models(fold_aucs: pd.DataFrame, first: str) -> list[dict[str, Any]]:
    """Compare every pair of models by the corrected resampled t-test, Holm-corrected.

    What is tested is the difference of the two AUCs that are stated, over all pairs of scans within
    test folds: the mean of the differences in the folds, each counted by its pairs. See
    `corrected_t_test`. A model that scores everybody alike is not tested against: whether another
    is above chance is for permutations to say.

    Parameters
    ----------
    fold_aucs : DataFrame
        From `fold_aucs`: ``repeat, fold, n_test, n_train, n_pairs`` and one column a model.
    first : str
        The model whose comparisons are the question; they are corrected among themselves as well.

    Returns
    -------
    list of dict
        ``one, other, difference, ci, t, df, se, p``; ``p_holm``, corrected for all pairs; for
        pairs with `first`, ``p_holm_first``, corrected for those. None where no test is possible.
    """
    models = [name for name in fold_aucs.columns if name not in FOLD]
    n_pairs = fold_aucs["n_pairs"].to_numpy(float)
    # NaN where the test people are all there are, as in a lock-box: then there is no test.
    share = float((fold_aucs["n_test"] / fold_aucs["n_train"].replace(0, np.nan)).mean())
    repeats = fold_aucs["repeat"].to_numpy()
    aucs = {name: float(np.average(fold_aucs[name], weights=n_pairs)) for name in models}
    constant = {name for name in models if (fold_aucs[name] == 0.5).all()}
    rows: list[dict[str, Any]] = [
        {"one": one, "other": other}
        | corrected_t_test(
            (fold_aucs[one] - fold_aucs[other]).to_numpy(float),
            share,
            n_pairs,
            repeats,
            (aucs[one] + aucs[other]) / 2,
        )
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
    differences: Floats,
    test_share: float,
    counts: Floats | None = None,
    repeats: NDArray[Any] | None = None,
    auc: float = 0.5,
) -> dict[str, Any]:
    """Test whether the mean of fold-wise differences of two AUCs is 0.

    Folds share training subjects, so that their differences are correlated. Nadeau and Bengio
    multiply the variance over folds by ``1/K + n_test/n_train`` instead of ``1/K``. They have
    random splits in mind: over the folds of ten repeats, with K - 1 degrees of freedom, 11 % of
    equal models without an effect differ at 5 %. Here the variance is that over the k folds of a
    repeat, mean over the R repeats, times

        (1/k) (1 + 1/R) / 2 + n_test/n_train * training_share(auc)

    A second deal of the folds is worth half a new one at best, which the first term has; the second
    falls with the AUC, since models that are nearly perfect owe little to their training people,
    see `fmnet.evaluation.intervals.training_share`. Two folds of different repeats share 1/k of
    their people, so that R repeats are worth ``R / (1 + (R - 1) / k)`` independent ones: times
    k - 1, these are the degrees of freedom. With one repeat and no effect this is the test as
    published, and where repeats have a single fold each, that published for random splits.

    Parameters
    ----------
    differences : ndarray of float, shape (K,)
        One per fold and repeat.
    test_share : float
        Test over training subjects.
    counts : ndarray of float, shape (K,), optional
        How much each fold counts; all alike by default. For 1/k stands the sum of squared weights.
    repeats : ndarray, shape (K,), optional
        Which repeat each fold belongs to; all to one by default.
    auc : float
        Mean AUC of the two models.

    References
    ----------
    Nadeau, C., & Bengio, Y. (2003). Inference for the generalization error. Machine Learning, 52.
    Bouckaert, R. R., & Frank, E. (2004). Evaluating the replicability of significance tests for
    comparing learning algorithms. PAKDD.
    """
    is_known = np.isfinite(differences)
    known = differences[is_known]
    n = len(known)
    weights = np.ones(n) if counts is None else counts[is_known]
    weights = weights / weights.sum()
    mean = float(weights @ known)
    deals = np.zeros(n) if repeats is None else repeats[is_known]
    if len(np.unique(deals)) == n:
        deals = np.zeros(n)
    rows = [np.flatnonzero(deals == deal) for deal in np.unique(deals)]
    rows = [own for own in rows if len(own) > 1]
    is_testable = len(rows) > 0 and np.isfinite(test_share)
    scale, df = 0.0, 0.0
    if is_testable:
        variances, squares = zip(
            *(_spread(known[own], weights[own] / weights[own].sum()) for own in rows), strict=True
        )
        k, n_repeats = float(np.mean([len(own) for own in rows])), len(rows)
        factor = np.mean(squares) * (1 + 1 / n_repeats) / 2 + test_share * training_share(auc)
        scale = float(np.sqrt(np.mean(variances) * factor))
        df = (k - 1) * n_repeats / (1 + (n_repeats - 1) / k)
    # Folds that all differ by the same amount, as small ones may, say nothing about its spread.
    if not scale > SMALLEST:
        is_same = n > 1 and abs(mean) < SMALLEST
        return {"difference": mean} | NOT_TESTED | ({"p": 1.0} if is_same else {})
    half = float(student.ppf(0.975, df)) * scale
    return {
        "difference": mean,
        # of two AUCs, which differ by 1 at most
        "ci": [max(mean - half, -1.0), min(mean + half, 1.0)],
        "t": mean / scale,
        "df": df,
        "se": scale,
        "p": float(2 * student.sf(abs(mean) / scale, df)),
    }


def _spread(differences: Floats, weights: Floats) -> tuple[float, float]:
    """Variance over the folds of a repeat, and the sum of their squared weights.

    Unbiased where folds vary alike; where large folds vary less, too large rather than too small.
    """
    squares = float(weights @ weights)
    variance = weights @ (differences - weights @ differences) ** 2 / (1 - squares)
    return float(variance), squares


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
