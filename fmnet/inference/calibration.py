"""`Calibration`: from raw score to probability, at any prevalence, and how sure it is."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from fmnet.errors import BundleError, Fault
from fmnet.inference.bundle_files import Kind, is_interval, is_number, optional, read_fields
from fmnet.inference.unseen_scores import INTERVAL_DEPENDENCE, Floats, UnseenScores

#: Most of either number, of any sign, with which no score overflows.
MAX_VALUE = 1e12
#: Draws of people, and a wide prior of the slope, per standard deviation within groups.
N_DRAWS, SLOPE_SD = 400, 5.0
#: Of Newton's method: most steps, and how far one may lead.
MAX_STEPS, LONGEST_STEP = 50, 2.0


def _is_slope(value: Any) -> bool:
    return is_number(value) and 0 <= value <= MAX_VALUE


#: What is relied on of calibration.json.
FIELDS = {
    "slope": Kind(f"a number from 0 to {MAX_VALUE:g}", _is_slope),
    "intercept": Kind(
        f"a finite number up to {MAX_VALUE:g}",
        lambda value: is_number(value) and abs(value) <= MAX_VALUE,
    ),
    "base_rate": optional(
        Kind("a number between 0 and 1", lambda value: is_number(value) and 0 < value < 1)
    ),
    "slope_ci": optional(
        Kind(
            f"two numbers from 0 to {MAX_VALUE:g} in ascending order",
            lambda value: is_interval(value, _is_slope),
        )
    ),
}


@dataclass(frozen=True)
class Calibration:
    """Logistic map from score to probability: ``1 / (1 + exp(-(slope * score + intercept)))``.

    The slope is never negative. ``base_rate`` is the fraction of the positive class for which
    probabilities are stated, None for that of the training scans, as in files that don't name it;
    ``slope_ci`` the 95 % interval of the slope, None where unknown.
    """

    slope: float
    intercept: float
    base_rate: float | None = 0.5
    slope_ci: tuple[float, float] | None = None

    def probability(self, score: ArrayLike) -> NDArray[np.float64]:
        """Turn raw scores into probabilities of the positive class, in [0, 1]."""
        return np.asarray(expit(self.slope * np.asarray(score, dtype=float) + self.intercept))

    def at_prevalence(self, prevalence: float | None) -> "Calibration":
        """State probabilities for another fraction of the positive class; as it is for None.

        One without a base rate is taken to be for groups equally common.
        """
        if prevalence is None:
            return self
        rate = 0.5 if self.base_rate is None else self.base_rate
        intercept = self.intercept + float(logit(prevalence) - logit(rate))
        return replace(self, intercept=intercept, base_rate=prevalence)


def probability_interval(
    unseen: UnseenScores, calibration: Calibration, score: float, prevalence: float | None = None
) -> tuple[float, float]:
    """Give the 95 % interval of a probability, over other studies of as many people.

    By a bootstrap over people in which `INTERVAL_DEPENDENCE` times fewer are drawn than there are.
    The probability itself lies within. (The two probabilities of a Venn-Abers predictor are no such
    interval: they say how far one more person moves a probability, not how far others would.)
    """
    stated = calibration.at_prevalence(prevalence)
    shift = stated.intercept - calibration.at_prevalence(0.5).intercept
    slopes, intercepts = _bootstrap(unseen)
    odds = np.quantile(slopes * score + intercepts, [0.025, 0.975]) + shift
    odds = np.append(odds, stated.slope * score + stated.intercept)
    return float(expit(odds.min())), float(expit(odds.max()))


@lru_cache(maxsize=8)
def _bootstrap(unseen: UnseenScores) -> tuple[Floats, Floats]:
    """Fit logistic maps, for groups equally common, to people drawn again: (B,) slopes, (B,)."""
    rng = np.random.default_rng(0)
    groups = (unseen.positive, unseen.negative)
    x, y = np.concatenate(groups), np.repeat([1.0, 0.0], [len(own) for own in groups])
    # the number of people of each group in a balanced study that would tell as much
    n = 2 / sum(1 / len(own) for own in groups)
    parts = []
    for own in groups:
        n_drawn = max(2, round(len(own) / INTERVAL_DEPENDENCE))
        counts = rng.multinomial(n_drawn, np.full(len(own), 1 / len(own)), N_DRAWS)
        parts.append(counts * (n / n_drawn))
    middle = (groups[0].mean() + groups[1].mean()) / 2
    sd = np.sqrt(sum(((own - own.mean()) ** 2).sum() for own in groups) / max(len(x) - 2, 1))
    sd = sd if sd > 1e-9 * max(np.abs(x).max(), 1e-300) else np.ptp(x) or 1.0
    slopes, intercepts = _fit_logistic((x - middle) / sd, y, np.concatenate(parts, axis=1))
    slopes = np.maximum(slopes, 0) / sd
    return slopes, intercepts - slopes * middle


def _fit_logistic(x: Floats, y: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Fit logistic maps of (N,) to (N,), one for each row of weights, (B, N): slopes and offsets.

    Slopes have a wide prior, so that they are finite where scores separate the groups.
    """
    slope, offset = np.zeros(len(weights)), np.zeros(len(weights))
    for _ in range(MAX_STEPS):
        p = expit(slope[:, None] * x + offset[:, None])
        pull, information = weights * (y - p), weights * p * (1 - p) + 1e-9
        total, cross = information.sum(axis=1), information @ x
        square = information @ x**2 + SLOPE_SD**-2
        down, across = pull.sum(axis=1), pull @ x - slope * SLOPE_SD**-2
        determinant = total * square - cross**2
        steps = np.stack([total * across - cross * down, square * down - cross * across])
        steps /= determinant
        steps /= np.maximum(1, np.abs(steps).max(axis=0) / LONGEST_STEP)
        slope, offset = slope + steps[0], offset + steps[1]
        if np.abs(steps).max() < 1e-6:
            break
    return slope, offset


def read_calibration(path: Path) -> Calibration:
    """Read a calibration that was written as JSON.

    Files of earlier versions name no base rate: their probabilities are for groups of the same
    proportion as in training.

    Raises
    ------
    BundleError
        If the file can't be read, or holds something else.
    """
    fields = read_fields(path, FIELDS)
    slope, base_rate, interval = float(fields["slope"]), *map(fields.get, ("base_rate", "slope_ci"))
    if interval is not None and not interval[0] <= slope <= interval[1]:
        accepted, action = "a slope within its interval", "export again"
        raise BundleError(Fault(str(path), f"slope {slope:g} outside {interval}", accepted, action))
    base_rate = None if base_rate is None else float(base_rate)
    interval = None if interval is None else (float(interval[0]), float(interval[1]))
    return Calibration(slope, float(fields["intercept"]), base_rate, interval)


def calibration_sentence(calibration: Calibration) -> str:
    """Say for which base rate probabilities are stated, and how sure the slope behind them is."""
    rate = calibration.base_rate
    if rate is None:
        stated = "for groups of the same proportion as in training"
    elif rate == 0.5:
        stated = "for a base rate of 50 %, both groups equally common"
    else:
        stated = f"for a base rate of {100 * rate:.3g} % of the positive group"
    stated = f"Probabilities are stated {stated}."
    if calibration.slope == 0:
        return f"{stated} The scores told nothing about new people: everybody gets the same."
    if calibration.slope_ci is None:
        return f"{stated} How uncertain they are was not noted."
    low, high = (bound / calibration.slope for bound in calibration.slope_ci)
    return (
        f"{stated} Log odds may be {low:.2g} to {high:.2g} times as large as given (95 % interval "
        "of the slope, which is shrunken by its uncertainty)."
    )
