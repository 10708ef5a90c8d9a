"""`Calibration`: from raw score to probability."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from fmnet.errors import BundleError, Fault
from fmnet.inference.bundle_files import Kind, is_interval, is_number, optional, read_fields
from fmnet.inference.unseen_scores import UnseenScores

#: Most of either number, of any sign, with which no score overflows.
MAX_VALUE = 1e12


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
    """Give the 95 % interval of a probability, over other people of the same groups."""
    stated = calibration.at_prevalence(prevalence)
    middle = (unseen.positive.mean() + unseen.negative.mean()) / 2
    low, high = calibration.slope_ci or (calibration.slope, calibration.slope)
    odds = stated.slope * middle + stated.intercept + np.array([low, high]) * (score - middle)
    return (float(expit(odds.min())), float(expit(odds.max())))


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
