"""Target: which of several ordered levels a person is at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit
from torch.nn.functional import logsigmoid

from fmnet.data.outcomes import Numbers, Outcomes
from fmnet.data.tables import say_some
from fmnet.errors import Fault
from fmnet.evaluation.graded import (
    by_tenths,
    concordance_within,
    fold_numbers,
    held_out_means,
    means_over_repeats,
    rank_correlation_within,
    slope_within,
)
from fmnet.inference.links import CumulativeLink
from fmnet.networks.heads import Head, LossFunction
from fmnet.targets.base import Meaning, Null, Primary, Said, Target, plain_value, unit_responses
from fmnet.targets.sentences import answer, beside
from fmnet.targets.severity import GradedHead, calibration_said, check_varies
from fmnet.targets.shrinkage import SLOPES, believed_slope, person_weights
from fmnet.types import Several


class OrdinalHead(GradedHead):
    """One output shifts all levels: the loss is that of cumulative logits.

    Targets hold the level and, after it, the thresholds: log odds of the training people to be at
    or below each level. They stay as they are, so that an output of 0 says what those people show;
    how far apart they should be once scans tell something, the link finds.
    """

    accepted_loss = ""

    def loss(
        self,
        outputs: torch.Tensor,
        target: torch.Tensor,
        balance: torch.Tensor,  # noqa: ARG002 (all scans alike)
        function: LossFunction | None = None,  # noqa: ARG002 (none is accepted)
    ) -> torch.Tensor:
        """Compute the negative log-likelihood of the level; 0 where it isn't known."""
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
    title: ClassVar[str] = "which level it is"

    column: str
    levels: Sequence[str] = field(default_factory=tuple)
    min_people: Several = 5

    @property
    def columns(self) -> dict[str, str]:
        """Take the level from its column."""
        return {"level": self.column}

    def read(self, texts: pd.DataFrame) -> tuple[Self, dict[str, Numbers], list[Fault]]:
        """Turn levels into numbers from 0; other texts are faults of the person."""
        place = {plain_value(name): k for k, name in enumerate(self.levels)}
        cells = [plain_value(text) for text in texts[self.column]]
        values = np.array([place.get(cell, np.nan) for cell in cells], dtype=float)
        accepted = f"one of target.levels: {say_some(place)}; n/a if missing"
        action = "correct the cell, or complete target.levels"
        people = texts["participant_id"].astype(str)
        faults = [
            Fault(f"{person}, {self.column}", repr(cell), accepted, action, person)
            for person, cell in zip(people, cells, strict=True)
            if cell and cell not in place
        ]
        return self, {"level": values}, list(dict.fromkeys(faults))

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
        return check_varies(self.column, train["level"], where)

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

    def with_null(self, table: pd.DataFrame) -> pd.DataFrame:
        """Add the share of people of other folds at or below each level but the last."""
        level = table["outcome_level"].to_numpy(float)
        repeat, fold = (table[name].to_numpy(np.intp) for name in ("repeat", "fold"))
        is_within = (level[:, None] <= np.arange(len(self.levels) - 1)).astype(float)
        shares = held_out_means(is_within, repeat, fold)
        return table.assign(**{f"null_{k}": own for k, own in enumerate(shares.T)})

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
        rows = rows if "null_0" in rows else self.with_null(rows)
        level, score = rows["outcome_level"].to_numpy(float), rows["score"].to_numpy(float)
        group, p = fold_numbers(rows), self._probabilities(rows)
        steps = np.arange(len(self.levels) - 1)
        is_within = (level[:, None] <= steps).astype(float)  # (N, L - 1)
        reached = p.cumsum(axis=1)[:, :-1]
        shares = rows[[f"null_{k}" for k in steps]].to_numpy(float)
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
            "slope": slope_within(rows["expected_level"].to_numpy(float), level, group),
        }

    def details(self, rows: pd.DataFrame) -> dict[str, Any]:
        """List scans, calibration by tenths, and how often which level is called.

        Returns
        -------
        dict
            ``levels``; ``confusion``, how many scans of each level (rows) were called which
            (columns), the mean over repeats; ``people``, one entry a scan: ``participant_id``,
            ``scan_id``, ``observed``, the probability ``p_LEVEL`` of each level and
            ``expected_level``, means over repeats; ``calibration`` of expected levels, see
            `fmnet.evaluation.graded.by_tenths`.
        """
        p = self._probabilities(rows)
        called = (p.cumsum(axis=1)[:, :-1] < 0.5 - 1e-9).sum(axis=1)
        level, n = rows["outcome_level"].to_numpy(int), len(self.levels)
        counts = np.zeros((n, n))
        np.add.at(counts, (level, called), 1 / rows["repeat"].nunique())
        outputs = [*(f"p_{name}" for name in self.levels), "expected_level"]
        scans = means_over_repeats(rows, "outcome_level", outputs)
        expected, observed = (
            scans[name].to_numpy(float) for name in ("expected_level", "observed")
        )
        return {
            "levels": [str(name) for name in self.levels],
            "confusion": counts.tolist(),
            "people": scans.to_dict("records"),
            "calibration": by_tenths(expected, observed),
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
                    f"what fraction of people with such a scan is at '{name}', {shares}",
                    "a certainty about this person, or a diagnosis",
                )
                for name in self.levels
            ),
            Meaning(
                "expected_level",
                f"levels above '{self.levels[0]}'",
                f"the mean level of people with such a scan, {shares}",
                "a level that anybody has: it lies between levels, which needn't be equally far",
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
        first = answer(facts, self.primary, f"scans tell levels of {self.column} of new people")
        said = [first, *beside(facts, self.primary)]
        gain = own["rps_shares"] - own["rps"]
        told = (
            f"Its probabilities have a ranked probability score of {own['rps']:.3f}, the shares of"
            f" levels in the other folds, without a scan, of {own['rps_shares']:.3f}: they say"
            f" {'more than these' if gain > 0 else 'no more than these'}."
        )
        said.append(Said(told, "none" if gain > 0 else "amber"))
        if first.severity == "none" and own["slope"] is not None:
            said += calibration_said(own["slope"], own.get("slope_ci"))
        return said

    def tripod(self, facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """List items of TRIPOD+AI on outcome, model and performance."""
        names = " < ".join(str(name) for name in self.levels)
        return [
            (
                "8a",
                "Outcome",
                f"The level in column {self.column}: {names}. Only their order is used; how far"
                " apart they are is not.",
            ),
            (
                "12c",
                "Model",
                "Cumulative logits (proportional odds): a score shifts the odds to be above any"
                " level by the same factor.",
            ),
            (
                "12e",
                "Performance measures",
                "Ordinal C and Somers' D over pairs of scans within folds, Spearman's correlation"
                " within folds, ranked probability score beside that of the other folds' shares,"
                " mean absolute error in levels beside that of their median, slope of levels on"
                " expected levels within folds.",
            ),
            ("20a", "Participants", f"{facts['n_subjects']} people, {facts['n_scans']} scans."),
        ]


def _thresholds(steps: Numbers, weights: Numbers, at_or_below: Numbers) -> Numbers:
    """Find thresholds, (S, L - 1), at which levels have their shares on average.

    By bisection, for each of S rows of log odds, (S, N): the mean of a logistic distribution's
    shares rises steadily.
    """
    reach = np.abs(steps).max() + 20
    low = np.full((len(steps), len(at_or_below)), -reach)
    high = -low
    share = weights / weights.sum()
    for _ in range(40):
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
