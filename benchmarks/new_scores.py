"""What a study says of new people beside what is true of them: sets, probabilities, intervals."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.special import betainc, expit, logit
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from fmnet.inference.calibration import Calibration, probability_interval
from fmnet.inference.sets import (
    DELTA,
    SetRule,
    count_outside,
    fit_sets,
    level_of,
    predictive_values,
)
from fmnet.inference.unseen_scores import UnseenScores, gather_unseen
from fmnet.training.calibration import fit_calibration, score_scale

Floats = NDArray[np.float64]
#: Of each group's new people, at which their probabilities are looked at.
QUANTILES = norm.ppf((np.arange(20) + 0.5) / 20)
#: By how many SDs within groups scores are moved out that ought to be called like nobody's.
FAR_OUT = 4.0
#: Bins of equally many people in which what is stated is compared with how many are positive.
N_BINS = 5
#: Draws of labels of a model whose probabilities are right.
N_DRAWS = 50


@dataclass(frozen=True, eq=False)
class ScoredCohort:
    """Out-of-fold scores of a study, and those that its final model gives to new people.

    Parameters
    ----------
    labels, scores, folds : ndarray, shape (N,)
        Of the study's people: 0 or 1, by models that had not seen them, and by which.
    new_positive, new_negative : ndarray of float, shape (M,)
        In any order.
    """

    labels: NDArray[np.int64]
    scores: Floats
    folds: NDArray[np.int64]
    new_positive: Floats
    new_negative: Floats

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> "ScoredCohort":
        """Take what `benchmarks.coverage.score_cohort` gives."""
        return cls(**{name: np.array(values) for name, values in content.items()})

    @property
    def auc(self) -> float:
        """Of the final model on new people."""
        labels = np.repeat([1, 0], [len(self.new_positive), len(self.new_negative)])
        scores = np.concatenate([self.new_positive, self.new_negative])
        return float(roc_auc_score(labels, scores))

    @cached_property
    def unseen(self) -> UnseenScores:
        """What the study's bundle would hold."""
        return gather_unseen(self.scores, self.labels, np.arange(len(self.scores)), self.folds)

    @cached_property
    def by_fold(self) -> UnseenScores:
        """The same, of scores that are standardised within each fold."""
        own = self.scores.copy()
        for number in np.unique(self.folds):
            rows = self.folds == number
            scale = score_scale(own[rows], self.labels[rows])
            own[rows] = (own[rows] - scale.middle) / scale.sd
        whole = score_scale(self.scores, self.labels)
        own = own * whole.sd + whole.middle
        return gather_unseen(own, self.labels, np.arange(len(own)), self.folds)

    @cached_property
    def calibration(self) -> Calibration:
        """As `fmnet.runs.final_models.write_final` fits it."""
        return fit_calibration(self.scores, self.labels, models=self.folds)

    @cached_property
    def truth(self) -> tuple[float, float, float]:
        """Slope and offset of the true log odds of groups equally common, and the common SD."""
        groups = (self.new_positive, self.new_negative)
        high, low = (own.mean() for own in groups)
        variance = np.mean([own.var(ddof=1) for own in groups])
        slope = (high - low) / variance
        return float(slope), float(-slope * (high + low) / 2), float(np.sqrt(variance))


def _one_sided(n_outside: Callable[[int, float], int]) -> Callable[[UnseenScores, float], SetRule]:
    """Build a rule that leaves people outside on the side of the other group, and no others."""

    def rule(unseen: UnseenScores, level: float) -> SetRule:
        positive, negative = unseen.positive, unseen.negative
        low = positive[max(1, n_outside(len(positive), level)) - 1]
        high = negative[-max(1, n_outside(len(negative), level))]
        return SetRule(level, (float(low), np.inf), (-np.inf, float(high)))

    return rule


def _independent(n: int, level: float) -> int:
    """Count as if out-of-fold scores were independent."""
    return sum(bool(betainc(n + 1 - k, k, level) <= DELTA) for k in range(1, n))


def _two_sided(unseen: UnseenScores, level: float) -> SetRule:
    """Leave as many people outside at either end."""
    limits = []
    for own in (unseen.positive, unseen.negative):
        k = max(1, count_outside(len(own), level))
        above = k // 2
        limits.append((float(own[k - above - 1]), float(own[-above]) if above else np.inf))
    return SetRule(level, *limits)


#: Rules that are compared, at the same level.
RULES: dict[str, Callable[[ScoredCohort, float], SetRule]] = {
    "fmnet": lambda cohort, level: fit_sets(cohort.unseen, level),
    "as if independent": lambda cohort, level: _one_sided(_independent)(cohort.unseen, level),
    "no correction": lambda cohort, level: _one_sided(lambda n, x: int((1 - x) * (n + 1) + 1e-9))(
        cohort.unseen, level
    ),
    "standardised by fold": lambda cohort, level: fit_sets(cohort.by_fold, level),
    "two sides": lambda cohort, level: _two_sided(cohort.unseen, level),
}


def measure_sets(cohort: ScoredCohort, level: float) -> list[dict[str, Any]]:
    """Apply every rule to new people, at a level or the largest that can be promised.

    Returns
    -------
    list of dict
        Of each rule: which fraction of either group's sets holds the group; of both together, the
        fractions of sets of the right and the wrong group alone, of both and of none; and how many
        of those whose score is moved out by `FAR_OUT` have a set of none.
    """
    level, sd, found = level_of(cohort.unseen, level), cohort.truth[2], []
    for name, rule in RULES.items():
        own = rule(cohort, level)
        held = [_held(own, new) for new in (cohort.new_positive, cohort.new_negative)]
        moved = [
            _held(own, cohort.new_positive + FAR_OUT * sd),
            _held(own, cohort.new_negative - FAR_OUT * sd),
        ]
        right, other = np.stack([held[0], held[1][::-1]]).swapaxes(0, 1)
        found.append(
            {
                "rule": name,
                "level": level,
                "positive": float(held[0][0].mean()),
                "negative": float(held[1][1].mean()),
                "right": float((right & ~other).mean()),
                "wrong": float((other & ~right).mean()),
                "both": float((right & other).mean()),
                "neither": float((~right & ~other).mean()),
                "far_out": float(np.mean([~one.any(axis=0) for one in moved])),
            }
        )
    return found


def _held(rule: SetRule, scores: Floats) -> NDArray[np.bool_]:
    """Tell of scores, (M,), whether sets hold the positive and the negative group: (2, M)."""
    return np.array([rule.holds(score) for score in scores]).T


def summarise_sets(rows: pd.DataFrame) -> pd.DataFrame:
    """Average over cohorts, and count those in which a group's sets fall short of the level."""
    for group in ("positive", "negative"):
        rows[f"short_{group}"] = rows[group] < rows["level"]
    rows["short_either"] = rows["short_positive"] | rows["short_negative"]
    keys = ["n_positive", "n_negative", "effect_size", "asked", "rule"]
    table = rows.groupby(keys, sort=False).mean(numeric_only=True)
    table["n_cohorts"] = rows.groupby(keys, sort=False).size()
    return table.drop(columns="cohort").reset_index()


def measure_probabilities(cohort: ScoredCohort, prevalence: float) -> list[dict[str, Any]]:
    """Compare stated probabilities, intervals and predictive values with the truth.

    Returns
    -------
    list of dict
        Of each kind of interval: how many true values lie within, and how wide it is; of
        probabilities how far off they are, and the calibration error among as many new people as
        the study had, beside that of a model whose probabilities are right.
    """
    slope, offset, sd = cohort.truth
    means = cohort.new_positive.mean(), cohort.new_negative.mean()
    scores = np.concatenate([mean + sd * QUANTILES for mean in means])
    weights = np.repeat([prevalence, 1 - prevalence], len(QUANTILES)) / len(QUANTILES)
    true = expit(slope * scores + offset + logit(prevalence))
    stated = cohort.calibration.at_prevalence(prevalence).probability(scores)
    intervals = {
        "bootstrap of people": [
            probability_interval(cohort.unseen, cohort.calibration, score, prevalence)
            for score in scores
        ],
        "Venn-Abers": [venn_abers(cohort.unseen, score, prevalence) for score in scores],
    }
    common = {
        "off": float(weights @ np.abs(stated - true)),
        **_calibration_errors(cohort),
    }
    found = []
    for name, pairs in intervals.items():
        low, high = np.array(pairs).T
        is_within = (low <= true) & (true <= high)
        own = {"within": float(weights @ is_within), "width": float(weights @ (high - low))}
        found.append({"interval": name, **own, **common})
    return [*found, *_predictive(cohort, prevalence, 0.8)]


def _predictive(cohort: ScoredCohort, prevalence: float, level: float) -> list[dict[str, Any]]:
    """Look whether predictive values of sets lie within their intervals."""
    stated = predictive_values(cohort.unseen, level, prevalence)
    rule = fit_sets(cohort.unseen, level)
    shares = []
    for new in (cohort.new_positive, cohort.new_negative):
        held = _held(rule, new)
        shares.append([(held[0] & ~held[1]).mean(), (held[1] & ~held[0]).mean()])
    odds, found = (prevalence, 1 - prevalence), []
    for name, rate, number in (("PPV", stated.positive, 0), ("NPV", stated.negative, 1)):
        right = odds[number] * shares[number][number]
        wrong = odds[1 - number] * shares[1 - number][number]
        if right + wrong > 0 and rate is not None:
            true = right / (right + wrong)
            found.append(
                {
                    "interval": f"{name} of sets",
                    "within": float(rate.low <= true <= rate.high),
                    "width": rate.high - rate.low,
                    "off": abs(rate.value - true),
                }
            )
    return found


def venn_abers(unseen: UnseenScores, score: float, prevalence: float) -> tuple[float, float]:
    """Give the two probabilities of Vovk and Petej (2014), were the person of either group.

    Each is of an isotonic fit to the study's people and this one.
    """
    found = []
    for is_positive in (False, True):
        groups = [unseen.positive, unseen.negative]
        number = 0 if is_positive else 1
        groups[number] = np.append(groups[number], score)
        x, sizes = np.concatenate(groups), [len(own) for own in groups]
        y = np.repeat([1.0, 0.0], sizes)
        weights = np.repeat([prevalence / sizes[0], (1 - prevalence) / sizes[1]], sizes)
        levels, inverse = np.unique(x, return_inverse=True)
        summed = np.bincount(inverse, weights)
        fit = isotonic_regression(np.bincount(inverse, weights * y) / summed, weights=summed).x
        found.append(float(fit[np.searchsorted(levels, score)]))
    return min(found), max(found)


def _calibration_errors(cohort: ScoredCohort) -> dict[str, float]:
    """Measure the calibration error among as many new people, groups alike, and at its best."""
    rng = np.random.default_rng(0)
    n = min(len(cohort.unseen.positive), len(cohort.unseen.negative))
    order = rng.permutation(2 * n)  # of equal probabilities, none comes first
    scores = np.concatenate([cohort.new_positive[:n], cohort.new_negative[:n]])[order]
    stated = cohort.calibration.at_prevalence(0.5).probability(scores)
    error = _binned_error(stated, np.repeat([1.0, 0.0], n)[order])
    perfect = [
        _binned_error(stated, (rng.random(2 * n) < stated).astype(float)) for _ in range(N_DRAWS)
    ]
    return {"calibration_error": error, "of_a_perfect_model": float(np.mean(perfect))}


def _binned_error(stated: Floats, labels: Floats) -> float:
    """Average over bins how far the share of positive people is from the mean that is stated."""
    bins = np.array_split(np.argsort(stated, kind="stable"), N_BINS)
    gaps = [abs(stated[own].mean() - labels[own].mean()) * len(own) for own in bins]
    return float(sum(gaps) / len(stated))


def summarise_probabilities(rows: pd.DataFrame) -> pd.DataFrame:
    """Average over cohorts."""
    keys = ["n_positive", "n_negative", "effect_size", "prevalence", "interval"]
    table = rows.groupby(keys, sort=False).mean(numeric_only=True)
    table["n_cohorts"] = rows.groupby(keys, sort=False).size()
    return table.drop(columns="cohort").reset_index()
