"""What a cohort of this size can show, and what it can't."""

import math
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom, norm

#: Error of the first kind, two-sided for differences, and power that is asked for.
ALPHA, POWER = 0.05, 0.80
#: AUCs at which the expected width of the interval is given.
AUCS = (0.6, 0.7, 0.8, 0.9)


def auc_variance(auc: float, n_positive: int, n_negative: int) -> float:
    """Variance of an AUC.

    References
    ----------
    Hanley, J. A., & McNeil, B. J. (1982). The meaning and use of the area under a ROC curve.
    """
    both_positive = auc / (2 - auc)
    both_negative = 2 * auc**2 / (1 + auc)
    return (
        auc * (1 - auc)
        + (n_positive - 1) * (both_positive - auc**2)
        + (n_negative - 1) * (both_negative - auc**2)
    ) / (n_positive * n_negative)


def smallest_auc(n_positive: int, n_negative: int) -> float | None:
    """Smallest true AUC that differs from 0.5 at one-sided 5 % with 80 % power; None if none."""
    at_chance = math.sqrt(auc_variance(0.5, n_positive, n_negative))

    def lack(auc: float) -> float:
        own = math.sqrt(auc_variance(auc, n_positive, n_negative))
        return (auc - 0.5) - norm.ppf(1 - ALPHA) * at_chance - norm.ppf(POWER) * own

    return float(brentq(lack, 0.5, 0.999)) if lack(0.999) > 0 else None


def smallest_difference(
    auc: float, correlation: float, n_positive: int, n_negative: int
) -> float | None:
    """Smallest gain over a model of this AUC that would be seen with 80 % power, two-sided 5 %.

    Parameters
    ----------
    auc : float
        Of the model that is to be beaten.
    correlation : float
        Between the two models' AUCs, which see the same people; 0 is the cautious choice.
    n_positive, n_negative : int
        People.

    References
    ----------
    Hanley, J. A., & McNeil, B. J. (1983). A method of comparing the areas under ROC curves derived
    from the same cases. Radiology, 148.
    """
    base = auc_variance(auc, n_positive, n_negative)

    def lack(gain: float) -> float:
        other = auc_variance(auc + gain, n_positive, n_negative)
        variance = base + other - 2 * correlation * math.sqrt(base * other)
        return gain - (norm.ppf(1 - ALPHA / 2) + norm.ppf(POWER)) * math.sqrt(max(variance, 0))

    top = 0.999 - auc
    return float(brentq(lack, 0, top)) if top > 0 and lack(top) > 0 else None


def smallest_accuracy(n: int) -> float:
    """Smallest accuracy on `n` people, classes alike, that chance reaches in 5 % at most."""
    return float((binom.ppf(1 - ALPHA, n, 0.5) + 1) / n)


def auc_correlation(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Correlate two models' bootstrap AUCs, (D,), from the same draws of subjects."""
    known = np.isfinite(one) & np.isfinite(other)
    if known.sum() < 3 or one[known].std() == 0 or other[known].std() == 0:
        return 0.0
    return float(np.corrcoef(one[known], other[known])[0, 1])


def study_power(
    n_positive: int, n_negative: int, rival: str, rival_auc: float, correlation: float
) -> dict[str, Any]:
    """Say in figures and words what this many people can show.

    Parameters
    ----------
    n_positive, n_negative : int
        People of each class.
    rival, rival_auc, correlation
        The baseline to be beaten: its name, its AUC, and how its AUC correlates with the network's.
    """
    n = n_positive + n_negative
    widths = {
        auc: 2 * norm.ppf(0.975) * math.sqrt(auc_variance(auc, n_positive, n_negative))
        for auc in AUCS
    }
    least, gain = (
        smallest_auc(n_positive, n_negative),
        smallest_difference(rival_auc, correlation, n_positive, n_negative),
    )
    found = {
        "accuracy_above_chance": smallest_accuracy(n),
        "auc_above_chance": least,
        "auc_interval_width": {f"{auc:g}": float(width) for auc, width in widths.items()},
        "rival": rival,
        "difference": gain,
    }
    return found | {"lines": power_lines(found, n, rival_auc)}


def power_lines(found: dict[str, Any], n: int, rival_auc: float) -> list[str]:
    """Put the figures of `study_power` into sentences."""
    least, gain = found["auc_above_chance"], found["difference"]
    return [
        f"Accuracy: with {n} people, {found['accuracy_above_chance']:.0%} is the least that chance "
        "reaches in no more than 5 % of studies.",
        "AUC above chance: "
        + (
            f"a true AUC of {least:.2f} or more would be seen with 80 % power."
            if least is not None
            else "no true AUC would be seen with 80 % power."
        ),
        f"Width: an AUC of 0.7 comes with a 95 % interval about "
        f"{found['auc_interval_width']['0.7']:.2f} wide.",
        f"Against {found['rival']} (AUC {rival_auc:.2f}): "
        + (
            f"the network would have to be better by {gain:.2f} to be told apart with 80 % power."
            if gain is not None
            else "no gain, however large, could be told apart with 80 % power."
        ),
    ]
