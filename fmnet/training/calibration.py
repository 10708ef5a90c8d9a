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

Floats = NDArray[np.float64]
#: How much surer out-of-fold scores seem than they are, as a factor of the log likelihood: models
#: of different folds share most of their training people, and settings may be chosen on the same
#: scores. The second is for the interval of the slope. Both set by simulation.
DEPENDENCE, DEPENDENCE_INTERVAL = 2.0, 2.5
#: Prior of the slope, in log odds per standard deviation within groups: a generalised double Pareto
#: distribution with a normal tail, which pulls weak slopes to 0 and leaves strong ones.
PARETO_POWER, PARETO_SCALE, NORMAL_SD = 3.0, 0.7, 3.0
#: How a model's separation of the groups grows with its training people, as a power of their
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
    """Where the scores of a model lie, and how far they spread.

    Parameters
    ----------
    middle : float
        Half-way between the means of the groups.
    spread : float
        Standard deviation within groups; if that is 0, over all.
    """

    middle: float
    spread: float


def score_scale(scores: ArrayLike, labels: ArrayLike) -> ScoreScale:
    """Find the scale of scores of both groups, of scans that their models had not seen."""
    x, y = np.asarray(scores, dtype=float), np.asarray(labels, dtype=int)
    means = np.array([x[y == label].mean() for label in (0, 1)])
    residuals = x - means[y]
    spread = np.sqrt((residuals**2).sum() / max(len(x) - 2, 1))
    if spread <= 1e-9 * np.abs(x).max():
        spread = x.std()
    return ScoreScale(float(means.mean()), float(spread))


def fit_calibration(
    scores: ArrayLike,
    labels: ArrayLike,
    people: ArrayLike | None = None,
    models: ArrayLike | None = None,
    scale: ScoreScale | None = None,
) -> Calibration:
    """Fit the map on scores of scans that the scoring models had not seen.

    Both groups count alike, so that probabilities are for groups equally common (`BASE_RATE`). The
    slope is the mean of its posterior distribution, so smaller than the slope that fits best, and
    the more so the less is known of it: with few people and a weak effect the best fit is mostly
    luck. It is finite where scores separate the groups, and 0 where higher scores go with the
    negative group or there is nothing to tell them apart: then everybody gets 0.5.

    Parameters
    ----------
    scores : array-like of float, shape (N,)
        Out-of-fold scores.
    labels : array-like of int, shape (N,)
        0 or 1.
    people : array-like, shape (N,), optional
        Whose scores they are: everybody counts once, however many scores there are of them. As many
        people as scores if not given.
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
    Statistics in Medicine, 9. That slopes on new people are below 1 unless shrunken.
    Raudys, S. J., & Jain, A. K. (1991). Small sample size effects in statistical pattern
    recognition. IEEE Transactions on Pattern Analysis and Machine Intelligence, 13. How separation
    grows with the number of training people.
    Armagan, A., Dunson, D. B., & Lee, J. (2013). Generalized double Pareto shrinkage. Statistica
    Sinica, 23. The prior.
    """
    x, y = np.asarray(scores, dtype=float), np.asarray(labels, dtype=int)
    whose = np.arange(len(x)) if people is None else np.asarray(people)
    models = np.zeros(len(x)) if models is None else np.asarray(models)
    standard, is_known, own = _standardise(x, y, models)
    target = own if scale is None else scale
    if not is_known.any() or target.spread == 0:
        return Calibration(0.0, 0.0, BASE_RATE)
    standard, y, weights = standard[is_known], y[is_known], _weights(y[is_known], whose[is_known])
    slopes, log_likelihood = _profile(standard, y, weights)
    prior = -PARETO_POWER * np.log1p(np.abs(slopes) / PARETO_SCALE)
    prior -= slopes**2 / (2 * NORMAL_SD**2)
    slope = max(0.0, float(_density(log_likelihood / DEPENDENCE + prior) @ slopes))
    flat = log_likelihood / DEPENDENCE_INTERVAL - slopes**2 / (2 * INTERVAL_SD**2)
    low, high = np.interp([0.025, 0.975], np.cumsum(_density(flat)), slopes).tolist()
    growth = _share(models, whose) ** -GROWTH
    slope, low, high = slope * growth, max(0.0, low * growth), max(0.0, high * growth)
    interval = (min(low, slope) / target.spread, max(high, slope) / target.spread)
    # at which the mean probability, groups alike, is the base rate
    bound = slope * FURTHEST + 1
    shift = brentq(lambda a: weights @ (expit(slope * standard + a) - BASE_RATE), -bound, bound)
    slope /= target.spread
    return Calibration(slope, shift - slope * target.middle, BASE_RATE, interval)


def _share(models: NDArray[Any], people: NDArray[Any]) -> float:
    """Compute which share of the people a model learned from: those it gave no score to."""
    names = np.unique(models)
    if len(names) == 1:
        return 1.0
    scored = np.mean([len(np.unique(people[models == name])) for name in names])
    return max(0.5, 1 - float(scored) / len(np.unique(people)))


def _standardise(
    x: Floats, y: NDArray[np.int_], models: NDArray[Any]
) -> tuple[Floats, NDArray[np.bool_], ScoreScale]:
    """Standardise scores within models.

    Returns
    -------
    tuple
        Standardised scores, (N,); which are known, as their model scored both groups, (N,); the
        mean scale of the models.
    """
    groups = [models == name for name in np.unique(models)]
    groups = [group for group in groups if len(set(y[group].tolist())) == 2]
    scales = [score_scale(x[group], y[group]) for group in groups]
    usual = np.median([one.spread for one in scales]) if scales else 0.0
    standard, is_known, spreads = np.zeros(len(x)), np.zeros(len(x), bool), []
    for group, one in zip(groups, scales, strict=True):
        # three scores tell nothing about a spread
        spreads.append(one.spread if group.sum() > 3 else usual)
        if spreads[-1] > 0:
            standard[group] = (x[group] - one.middle) / spreads[-1]
        is_known |= group
    middle = float(np.mean([one.middle for one in scales])) if scales else 0.0
    spread = float(np.mean(spreads)) if scales else 0.0
    return np.clip(standard, -FURTHEST, FURTHEST), is_known, ScoreScale(middle, spread)


def _weights(y: NDArray[np.int_], people: NDArray[Any]) -> Floats:
    """Weigh scores so that people count once and groups alike: (N,).

    The sum is the number of people of a balanced study that would tell as much.
    """
    _, number, counts = np.unique(people, return_inverse=True, return_counts=True)
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
