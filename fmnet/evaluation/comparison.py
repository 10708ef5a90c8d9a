"""Test models against one another and against shuffled labels, and correct a choice of one."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from fmnet.evaluation.metrics import (
    FOLD,
    auc_interval,
    count_pairs,
    draw_weights,
    training_variance,
)
from fmnet.types import ModelKind

Floats = NDArray[np.float64]

#: Differences of AUC below this are rounding: AUCs that differ by less are equal.
SMALLEST = 1e-9
NOT_TESTED = {"ci": None, "t": None, "df": None, "se": None, "p": None}
#: Bootstrap draws: other draws change the figure by some 0.005 at 24 subjects, less at more.
N_DRAWS = 5000
#: Kinds of models that the network has to be better than to be worth its effort.
RIVALS = ("linear", "connectivity")
#: Kinds of networks.
NETWORKS = ("gradient", "pretrained", "closed form")


def compare_models(
    fold_aucs: pd.DataFrame, first: str, further: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Compare every pair of models by the corrected resampled t-test, Holm-corrected.

    What is tested is the difference of the two AUCs that are stated, over all pairs of scans within
    test folds: the mean of the differences in the folds, each counted by its pairs. See
    `corrected_t_test`. A model that scores everybody alike is not tested against: whether another
    is above chance is for permutations to say.

    `fold_aucs` is the table of that name. The comparisons of the model `first` are the question,
    and are corrected among themselves as well; so are those of all `further` models with a question
    of their own, together, so that few of many such models are told apart by luck.

    Returns
    -------
    list of dict
        ``one, other, difference, ci, t, df, se, p``; ``p_holm``, corrected for all pairs; for
        pairs with `first`, ``p_holm_first``, corrected for those; for pairs with any of `further`,
        ``p_holm_further``. None where no test is possible.
    """
    models = [name for name in fold_aucs.columns if name not in FOLD]
    n_pairs = fold_aucs["n_pairs"].to_numpy(float)
    # NaN where the test subjects are all there are, as in a lock-box: then there is no test.
    ratio = float((fold_aucs["n_test"] / fold_aucs["n_train"].replace(0, np.nan)).mean())
    repeats = fold_aucs["repeat"].to_numpy()
    aucs = {name: float(np.average(fold_aucs[name], weights=n_pairs)) for name in models}
    constant = {name for name in models if (fold_aucs[name] == 0.5).all()}
    rows: list[dict[str, Any]] = [
        {"one": one, "other": other}
        | corrected_t_test(
            (fold_aucs[one] - fold_aucs[other]).to_numpy(float),
            ratio,
            n_pairs,
            repeats,
            (aucs[one] + aucs[other]) / 2,
        )
        | (NOT_TESTED if constant & {one, other} else {})
        for one, other in combinations(models, 2)
    ]
    of_first, of_further = (
        [row for row in rows if {*asked} & {row["one"], row["other"]}]
        for asked in ((first,), further)
    )
    families = {"p_holm": rows, "p_holm_first": of_first, "p_holm_further": of_further}
    for name, family in families.items():
        corrected = iter(holm([row["p"] for row in family if row["p"] is not None]))
        for row in family:
            row[name] = None if row["p"] is None else next(corrected)
    return rows


def corrected_t_test(
    differences: Floats,
    test_ratio: float,
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

        (1/k) (1 + 1/R) / 2 + n_test/n_train * training_variance(auc)

    A second deal of the folds is worth half a new one at best, which the first term has; the second
    falls with the AUC, since models that are nearly perfect owe little to whom they learned from,
    see `training_variance`. Two folds of different repeats share 1/k of their subjects, so that R
    repeats are worth ``R / (1 + (R - 1) / k)`` independent ones: times k - 1, these are the
    degrees of freedom. With one repeat and no effect this is the test as published, and where
    repeats have a single fold each, that published for random splits.

    Parameters
    ----------
    differences : ndarray of float, shape (K,)
        One per fold and repeat.
    test_ratio : float
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
    is_testable = len(rows) > 0 and np.isfinite(test_ratio)
    scale, df = 0.0, 0.0
    if is_testable:
        variances: list[float] = []
        squares: list[float] = []
        for own in rows:  # unbiased where folds vary alike, else too large rather than too small
            fold_weights = weights[own] / weights[own].sum()
            squares.append(float(fold_weights @ fold_weights))
            deviations = known[own] - fold_weights @ known[own]
            variances.append(float(fold_weights @ deviations**2 / (1 - squares[-1])))
        k, n_repeats = float(np.mean([len(own) for own in rows])), len(rows)
        factor = np.mean(squares) * (1 + 1 / n_repeats) / 2 + test_ratio * training_variance(auc)
        scale = float(np.sqrt(np.mean(variances) * factor))
        df = (k - 1) * n_repeats / (1 + (n_repeats - 1) / k)
    # Folds that all differ by the same amount, as small ones may, say nothing about how it varies.
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


def best_rival(models: Mapping[str, Any], kinds: Mapping[str, ModelKind]) -> str:
    """Name the model of the kinds `RIVALS` with the largest AUC; empty if there is none."""
    rivals = {name: one["auc"] for name, one in models.items() if kinds.get(name) in RIVALS}
    return max(rivals, key=lambda name: rivals[name]) if rivals else ""


def networks_among(kinds: Mapping[str, ModelKind]) -> list[str]:
    """Name the models that are networks, trained by gradients or fitted in closed form."""
    return [name for name, kind in kinds.items() if kind in NETWORKS]


def comparison_of(metrics: Mapping[str, Any], one: str, other: str) -> Mapping[str, Any] | None:
    """Find the comparison of two models; None if there is none."""
    rows = metrics.get("comparisons", [])
    return next((row for row in rows if {row["one"], row["other"]} == {one, other}), None)


def study_aucs(predictions: pd.DataFrame, n_repeats: int) -> dict[str, float]:
    """AUC of each model over the first repeats, pairs within test folds."""
    rows = predictions[predictions["repeat"] < n_repeats]
    return {str(name): count_pairs(table).plain_auc() for name, table in rows.groupby("model")}


def summarise_permutations(
    null: pd.DataFrame,
    predictions: pd.DataFrame,
    n_repeats: int,
    stop_after: int = 0,
    n_planned: int | None = None,
) -> dict[str, Any]:
    """Compare the AUC of each model with its own null, see `summarise_null`."""
    observed = study_aucs(predictions, n_repeats)
    return summarise_null(null, observed, n_repeats, stop_after, n_planned)


def summarise_null(
    null: pd.DataFrame,
    observed: Mapping[str, float],
    n_repeats: int,
    stop_after: int = 0,
    n_planned: int | None = None,
) -> dict[str, Any]:
    """Compare what was observed of each model with its own null, see `p_value`.

    `null` has one row per permutation and one column per model; what was `observed` is over the
    `n_repeats` first repeats of the out-of-fold table, as many as each permutation had.
    `n_planned` permutations were to be run, unless `stop_after` ended them.

    References
    ----------
    Phipson, B., & Smyth, G. K. (2010). Permutation p-values should never be zero.
    """
    models = {
        name: {
            "observed": value,
            "p": p_value(null[name], value, stop_after),
            "null": null[name].tolist(),
        }
        for name, value in observed.items()
        if name in null
    }
    planned = len(null) if n_planned is None else n_planned
    found = {"n": len(null), "n_planned": planned, "stop_after": stop_after}
    return found | {"n_repeats": n_repeats, "models": models}


def p_value(null: ArrayLike, observed: float, stop_after: int = 0) -> float:
    """Compute the fraction of AUCs, the observed one among them, as large as it; ties count.

    With `stop_after`, the p-value of a test that stops at the permutation which is the so many-th
    to reach the AUC observed: ``h / l`` after ``l`` permutations, and as without where fewer do.
    It is as valid, and the same whether or not more permutations were run after that.

    References
    ----------
    Besag, J., & Clifford, P. (1991). Sequential Monte Carlo p-values. Biometrika, 78.
    """
    reached = _reached(null, observed)
    if stop_after and reached.sum() >= stop_after:
        return stop_after / int(np.flatnonzero(reached)[stop_after - 1] + 1)
    return (int(reached.sum()) + 1) / (len(reached) + 1)


def count_reached(null: ArrayLike, observed: float) -> int:
    """Count the AUCs under the null that are as large as the one observed."""
    return int(_reached(null, observed).sum())


def _reached(null: ArrayLike, observed: float) -> NDArray[np.bool_]:
    return np.asarray(~(np.asarray(null, dtype=float) < observed - SMALLEST))


def pooled_aucs(
    scores: Sequence[NDArray[np.float64]], labels: Sequence[NDArray[np.int64]]
) -> NDArray[np.float64]:
    """AUC over pairs of scans within test folds, as `study_aucs`, under each of L labelings: (L,).

    Scores and labels, 0 or 1, have one array for each fold, (L, N_test).
    """
    won, met = np.zeros((2, len(scores[0])))
    for own, label in zip(scores, labels, strict=True):
        higher = np.sign(own[:, :, None] - own[:, None]) / 2 + 0.5
        pair = (label[:, :, None] == 1) & (label[:, None] == 0)
        won += (higher * pair).sum(axis=(1, 2))
        met += pair.sum(axis=(1, 2))
    return np.asarray(won / met)


def summarise_choice(
    models: Mapping[str, Mapping[str, Any]], among: Sequence[str], stop_after: int = 0
) -> dict[str, Any] | None:
    """Compare the largest AUC of several models with the largest in each permutation.

    Whichever of the models is looked at, its AUC against this null gives a p-value that holds
    although it was chosen among them. None where one of them was not permuted.

    References
    ----------
    Westfall, P. H., & Young, S. S. (1993). Resampling-based multiple testing (the single-step
    maximum).
    """
    if not set(among) <= set(models):
        return None
    null = np.max([models[name]["null"] for name in among], axis=0)
    observed = max(float(models[name]["observed"]) for name in among)
    return {
        "among": list(among),
        "observed": observed,
        "p": p_value(null, observed, stop_after),
        "null": null.tolist(),
    }


def chosen_auc(
    predictions: pd.DataFrame, among: Sequence[str], figures: dict[str, Any], seed: int
) -> dict[str, Any]:
    """Correct the AUC of the best of several models for its having been chosen by that AUC.

    Models that could have been chosen are `among`, of equals the first named is; `figures` are
    those of the one that was: ``auc``, ``auc_ci`` and ``auc_logit_se``.

    Returns
    -------
    dict
        ``auc_corrected`` and ``auc_corrected_ci``; the AUC itself where there was no choice.
    """
    corrected, interval = figures["auc"], figures["auc_ci"]
    if len(among) > 1:
        # a choice can't have made the figure smaller
        corrected = float(np.fmin(corrected, bootstrap_corrected_auc(predictions, among, seed)))
        counts = count_pairs(predictions[predictions["model"] == among[0]]).n_units()
        low, high = auc_interval(corrected, figures["auc_logit_se"], *counts)
        if low is not None and interval[0] is not None:
            # that of an AUC of 1 is widened, which the corrected one, being below 1, would undo
            low = min(low, interval[0])
        interval = [low, high]
    return {"auc_corrected": corrected, "auc_corrected_ci": list(interval)}


def bootstrap_corrected_auc(
    predictions: pd.DataFrame, among: Sequence[str], seed: int, n_draws: int = N_DRAWS
) -> float:
    """Let the bootstrap choose the best model of each draw, and judge it by those not drawn.

    Subjects (families) are drawn with replacement; the model with the largest AUC among those drawn
    is judged by its AUC among the others, and the mean over draws is taken. No model is fitted
    again. What is drawn and what is left vary against each other around what was observed, which
    undoes the luck of the choice on average, however alike the models are. ``suite=validity``
    measures how far the figure is from the AUC in new subjects. Draws in which no pair of scans is
    left on one of the two sides are dropped; NaN if all are.

    References
    ----------
    Tsamardinos, I., Greasidou, E., & Borboudakis, G. (2018). Bootstrapping the out-of-sample
    predictions for efficient and accurate cross-validation. Machine Learning, 107.
    """
    pairs = [count_pairs(predictions[predictions["model"] == name]) for name in among]
    units = pairs[0].units
    drawn = draw_weights(int(units.max()) + 1, n_draws, seed)[:, units]  # (n_draws, N)
    inside = np.stack([one.aucs(drawn) for one in pairs])  # (models, n_draws)
    outside = np.stack([one.aucs((drawn == 0).astype(float)) for one in pairs])
    is_known = np.isfinite(inside[0]) & np.isfinite(outside[0])
    if not is_known.any():
        return np.nan
    inside, outside = inside[:, is_known], outside[:, is_known]
    best: NDArray[np.intp] = inside.argmax(axis=0)
    return float(outside[best, np.arange(len(best))].mean())
