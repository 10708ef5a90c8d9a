"""Limits of what gates measure, from training people, of whom each is new to all the others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from fmnet.inference.gate_measures import MEASURES, Measured

Floats = NDArray[np.float64]
#: Fraction of new people like those of training who fail any of these gates, at most: with those
#: of the network's features and of runs, one in twenty.
FALSE_ALARMS = 0.04
#: With fewer people there are no limits that could keep to it.
LEAST_PEOPLE = 15
#: A spread by the median absolute deviation is as sure as one of so many times fewer people by the
#: standard deviation.
MEDIAN_EFFICIENCY = 0.37


@dataclass(frozen=True)
class Limit:
    """Between which values what is measured has to lie: one gate.

    ``measure`` is one of `MEASURES`; ``channel`` the number of the map, None for all together;
    ``false_alarms`` the fraction of people like those of training who fail it.
    """

    measure: str
    channel: int | None
    low: float | None
    high: float | None
    false_alarms: float | None = None


def fit_limits(
    rows: Sequence[Measured], people: NDArray[np.intp]
) -> tuple[tuple[Limit, ...], float | None]:
    """Set limits for what was measured of each scan, so that few new people fail any of them.

    Also gives the fraction of new people who do, as far as the number of people can tell. Of fewer
    than `LEAST_PEOPLE` only what is far beyond all of them fails, and nothing is promised.
    """
    keys, n_people = list(rows[0]), int(people.max()) + 1
    if n_people < LEAST_PEOPLE:
        return _limits_of_few(rows), None
    table = np.array([[MEASURES[key[0]].forward(row[key]) for key in keys] for row in rows])
    sides = np.array([MEASURES[key[0]].sides for key in keys])
    floor = np.array([MEASURES[key[0]].floor for key in keys])
    away = np.empty_like(table)
    for person in range(n_people):
        own = people == person
        middle, spread = _middle_and_spread(table[~own], floor, n_people - 1)
        away[own] = (table[own] - middle) / spread
    # tails share the false alarms; where people aren't as normal numbers are, all limits widen
    shares = np.array([MEASURES[key[0]].share for key in keys])
    part = FALSE_ALARMS * shares / np.sum(shares * np.where(sides == 0, 2, 1))
    width = stdtrit(MEDIAN_EFFICIENCY * n_people, 1 - part)
    beyond = _by_person(_beyond(away, sides) / width, people)
    rank = int(np.ceil((1 - FALSE_ALARMS) * (n_people + 1)))
    widened = max(1.0, float(np.sort(beyond.max(axis=1))[min(rank, n_people) - 1]))
    middle, spread = _middle_and_spread(table, floor, n_people)
    limits = []
    for column, key in enumerate(keys):
        reach = widened * width[column] * spread[column]
        low, high = middle[column] - reach, middle[column] + reach
        limits.append(_limit(key, low, high, _rate(beyond[:, column] > widened)))
    return tuple(limits), _rate(np.asarray((beyond > widened).any(axis=1)))


def _limits_of_few(rows: Sequence[Measured]) -> tuple[Limit, ...]:
    """Set limits a fixed distance beyond everybody's values, of what they say something of."""
    limits = []
    for key in rows[0]:
        kind = MEASURES[key[0]]
        if kind.slack is not None:
            found = [kind.forward(row[key]) for row in rows]
            limits.append(_limit(key, min(found) - kind.slack, max(found) + kind.slack, None))
    return tuple(limits)


def _limit(key: tuple[str, int | None], low: float, high: float, rate: float | None) -> Limit:
    """Set the limits of one measure that are given on its even scale."""
    kind = MEASURES[key[0]]
    least, most = kind.back(float(low)), kind.back(float(high))
    if kind.low_cap is not None:
        least = min(least, kind.low_cap)
    if kind.high_cap is not None:
        most = max(most, kind.high_cap)
    return Limit(*key, least if kind.sides <= 0 else None, most if kind.sides >= 0 else None, rate)


def _by_person(table: Floats, people: NDArray[np.intp]) -> Floats:
    """Take the largest of each person's scans, column by column."""
    return np.stack([table[people == one].max(axis=0) for one in range(int(people.max()) + 1)])


def _rate(has_failed: NDArray[np.bool_]) -> float:
    """Fraction of new people who fail, at most, by those left out who do."""
    return float((np.count_nonzero(has_failed) + 1) / (len(has_failed) + 1))


def _middle_and_spread(table: Floats, floor: Floats, n_people: int) -> tuple[Floats, Floats]:
    """Median of each column, and a standard deviation that heavy tails make larger."""
    middle = np.median(table, axis=0)
    off = np.abs(table - middle)
    # the largest of so many normal numbers is about so many standard deviations away
    usual_extreme = np.sqrt(2 * np.log(max(2 * n_people, 4)))
    spread = np.max([1.4826 * np.median(off, axis=0), off.max(axis=0) / usual_extreme], axis=0)
    return middle, np.maximum(spread, floor)


def _beyond(away: Floats, sides: NDArray[np.int_]) -> Floats:
    """How far values are away on the sides that count."""
    return np.asarray(np.where(sides == 0, np.abs(away), sides * away))
