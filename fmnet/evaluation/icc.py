"""Intraclass correlations, their intervals, and how many sessions a reliability takes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f as fisher

Floats = NDArray[np.float64]

#: Beyond so many sessions nobody is told a number.
MOST = 1000


@dataclass(frozen=True, eq=False)
class MeanSquares:
    """Analysis of variance of scans by person and session; of one number or of each voxel.

    Parameters
    ----------
    people, sessions, error : ndarray of float, shape (...)
        Mean squares between people, between sessions, and of what is left.
    n_people, n_sessions : int
        How many there are, n and k.
    df_people : int
        Degrees of freedom between people: n - 1, or fewer where people were compared within folds.
    """

    people: Floats
    sessions: Floats
    error: Floats
    n_people: int
    n_sessions: int
    df_people: int

    @property
    def df_error(self) -> int:
        """Degrees of freedom of what is left."""
        return (self.n_people - 1) * (self.n_sessions - 1)

    def components(self) -> dict[str, Floats]:
        """Compute the variances ``between`` people, between ``sessions``, and ``within`` people.

        They are not negative: an estimate below 0 is 0.
        """
        between = (self.people - self.error) / self.n_sessions
        sessions = (self.sessions - self.error) / self.n_people
        zero = np.zeros_like(self.error)
        return {
            "between": np.maximum(between, zero),
            "sessions": np.maximum(sessions, zero),
            "within": self.error,
        }

    def consistency(self) -> Floats:
        """Compute ICC(3,1): whether people keep their order; shifts of all alike don't count."""
        total = self.people + (self.n_sessions - 1) * self.error
        return _ratio(self.people - self.error, total)

    def agreement(self) -> Floats:
        """Compute ICC(2,1): whether people keep their value; shifts of all alike count as error."""
        k, n = self.n_sessions, self.n_people
        total = self.people + (k - 1) * self.error + k * (self.sessions - self.error) / n
        return _ratio(self.people - self.error, total)


@dataclass(frozen=True)
class Icc:
    """An intraclass correlation of single scans, with its 95 % interval."""

    kind: Literal["ICC(1,1)", "ICC(2,1)", "ICC(3,1)"]
    value: float
    low: float
    high: float


def mean_squares(values: Floats, groups: Sequence[object] | None = None) -> MeanSquares:
    """Split the variance of values, (P, S, ...), of P people in S sessions.

    With `groups`, (P,), people are compared within each alone, as within test folds, whose models
    have no common scale, or within patients and controls.
    """
    n, k = values.shape[:2]
    names = [0] * n if groups is None else list(groups)
    numbers = np.array([sorted(set(names), key=str).index(name) for name in names])
    person, session = values.mean(axis=1), values.mean(axis=0)  # (P, ...), (S, ...)
    grand = values.mean(axis=(0, 1))
    centre = np.stack([person[numbers == one].mean(axis=0) for one in range(numbers.max() + 1)])
    between = k * ((person - centre[numbers]) ** 2).sum(axis=0)
    left = values - person[:, None] - session[None] + grand
    df = n - len(centre)
    if df < 1 or k < 2:
        raise ValueError(f"{n} people in {len(centre)} groups and {k} sessions: none to compare")
    return MeanSquares(
        between / df,
        n * ((session - grand) ** 2).sum(axis=0) / (k - 1),
        (left**2).sum(axis=(0, 1)) / ((n - 1) * (k - 1)),  # shifts between sessions are common
        n,
        k,
        df,
    )


def icc_consistency(squares: MeanSquares, level: float = 0.95) -> Icc:
    """Compute ICC(3,1) of one number with its exact interval.

    References
    ----------
    Shrout, P. E., & Fleiss, J. L. (1979). Intraclass correlations: uses in assessing rater
    reliability. Psychological Bulletin, 86.
    McGraw, K. O., & Wong, S. P. (1996). Forming inferences about some intraclass correlation
    coefficients. Psychological Methods, 1.
    """
    k, dfs = squares.n_sessions, (squares.df_people, squares.df_error)
    ratio, upper = float(_ratio(squares.people, squares.error)), 0.5 + level / 2
    low = ratio / fisher.ppf(upper, *dfs)
    high = ratio * fisher.ppf(upper, *dfs[::-1])
    ends = [(one - 1) / (one + k - 1) if math.isfinite(one) else 1.0 for one in (low, high)]
    return Icc("ICC(3,1)", float(squares.consistency()), *map(float, ends))


def icc_agreement(squares: MeanSquares, level: float = 0.95) -> Icc:
    """Compute ICC(2,1) of one number with its interval, see `icc_consistency`.

    The interval is by Satterthwaite's degrees of freedom: exact but for these.
    """
    n, k = squares.n_people, squares.n_sessions
    people, sessions, error = map(float, (squares.people, squares.sessions, squares.error))
    value = float(squares.agreement())
    if error <= 0:
        return Icc("ICC(2,1)", value, value, value)
    ratio, inner, upper = sessions / error, n * (1 + (k - 1) * value) - k * value, 0.5 + level / 2
    top = squares.df_error * (k * value * ratio + inner) ** 2
    df = top / ((n - 1) * (k * value * ratio) ** 2 + inner**2)
    below = fisher.ppf(upper, squares.df_people, df)
    above = fisher.ppf(upper, df, squares.df_people)
    rest = k * sessions + (k * n - k - n) * error
    low = n * (people - below * error) / (below * rest + n * people)
    high = n * (above * people - error) / (rest + n * above * people)
    return Icc("ICC(2,1)", value, float(low), float(high))


def icc_one_way(values: Sequence[Floats], level: float = 0.95) -> Icc:
    """Compute ICC(1,1) of people with different numbers of scans, whatever the sessions.

    `values` has the scans of each person, of whom each has one at least, some two. The interval is
    exact where all have as many scans, else close to it.
    """
    counts = np.array([len(one) for one in values], float)
    n, total = len(values), counts.sum()
    means = np.array([one.mean() for one in values])
    grand = counts @ means / total
    between = counts @ (means - grand) ** 2 / (n - 1)
    df = int(total) - n
    within = sum(float(((one - one.mean()) ** 2).sum()) for one in values) / df
    usual = (total - (counts**2).sum() / total) / (n - 1)  # scans of a person, as they count
    ratio, upper = float(_ratio(between, np.asarray(within))), 0.5 + level / 2
    ends = ratio / fisher.ppf(upper, n - 1, df), ratio, ratio * fisher.ppf(upper, df, n - 1)
    low, value, high = [
        float((one - 1) / (one + usual - 1)) if math.isfinite(one) else 1.0 for one in ends
    ]
    return Icc("ICC(1,1)", value, low, high)


def lengthened(icc: float, factor: float) -> float:
    """Predict the reliability of the mean of `factor` sessions (Spearman and Brown 1910)."""
    return factor * icc / (1 + (factor - 1) * icc)


def needed(icc: Icc, goal: float) -> dict[str, float | None]:
    """Compute by how much to lengthen scans, or how many sessions, for a reliability of `goal`.

    Returns
    -------
    dict
        ``factor`` and the ends of its 95 % interval, ``low`` and ``high``; None for more than
        `MOST`, or for none at all, where nothing repeats.
    """
    found = {"factor": icc.value, "low": icc.high, "high": icc.low}
    return {name: _factor(one, goal) for name, one in found.items()}


def _factor(icc: float, goal: float) -> float | None:
    if icc >= 1:
        return 0.0
    factor = goal * (1 - icc) / (icc * (1 - goal)) if icc > 0 else math.inf
    return factor if factor <= MOST else None


def _ratio(top: Floats, below: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(top / below)
