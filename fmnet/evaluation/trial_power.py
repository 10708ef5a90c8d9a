"""Say what a trial of so many people can find of who responds, and whether its arms are alike."""

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from fmnet.evaluation.moderation import ALPHA, Floats

#: Power that is asked for.
POWER = 0.80
#: Coefficients of a regression of gain on arm, score, their product and baseline.
N_COEFFICIENTS = 5


def people_for_correlations(first: float, second: float = 0.0) -> int:
    """Count the people that each arm needs to tell two correlations apart: of 0.4 and 0, 91.

    Of score and gain in the two arms, by Fisher's z; two-sided 5 %, power 80 %.
    """
    gap = abs(np.arctanh(first) - np.arctanh(second))
    both = norm.ppf(1 - ALPHA / 2) + norm.ppf(POWER)
    return int(np.ceil(2 * (both / gap) ** 2 + 3))


def smallest_correlation(n_control: int, n_active: int) -> float:
    """Find the correlation in one arm that so many people tell from 0 in the other.

    As `people_for_correlations`; 1 for fewer than four people in an arm.
    """
    if min(n_control, n_active) < 4:
        return 1.0
    both = norm.ppf(1 - ALPHA / 2) + norm.ppf(POWER)
    return float(np.tanh(both * np.sqrt(1 / (n_control - 3) + 1 / (n_active - 3))))


def smallest_interaction(n_control: int, n_active: int) -> float:
    """Find the interaction, in SD of gain for one SD of the score, that so many people show.

    Two-sided 5 %, power 80 %, of a score that is known without error: a score that is learned from
    the same few people needs more.
    """
    both = _both(n_control + n_active - N_COEFFICIENTS)
    return float(both * np.sqrt(1 / n_control + 1 / n_active))


def smallest_slope(n: int) -> float:
    """Find the slope of differences within persons, in their SD for one SD of the score.

    Of a crossover of `n` people: two-sided 5 %, power 80 %.
    """
    return float(_both(n - N_COEFFICIENTS + 2) / np.sqrt(n))


def _both(df: int) -> float:
    """Count the standard errors that an effect needs to be found."""
    return float(student.ppf(1 - ALPHA / 2, max(df, 1)) + student.ppf(POWER, max(df, 1)))


def standardised_difference(values: Floats, arm: Floats) -> tuple[float, float]:
    """Compare a number of two arms: difference of means in SD, and the p-value of Welch's test."""
    one, other = values[arm == 1], values[arm == 0]
    variances = one.var(ddof=1), other.var(ddof=1)
    sd = np.sqrt(sum(variances) / 2)
    if not sd > 0:
        return 0.0, 1.0
    parts = variances[0] / len(one), variances[1] / len(other)
    df = sum(parts) ** 2 / (parts[0] ** 2 / (len(one) - 1) + parts[1] ** 2 / (len(other) - 1))
    gap = one.mean() - other.mean()
    return float(gap / sd), float(2 * student.sf(abs(gap) / np.sqrt(sum(parts)), df))
