"""How much of a link's slope is believed: the mean of its posterior distribution, 0 or more."""

import numpy as np
from scipy.interpolate import CubicSpline

from fmnet.data.outcomes import Numbers

#: How much surer out-of-fold scores seem than they are, as a factor of the log likelihood: models
#: of different folds share most of their training subjects, and settings may be chosen on the same
#: scores. Set by simulation.
DEPENDENCE = 2.0
#: Prior of the slope, in log odds per standard deviation within groups: a generalised double Pareto
#: distribution with a normal tail, which pulls weak slopes to 0 and leaves strong ones.
PARETO_POWER, PARETO_SCALE, NORMAL_SD = 3.0, 0.7, 3.0
#: Slopes that are tried, in log odds per standard deviation; closer where they are small.
SLOPES = np.sinh(np.linspace(-3.0, 3.0, 51)) * 0.6
#: Points at which the posterior distribution is computed, between those that were tried.
N_FINE = 2001


def believed_slope(log_likelihood: Numbers, slopes: Numbers = SLOPES) -> float:
    """Average slopes over their posterior distribution: 0 where it lies below.

    Smaller than the likeliest slope, and the more so the less is known: with few people and a weak
    effect the best fit is mostly luck, and scores that tell nothing must say the same of everybody.

    Parameters
    ----------
    log_likelihood : ndarray of float, shape (S,)
        Of out-of-fold scores, for each slope; each person counts once.
    slopes : ndarray of float, shape (S,)
        Ascending, in log odds per standard deviation.
    """
    fine = np.linspace(slopes[0], slopes[-1], N_FINE)  # of many people it is narrow
    log_likelihood, slopes = CubicSpline(slopes, log_likelihood)(fine), fine
    prior = -PARETO_POWER * np.log1p(np.abs(slopes) / PARETO_SCALE)
    prior -= slopes**2 / (2 * NORMAL_SD**2)
    log_density = log_likelihood / DEPENDENCE + prior
    density = np.exp(log_density - log_density.max())
    return max(0.0, float(density @ slopes / density.sum()))


def person_weights(participants: tuple[str, ...]) -> Numbers:
    """Weigh scans, (N,), so that each person counts once."""
    _, number, counts = np.unique(participants, return_inverse=True, return_counts=True)
    return np.asarray(1 / counts[number])
