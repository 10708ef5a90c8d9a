"""Who improves, whatever it is due to: a prognosis, for studies without a control arm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnet.data.outcomes import Numbers, Outcomes
from fmnet.errors import Fault
from fmnet.evaluation.graded import correlation_within
from fmnet.inference.links import LinearLink
from fmnet.networks.heads import Head
from fmnet.targets.arms import number_names, read_column
from fmnet.targets.base import Meaning, Null, Primary, Said, Target, plain_value, unit_responses
from fmnet.targets.sentences import answer, beside
from fmnet.targets.severity import Severity
from fmnet.types import Several

#: Said wherever a number of this target is shown.
NO_RESPONSE = "a response to treatment: they may have improved without it"


@dataclass(frozen=True)
class Improvement(Target):
    """Who improves: an outcome beside what baseline, covariates and arm lead to expect.

    It is prognostic. What a treatment has to do with it can't be told; `Response` tells that, where
    there is a control arm.

    Parameters
    ----------
    outcome : str
        Column with the outcome, at the end.
    benefit : str
        Whether ``lower`` or ``higher`` outcomes are better.
    baseline : str, optional
        Column with the outcome at the beginning; without it, who does well at the end is predicted.
    arm : str, optional
        Column with the arm, if there were several: its effect is taken out.
    covariates : list of str
        Further columns of numbers, known at the beginning, that outcomes are adjusted for.
    unit : str
        Of the outcome: ``FIQ-R points``.
    min_people : int
        Fewest people with an outcome.
    arms : list of str
        Found by `read`: names of the arms.
    """

    kind: ClassVar[str] = "improvement"
    title: ClassVar[str] = "who improves (prognosis)"

    outcome: str = "outcome"
    benefit: Literal["lower", "higher"] = "lower"
    baseline: str | None = "baseline"
    arm: str | None = None
    covariates: Sequence[str] = ()
    unit: str = "points"
    min_people: Several = 20
    arms: Sequence[str] = ()

    @property
    def _graded(self) -> Severity:
        """Judge what is left of gains as a number is judged."""
        return Severity(f"{self.outcome} beyond expectation", self.unit, min_people=self.min_people)

    # --- what is read -----------------------------------------------------------------------------

    @property
    def columns(self) -> dict[str, str]:
        """Column of the tables that each role is read from."""
        named = {"outcome": self.outcome, "baseline": self.baseline, "arm": self.arm}
        named |= {f"covariate_{name}": name for name in self.covariates}
        return {role: column for role, column in named.items() if column}

    def read(self, texts: pd.DataFrame) -> tuple[Self, dict[str, Numbers], list[Fault]]:
        """Turn texts into numbers; arms are numbered."""
        faults, values, read = list[Fault](), dict[str, Numbers](), self
        for role, column in self.columns.items():
            if role == "arm":
                names = tuple(sorted({plain_value(text) for text in texts[column]} - {""}))
                values["arm"], read = number_names(texts[column], names), replace(self, arms=names)
                continue
            values[role], own = read_column(texts, column)
            faults += own
        return read, values, faults

    def check(self, outcomes: Outcomes) -> list[Fault]:
        """Find too few people, and outcomes that are all alike."""
        return self._graded.check(outcomes.replace(value=outcomes["outcome"]))

    def check_training(self, train: Outcomes, where: str) -> list[Fault]:
        """Find training people who all have one outcome."""
        return self._graded.check_training(train.replace(value=train["outcome"]), where)

    def strata(self, outcomes: Outcomes) -> list[str]:
        """Name arm, and the quarter of the cohort by what is left of gains."""
        left = self._left(outcomes.values, np.arange(len(outcomes)))
        quarters = self._graded.strata(outcomes.replace(value=left))
        blocks = self.exchange_blocks(outcomes)
        return [f"{block}{quarter}" for block, quarter in zip(blocks, quarters, strict=True)]

    # --- what is learned --------------------------------------------------------------------------

    @property
    def score_names(self) -> tuple[str, ...]:
        """One score: larger for those who are said to fare better."""
        return ("score",)

    def head(self) -> Head:
        """Build a head that learns standardised numbers by squared error."""
        return self._graded.head()

    def _left(self, values: Mapping[str, Numbers], known: NDArray[np.intp]) -> Numbers:
        """Take from gains, (N,), what a regression on rows `known` expects; larger is better."""
        roles = ["baseline", *(f"covariate_{name}" for name in self.covariates)]
        columns = [
            np.ones(len(values["outcome"])),
            *(values[one] for one in roles if one in values),
        ]
        columns += [(values["arm"] == one).astype(float) for one in range(1, len(self.arms))]
        design = np.stack(columns, axis=1)
        gain = values["outcome"] if self.benefit == "higher" else -values["outcome"]
        known = known[~np.isnan(design[known]).any(axis=1) & ~np.isnan(gain[known])]
        beta = np.linalg.lstsq(design[known], gain[known], rcond=None)[0]
        return np.asarray(gain - design @ beta)

    def fit_null(self, outcomes: Outcomes, train: NDArray[np.intp]) -> Null:
        """Take from gains what baseline, covariates and arm of training people lead to expect."""
        responses = unit_responses(self._left(outcomes.values, train)[:, None], train)
        return Null(responses, responses)

    def fit_link(self, scores: Numbers, outcomes: Outcomes) -> LinearLink:
        """Fit the line from scores to what is left of gains, its slope shrunken."""
        left = self._left(outcomes.values, np.arange(len(outcomes)))
        return self._graded.fit_link(scores, outcomes.replace(value=left))

    # --- how it is judged -------------------------------------------------------------------------

    @property
    def primary(self) -> Primary:
        """R2 of people who were left out, beyond what is known without scans."""
        return Primary("r2", "R² beyond baseline" if self.baseline else "R²", 0.0)

    def with_null(self, table: pd.DataFrame) -> pd.DataFrame:
        """Add what is left of gains beside what people of the other folds lead to expect.

        It stands in ``null_left``, and of itself mean and median of the other folds beside it.
        """
        table = self._with_left(table)
        return self._graded.with_null(table.assign(outcome_value=table["null_left"])).drop(
            columns="outcome_value"
        )

    def _with_value(self, rows: pd.DataFrame) -> pd.DataFrame:
        rows = rows if "null_left" in rows else self._with_left(rows)
        return rows.assign(outcome_value=rows["null_left"])

    def _with_left(self, rows: pd.DataFrame) -> pd.DataFrame:
        values = {
            name.removeprefix("outcome_"): rows[name].to_numpy(float)
            for name in map(str, rows.columns)
            if name.startswith("outcome_")
        }
        repeat, fold = rows["repeat"].to_numpy(), rows["fold"].to_numpy()
        left = np.full(len(rows), np.nan)
        for one in np.unique(repeat):
            for held_out in np.unique(fold[repeat == one]):
                is_test = (repeat == one) & (fold == held_out)
                others = np.flatnonzero((repeat == one) & ~is_test)
                known = others if len(others) else np.flatnonzero(is_test)  # a lock-box is alone
                left[is_test] = self._left(values, known)[is_test]
        return rows.assign(null_left=left)

    def figures(self, rows: pd.DataFrame) -> dict[str, float]:
        """Compute how near predicted gains come, beyond expectation; see `Severity.figures`."""
        return self._graded.figures(self._with_value(rows))

    def details(self, rows: pd.DataFrame) -> dict[str, Any]:
        """List people with what is left of gains and prediction; see `Severity.details`."""
        return self._graded.details(self._with_value(rows))

    def statistic(self, scores: Numbers, outcomes: Outcomes, fold: NDArray[np.intp]) -> float:
        """Pool the correlations, within folds, of scores and what is left of gains."""
        left = self._left(outcomes.values, np.arange(len(outcomes)))
        return correlation_within(scores[:, 0].astype(float), left, fold)

    def exchange_blocks(self, outcomes: Outcomes) -> list[str]:
        """Name the arm of each scan, if there were several."""
        if "arm" not in outcomes.values:
            return [""] * len(outcomes)
        return [f"arm {arm:g}, " for arm in outcomes["arm"]]

    def exchanged(self, outcomes: Outcomes, order: NDArray[np.intp]) -> Outcomes:
        """Exchange what is left of outcomes; baseline, covariates and arm stay with their scans.

        So a score that only goes with baseline is no surprise. Exact without columns to adjust for,
        else asymptotically.

        References
        ----------
        Freedman, D., & Lane, D. (1983). A nonstochastic interpretation of reported significance
        levels. Journal of Business & Economic Statistics, 1.
        """
        left = self._left(outcomes.values, np.arange(len(outcomes)))
        sign = 1.0 if self.benefit == "higher" else -1.0
        return outcomes.replace(outcome=outcomes["outcome"] + sign * (left[order] - left))

    # --- what is said -----------------------------------------------------------------------------

    @property
    def meanings(self) -> tuple[Meaning, ...]:
        """Say what the number and the ends of its interval are."""
        beyond = "what baseline leads to expect" if self.baseline else "the average"
        means = f"by how much people with such a scan fare better than {beyond}, by this model"
        ends = (("low", "lower"), ("high", "upper"))
        return (
            Meaning("value", self.unit, f"{means}; below 0: worse", NO_RESPONSE),
            *(
                Meaning(
                    f"value_{end}",
                    self.unit,
                    f"{side} end of the interval that holds it for 90 % of new people like those"
                    " studied",
                    NO_RESPONSE,
                )
                for end, side in ends
            ),
        )

    def summary(self, outcomes: Outcomes) -> str:
        """Say how many people there are, and how they fared."""
        n, y = len(set(outcomes.participants)), outcomes["outcome"]
        text = f"{n} people, {self.outcome} {y.mean():.3g} on average, {self.benefit} is better"
        if "baseline" not in outcomes.values:
            return text
        return f"{text}, {self.baseline} {outcomes['baseline'].mean():.3g} before"

    def verdict(self, facts: Mapping[str, Any]) -> list[Said]:
        """Say whether scans tell who improves, and that this is no response."""
        said = [answer(facts, self.primary, "scans tell who improves among new people")]
        said += beside(facts, self.primary)
        text = (
            "This is a prognosis. Who responds to a treatment can't be told without a control arm"
        )
        if len(self.arms) > 1:
            text = "This is a prognosis, in all arms alike; who responds is told by target=response"
        return [*said, Said(text, "amber")]

    def tripod(self, facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:  # noqa: ARG002
        """List items of TRIPOD+AI that this target answers."""
        known = ", ".join(column for role, column in self.columns.items() if role != "outcome")
        beyond = f", beyond what {known} lead to expect" if known else ""
        predicted = f"{self.outcome}, {self.benefit} is better{beyond}"
        return [("8a", "Outcome", f"{predicted}; prognostic, no effect of a treatment")]
