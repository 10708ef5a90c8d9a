"""From out-of-fold scores to a `Calibration`: logistic (Platt 1999), its slope shrunken."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from fmnet.evaluation.metrics import BASE_RATE
from fmnet.inference.calibration import Calibration
from fmnet.targets.shrinkage import DEPENDENCE, NORMAL_SD, PARETO_POWER, PARETO_SCALE

Floats = NDArray[np.float64]
#: As `DEPENDENCE`, for the interval of the slope; set by simulation.
DEPENDENCE_INTERVAL = 2.5
#: How a model's separation of the groups grows with its training subjects, as a power of their
#: number: where weights are mostly noise, as its root.
GROWTH = 0.5
#: Of the interval: next to flat, and finite where scores separate the groups.
INTERVAL_SD = 5.0
#: Standardised scores further out count as this.
FURTHEST = 6.0
#: Points of the grid on which the slope's distribution is computed, and its half width.
N_POINTS, HALF_WIDTH = 201, 8.0


@dataclass(frozen=True)
class ScoreScale:
    """Where the scores of a model lie: half-way between the groups, and the SD within them.

    If the standard deviation within groups is 0, it is the one over all scores.
    """

    middle: float
    sd: float


def score_scale(scores: ArrayLike, labels: ArrayLike) -> ScoreScale:
    """Find the scale of scores of both groups, of scans that their models had not seen."""
    x, y = np.asarray(scores, dtype=float), np.asarray(labels, dtype=int)
    means = np.array([x[y == label].mean() for label in (0, 1)])
    residuals = x - means[y]
    sd = np.sqrt((residuals**2).sum() / max(len(x) - 2, 1))
    if sd <= 1e-9 * np.abs(x).max():
        sd = x.std()
    return ScoreScale(float(means.mean()), float(sd))


def fit_calibration(
    scores: ArrayLike,
    labels: ArrayLike,
    participants: ArrayLike | None = None,
    models: ArrayLike | None = None,
    scale: ScoreScale | None = None,
) -> Calibration:
    """Fit the map on scores of scans that the scoring models had not seen.

    Both groups count alike, so that probabilities are for groups equally common (`BASE_RATE`). The
    slope is the mean of its posterior distribution, so smaller than the slope that fits best, and
    the more so the less is known of it: with few participants and a weak effect the best fit is
    mostly luck. It is finite where scores separate the groups, and 0 where higher scores go with
    the negative group or there is nothing to tell them apart: then all get 0.5.

    Parameters
    ----------
    scores : array-like of float, shape (N,)
        Out-of-fold scores.
    labels : array-like of int, shape (N,)
        0 or 1.
    participants : array-like, shape (N,), optional
        Whose scores they are: each counts once, however many scores there are of them. As many
        participants as scores if not given.
    models : array-like, shape (N,), optional
        Which models gave them, whose scores have no common scale: they are standardised within each
        model. Each learned from those it gave no score to, so from fewer than the model to
        calibrate, which will do better. If not given, scores are taken as one model's, the same
        that is calibrated.
    scale : ScoreScale, optional
        Of the scores to calibrate, if known; else they are taken to be on the models' mean scale.

    References
    ----------
    Platt, J. (1999). Probabilistic outputs for support vector machines.
    van Houwelingen, J. C., & le Cessie, S. (1990). Predictive value of statistical models.
    Statistics in Medicine, 9. That slopes on new participants are below 1 unless shrunken.
    Raudys, S. J., & Jain, A. K. (1991). Small sample size effects in statistical pattern
    recognition. IEEE Transactions on Pattern Analysis and Machine Intelligence, 13. How separation
    grows with the number of training subjects.
    Armagan, A., Dunson, D. B., & Lee, J. (2013). Generalized double Pareto shrinkage. Statistica
    Sinica, 23. The prior.
    """
    x, y = np.asarray(scores, dtype=float), np.asarray(labels, dtype=int)
    whose = np.arange(len(x)) if participants is None else np.asarray(participants)
    models = np.zeros(len(x)) if models is None else np.asarray(models)
    standard, is_known, own = _standardise(x, y, models)
    target = own if scale is None else scale
    if not is_known.any() or target.sd == 0:
        return Calibration(0.0, 0.0, BASE_RATE)
    standard, y, weights = standard[is_known], y[is_known], _weights(y[is_known], whose[is_known])
    slopes, log_likelihood = _profile(standard, y, weights)
    prior = -PARETO_POWER * np.log1p(np.abs(slopes) / PARETO_SCALE)
    prior -= slopes**2 / (2 * NORMAL_SD**2)
    slope = max(0.0, float(_density(log_likelihood / DEPENDENCE + prior) @ slopes))
    flat = log_likelihood / DEPENDENCE_INTERVAL - slopes**2 / (2 * INTERVAL_SD**2)
    low, high = np.interp([0.025, 0.975], np.cumsum(_density(flat)), slopes).tolist()
    names, n = np.unique(models), len(np.unique(whose))
    n_scored = np.mean([len(np.unique(whose[models == name])) for name in names])
    # a model learned from the participants that it gave no score to
    growth = 1.0 if len(names) == 1 else max(0.5, 1 - float(n_scored) / n) ** -GROWTH
    slope, low, high = slope * growth, max(0.0, low * growth), max(0.0, high * growth)
    interval = (min(low, slope) / target.sd, max(high, slope) / target.sd)
    # at which the mean probability, groups alike, is the base rate
    bound = slope * FURTHEST + 1
    shift = brentq(lambda a: weights @ (expit(slope * standard + a) - BASE_RATE), -bound, bound)
    slope /= target.sd
    return Calibration(slope, shift - slope * target.middle, BASE_RATE, interval)


def _standardise(
    x: Floats, y: NDArray[np.int_], models: NDArray[Any]
) -> tuple[Floats, NDArray[np.bool_], ScoreScale]:
    """Standardise scores within models: (N,); which are known, (N,); the models' mean scale.

    They are known where their model scored both groups.
    """
    groups = [models == name for name in np.unique(models)]
    groups = [group for group in groups if len(set(y[group].tolist())) == 2]
    scales = [score_scale(x[group], y[group]) for group in groups]
    standard, is_known, sds = np.zeros(len(x)), np.zeros(len(x), bool), []
    if not scales:
        return standard, is_known, ScoreScale(0.0, 0.0)
    usual = np.median([one.sd for one in scales])
    for group, one in zip(groups, scales, strict=True):
        # three scores tell nothing about a standard deviation
        sds.append(one.sd if group.sum() > 3 else usual)
        if sds[-1] > 0:
            standard[group] = (x[group] - one.middle) / sds[-1]
        is_known |= group
    scale = ScoreScale(float(np.mean([one.middle for one in scales])), float(np.mean(sds)))
    return np.clip(standard, -FURTHEST, FURTHEST), is_known, scale


def _weights(y: NDArray[np.int_], participants: NDArray[Any]) -> Floats:
    """Weigh scores so that participants count once and groups alike: (N,).

    The sum is the number of participants of a balanced study that would tell as much.
    """
    _, number, counts = np.unique(participants, return_inverse=True, return_counts=True)
    weights = 1 / counts[number]
    sizes = np.array([weights[y == label].sum() for label in (0, 1)])
    return np.asarray(weights * (2 / (1 / sizes).sum() / sizes)[y])


def _profile(x: Floats, y: NDArray[np.int_], weights: Floats) -> tuple[Floats, Floats]:
    """Compute the log likelihood for slopes around the likeliest: two arrays of shape (K,)."""
    model = LogisticRegression(C=NORMAL_SD**2).fit(x[:, None], y, sample_weight=weights)
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    p = expit(slope * x + intercept)
    information = weights * p * (1 - p)
    total, cross = information.sum(), information @ x
    error = 1 / np.sqrt(information @ x**2 - cross**2 / total + 1 / NORMAL_SD**2)
    slopes = slope + error * np.linspace(-HALF_WIDTH, HALF_WIDTH, N_POINTS)
    intercepts = intercept - (slopes - slope) * cross / total
    odds = slopes[:, None] * x + intercepts[:, None]  # (K, N)
    return slopes, (y * odds - np.logaddexp(0, odds)) @ weights


def _density(log_density: Floats) -> Floats:
    density = np.exp(log_density - log_density.max())
    return np.asarray(density / density.sum())
