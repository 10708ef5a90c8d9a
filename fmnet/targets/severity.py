"""Targets that are graded: a number on a scale, and ordered levels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import t as student
from torch.nn.functional import logsigmoid
from torchmetrics import Metric
from torchmetrics.regression import SpearmanCorrCoef

from fmnet.data.covariates import ACCEPTED_NUMBERS, read_numbers, sentinels
from fmnet.data.outcomes import Numbers, Outcomes
from fmnet.data.tables import normal_text, say_some
from fmnet.errors import Fault
from fmnet.evaluation.graded import (
    centred_within,
    concordance_within,
    correlation_within,
    fold_numbers,
    held_out_means,
    rank_correlation_within,
    split_variance,
)
from fmnet.inference.links import CumulativeLink, LinearLink
from fmnet.networks.heads import Head, LossFunction
from fmnet.targets.base import Meaning, Null, Primary, Said, Target, unit_responses
from fmnet.targets.sentences import answer, beside
from fmnet.targets.shrinkage import SLOPES, believed_slope, person_weights
from fmnet.types import Several

#: Fewest people whose errors tell the 5th and the 95th percentile.
ENOUGH_FOR_QUANTILES = 19
#: Standard deviations of the logistic distribution, for slopes in log odds.
LOGISTIC = 1.7
#: Parts of the cohort that folds are dealt alike in.
N_STRATA = 4


class GradedHead(Head):
    """One output is the score; learned by squared error, or the function given."""

    def forward(self, outputs: torch.Tensor) -> torch.Tensor:
        """Take the outputs as they are: (..., 1) to (..., 1)."""
        return outputs

    def loss(
        self,
        outputs: torch.Tensor,
        target: torch.Tensor,
        balance: torch.Tensor,  # noqa: ARG002 (all scans alike)
        function: LossFunction | None = None,
    ) -> torch.Tensor:
        """Compute the squared error, or the function given, of standardised numbers, (..., 1).

        It is 0 where the number isn't known.
        """
        is_known = torch.isfinite(target[..., 0])
        score, number = self(outputs).float(), torch.nan_to_num(target).float()
        every = (score - number) ** 2 if function is None else function(score, number)
        return every.expand(score.shape)[..., 0] * is_known

    def metrics(self) -> dict[str, Metric]:
        """Build Spearman's correlation."""
        return {"spearman": OfKnown(SpearmanCorrCoef())}


class OrdinalHead(GradedHead):
    """One output shifts all levels: the loss is that of cumulative logits.

    Targets hold the level and, after it, the thresholds: log odds of the training people to be at
    or below each level. They stay as they are, so that an output of 0 says what those people show;
    how far apart they should be once scans tell something, the link finds.
    """

    def loss(
        self,
        outputs: torch.Tensor,
        target: torch.Tensor,
        balance: torch.Tensor,
        function: LossFunction | None = None,
    ) -> torch.Tensor:
        """Compute the negative log-likelihood of the level; a function gets output and level."""
        if function is not None:
            return super().loss(outputs, target[..., :1], balance, function)
        is_known = torch.isfinite(target[..., 0])
        level = torch.nan_to_num(target[..., :1]).long()
        edges = torch.nan_to_num(target[..., 1:]).float()
        far = torch.full_like(edges[..., :1], 1e4)
        edges = torch.cat([-far, edges, far], dim=-1)  # (..., L + 1)
        score = self(outputs).float()
        below, above = edges.gather(-1, level), edges.gather(-1, level + 1)
        # log of sigmoid(score - below) - sigmoid(score - above)
        found = (
            logsigmoid(score - below)
            + logsigmoid(above - score)
            + torch.log(-torch.expm1(below - above))
        )
        return -found[..., 0] * is_known

    def metrics(self) -> dict[str, Metric]:
        """Build Spearman's correlation with the level."""
        return {"spearman": OfKnown(SpearmanCorrCoef())}


class OfKnown(Metric):  # type: ignore[misc]
    """Another metric, of scores and the first column of targets, of the scans where it is known."""

    full_state_update = False

    def __init__(self, metric: Metric) -> None:
        super().__init__()
        self.metric = metric

    def update(self, scores: torch.Tensor, target: torch.Tensor) -> None:
        """Take scores, (B, 1), and targets, (B, D)."""
        is_known = torch.isfinite(target[:, 0])
        if is_known.any():
            self.metric.update(scores[is_known, 0], target[is_known, 0].float())

    def compute(self) -> Any:
        """Compute it."""
        return self.metric.compute()

    def reset(self) -> None:
        """Start anew."""
        super().reset()
        self.metric.reset()


@dataclass(frozen=True)
class Severity(Target):
    """How much of something a person has: a number with a unit.

    Parameters
    ----------
    column : str
        Of the tables: ``fiqr``, ``wpi``, ``pain_vas``, ...
    unit : str
        Of the number, as reports write it: ``FIQ-R points``.
    lowest, highest : float, optional
        Ends of the scale; numbers beyond are faults, and none is predicted.
    min_people : int
        Fewest people with a number.
    """

    kind: ClassVar[str] = "severity"
    title: ClassVar[str] = "how severe it is"

    column: str
    unit: str = "points"
    lowest: float | None = None
    highest: float | None = None
    min_people: Several = 20

    @property
    def columns(self) -> dict[str, str]:
        """Take the number from its column."""
        return {"value": self.column}

    def read(self, texts: pd.DataFrame) -> tuple[Self, dict[str, Numbers], list[Fault]]:
        """Read numbers; what is none, or off the scale, is a fault of the person."""
        numbers = read_numbers(texts[self.column])
        low, high = self._ends
        is_off = (numbers.values < low) | (numbers.values > high)
        odd = np.isin(numbers.values, sentinels(numbers.values)) & ~is_off
        scale = f"{ACCEPTED_NUMBERS}, from {low:g} to {high:g}"
        action = "correct the cell, or write n/a where the number isn't known"
        faults = [
            Fault(f"{person}, {self.column}", repr(str(text)), scale, action, str(person))
            for person, text in texts.loc[
                numbers.is_wrong | is_off | odd, ["participant_id", self.column]
            ].itertuples(index=False)
        ]
        values = np.where(is_off | odd, np.nan, numbers.values)
        return self, {"value": values}, faults

    @property
    def _ends(self) -> tuple[float, float]:
        low = -np.inf if self.lowest is None else self.lowest
        return low, np.inf if self.highest is None else self.highest

    def check(self, outcomes: Outcomes) -> list[Fault]:
        """Find too few people, and numbers that are all alike."""
        return _check_graded(self.column, outcomes, outcomes["value"], self.min_people)

    def check_training(self, train: Outcomes, where: str) -> list[Fault]:
        """Find training people who all have one number."""
        return _check_varies(self.column, train["value"], where)

    def strata(self, outcomes: Outcomes) -> list[str]:
        """Name the quarter of the cohort that a family's mean number lies in, by ranks."""
        means = pd.Series(outcomes["value"]).groupby(list(outcomes.units)).mean()
        quarter = np.ceil(means.rank(pct=True) * N_STRATA).astype(int)
        return [f"quarter {quarter[unit]}" for unit in outcomes.units]

    @property
    def score_names(self) -> tuple[str, ...]:
        """One score."""
        return ("score",)

    def head(self) -> Head:
        """Build a head that learns standardised numbers by squared error."""
        return GradedHead()

    def fit_null(self, outcomes: Outcomes, train: NDArray[np.intp]) -> Null:
        """Take the training people's mean from each number, over their standard deviation."""
        responses = unit_responses(outcomes["value"][:, None], train)
        return Null(responses, responses)

    def fit_link(self, scores: Numbers, outcomes: Outcomes) -> LinearLink:
        """Fit the line from scores to numbers, its slope shrunken, and its errors' percentiles.

        Errors are those of people left out of the line as well; each person counts once.
        """
        x, y = scores[:, 0].astype(float), outcomes["value"]
        is_known = np.isfinite(x) & np.isfinite(y)
        x, y = x[is_known], y[is_known]
        people = tuple(np.array(outcomes.participants)[is_known])
        weights, n = person_weights(people), len(set(people))
        share = weights / weights.sum()
        x_mean, y_mean = share @ x, share @ y
        x_left, y_left = x - x_mean, y - y_mean
        x_square = share @ x_left**2
        slope = 0.0
        if x_square > (1e-9 * np.abs(x).max()) ** 2:
            likeliest = share @ (x_left * y_left) / x_square
            error = np.sqrt(share @ (y_left - likeliest * x_left) ** 2)
            error = max(error, 1e-3 * np.sqrt(share @ y_left**2))
            slopes = SLOPES * error / np.sqrt(x_square) / LOGISTIC
            squares = share @ (y_left[:, None] - x_left[:, None] * slopes) ** 2
            shrunken = believed_slope(-n / 2 * np.log(np.maximum(squares, error**2) / error**2))
            slope = shrunken * error / np.sqrt(x_square) / LOGISTIC
        leverage = share + (share * x_left**2 / x_square if slope else 0)
        errors = (y_left - slope * x_left) / (1 - np.minimum(leverage, 0.5))
        below, above = _ninety_percent(errors, share, n)
        intercept = float(y_mean - slope * x_mean)
        return LinearLink(float(slope), intercept, below, above, "value", self.lowest, self.highest)

    @property
    def primary(self) -> Primary:
        """R2 of people who were left out."""
        return Primary("r2", "R²", 0.0)

    def figures(self, rows: pd.DataFrame) -> dict[str, float]:
        """Compute how near predicted numbers come, and how they go along with the true ones.

        Returns
        -------
        dict
            ``r2``: 1 less the squared errors over those of the mean of the other folds, which may
            be below 0; ``mae`` and, of the other folds' median, ``mae_median``; ``spearman`` and
            ``pearson`` of scores within folds; ``slope`` of numbers on predictions within folds,
            1 where they are neither too extreme nor too cautious; ``intercept`` of the line with
            that slope; ``coverage`` of the 90 % intervals and their mean ``width``. Where people
            have several scans: ``share_between``, of the variance between people in that of the
            numbers; ``r2_between`` and ``r2_within``, by what part errors vary less between people
            and within them; ``r2_from_between`` and ``r2_from_within``, whose sum is ``r2``.
        """
        y, predicted = rows["outcome_value"].to_numpy(float), rows["value"].to_numpy(float)
        score, group = rows["score"].to_numpy(float), fold_numbers(rows)
        repeat, fold = rows["repeat"].to_numpy(np.intp), rows["fold"].to_numpy(np.intp)
        low, high = rows["value_low"].to_numpy(float), rows["value_high"].to_numpy(float)
        known = y - held_out_means(y, repeat, fold)
        error, total = y - predicted, known @ known
        slope = _slope_within(predicted, y, group)
        found = {
            "r2": 1 - float(error @ error / total) if total else np.nan,
            "mae": float(np.abs(error).mean()),
            "mae_median": float(np.abs(y - _held_out_medians(y, repeat, fold)).mean()),
            "spearman": rank_correlation_within(score, y, group),
            "pearson": correlation_within(score, y, group),
            "slope": slope,
            "intercept": float(y.mean() - slope * predicted.mean()),
            "coverage": float(((y >= low) & (y <= high)).mean()),
            "width": float((high - low).mean()),
        }
        return found | _between_and_within(rows, known, error)

    def details(self, rows: pd.DataFrame) -> dict[str, Any]:
        """List people with number and prediction, calibration by tenths, and the variances."""
        return {
            "unit": self.unit,
            "people": _people(rows, "outcome_value", ["value", "value_low", "value_high"]),
            "calibration": _by_tenths(rows["value"], rows["outcome_value"]),
        }

    def statistic(self, scores: Numbers, outcomes: Outcomes, fold: NDArray[np.intp]) -> float:
        """Pool the correlations of scores and numbers within folds."""
        return correlation_within(scores[:, 0].astype(float), outcomes["value"], fold)

    @property
    def meanings(self) -> tuple[Meaning, ...]:
        """Say what the number and the ends of its interval are."""
        means = f"the {self.column} that people with such a scan have on average, by this model"
        return (
            Meaning("value", self.unit, means, "no measurement of this person, who may differ"),
            *(
                Meaning(
                    f"value_{end}",
                    self.unit,
                    f"{side} end of the interval that holds the {self.column} of 90 % of new people"
                    " like those studied",
                    "no range in which this person would vary from day to day",
                )
                for end, side in (("low", "lower"), ("high", "upper"))
            ),
        )

    def summary(self, outcomes: Outcomes) -> str:
        """Say how many people there are, and what numbers they have."""
        y, n = outcomes["value"], len(set(outcomes.participants))
        scans = f" ({len(outcomes)} scans)" if len(outcomes) > n else ""
        low, middle, high = np.nanquantile(y, [0, 0.5, 1])
        return (
            f"{n} people{scans}, {self.column} {low:g} to {high:g} {self.unit}, median {middle:g}"
        )

    def verdict(self, facts: Mapping[str, Any]) -> list[Said]:
        """Say whether scans tell the number, beside what, and how near predictions come."""
        own = facts["models"][facts["studied"]]
        said = [answer(facts, self.primary, f"scans tell {self.column} of new people")]
        said += beside(facts, self.primary)
        if own["mae"] is not None:
            said.append(
                Said(
                    f"Predictions are off by {own['mae']:.3g} {self.unit} on average, the median of"
                    f" the training people by {own['mae_median']:.3g}"
                )
            )
        return said


@dataclass(frozen=True)
class Ordinal(Target):
    """Which of several ordered levels a person is at.

    Parameters
    ----------
    column : str
        Of the tables.
    levels : list of str
        Values of the column from the lowest to the highest level, all of them.
    min_people : int
        Fewest people at a level.
    """

    kind: ClassVar[str] = "ordinal"
    title: ClassVar[str] = "which level it has"

    column: str
    levels: Sequence[str] = field(default_factory=tuple)
    min_people: Several = 5

    @property
    def columns(self) -> dict[str, str]:
        """Take the level from its column."""
        return {"level": self.column}

    def read(self, texts: pd.DataFrame) -> tuple[Self, dict[str, Numbers], list[Fault]]:
        """Turn levels into numbers from 0; other texts are faults of the person."""
        place = {normal_text(str(name)): k for k, name in enumerate(self.levels)}
        cells = [normal_text(str(text)) for text in texts[self.column]]
        values = np.array([place.get(cell, np.nan) for cell in cells], dtype=float)
        accepted = f"one of target.levels: {say_some(place)}; n/a if missing"
        action = "correct the cell, or complete target.levels"
        people = texts["participant_id"].astype(str)
        faults = [
            Fault(f"{person}, {self.column}", repr(cell), accepted, action, person)
            for person, cell in zip(people, cells, strict=True)
            if cell and cell not in place
        ]
        return self, {"level": values}, faults

    def check(self, outcomes: Outcomes) -> list[Fault]:
        """Find levels that nobody, or hardly anybody, is at."""
        level, people = outcomes["level"], np.array(outcomes.participants)
        counts = [len(set(people[level == k])) for k in range(len(self.levels))]
        few = {name: n for name, n in zip(self.levels, counts, strict=True) if n < self.min_people}
        if not few and len(self.levels) >= 3:
            return []
        found = ", ".join(f"{n} at '{name}'" for name, n in few.items())
        if len(self.levels) < 3:
            found, action = (
                f"{len(self.levels)} levels",
                "name three or more, or use target=classes",
            )
        else:
            action = "put neighbouring levels together in the table, or lower target.min_people"
        accepted = f"three levels or more, {self.min_people} people or more at each"
        return [Fault(f"target, {self.column}", found, accepted, action)]

    def check_training(self, train: Outcomes, where: str) -> list[Fault]:
        """Find training people who are all at one level."""
        return _check_varies(self.column, train["level"], where)

    def strata(self, outcomes: Outcomes) -> list[str]:
        """Name the level of each scan."""
        return [str(self.levels[int(level)]) for level in outcomes["level"]]

    @property
    def score_names(self) -> tuple[str, ...]:
        """One score."""
        return ("score",)

    def head(self) -> Head:
        """Build a head that learns levels by cumulative logits."""
        return OrdinalHead()

    def fit_null(self, outcomes: Outcomes, train: NDArray[np.intp]) -> Null:
        """Score each level by the training people below it, less those above it (ridits).

        That is the derivative of the cumulative logits' likelihood. Losses are the level and the
        thresholds of the training people.
        """
        level = outcomes["level"]
        shares = self._shares(level[train], np.ones(len(train)))
        below = np.cumsum(shares) - shares
        is_known = np.isfinite(level)
        place = np.where(is_known, level, 0).astype(int)
        ridit = np.where(is_known, 2 * below[place] + shares[place] - 1, np.nan)
        thresholds = np.tile(logit(np.cumsum(shares)[:-1]), (len(level), 1))
        losses = np.concatenate([level[:, None], thresholds], axis=1).astype(np.float32)
        return Null(unit_responses(ridit[:, None], train), losses)

    def _shares(self, level: Numbers, weights: Numbers) -> Numbers:
        """Compute the share of each level, (L,); one half of a person more at each of them."""
        own = np.isfinite(level)
        n = len(self.levels)
        counts = np.bincount(level[own].astype(int), weights[own], n) + 0.5
        return np.asarray(counts / counts.sum())

    def fit_link(self, scores: Numbers, outcomes: Outcomes) -> CumulativeLink:
        """Fit cumulative logits whose slope is shrunken and whose levels have their own shares."""
        x, level = scores[:, 0].astype(float), outcomes["level"]
        is_known = np.isfinite(x) & np.isfinite(level)
        x, level = x[is_known], level[is_known].astype(int)
        weights = person_weights(tuple(np.array(outcomes.participants)[is_known]))
        shares = self._shares(level.astype(float), weights)
        middle, sd = float(np.average(x, weights=weights)), float(x.std())
        if sd <= 1e-9 * np.abs(x).max(initial=0):
            return self._link(0.0, 0.0, logit(np.cumsum(shares)[:-1]))
        standard = (x - middle) / sd
        steps = SLOPES[:, None] * standard  # (S, N)
        thresholds = _thresholds(steps, weights, np.cumsum(shares)[:-1])  # (S, L - 1)
        log_likelihood = np.log(_level_probability(steps, thresholds, level)) @ weights
        slope = believed_slope(log_likelihood)
        own = _thresholds(slope * standard[None], weights, np.cumsum(shares)[:-1])[0]
        return self._link(slope / sd, middle, own)

    def _link(self, slope: float, middle: float, thresholds: Numbers) -> CumulativeLink:
        places = [float(one) for one in thresholds + slope * middle]
        return CumulativeLink(slope, places, [str(name) for name in self.levels])

    @property
    def primary(self) -> Primary:
        """How often the person at the higher level has the higher score."""
        return Primary("concordance", "ordinal C", 0.5)

    def _probabilities(self, rows: pd.DataFrame) -> Numbers:
        return rows[[f"p_{name}" for name in self.levels]].to_numpy(float)

    def figures(self, rows: pd.DataFrame) -> dict[str, float]:
        """Compute how well scores order people, and how near probabilities come.

        Returns
        -------
        dict
            ``concordance``, among pairs of people within folds at different levels, those of whom
            the one at the higher level has the higher score; ``somers_d``, twice that less 1;
            ``spearman`` within folds; ``rps``, the ranked probability score from 0 (sure and right)
            to 1, and ``rps_shares`` of the other folds' shares; ``mae`` in levels of the level at
            which half of the probability is reached, and ``mae_median`` of the other folds' median;
            ``slope`` of levels on expected levels within folds, 1 where they are neither too
            extreme nor too cautious.
        """
        level, score = rows["outcome_level"].to_numpy(float), rows["score"].to_numpy(float)
        group, p = fold_numbers(rows), self._probabilities(rows)
        repeat, fold = rows["repeat"].to_numpy(np.intp), rows["fold"].to_numpy(np.intp)
        steps = np.arange(len(self.levels) - 1)
        is_within = (level[:, None] <= steps).astype(float)  # (N, L - 1)
        reached, shares = p.cumsum(axis=1)[:, :-1], held_out_means(is_within, repeat, fold)
        concordance = concordance_within(score, level, group)
        predicted = (reached < 0.5 - 1e-9).sum(axis=1)
        usual = (shares < 0.5 - 1e-9).sum(axis=1)
        return {
            "concordance": concordance,
            "somers_d": 2 * concordance - 1,
            "spearman": rank_correlation_within(score, level, group),
            "rps": float(((reached - is_within) ** 2).mean()),
            "rps_shares": float(((shares - is_within) ** 2).mean()),
            "mae": float(np.abs(predicted - level).mean()),
            "mae_median": float(np.abs(usual - level).mean()),
            "slope": _slope_within(rows["expected_level"].to_numpy(float), level, group),
        }

    def details(self, rows: pd.DataFrame) -> dict[str, Any]:
        """List people, expected and true levels by tenths, and how often which level is called."""
        p = self._probabilities(rows)
        called = (p.cumsum(axis=1)[:, :-1] < 0.5 - 1e-9).sum(axis=1)
        level, n = rows["outcome_level"].to_numpy(int), len(self.levels)
        counts = np.zeros((n, n))
        np.add.at(counts, (level, called), 1 / rows["repeat"].nunique())
        outputs = [*(f"p_{name}" for name in self.levels), "expected_level"]
        return {
            "levels": [str(name) for name in self.levels],
            "confusion": counts.tolist(),
            "people": _people(rows, "outcome_level", outputs),
            "calibration": _by_tenths(rows["expected_level"], rows["outcome_level"]),
        }

    def statistic(self, scores: Numbers, outcomes: Outcomes, fold: NDArray[np.intp]) -> float:
        """Pool the rank correlations of scores and levels within folds."""
        return rank_correlation_within(scores[:, 0].astype(float), outcomes["level"], fold)

    @property
    def meanings(self) -> tuple[Meaning, ...]:
        """Say what the probability of each level and the expected level are."""
        shares = "in a group of people with the same shares of levels as those studied"
        return (
            *(
                Meaning(
                    f"p_{name}",
                    "probability",
                    f"how many of 100 people with such a scan are at '{name}', {shares}",
                    "no certainty about this person, and no diagnosis",
                )
                for name in self.levels
            ),
            Meaning(
                "expected_level",
                f"levels above '{self.levels[0]}'",
                f"the mean level of people with such a scan, {shares}",
                "no level that anybody has: it lies between levels, which needn't be equally far",
            ),
        )

    def summary(self, outcomes: Outcomes) -> str:
        """Say how many people are at each level."""
        n, level = len(set(outcomes.participants)), outcomes["level"]
        people = np.array(outcomes.participants)
        counts = [f"{len(set(people[level == k]))} {name}" for k, name in enumerate(self.levels)]
        return f"{n} people, {self.column}: {', '.join(counts)}"

    def verdict(self, facts: Mapping[str, Any]) -> list[Said]:
        """Say whether scans order people, beside what, and how near probabilities come."""
        own = facts["models"][facts["studied"]]
        said = [answer(facts, self.primary, f"scans tell levels of {self.column} of new people")]
        said += beside(facts, self.primary)
        if own["rps"] is not None:
            said.append(
                Said(
                    f"The ranked probability score is {own['rps']:.3f}, that of the training"
                    f" people's shares {own['rps_shares']:.3f}; smaller is better"
                )
            )
        return said


def _thresholds(steps: Numbers, weights: Numbers, at_or_below: Numbers) -> Numbers:
    """Find thresholds, (S, L - 1), at which levels have their shares on average.

    By bisection, for each of S rows of log odds, (S, N): the mean of a logistic distribution's
    shares rises steadily.
    """
    reach = np.abs(steps).max() + 20
    low = np.full((len(steps), len(at_or_below)), -reach)
    high = -low
    share = weights / weights.sum()
    for _ in range(45):
        middle = (low + high) / 2
        mean = np.einsum("snk,n->sk", expit(middle[:, None] - steps[..., None]), share)
        is_low = mean < at_or_below
        low, high = np.where(is_low, middle, low), np.where(is_low, high, middle)
    return np.asarray((low + high) / 2)


def _level_probability(steps: Numbers, thresholds: Numbers, level: NDArray[np.int_]) -> Numbers:
    """Compute the probability of the true level, (S, N)."""
    edge = np.full((len(thresholds), 1), np.inf)
    edges = np.concatenate([-edge, thresholds, edge], axis=1)
    found = expit(edges[:, level + 1] - steps) - expit(edges[:, level] - steps)
    return np.asarray(np.maximum(found, 1e-12))


def _ninety_percent(errors: Numbers, share: Numbers, n: int) -> tuple[float, float]:
    """Find what to add to predictions for the ends of 90 % intervals of new people."""
    if n < ENOUGH_FOR_QUANTILES:
        half = float(student.ppf(0.95, max(n - 2, 1)) * np.sqrt(share @ errors**2))
        return -half, half
    level = min(0.95 * (n + 1) / n, 1.0)
    low, high = (
        float(np.quantile(own, level, method="inverted_cdf", weights=share))
        for own in (-errors, errors)
    )
    return -low, high


def _slope_within(predicted: Numbers, y: Numbers, group: NDArray[np.intp]) -> float:
    """Fit the slope of numbers on predictions within folds; NaN where predictions are alike."""
    left = centred_within(predicted, group)
    square = left @ left
    least = len(y) * (1e-6 * y.std()) ** 2
    return float(left @ y / square) if square > least else np.nan


def _held_out_medians(y: Numbers, repeat: NDArray[np.intp], fold: NDArray[np.intp]) -> Numbers:
    """Compute the median of the other folds of the repeat; of all where there is one fold only."""
    medians = np.empty(len(y))
    for one in np.unique(repeat):
        rows = np.flatnonzero(repeat == one)
        folds = np.unique(fold[rows])
        for tested in folds:
            own = fold[rows] == tested
            medians[rows[own]] = np.median(y[rows] if len(folds) == 1 else y[rows[~own]])
    return medians


def _between_and_within(rows: pd.DataFrame, known: Numbers, error: Numbers) -> dict[str, float]:
    """Split R2 into what is told between people and within them, see `Severity.figures`."""
    person = pd.factorize(rows["participant_id"].to_numpy())[0]
    scan = pd.factorize(rows["scan_id"].to_numpy())[0]
    of_known, of_error = (split_variance(own, person, scan) for own in (known, error))
    means = [
        np.bincount(person, own)[person] / np.bincount(person)[person] for own in (known, error)
    ]
    total = known @ known
    if np.isnan(of_known.within) or not total:
        names = ("share_between", "r2_between", "r2_within", "r2_from_between", "r2_from_within")
        return dict.fromkeys(names, np.nan)
    from_between = (means[0] @ means[0] - means[1] @ means[1]) / total
    r2 = 1 - error @ error / total
    between = max(of_known.between, 0.0)
    return {
        "share_between": between / (between + of_known.within),
        "r2_between": 1 - max(of_error.between, 0) / between if between > 0 else np.nan,
        "r2_within": 1 - of_error.within / of_known.within if of_known.within > 0 else np.nan,
        "r2_from_between": float(from_between),
        "r2_from_within": float(r2 - from_between),
    }


def _people(rows: pd.DataFrame, outcome: str, outputs: list[str]) -> list[dict[str, Any]]:
    """List scans with outcome and outputs, the mean over repeats."""
    keys = ["participant_id", "scan_id"]
    means = rows.groupby(keys, sort=True)[[outcome, *outputs]].mean().reset_index()
    renamed = means.rename(columns={outcome: "observed"})
    return [{str(name): value for name, value in row.items()} for row in renamed.to_dict("records")]


def _by_tenths(predicted: pd.Series, observed: pd.Series) -> list[dict[str, float]]:
    """Compare means of predictions and of what was observed, by tenths of the predictions."""
    order = np.argsort(predicted.to_numpy(float), kind="stable")
    parts = [part for part in np.array_split(order, 10) if len(part)]
    x, y = predicted.to_numpy(float), observed.to_numpy(float)
    return [
        {"predicted": float(x[part].mean()), "observed": float(y[part].mean()), "n": len(part)}
        for part in parts
    ]


def _check_varies(column: str, values: Numbers, where: str) -> list[Fault]:
    known = values[np.isfinite(values)]
    if len(known) and known.min() < known.max():
        return []
    found = f"{len(known)} scans that all have the same {column}"
    return [Fault(where, found, "values that differ", "choose fewer folds (folds.n_splits)")]


def _check_graded(column: str, outcomes: Outcomes, values: Numbers, least: int) -> list[Fault]:
    where, n = f"target, {column}", len(set(outcomes.participants))
    faults = _check_varies(column, values, where)
    if n < least:
        accepted = f"{least} people or more (target.min_people)"
        found = f"{n} people with a number"
        faults.append(Fault(where, found, accepted, "add people, or lower target.min_people"))
    return faults
