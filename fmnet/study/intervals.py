"""Intervals for shares where a bootstrap has nothing to draw from."""

from typing import Any

import numpy as np
from scipy.stats import binomtest

Interval = list[float | None]


def wilson(share: float, n: int) -> tuple[float, float]:
    """Compute the 95 % interval of a share of `n` people; the share may lie between two counts.

    References
    ----------
    Wilson, E. B. (1927). Probable inference, the law of succession, and statistical inference.
    J. Am. Stat. Assoc., 22.
    """
    bounds = [
        binomtest(int(round_(share * n)), n).proportion_ci(method="wilson")
        for round_ in (np.floor, np.ceil)
    ]
    return float(bounds[0].low), float(bounds[1].high)


def widen(interval: Interval, bounds: tuple[float, float]) -> Interval:
    """Take the wider of two intervals on each side; what is unknown gives way."""
    low, high = interval
    return [
        bounds[0] if low is None else min(low, bounds[0]),
        bounds[1] if high is None else max(high, bounds[1]),
    ]


def widen_figures(found: dict[str, Any], n_positive: int, n_negative: int) -> dict[str, Any]:
    """Widen the bootstrap intervals of a model's figures where they are too good to be true.

    A bootstrap of people who were all judged rightly never draws a mistake: its interval is
    [1, 1], whether there were four people or four hundred. Sensitivity and specificity get at least
    their Wilson interval; an AUC of 0 or 1 that of a share of the smaller class.

    Parameters
    ----------
    found : dict
        Figures of a model with their ``_ci``.
    n_positive, n_negative : int
        People (or families) of each class.
    """
    changed = dict(found)
    rates = {"sensitivity": n_positive, "specificity": n_negative}
    known = {name: n for name, n in rates.items() if found[name] is not None and n}
    bounds = {name: wilson(found[name], n) for name, n in known.items()}
    for name, own in bounds.items():
        changed[f"{name}_ci"] = widen(found[f"{name}_ci"], own)
    fewest = min(n_positive, n_negative)
    if found["auc"] in {0.0, 1.0} and fewest:
        changed["auc_ci"] = widen(found["auc_ci"], wilson(found["auc"], fewest))
    if len(bounds) == 2 and found["balanced_accuracy"] in {0.0, 1.0}:
        low, high = (float(np.mean([own[side] for own in bounds.values()])) for side in (0, 1))
        changed["balanced_accuracy_ci"] = widen(found["balanced_accuracy_ci"], (low, high))
        changed["mcc_ci"] = widen(found["mcc_ci"], (2 * low - 1, 2 * high - 1))
    return changed
