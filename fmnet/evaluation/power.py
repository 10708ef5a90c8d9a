"""What a cohort of this size can show, and what it can't."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scipy.optimize import brentq
from scipy.stats import binom, norm
from scipy.stats import t as student

from fmnet.evaluation.intervals import (
    auc_interval,
    auc_variance,
    expected_logit_se,
    training_share,
)

#: Error of the first kind, two-sided for differences, and power that is asked for.
ALPHA, POWER = 0.05, 0.80
#: AUCs at which the expected width of the interval is given.
AUCS = (0.6, 0.7, 0.8, 0.9)
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
    df : float or None
        Its degrees of freedom.
    n_comparisons : int
        Comparisons with the network that are corrected for.
    n_repeats : int
        Of cross-validation.
    """

    rival: str
    rival_auc: float
    difference_se: float | None
    df: float | None
    n_comparisons: int
    n_repeats: int = 1


def inflation(n_positive: int, n_negative: int, n_repeats: int) -> float:
    """Say how much wider an AUC of cross-validation varies at chance than `auc_variance` has it."""
    expected, plain = (
        expected_logit_se(0.5, n_positive, n_negative, repeats) for repeats in (n_repeats, None)
    )
    return expected / plain


def smallest_auc(n_positive: int, n_negative: int, wider: float = 1.0) -> float | None:
    """Smallest true AUC that differs from 0.5 at one-sided 5 % with 80 % power; None if none.

    Parameters
    ----------
    n_positive, n_negative : int
        People.
    wider : float
        See `inflation`. It fades away towards an AUC of 1 as training does in the intervals, see
        `fmnet.evaluation.intervals.training_share`.
    """

    def sd(auc: float) -> float:
        more = 1 + (wider**2 - 1) * training_share(auc)
        return math.sqrt(more * auc_variance(auc, n_positive, n_negative))

    def lack(auc: float) -> float:
        return float((auc - 0.5) - norm.ppf(1 - ALPHA) * sd(0.5) - norm.ppf(POWER) * sd(auc))

    return float(brentq(lack, 0.5, 0.999)) if lack(0.999) > 0 else None


def smallest_difference(se: float, df: float, n_comparisons: int) -> float:
    """Smallest difference of AUCs that the corrected t-test sees with 80 % power, two-sided 5 %.

    Parameters
    ----------
    se : float
        Standard error of the difference.
    df : float
        Degrees of freedom.
    n_comparisons : int
        Comparisons that the level is divided by.
    """
    level = ALPHA / max(n_comparisons, 1)
    return float((student.ppf(1 - level / 2, df) + student.ppf(POWER, df)) * se)


def smallest_accuracy(n: int) -> float:
    """Smallest accuracy on `n` people, classes alike, that a coin reaches in 5 % at most."""
    return float((binom.ppf(1 - ALPHA, n, 0.5) + 1) / n)


def interval_width(auc: float, n_positive: int, n_negative: int, n_repeats: int) -> float:
    """Width of the interval that so many people lead to expect of an AUC of cross-validation."""
    se = expected_logit_se(auc, n_positive, n_negative, n_repeats)
    low, high = auc_interval(auc, se, n_positive, n_negative)
    return (high or 0.0) - (low or 0.0)


def study_power(
    n_positive: int, n_negative: int, evidence: Evidence, noun: str = "people"
) -> dict[str, Any]:
    """Say in figures and words what this many people can show.

    Parameters
    ----------
    n_positive, n_negative : int
        People of each class.
    evidence : Evidence
        What the study measured.
    noun : str
        What they are called: ``people``, or ``families`` where those count.
    """
    n = n_positive + n_negative
    wider = inflation(n_positive, n_negative, evidence.n_repeats)
    widths = {
        f"{auc:g}": interval_width(auc, n_positive, n_negative, evidence.n_repeats) for auc in AUCS
    }
    se, df = evidence.difference_se, evidence.df
    found: dict[str, Any] = {
        "accuracy_above_chance": smallest_accuracy(n)
        if max(n_positive, n_negative) <= BALANCED * n
        else None,
        "auc_above_chance": smallest_auc(n_positive, n_negative, wider),
        "auc_interval_width": widths,
        "inflation": wider,
        "rival": evidence.rival,
        "difference": smallest_difference(se, df, evidence.n_comparisons)
        if se is not None and df is not None
        else None,
    }
    return found | {"lines": power_lines(found, f"{n} {noun}", evidence)}


def power_lines(found: Mapping[str, Any], counted: str, evidence: Evidence) -> list[str]:
    """Put the figures of `study_power` into sentences; `counted` says of how many what."""
    lines = []
    if (accuracy := found["accuracy_above_chance"]) is not None:
        lines.append(
            f"Accuracy: on {counted} a coin reaches {accuracy:.0%} or more in 5 % of studies at "
            "most; cross-validated models get there a little more often."
        )
    least = found["auc_above_chance"]
    basis = (
        f"an AUC of cross-validation varies about {found['inflation']:.1f} times as widely at "
        "chance as that of a model tested on new people"
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
