"""`Calibration`: from raw score to probability."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from fmnet.deploy.fields import Kind, is_number, read_fields

#: Most of either number, of any sign, with which no score overflows.
MAX_VALUE = 1e12
#: What is relied on of calibration.json.
FIELDS = {
    "slope": Kind(
        f"a number from 0 to {MAX_VALUE:g}",
        lambda value: is_number(value) and 0 <= value <= MAX_VALUE,
    ),
    "intercept": Kind(
        f"a finite number up to {MAX_VALUE:g}",
        lambda value: is_number(value) and abs(value) <= MAX_VALUE,
    ),
}


@dataclass(frozen=True)
class Calibration:
    """Logistic map from score to probability.

    Parameters
    ----------
    slope, intercept : float
        ``probability = 1 / (1 + exp(-(slope * score + intercept)))``; the slope is never negative.
    """

    slope: float
    intercept: float

    def probability(self, score: ArrayLike) -> NDArray[np.float64]:
        """Turn raw scores into probabilities of the positive class, in [0, 1]."""
        return np.asarray(expit(self.slope * np.asarray(score, dtype=float) + self.intercept))


def read_calibration(path: Path) -> Calibration:
    """Read a calibration that was written as JSON.

    Raises
    ------
    BundleError
        If the file can't be read, or holds something else.
    """
    fields = read_fields(path, FIELDS)
    return Calibration(float(fields["slope"]), float(fields["intercept"]))
