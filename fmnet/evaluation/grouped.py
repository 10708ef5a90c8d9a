"""Figures of models that tell several groups apart: calls, pairs of groups, the nearest one."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from fmnet.evaluation.graded import Floats, Places, auc_within
from fmnet.evaluation.metrics import (
    CLIP,
    Interval,
    draw_weights,
    training_variance,
    widen,
    wilson,
)

#: Probabilities over shares that differ by less than this fraction are equal.
TIE = 1e-6
#: Draws of people for intervals.
N_DRAWS = 400


def called_groups(p: Floats, shares: Floats) -> Floats:
    """Call for each row the group most probable beside its share.

    Parameters
    ----------
    p, shares : ndarray of float, shape (N, K)
        Probabilities, and what a model without scans would say.

    Returns
    -------
    ndarray of float, shape (N, K)
        1 for the group called, or equal parts of it for groups that are tied.
    """
    odds = p / np.maximum(shares, CLIP)
    is_top = odds >= odds.max(axis=1, keepdims=True) * (1 - TIE)
    return np.asarray(is_top / is_top.sum(axis=1, keepdims=True))


def pairs_of_groups(
    scores: Floats, group: Places, fold: Places, unit: Places, names: Sequence[str]
) -> list[dict[str, Any]]:
    """Compute how well each two groups are told apart.

    That is the area under the ROC curve of the difference of their scores, over pairs of scans
    within folds. Intervals, at 95 %, are those of drawn families, widened by what other training
    people add, see `fmnet.evaluation.metrics.training_variance`, and of an AUC of 0 or 1 at least
    Wilson's; no other groups or corrections for the number of pairs come in.

    Parameters
    ----------
    scores : ndarray of float, shape (N, K)
        One for each group.
    group, fold, unit : ndarray of int, shape (N,)
        Group, test fold (numbered over all repeats) and family of each row.
    names : list of str, length K
        Of the groups.

    Returns
    -------
    list of dict
        ``one``, ``other``, ``auc`` and ``ci``; None where they don't meet in any fold.
    """
    draws = draw_weights(int(unit.max()) + 1, N_DRAWS, 0).astype(int)
    found = []
    for one, other in combinations(range(len(names)), 2):
        own = np.isin(group, (one, other))
        score, is_one = (scores[:, one] - scores[:, other])[own], (group == one)[own]
        auc = auc_within(score, is_one, fold[own])
        row: dict[str, Any] = {"one": names[one], "other": names[other], "auc": None, "ci": None}
        found.append(row)
        if np.isnan(auc):
            continue
        drawn = [np.repeat(np.arange(len(score)), times) for times in draws[:, unit[own]]]
        values = [auc_within(score[one], is_one[one], fold[own][one]) for one in drawn if len(one)]
        low, high = auc + np.sqrt(1 + training_variance(auc)) * (
            np.nanquantile(values, [0.025, 0.975]) - auc
        )
        ci: Interval = [float(max(low, 0)), float(min(high, 1))]
        if auc in {0.0, 1.0}:  # whoever is drawn then: it is known no better than so few tell
            people = [len(set(unit[group == k])) for k in (one, other)]
            ci = widen(ci, wilson(auc, min(people)))
        row |= {"auc": auc, "ci": ci}
    return found


def nearest_groups(
    odds: Floats,
    group: Places,
    unit: Places,
    names: Sequence[str],
    auc: float,
) -> list[dict[str, Any]]:
    """Tell which other group the people of each group are nearest to.

    The closeness to another group is its probability over its share, as a part of the sum of these
    over all other groups: all are equally close where nothing is told. Intervals are those of
    drawn families, widened by what other training people add, see
    `fmnet.evaluation.metrics.training_variance`. Nothing where there are two groups.

    Parameters
    ----------
    odds : ndarray of float, shape (N, K)
        Probabilities out of fold over shares.
    group, unit : ndarray of int, shape (N,)
        Group and family of each row.
    names : list of str, length K
        Of the groups.
    auc : float
        Macro AUC of the model.

    Returns
    -------
    list of dict
        For each ``group``: ``closeness`` to each other one, and ``ci``; the ``nearest``, in which
        ``part`` of the draws it is so, and whether that ``is_told``: the interval of its advantage
        over the next lies above 0.
    """
    if len(names) < 3:
        return []
    widen = np.sqrt(1 + training_variance(auc)) if np.isfinite(auc) else 1.0
    found = []
    for k, name in enumerate(names):
        others = [other for other in range(len(names)) if other != k]
        rows = np.flatnonzero(group == k)
        if not len(rows):
            continue
        close = odds[rows][:, others]
        close = close / close.sum(axis=1, keepdims=True)
        number = np.unique(unit[rows], return_inverse=True)[1]
        sums = np.stack([np.bincount(number, one) for one in close.T], axis=1)  # (U, K - 1)
        draws = draw_weights(len(sums), N_DRAWS, k)
        counts = np.bincount(number)
        drawn, means = draws @ sums / (draws @ counts)[:, None], close.mean(axis=0)
        low, high = means + widen * (np.quantile(drawn, [0.025, 0.975], axis=0) - means)
        order = np.argsort(-means, kind="stable")
        first, second = order[0], order[1]
        ahead = drawn[:, first] - drawn[:, second]
        least = (means[first] - means[second]) * (1 - widen) + widen * np.quantile(ahead, 0.025)
        labels = [names[other] for other in others]
        ends = zip(np.maximum(low, 0).tolist(), np.minimum(high, 1).tolist(), strict=True)
        found.append(
            {
                "group": name,
                "closeness": dict(zip(labels, means.tolist(), strict=True)),
                "ci": {label: list(pair) for label, pair in zip(labels, ends, strict=True)},
                "nearest": labels[first],
                "part": float((drawn.argmax(axis=1) == first).mean()),
                "is_told": bool(least > TIE),
            }
        )
    return found
