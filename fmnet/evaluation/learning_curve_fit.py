"""An inverse power law through AUCs, and the size of study that would be enough."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from fmnet.evaluation.power import smallest_auc
from fmnet.report.words import name_of, with_interval

Floats = NDArray[np.float64]
#: Studies of up to this many people are considered.
LARGEST = 2000


@dataclass(frozen=True)
class Precision:
    """How precise this study was, taken to improve with the square root of the number of people.

    Parameters
    ----------
    n_people : int
        Of this study.
    inflation : float
        See `fmnet.evaluation.power.inflation`.
    difference : float or None
        Difference to the rival that this study would see with 80 % power.
    """

    n_people: int
    inflation: float = 1.0
    difference: float | None = None


@dataclass(frozen=True)
class Curve:
    """``auc(n) = limit - height * n ** -rate``, at least 0.5.

    References
    ----------
    Figueroa, R. L., et al. (2012). Predicting sample size required for classification performance.
    BMC Medical Informatics and Decision Making, 12.
    """

    limit: float
    height: float
    rate: float

    def auc(self, n: Any) -> Floats:
        """Give the AUC to be expected when `n` people are learned from."""
        return np.maximum(self.limit - self.height * np.asarray(n, dtype=float) ** -self.rate, 0.5)


def fit_curve(sizes: Floats, aucs: Floats) -> Curve:
    """Fit `Curve` by least squares, the limit between 0.5 and 1, the rate between 0.2 and 1."""

    def gaps(values: Floats) -> Floats:
        limit, height, rate = values
        return np.asarray(limit - height * (sizes / sizes[-1]) ** -rate - aucs)

    start = np.array([min(max(float(aucs[-1]), 0.5) + 0.02, 0.99), 0.1, 0.5])
    found = least_squares(gaps, start, bounds=([0.5, 0.0, 0.2], [1.0, 1.0, 1.0])).x
    limit, height, rate = map(float, found)
    return Curve(limit, height * float(sizes[-1]) ** rate, rate)


def people_needed(
    curves: dict[str, Curve], models: list[str], share_positive: float, precision: Precision
) -> dict[str, int | None]:
    """Find the smallest study that would show what is asked for with 80 % power.

    A study of n people learns from 0.8 n (five folds). None: not within `LARGEST` people.

    Returns
    -------
    dict
        ``above_chance`` for the network; ``above_rival``, if the two were tested.
    """
    sizes = np.unique(np.geomspace(20, LARGEST, 400).round().astype(int))
    groups = [
        (max(2, round(n * share_positive)), max(2, round(n * (1 - share_positive)))) for n in sizes
    ]
    own = curves[models[0]].auc(0.8 * sizes)
    least = [smallest_auc(*group, precision.inflation) for group in groups]
    needed = {"above_chance": _first_size(sizes, own, least)}
    if len(models) > 1 and precision.difference is not None:
        other = curves[models[1]].auc(0.8 * sizes)
        gains = [precision.difference * np.sqrt(precision.n_people / n) for n in sizes]
        needed["above_rival"] = _first_size(sizes, own - other, gains)
    return needed


def curve_lines(
    points: list[dict[str, Any]],
    ahead: list[dict[str, Any]],
    needed: dict[str, int | None],
    models: list[str],
    titles: Mapping[str, str],
) -> list[str]:
    """Put the curve and the look ahead into sentences."""
    lines = []
    for model in models:
        now = [row for row in points if row["model"] == model][-1]
        then = [row for row in ahead if row["model"] == model]
        said = " and ".join(f"{with_interval(r, 'auc')} with {r['n_train']:.0f}" for r in then)
        lines.append(
            f"{name_of(model, titles)}: AUC {with_interval(now, 'auc')} with "
            f"{now['n_train']:.0f} people to learn from; by extrapolation {said}."
        )
    goals = {"above_chance": "chance", "above_rival": name_of(models[-1])}
    for key, n in needed.items():
        lines.append(
            f"To tell the network apart from {goals[key]} with 80 % power, the next study would "
            f"need {f'about {n}' if n else f'more than {LARGEST}'} people"
            f"{'.' if n else ', if it ever could.'}"
        )
    return lines


def _first_size(
    sizes: NDArray[np.int64], reached: Floats, asked: Sequence[float | None]
) -> int | None:
    """Find the smallest size at which what is reached is what is asked for."""
    pairs = zip(sizes, reached, asked, strict=True)
    return next((int(n) for n, value, least in pairs if least is not None and value >= least), None)
