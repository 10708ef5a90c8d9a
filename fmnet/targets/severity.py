"""Target: how much of something a person has, a number with a unit."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.stats import t as student
from torchmetrics import Metric
from torchmetrics.regression import SpearmanCorrCoef

from fmnet.data.covariates import ACCEPTED_NUMBERS, read_numbers
from fmnet.data.outcomes import Numbers, Outcomes
from fmnet.errors import Fault
from fmnet.evaluation.graded import (
    by_tenths,
    correlation_within,
    explained_between_and_within,
    fold_numbers,
    held_out_means,
    held_out_medians,
    means_over_repeats,
    rank_correlation_within,
    slope_within,
    split_variance,
)
from fmnet.inference.links import LinearLink
from fmnet.networks.heads import Head, LossFunction, Trial, losses_by
from fmnet.targets.base import Meaning, Null, Primary, Said, Target, unit_responses
from fmnet.targets.sentences import answer, beside
from fmnet.targets.shrinkage import believed_slope, person_weights
from fmnet.types import Several

#: Fewest people whose errors tell the 5th and the 95th percentile.
ENOUGH_FOR_QUANTILES = 19
#: Standard deviations of the logistic distribution, for slopes in log odds.
LOGISTIC = 1.7
#: Fraction of new people whose number prediction intervals are to hold.
COVERED = 0.9
#: Parts of the cohort that folds are dealt alike in.
N_STRATA = 4


class GradedHead(Head):
    """One output is the score; learned by squared error, or the function given."""

    accepted_loss = "a loss of scores and standardised numbers, both (B, 1)"
    usual_losses = "torch.nn.HuberLoss, torch.nn.L1Loss, "

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
        if function is None:
            return torch.square(score - number)[..., 0] * is_known
        return losses_by(function, score, number) * is_known

    def trial(self) -> Trial:
        """Make up numbers, and scores that are the same, all alike, or the other way round."""
        number = torch.tensor([[-1.5], [-0.5], [0.5], [2.0]])
        return Trial(number, number, [torch.zeros_like(number), -number])

    def metrics(self) -> dict[str, Metric]:
        """Build Spearman's correlation."""
        with warnings.catch_warnings():  # that it keeps all scores, which are few
            warnings.simplefilter("ignore", UserWarning)
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
        scale = f"{ACCEPTED_NUMBERS}, from {low:g} to {high:g}"
        action = "correct the cell, or write n/a where the number isn't known"
        faults = [
            Fault(f"{person}, {self.column}", repr(str(text)), scale, action, str(person))
            for person, text in texts.loc[
                numbers.is_wrong | is_off, ["participant_id", self.column]
            ].itertuples(index=False)
        ]
        values = np.where(is_off, np.nan, numbers.values)
        return self, {"value": values}, list(dict.fromkeys(faults))

    @property
    def _ends(self) -> tuple[float, float]:
        low = -np.inf if self.lowest is None else self.lowest
        return low, np.inf if self.highest is None else self.highest

    def check(self, outcomes: Outcomes) -> list[Fault]:
        """Find too few people, and numbers that are all alike."""
        return _check_graded(self.column, outcomes, outcomes["value"], self.min_people)

    def check_training(self, train: Outcomes, where: str) -> list[Fault]:
        """Find training people who all have one number."""
        return check_varies(self.column, train["value"], where)

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
            unit = error / np.sqrt(x_square) / LOGISTIC  # of slopes, as that of log odds
            off = np.linspace(-8, 8, 201) * LOGISTIC / np.sqrt(n)
            log_likelihood = -n / 2 * np.log1p((off / LOGISTIC) ** 2)
            slope = unit * believed_slope(log_likelihood, likeliest / unit + off)
        leverage = share + (share * x_left**2 / x_square if slope else 0)
        errors = (y_left - slope * x_left) / (1 - np.minimum(leverage, 0.5))
        below, above = _ninety_percent(errors, share, n)
        intercept = float(y_mean - slope * x_mean)
        return LinearLink(float(slope), intercept, below, above, "value", self.lowest, self.highest)

    @property
    def primary(self) -> Primary:
        """R2 of people who were left out."""
        return Primary("r2", "R²", 0.0)

    def with_null(self, table: pd.DataFrame) -> pd.DataFrame:
        """Add mean and median of the other folds: ``null_mean`` and ``null_median``."""
        y = table["outcome_value"].to_numpy(float)
        repeat, fold = (table[name].to_numpy(np.intp) for name in ("repeat", "fold"))
        mean, median = held_out_means(y, repeat, fold), held_out_medians(y, repeat, fold)
        return table.assign(null_mean=mean, null_median=median)

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
        rows = rows if "null_mean" in rows else self.with_null(rows)
        y, predicted = rows["outcome_value"].to_numpy(float), rows["value"].to_numpy(float)
        score, group = rows["score"].to_numpy(float), fold_numbers(rows)
        low, high = rows["value_low"].to_numpy(float), rows["value_high"].to_numpy(float)
        known = y - rows["null_mean"].to_numpy(float)
        error, total = y - predicted, known @ known
        slope = slope_within(predicted, y, group)
        found = {
            "r2": 1 - float(error @ error / total) if total else np.nan,
            "mae": float(np.abs(error).mean()),
            "mae_median": float(np.abs(y - rows["null_median"].to_numpy(float)).mean()),
            "spearman": rank_correlation_within(score, y, group),
            "pearson": correlation_within(score, y, group),
            "slope": slope,
            "intercept": float(y.mean() - slope * predicted.mean()),
            "coverage": float(((y >= low) & (y <= high)).mean()),
            "width": float((high - low).mean()),
        }
        return found | explained_between_and_within(rows, known, error)

    def details(self, rows: pd.DataFrame) -> dict[str, Any]:
        """List scans with number and prediction, calibration by tenths, and variances.

        Returns
        -------
        dict
            ``unit``; ``people``, one entry a scan: ``participant_id``, ``scan_id``, ``observed``,
            and ``value``, ``value_low`` and ``value_high``, the means over repeats;
            ``calibration``, see `fmnet.evaluation.graded.by_tenths`; ``variance``, of
            ``outcome`` and ``error``, ``between`` and ``within`` people, None where nobody has
            several scans.
        """
        outputs = ["value", "value_low", "value_high"]
        scans = means_over_repeats(rows, "outcome_value", outputs)
        y, predicted = scans["observed"].to_numpy(float), scans["value"].to_numpy(float)
        person = pd.factorize(scans["participant_id"].to_numpy())[0]
        variances = {
            name: vars(split_variance(own, person, np.arange(len(scans))))
            for name, own in {"outcome": y - y.mean(), "error": y - predicted}.items()
        }
        return {
            "unit": self.unit,
            "people": scans.to_dict("records"),
            "calibration": by_tenths(predicted, y),
            "variance": variances if person.max(initial=0) + 1 < len(scans) else None,
        }

    def statistic(self, scores: Numbers, outcomes: Outcomes, fold: NDArray[np.intp]) -> float:
        """Pool the correlations of scores and numbers within folds."""
        return correlation_within(scores[:, 0].astype(float), outcomes["value"], fold)

    @property
    def meanings(self) -> tuple[Meaning, ...]:
        """Say what the number and the ends of its interval are."""
        means = f"the {self.column} that people with such a scan have on average, by this model"
        return (
            Meaning("value", self.unit, means, "a measurement of this person, who may differ"),
            *(
                Meaning(
                    f"value_{end}",
                    self.unit,
                    f"{side} end of the interval that holds the {self.column} of 90 % of new people"
                    " like those studied",
                    "a range in which this person would vary from day to day",
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
        """Say whether scans tell the number, beside what, how near predictions come, and of whom.

        Whether predictions are too extreme, and their intervals hold what they should, is said
        where the answer is yes.
        """
        own, what = facts["models"][facts["studied"]], f"{self.column} ({self.unit})"
        first = answer(facts, self.primary, f"scans tell {what} of new people")
        said = [first, *beside(facts, self.primary)]
        said.append(
            Said(
                f"Predictions are off by {own['mae']:.3g} {self.unit} on average; the median of the"
                f" other folds, without a scan, by {own['mae_median']:.3g}."
            )
        )
        if first.severity == "none" and own["slope"] is not None:
            said += calibration_said(own["slope"], own.get("slope_ci"))
        if first.severity == "none" and not self.among:
            told = (
                "Everybody with a number was studied: if people with and without the condition are"
                " among them, scans that tell these apart tell the number too (target.among)."
            )
            said.append(Said(told, "amber"))
        low, high = own.get("coverage_ci") or (0, 1)
        if not low <= COVERED <= high:
            told = f"Intervals meant to hold {COVERED:.0%} of people hold {own['coverage']:.0%}."
            said.append(Said(told, "amber" if high < COVERED else "none"))
        if own["r2_from_within"] is not None:
            between, within = own["r2_from_between"], own["r2_from_within"]
            told = (
                f"People have several scans: of R² {own['r2']:.2f}, {between:.2f} comes from"
                f" differences between people and {within:.2f} from those between scans of one"
                f" person, which are {1 - own['share_between']:.0%} of the variance of"
                f" {self.column}."
            )
            follows = (own.get("r2_from_within_ci") or [0])[0] > 0
            more = "" if follows else " That scans follow a person's ups and downs is not shown."
            said.append(Said(told + more, "none" if follows else "amber"))
        return said

    def tripod(self, facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """List items of TRIPOD+AI on outcome, sample and performance."""
        ends = [f"{end:g}" for end in (self.lowest, self.highest) if end is not None]
        scale = f", a scale from {' to '.join(ends)}" if len(ends) == 2 else ""
        among = "; ".join(
            f"{name}: {', '.join(map(str, of))}" for name, of in self.restrictions.items()
        )
        return [
            (
                "8a",
                "Outcome",
                f"The number in column {self.column}, in {self.unit}{scale}, not transformed."
                f" Studied were {f'people with {among}' if among else 'all people with a number'}:"
                " where groups that differ in it are studied together, what tells the groups apart"
                " tells the number.",
            ),
            (
                "12e",
                "Performance measures",
                "R² by sums of squares of held-out people against the mean of the other folds (it"
                " may be negative), mean absolute error beside that of their median, Pearson's and"
                " Spearman's correlations within folds (Fisher's z, weighted by n - 3), slope of"
                " numbers on predictions within folds, and how many of the 90 % prediction"
                " intervals hold the number.",
            ),
            ("20a", "Participants", f"{facts['n_subjects']} people, {facts['n_scans']} scans."),
        ]


def calibration_said(slope: float, interval: Sequence[float] | None) -> list[Said]:
    """Say that predictions are too extreme or too cautious, where the interval is beyond 1."""
    if interval is None or interval[0] <= 1 <= interval[1]:
        return []
    words = "too much" if interval[1] < 1 else "too little"
    told = f"calibration slope {slope:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"
    return [Said(f"Predictions differ {words} between people ({told}, 1 is right).", "amber")]


def _ninety_percent(errors: Numbers, share: Numbers, n: int) -> tuple[float, float]:
    """Find what to add to predictions for the ends of 90 % intervals of new people.

    A new person's error is as likely to lie between any two neighbours of `n` people's errors.
    """
    if n < ENOUGH_FOR_QUANTILES:
        half = float(student.ppf((1 + COVERED) / 2, max(n - 2, 1)) * np.sqrt(share @ errors**2))
        return -half, half
    order = np.argsort(errors)
    place = (n * (np.cumsum(share[order]) - share[order] / 2) + 0.5) / (n + 1)
    low, high = np.interp([(1 - COVERED) / 2, (1 + COVERED) / 2], place, errors[order])
    return float(low), float(high)


def check_varies(
    column: str, values: Numbers, where: str, action: str = "choose fewer folds (folds.n_splits)"
) -> list[Fault]:
    """Find that all scans have the same value."""
    known = values[np.isfinite(values)]
    if len(known) and known.min() < known.max():
        return []
    found = f"{len(known)} scans that all have the same {column}"
    return [Fault(where, found, "values that differ", action)]


def _check_graded(column: str, outcomes: Outcomes, values: Numbers, least: int) -> list[Fault]:
    where, n = f"target, {column}", len(set(outcomes.participants))
    faults = check_varies(column, values, where, "correct the column, or name another")
    if n < least:
        accepted = f"{least} people or more (target.min_people)"
        found = f"{n} people with a number"
        faults.append(Fault(where, found, accepted, "add people, or lower target.min_people"))
    return faults
