"""Sets: the groups that a new score can't rule out, at a level that holds in most studies.

They are conformal, and by group: a group is ruled out for a score that lies where few of its own
people were. How few is chosen such that not only the mean over studies keeps the level, but all
studies except for a fraction `DELTA` of them.

A group is ruled out on the side of the other group alone: a score that speaks for it very clearly
is no reason against it. Rules with two sides, which give up as many people at either end, tell
fewer people apart at the same level, and call those the strangest who are the most typical. What
lies beyond all that is to be expected of a group (`STRANGE`) is ruled out as well, so that a score
like nobody's is called that.

References
----------
Vovk, V. (2012). Conditional validity of inductive conformal predictors. ACML. The small-sample
correction ("PAC"): what fraction of new people a limit lets pass has a beta distribution.
Vovk, V. (2015). Cross-conformal predictors. Annals of Mathematics and Artificial Intelligence, 74.
Ding, T., et al. (2023). Class-conditional conformal prediction with many classes. NeurIPS.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import betainc, betaincinv, ndtr, stdtrit

from fmnet.inference.unseen_scores import (
    DEPENDENCE,
    INTERVAL_DEPENDENCE,
    Floats,
    UnseenScores,
)

#: Fraction of studies that may fall short of the level, for each group.
DELTA = 0.1
#: Draws of people for the intervals of predictive values; least SD of scores, and least fraction of
#: people that have a set, for it to be worth anything.
N_DRAWS, LEAST_SD, LEAST_SHARE = 1000, 1e-9, 1e-12
#: Fraction of a group's new people whose score is taken to be like nobody's, were scores normal.
STRANGE = 0.001


def promised_level(n: int) -> float:
    """Compute the largest level that so many people of a group can promise.

    It is kept by ruling out only what lies beyond all of them, see `count_outside`.
    """
    return float(betaincinv(n / DEPENDENCE, 1 / DEPENDENCE, DELTA)) - STRANGE


@lru_cache(maxsize=4096)
def count_outside(n: int, level: float) -> int:
    """Count how many of a group's people a limit may leave outside for a level; 0 if none.

    With K of N left outside, the last of them the limit, the fraction of new people inside has the
    distribution beta(N + 1 - K, K) if scores are independent, and a broader one with the same mean
    as they are not. It is less than the level in a fraction `DELTA` of studies at most.
    """

    def short(n_outside: int) -> float:
        shape = (n + 1 - n_outside) / DEPENDENCE, n_outside / DEPENDENCE
        return float(betainc(*shape, level + STRANGE))

    n_outside = 0
    while n_outside < n and short(n_outside + 1) <= DELTA:
        n_outside += 1
    return n_outside


@dataclass(frozen=True)
class SetRule:
    """Which groups a score can't rule out.

    Parameters
    ----------
    level : float
        That is promised: the fraction of each group's people, at least, whose set holds their
        group.
    positive, negative : (float, float)
        Between which scores a set holds the group, limits included.
    """

    level: float
    positive: tuple[float, float]
    negative: tuple[float, float]

    def holds(self, score: float) -> tuple[bool, bool]:
        """Tell whether a score's set holds the positive and the negative group."""
        (low, high), (least, most) = self.positive, self.negative
        return low <= score <= high, least <= score <= most

    def groups(self, score: float, names: Sequence[str]) -> tuple[str, ...]:
        """Name the groups of a score's set, of the positive and the negative one."""
        return tuple(name for name, held in zip(names, self.holds(score), strict=True) if held)


@dataclass(frozen=True)
class Rate:
    """A fraction with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PredictiveValues:
    """What a set of one group alone is worth at a prevalence.

    Parameters
    ----------
    prevalence : float
        Fraction of the positive group among those who are scanned.
    positive, negative : Rate or None
        Fraction of those with that set who are of that group: the positive and the negative
        predictive value. None where no score has that set.
    """

    prevalence: float
    positive: Rate | None
    negative: Rate | None


def level_of(unseen: UnseenScores, level: float) -> float:
    """Take the level that is asked for, or the largest that the smaller group can promise."""
    return min(level, promised_level(min(len(unseen.positive), len(unseen.negative))))


def fit_sets(unseen: UnseenScores, level: float) -> SetRule:
    """Find the limits of both groups for a level, or for the largest that can be promised.

    Where groups are told apart more surely than the level asks for, limits at it would leave people
    between the groups to neither; no more are left outside then than where the groups meet.
    """
    level = level_of(unseen, level)
    # ascending from the side of the other group, for both
    both = positive, negative = unseen.positive, -unseen.negative[::-1]
    # rounding may leave none of a level that is just the promise
    n_positive, n_negative = (
        min(max(1, count_outside(len(own), level)), most)
        for own, most in zip(both, _most_outside(positive, negative), strict=True)
    )
    low, high = float(positive[n_positive - 1]), -float(negative[n_negative - 1])
    return SetRule(level, (low, _furthest(positive)), (-_furthest(negative), high))


def _most_outside(positive: Floats, negative: Floats) -> tuple[int, int]:
    """Count how many of each group, alike in fraction, a limit leaves outside where both meet.

    Both ascend from the side of the other group, so that negative scores have their signs changed.
    It depends on no level, so that a higher one never rules out more.
    """
    n_positive, n_negative = len(positive), len(negative)
    while positive[n_positive - 1] > -negative[n_negative - 1] and max(n_positive, n_negative) > 1:
        is_more = n_positive / len(positive) >= n_negative / len(negative)
        if n_negative == 1 or (n_positive > 1 and is_more):
            n_positive -= 1
        else:
            n_negative -= 1
    return n_positive, n_negative


def _furthest(scores: Floats) -> float:
    """Say beyond which score a group's people are not to be expected; nor were there any."""
    n = len(scores)
    if n < 2:
        return float("inf")
    away = stdtrit(n - 1, 1 - STRANGE) * np.std(scores, ddof=1) * np.sqrt(1 + 1 / n)
    return max(float(scores[-1]), float(np.mean(scores) + away))


def predictive_values(unseen: UnseenScores, level: float, prevalence: float) -> PredictiveValues:
    """Say what sets of one group alone are worth at a prevalence.

    How many new people of either group get them follows from the normal distributions of the
    study's scores, which tell more than counting the few whose sets are wrong; intervals from a
    bootstrap over people, of whom `INTERVAL_DEPENDENCE` times fewer are drawn than there are.
    """
    rule, rng = fit_sets(unseen, level), np.random.default_rng(0)
    (low, high), (least, most) = rule.positive, rule.negative
    ranges = (max(low, most), high), (least, min(most, low))
    stated, drawn = [], []
    for own in (unseen.positive, unseen.negative):
        n_drawn = max(2, round(len(own) / INTERVAL_DEPENDENCE))
        again = own[rng.integers(len(own), size=(N_DRAWS, n_drawn))]
        stated.append(_shares(own[None], ranges)[0])
        drawn.append(_shares(again, ranges))
    odds = np.array([prevalence, 1 - prevalence])

    def rate(number: int) -> Rate | None:
        # of the positive and of the negative group: (2,), and (B, 2)
        shares = np.array(stated)[:, number], np.stack(drawn, axis=1)[..., number]
        if not shares[0].max() > LEAST_SHARE:
            return None
        value, again = (
            (odds * own)[..., number] / np.maximum((odds * own).sum(axis=-1), LEAST_SHARE)
            for own in shares
        )
        found = np.quantile(again, [0.025, 0.975])
        low, high = float(min(found[0], value)), float(max(found[1], value))
        return Rate(float(value), low, high)

    return PredictiveValues(prevalence, rate(0), rate(1))


def _shares(scores: Floats, ranges: Sequence[tuple[float, float]]) -> Floats:
    """Compute how much of the normal distribution of scores, (B, N), ranges hold: (B, R)."""
    middle, n = scores.mean(axis=1), scores.shape[1]
    sd = np.maximum(scores.std(axis=1) * np.sqrt(n / max(n - 1, 1)), LEAST_SD)
    limits = (np.array(ranges)[:, :, None] - middle) / sd  # (R, 2, B)
    return np.asarray(np.diff(ndtr(limits), axis=1)[:, 0].T)


def level_sentence(unseen: UnseenScores, level: float) -> str:
    """Say which level sets have, and why not the one that was asked for."""
    kept = level_of(unseen, level)
    told = np.floor(1000 * kept + 1e-9) / 10  # rounded, it would promise too much
    said = (
        f"A set holds the group of at least {told:g} % of the people of each group who are scanned "
        f"as the study's were, in {100 * (1 - DELTA):g} % of studies like this one."
    )
    if kept == level:
        return said
    n = min(len(unseen.positive), len(unseen.negative))
    return (
        f"{said} More, as the {100 * level:.3g} % asked for, {n} people of a group can't promise."
    )
