"""What a cohort of this size can show, and what it can't."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scipy.optimize import brentq
from scipy.stats import binom, norm
from scipy.stats import t as student

#: Error of the first kind, two-sided for differences, and power that is asked for.
ALPHA, POWER = 0.05, 0.80
#: AUCs at which the expected width of the interval is given.
AUCS = (0.6, 0.7, 0.8, 0.9)
#: Fewest permutations whose spread is taken for that of the AUC under the null hypothesis.
MIN_PERMUTATIONS = 20
#: Largest share of either class for which accuracy is held against a coin.
BALANCED = 0.55


@dataclass(frozen=True)
class Evidence:
    """What a study measured about its own precision.

    Parameters
    ----------
    rival : str
        Name of the baseline that the network is compared with.
    rival_auc : float
        Its AUC.
    difference_se : float or None
        Standard error of the difference of AUCs, from the corrected resampled t-test.
    df : int or None
        Its degrees of freedom.
    n_comparisons : int
        Comparisons with the network that are corrected for.
    null_sd : float or None
        SD of the network's AUC under shuffled labels.
    """

    rival: str
    rival_auc: float
    difference_se: float | None
    df: int | None
    n_comparisons: int
    null_sd: float | None


def auc_variance(auc: float, n_positive: int, n_negative: int) -> float:
    """Variance of the AUC of a model tested on people it was not trained among.

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


def inflation(null_sd: float | None, n_positive: int, n_negative: int) -> float:
    """Say how much wider the AUC of cross-validation varies than `auc_variance` has it."""
    if null_sd is None:
        return 1.0
    return max(1.0, null_sd / math.sqrt(auc_variance(0.5, n_positive, n_negative)))


def smallest_auc(n_positive: int, n_negative: int, wider: float = 1.0) -> float | None:
    """Smallest true AUC that differs from 0.5 at one-sided 5 % with 80 % power; None if none.

    Parameters
    ----------
    n_positive, n_negative : int
        People.
    wider : float
        See `inflation`.
    """
    at_chance = wider * math.sqrt(auc_variance(0.5, n_positive, n_negative))

    def lack(auc: float) -> float:
        own = wider * math.sqrt(auc_variance(auc, n_positive, n_negative))
        return (auc - 0.5) - norm.ppf(1 - ALPHA) * at_chance - norm.ppf(POWER) * own

    return float(brentq(lack, 0.5, 0.999)) if lack(0.999) > 0 else None


def smallest_difference(se: float, df: int, n_comparisons: int) -> float:
    """Smallest difference of AUCs that the corrected t-test sees with 80 % power, two-sided 5 %.

    Parameters
    ----------
    se : float
        Standard error of the difference.
    df : int
        Degrees of freedom.
    n_comparisons : int
        Comparisons that the level is divided by.
    """
    level = ALPHA / max(n_comparisons, 1)
    return float((student.ppf(1 - level / 2, df) + student.ppf(POWER, df)) * se)


def smallest_accuracy(n: int) -> float:
    """Smallest accuracy on `n` people, classes alike, that a coin reaches in 5 % at most."""
    return float((binom.ppf(1 - ALPHA, n, 0.5) + 1) / n)


def study_power(n_positive: int, n_negative: int, evidence: Evidence) -> dict[str, Any]:
    """Say in figures and words what this many people can show.

    Parameters
    ----------
    n_positive, n_negative : int
        People of each class.
    evidence : Evidence
        What the study measured.
    """
    n = n_positive + n_negative
    wider = inflation(evidence.null_sd, n_positive, n_negative)
    widths = {
        f"{auc:g}": 2
        * norm.ppf(0.975)
        * wider
        * math.sqrt(auc_variance(auc, n_positive, n_negative))
        for auc in AUCS
    }
    se, df = evidence.difference_se, evidence.df
    found: dict[str, Any] = {
        "accuracy_above_chance": smallest_accuracy(n)
        if max(n_positive, n_negative) <= BALANCED * n
        else None,
        "auc_above_chance": smallest_auc(n_positive, n_negative, wider),
        "auc_interval_width": {key: float(width) for key, width in widths.items()},
        "inflation": wider if evidence.null_sd is not None else None,
        "rival": evidence.rival,
        "difference": smallest_difference(se, df, evidence.n_comparisons)
        if se is not None and df is not None
        else None,
    }
    return found | {"lines": power_lines(found, n, evidence)}


def power_lines(found: Mapping[str, Any], n: int, evidence: Evidence) -> list[str]:
    """Put the figures of `study_power` into sentences."""
    lines = []
    if (accuracy := found["accuracy_above_chance"]) is not None:
        lines.append(
            f"Accuracy: on {n} people a coin reaches {accuracy:.0%} or more in 5 % of studies at "
            "most; cross-validated models get there a little more often."
        )
    least = found["auc_above_chance"]
    basis = (
        "for a model tested on that many new people; cross-validation needs more, how much more "
        "permutations would tell"
        if found["inflation"] is None
        else f"taking the spread from the permutations, {found['inflation']:.1f} times that of a "
        "model tested on new people"
    )
    lines.append(
        "AUC above chance: "
        + ("none" if least is None else f"a true AUC of {least:.2f} or more")
        + f" would be seen with 80 % power ({basis})."
    )
    width = found["auc_interval_width"]["0.7"]
    lines.append(f"Width: an AUC of 0.7 comes with a 95 % interval about {width:.2f} wide.")
    head = f"Against {evidence.rival} (AUC {evidence.rival_auc:.2f}): "
    if found["difference"] is None:
        return [*lines, f"{head}not tested."]
    gain, room = found["difference"], 1 - evidence.rival_auc
    n_tests = evidence.n_comparisons
    corrected = f", corrected for {n_tests} comparisons," if n_tests > 1 else ""
    said = (
        "no gain that there is room for could be told apart with 80 % power."
        if gain > room
        else f"to be told apart with 80 % power{corrected} the network would have to be better by "
        f"{gain:.2f}."
    )
    return [*lines, head + said]
