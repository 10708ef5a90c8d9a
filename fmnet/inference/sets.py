"""Sets: the groups that a new score can't rule out, at a level that holds in most studies.

They are class-conditional and conformal: a group is ruled out for a score that lies where few of
its own people were. How few is chosen such that not only the mean over studies keeps the level, but
all studies except for a fraction `DELTA` of them do.

References
----------
Vovk, V. (2012). Conditional validity of inductive conformal predictors. ACML. The small-sample
correction ("PAC"): what fraction of new people a limit lets pass has a beta distribution.
Vovk, V. (2015). Cross-conformal predictors. Annals of Mathematics and Artificial Intelligence, 74.
"""

from dataclasses import dataclass

from scipy.stats import beta

from fmnet.inference.unseen_scores import UnseenScores

#: Fraction of studies that may fall short of the level, for each group.
DELTA = 0.1


def promised_level(n: int, delta: float = DELTA) -> float:
    """Compute the largest level that so many people of a group can promise.

    It is kept by ruling out what lies beyond all of them: ``level ** n = delta``.
    """
    return float(delta ** (1 / n))


def count_outside(n: int, level: float, delta: float = DELTA) -> int:
    """Count how many of a group's people may be left outside for a level: 0 if none may.

    With K of N left outside, the fraction of new people inside has the distribution beta(N + 1 - K,
    K); it is less than the level in a fraction `delta` of studies at most.
    """
    n_outside = 0
    while n_outside < n and beta.cdf(level, n - n_outside, n_outside + 1) <= delta:
        n_outside += 1
    return n_outside


@dataclass(frozen=True)
class SetRule:
    """Which groups a score can't rule out.

    Parameters
    ----------
    level : float
        That is promised: the fraction of each group's people whose set holds their group.
    positive, negative : (float, float)
        Between which scores a set holds the group.
    """

    level: float
    positive: tuple[float, float]
    negative: tuple[float, float]

    def holds(self, score: float) -> tuple[bool, bool]:
        """Tell whether a score's set holds the positive and the negative group."""
        (low, high), (least, most) = self.positive, self.negative
        return low <= score <= high, least <= score <= most


def level_of(unseen: UnseenScores, level: float) -> float:
    """Take the level that is asked for, or the largest that the smaller group can promise."""
    return min(level, promised_level(min(len(unseen.positive), len(unseen.negative))))


def fit_sets(unseen: UnseenScores, level: float) -> SetRule:
    """Find the limits of both groups for a level, or for the largest that can be promised."""
    level = level_of(unseen, level)
    n_low, n_high = (
        # of a level that is just the promise rounding may leave none
        max(1, count_outside(len(own), level))
        for own in (unseen.positive, unseen.negative)
    )
    low, high = unseen.positive[n_low - 1], unseen.negative[-n_high]
    return SetRule(level, (float(low), float("inf")), (float("-inf"), float(high)))


def level_sentence(unseen: UnseenScores, level: float) -> str:
    """Say which level sets have, and why not the one that was asked for."""
    kept = level_of(unseen, level)
    said = (
        f"Sets hold the group of {100 * kept:.3g} % of the people of each group at least, in nine "
        "of ten studies."
    )
    if kept == level:
        return said
    n = min(len(unseen.positive), len(unseen.negative))
    return f"{said} {100 * level:.3g} % can't be promised with {n} people of a group."
