"""Before or after, within persons: ``target=change``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import nct

from fmnet.data.outcomes import Numbers, Outcomes
from fmnet.errors import Fault
from fmnet.evaluation.retest import sessions_of
from fmnet.inference.links import Link, LogOddsLink
from fmnet.networks.heads import Head
from fmnet.targets.base import Meaning, Null, Primary, Said, Target, unit_responses
from fmnet.targets.contrast import ContrastHead
from fmnet.targets.sentences import answer, beside
from fmnet.targets.shrinkage import SLOPES, believed_slope

#: Fewest people with scans of both sessions.
FEWEST = 8


@dataclass(frozen=True)
class Change(Target):
    """Which of a person's scans was made after: change within persons.

    Folds are by person, as always, so that both scans of somebody are tested together, by a model
    that has seen neither. A person's own level is taken out of scores by comparing them within the
    person alone.

    Parameters
    ----------
    before, after : str
        Names of the two sessions. People without scans of both are left out.
    session : str, optional
        Column that has them, scan by scan; by default the name of the scan has (``ses-NAME``).
    """

    kind: ClassVar[str] = "change"
    title: ClassVar[str] = "what changed within persons"
    is_within: ClassVar[bool] = True

    before: str = "before"
    after: str = "after"
    session: str | None = None

    @property
    def columns(self) -> dict[str, str]:
        """Column that the session is read from, if one was named."""
        return {} if self.session is None else {"session": self.session}

    def read(self, texts: pd.DataFrame) -> tuple[Self, dict[str, Numbers], list[Fault]]:
        """Give 1 to scans made after and 0 to those before, of people who have both; else NaN."""
        if self.session is None:
            of_scan = sessions_of(texts)
            names = [of_scan[str(scan)] for scan in texts["scan_id"]]
        else:
            names = [str(one) for one in texts[self.session]]
        number_of = {
            key: value
            for name, value in ((self.before, 0.0), (self.after, 1.0))
            for key in (name, f"ses-{name}")
        }
        after = np.array([number_of.get(name, np.nan) for name in names])
        whose = texts["participant_id"].to_numpy(str)
        both = {
            one for one in set(whose.tolist()) if {0.0, 1.0} <= set(after[whose == one].tolist())
        }
        after[~np.isin(whose, sorted(both))] = np.nan
        faults = []
        if not both:
            found = ", ".join(sorted(set(names))) or "nothing"
            accepted = f"scans of '{self.before}' and of '{self.after}' of the same people"
            action = "name the sessions as the data set does (target.before, target.after)"
            where = "sessions" if self.session is None else f"column '{self.session}'"
            faults.append(Fault(where, found, accepted, action))
        return self, {"after": after}, faults

    def check(self, outcomes: Outcomes) -> list[Fault]:
        """Find fewer people with both than a change is told from."""
        n = len(set(outcomes.participants))
        if n >= FEWEST:
            return []
        accepted = f"{FEWEST} or more people with scans before and after"
        return [Fault("target.change", f"{n}", accepted, "scan more people twice")]

    def strata(self, outcomes: Outcomes) -> list[str]:
        """All people are alike: each has scans of both."""
        return ["both"] * len(outcomes)

    @property
    def score_names(self) -> tuple[str, ...]:
        """One score."""
        return ("score",)

    def head(self) -> Head:
        """Read one output as the logit of having been made after."""
        return ContrastHead()

    def fit_null(self, outcomes: Outcomes, train: NDArray[np.intp]) -> Null:
        """Take each person's mean out: nothing is known but that one of two scans came later.

        It is the derivative of the conditional likelihood (of which scan is which, given that one
        of them is) by the score.
        """
        after = outcomes["after"]
        within = after - _person_means(after, outcomes.participants)
        return Null(unit_responses(within[:, None], train), after[:, None].astype(np.float32))

    def fit_link(self, scores: Numbers, outcomes: Outcomes) -> Link:
        """Fit log odds to differences within persons, without an intercept; 0 at chance."""
        score, after = scores[:, 0], outcomes["after"]
        change = _changes(score, after, outcomes.participants)
        sd = float(np.sqrt(np.mean(change**2))) if len(change) else 0.0
        if sd <= 1e-12 * max(float(np.abs(score).max(initial=0)), 1e-300):
            return LogOddsLink(0.0, 0.0)
        likelihood = -np.logaddexp(0, -SLOPES[:, None] * (change / sd)).sum(axis=1)
        return LogOddsLink(believed_slope(likelihood) / sd, float(score.mean()))

    @property
    def primary(self) -> Primary:
        """How often the scan made after has the higher score."""
        return Primary("paired_accuracy", "paired accuracy", 0.5)

    def figures(self, rows: pd.DataFrame) -> dict[str, float]:
        """Compute ``paired_accuracy``, and ``d_z`` of the log odds: mean change over its SD.

        Each person counts once, by the mean over repeats and over pairs of scans.
        """
        accuracy = _by_person(rows, "score", is_sign=True)["change"].to_numpy(float)
        return {
            "paired_accuracy": float(accuracy.mean()) if len(accuracy) else np.nan,
            "d_z": standardised(_by_person(rows, "log_odds")["change"].to_numpy(float)),
        }

    def details(self, rows: pd.DataFrame) -> dict[str, Any]:
        """List the change of each person, and the interval of ``d_z`` as if they were a sample."""
        table = _by_person(rows, "log_odds")
        changes = table["change"].to_numpy(float)
        value = standardised(changes)
        return {
            "people": list(map(str, table["participant_id"])),
            "changes": changes.tolist(),
            "d_z": value,
            "d_z_ci": list(interval_of_d_z(value, len(changes))),
            "n_people": len(changes),
        }

    def statistic(
        self,
        scores: Numbers,
        outcomes: Outcomes,
        fold: NDArray[np.intp],  # noqa: ARG002 (people are in one fold whole)
    ) -> float:
        """Compute how often the scan made after has the higher score, mean over people."""
        return _paired_accuracy(scores[:, 0], outcomes["after"], outcomes.participants)

    @property
    def meanings(self) -> tuple[Meaning, ...]:
        """The log odds."""
        return (
            Meaning(
                "log_odds",
                "log odds",
                "of two scans of one person, how much more of it one has is the log odds that it "
                f"was made {self.after} rather than {self.before}",
                "anything by itself: only differences within a person mean something; nor an "
                "effect of a treatment: whatever else differs between sessions, as habituation, "
                "the time of the year or the scanner, changes it as well",
            ),
        )

    def summary(self, outcomes: Outcomes) -> str:
        """Count people and scans."""
        n = len(set(outcomes.participants))
        return f"{n} people with {len(outcomes)} scans, {self.before} and {self.after}"

    def verdict(self, facts: Mapping[str, Any]) -> list[Said]:
        """Say whether anything changed, and that a change is no effect of a treatment."""
        claim = f"scans tell which of a person's sessions was {self.after}"
        first = answer(facts, self.primary, claim)
        said = [first, *beside(facts, self.primary)]
        if first.severity == "none":
            own = facts.get("details", {}).get(facts["studied"], {})
            low, high = own.get("d_z_ci", (np.nan, np.nan))
            said.append(
                Said(
                    f"The score changed by {own.get('d_z', np.nan):.2f} standard deviations of "
                    f"changes [{low:.2f}, {high:.2f}] (d_z, out of fold)"
                )
            )
            said.append(
                Said(
                    "Without people who were scanned as often and not treated, a change is no "
                    "effect of a treatment: order, habituation, season and scanner change too",
                    "amber",
                )
            )
        return said

    def tripod(self, facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:  # noqa: ARG002
        """Say what the outcome is, and how people were split."""
        outcome = f"which of a person's scans was made {self.after} rather than {self.before}"
        split = "by person: both scans of somebody are tested by a model that saw neither"
        return [("8a", "Outcome", outcome), ("12b", "Data splitting", split)]


def _person_means(values: Numbers, people: tuple[str, ...]) -> Numbers:
    return pd.Series(values).groupby(list(people)).transform("mean").to_numpy(float)


def _changes(score: Numbers, after: Numbers, people: tuple[str, ...]) -> Numbers:
    """Subtract the mean score before from that after, (P,), of the people who have both."""
    table = pd.DataFrame({"who": list(people), "after": after, "score": score})
    wide = table.pivot_table(index="who", columns="after", values="score", aggfunc="mean")
    if not {0.0, 1.0} <= set(wide.columns):
        return np.empty(0)
    return (wide[1.0] - wide[0.0]).dropna().to_numpy(float)


def _paired_accuracy(score: Numbers, after: Numbers, people: tuple[str, ...]) -> float:
    changes = _changes(score, after, people)
    return float((np.sign(changes) / 2 + 0.5).mean()) if len(changes) else np.nan


def _by_person(rows: pd.DataFrame, column: str, is_sign: bool = False) -> pd.DataFrame:
    """Subtract scores before from those after, or tell how often they are higher, by person.

    The mean over repeats, and over all pairs of scans.
    """
    people, names = pd.factorize(rows["participant_id"], sort=True)
    repeats, each = pd.factorize(rows["repeat"], sort=True)
    after = rows["outcome_after"].to_numpy(float)
    cell, n_cells = people * len(each) + repeats, len(names) * len(each)
    sums, counts = np.zeros((2, n_cells)), np.zeros((2, n_cells))
    for side in (0, 1):  # by bincount: it is asked for hundreds of draws of people
        own = after == side
        counts[side] = np.bincount(cell[own], minlength=n_cells)
        sums[side] = np.bincount(cell[own], rows[column].to_numpy(float)[own], n_cells)
    is_known = (counts > 0).all(axis=0)
    means = sums / np.maximum(counts, 1)
    change = means[1] - means[0]
    if is_sign:
        change = np.sign(change) / 2 + 0.5
    table = np.where(is_known, change, np.nan).reshape(len(names), len(each))
    n = is_known.reshape(table.shape).sum(axis=1)
    found = pd.DataFrame(
        {"participant_id": names, "change": np.nansum(table, axis=1) / np.maximum(n, 1)}
    )
    return pd.DataFrame(found[n > 0]).reset_index(drop=True)


def standardised(changes: Numbers) -> float:
    """Divide the mean change by the standard deviation of changes: Cohen's d_z."""
    sd = float(changes.std(ddof=1)) if len(changes) > 1 else 0.0
    return float(changes.mean()) / sd if sd > 0 else np.nan


def interval_of_d_z(value: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Compute the exact interval of a standardised mean change of n independent people.

    By inverting the noncentral t distribution (Cumming and Finch 2001).
    """
    if not np.isfinite(value) or n < 3:
        return np.nan, np.nan
    t, wide = value * np.sqrt(n), 10 + 2 * abs(value) * np.sqrt(n)

    def end(share: float) -> float:
        def gap(d: float) -> float:  # scipy gives NaN where almost nothing, or all, lies below t
            return float(np.nan_to_num(nct.cdf(t, n - 1, d), nan=float(d < t))) - share

        return float(brentq(gap, t - wide, t + wide) / np.sqrt(n))

    return end(0.5 + level / 2), end(0.5 - level / 2)
