"""Differences between models over the folds that they share."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student


def compare_models(fold_aucs: pd.DataFrame) -> list[dict[str, Any]]:
    """Compare every pair of models by the corrected resampled t-test, Holm-corrected.

    Folds share training subjects, so that their differences are correlated: the variance is
    multiplied by ``1/k + n_test/n_train`` instead of ``1/k``.

    Parameters
    ----------
    fold_aucs : DataFrame
        From `fmnet.study.metrics.fold_aucs`: ``repeat, fold, n_test, n_train`` and one column a
        model.

    Returns
    -------
    list of dict
        ``one, other, difference, ci, t, df, p, p_holm``; None where one fold allows no test.

    References
    ----------
    Nadeau, C., & Bengio, Y. (2003). Inference for the generalization error. Machine Learning, 52.
    """
    models = list(fold_aucs.columns[4:])
    share = float((fold_aucs["n_test"] / fold_aucs["n_train"]).mean())
    rows: list[dict[str, Any]] = [
        {"one": one, "other": other}
        | corrected_t_test((fold_aucs[one] - fold_aucs[other]).to_numpy(float), share)
        for one, other in combinations(models, 2)
    ]
    tested = [row for row in rows if row["p"] is not None]
    for row, p in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p_holm"] = p
    return [{"p_holm": None} | row for row in rows]


def corrected_t_test(differences: np.ndarray[Any, Any], test_share: float) -> dict[str, Any]:
    """Test whether the mean of K fold-wise differences is 0.

    Parameters
    ----------
    differences : ndarray of float, shape (K,)
        One per fold and repeat.
    test_share : float
        Test over training subjects.
    """
    known = differences[np.isfinite(differences)]
    n, mean = len(known), float(known.mean()) if len(known) else 0.0
    if n < 2:
        return {"difference": mean, "ci": None, "t": None, "df": None, "p": None}
    scale = float(np.sqrt(known.var(ddof=1) * (1 / n + test_share)))
    if scale == 0:
        p = 1.0 if mean == 0 else 0.0
        return {"difference": mean, "ci": [mean, mean], "t": None, "df": n - 1, "p": p}
    half = float(student.ppf(0.975, n - 1)) * scale
    return {
        "difference": mean,
        "ci": [mean - half, mean + half],
        "t": mean / scale,
        "df": n - 1,
        "p": float(2 * student.sf(abs(mean) / scale, n - 1)),
    }


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
