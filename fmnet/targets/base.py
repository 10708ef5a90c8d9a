"""What a target is: everything of a study that depends on what is predicted, in one place."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnet.data.outcomes import Numbers, Outcomes
from fmnet.data.tables import normal_text
from fmnet.errors import Fault
from fmnet.inference.links import Link
from fmnet.networks.heads import Head


@dataclass(frozen=True, eq=False)
class Null:
    """What training people show without their scans; learned from them alone.

    Parameters
    ----------
    responses : ndarray of float32, shape (N, K)
        Of all scans: what is left for a scan to explain, one column for each score. It is the
        derivative of the log-likelihood by the score where all scores are 0, so that a model which
        follows it climbs the likelihood from there; models fitted in closed form learn it. Mean 0
        and about unit variance over the training scans; NaN where the outcome isn't known.
    losses : ndarray of float32, shape (N, D)
        Of all scans: what the head's loss reads.
    """

    responses: NDArray[np.float32]
    losses: NDArray[np.float32]


@dataclass(frozen=True)
class Meaning:
    """What one number that a model gives for a new scan means.

    Parameters
    ----------
    name : str
        The column in which predictions have it.
    unit : str
        Of the number: ``probability``, ``FIQ-R points``, ...
    means, means_not : str
        What it is, and what a reader could take it for and would be wrong, without a "not" of its
        own: it stands after one.
    """

    name: str
    unit: str
    means: str
    means_not: str


@dataclass(frozen=True)
class Primary:
    """The figure that a study is about.

    Parameters
    ----------
    name, title : str
        Key among a model's figures, and what reports call it.
    chance : float
        Its value for a model that knows nothing.
    """

    name: str
    title: str
    chance: float


@dataclass(frozen=True)
class Said:
    """One sentence of a report about a study's figures.

    Severity is ``red`` where it explains or undoes the result, ``amber`` where it has to be known
    with it, else ``none``.
    """

    text: str
    severity: Literal["red", "amber", "none"] = "none"


@dataclass(frozen=True)
class Target(ABC):
    """What a study predicts; a new one is one class in a file of its own, and a config.

    Scores are (N, K); larger ones go with larger responses. A model's scores of different folds
    have no common scale: figures are computed within folds, or from a link's outputs.

    Parameters
    ----------
    among : dict of list of str, optional
        Only people with one of these values in each of these columns are studied; others are left
        out, and named.
    """

    #: What configs and files call it.
    kind: ClassVar[str]
    #: What reports call it: "how severe it is".
    title: ClassVar[str]
    #: Whether scans of one person are compared with each other alone; each person's mean map is
    #: then taken out before anything is learned.
    is_within: ClassVar[bool] = False

    among: Mapping[str, Sequence[str]] | None = field(default=None, kw_only=True)

    @property
    def restrictions(self) -> Mapping[str, Sequence[str]]:
        """Values by column that people have to have, see ``among``; empty for none."""
        return self.among or {}

    # --- what is read -----------------------------------------------------------------------------

    @property
    @abstractmethod
    def columns(self) -> dict[str, str]:
        """Column of the tables that each role is read from."""

    @abstractmethod
    def read(self, texts: pd.DataFrame) -> tuple[Self, dict[str, Numbers], list[Fault]]:
        """Turn texts into numbers.

        Parameters
        ----------
        texts : DataFrame
            One row for each scan: ``participant_id``, ``scan_id``, and each of `columns`, text as
            it was written; empty where nothing (or n/a) was.

        Returns
        -------
        tuple
            The target with nothing left open (as the names of groups); numbers by role, (N,) each,
            NaN where there is none; a fault for each person (``participant_id`` set) with a value
            that can't be read, and for what is wrong with all together.
        """

    def is_known(self, outcomes: Outcomes) -> NDArray[np.bool_]:
        """Tell of whom enough is known to be studied, (N,): by default all roles."""
        return np.asarray(outcomes.table().notna().all(axis=1), dtype=bool)

    def check(self, outcomes: Outcomes) -> list[Fault]:  # noqa: ARG002 (of those that lack nothing)
        """Find what a cohort lacks for this target, as a group of controls, or enough events."""
        return []

    def check_training(self, train: Outcomes, where: str) -> list[Fault]:  # noqa: ARG002
        """Find what the training people of a fold lack; `where` names the fold."""
        return []

    @abstractmethod
    def strata(self, outcomes: Outcomes) -> list[str]:
        """Name the kind of each scan's outcome, (N,); folds are dealt so that all have alike."""

    # --- what is learned --------------------------------------------------------------------------

    @property
    @abstractmethod
    def score_names(self) -> tuple[str, ...]:
        """Name each of the K scores; a single one is called ``score``."""

    @property
    def n_scores(self) -> int:
        """How many scores a scan gets."""
        return len(self.score_names)

    @abstractmethod
    def head(self) -> Head:
        """Build what turns K outputs of a network into K scores, with its loss and metrics."""

    @abstractmethod
    def fit_null(self, outcomes: Outcomes, train: NDArray[np.intp]) -> Null:
        """Learn from the training scans what they show without looking at them."""

    @abstractmethod
    def fit_link(self, scores: Numbers, outcomes: Outcomes) -> Link:
        """Learn what scores, (N, K), mean, from those of people who had been left out of the fit.

        A model that knows nothing must end up with outputs that are alike for all.
        """

    # --- how it is judged -------------------------------------------------------------------------

    @property
    @abstractmethod
    def primary(self) -> Primary:
        """The figure that the study is about; larger is better."""

    def with_null(self, table: pd.DataFrame) -> pd.DataFrame:
        """Add what a model without scans says of each row of an out-of-fold table, as ``null_...``.

        By default nothing. It is learned from people of other folds and, like the models, stays as
        it is when people are drawn for intervals; `figures` work it out where it isn't there.
        """
        return table

    @abstractmethod
    def figures(self, rows: pd.DataFrame) -> dict[str, float]:
        """Compute figures of one model, the primary among them.

        Parameters
        ----------
        rows : DataFrame
            Of the out-of-fold table, of one model: ``participant_id, unit, site, scan_id, repeat,
            fold``, the outcomes (``outcome_ROLE``), the scores (``score`` or ``score_NAME``) and
            the link's outputs. May hold people several times, when they are drawn with
            replacement. NaN for what can't be told.
        """

    def details(self, rows: pd.DataFrame) -> dict[str, Any]:  # noqa: ARG002
        """Compute what figures are drawn from and tables hold, of one model: plain values."""
        return {}

    @abstractmethod
    def statistic(self, scores: Numbers, outcomes: Outcomes, fold: NDArray[np.intp]) -> float:
        """Compute what permutations are compared by: larger is further from chance.

        Of scores (N, K), outcomes and the number of the test fold of each scan, (N,), of one
        repeat. It may learn nothing that calibration would need.
        """

    def exchange_blocks(self, outcomes: Outcomes) -> list[str]:
        """Name the block of each scan, (N,): only people of one block take each other's places.

        By default all are in one, beside their site. It may depend on nothing that is exchanged.
        """
        return [""] * len(outcomes)

    def exchanged(self, outcomes: Outcomes, order: NDArray[np.intp]) -> Outcomes:
        """Give scans the outcomes of others, (N,), as the null hypothesis says makes no difference.

        By default all roles together go along.
        """
        return outcomes.replace(**{role: own[order] for role, own in outcomes.values.items()})

    # --- what is said -----------------------------------------------------------------------------

    @property
    @abstractmethod
    def meanings(self) -> tuple[Meaning, ...]:
        """What each output of the link means, in the order of its columns."""

    @abstractmethod
    def summary(self, outcomes: Outcomes) -> str:
        """Say in a sentence who was studied: "48 people, FIQ-R 12 to 88, median 51"."""

    @abstractmethod
    def verdict(self, facts: Mapping[str, Any]) -> list[Said]:
        """Say what a study's figures allow to be said of this target: the answer first.

        `facts` are those of `fmnet.evaluation.outcome_study.evaluate_outcomes`.
        """

    def tripod(self, facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:  # noqa: ARG002
        """List items of TRIPOD+AI that this target answers: number, name, text."""
        return []

    def describe(self) -> dict[str, Any]:
        """Say what it is as plain values, for files: kind, title, columns, scores, meanings."""
        return {
            "kind": self.kind,
            "title": self.title,
            "columns": dict(self.columns),
            "scores": list(self.score_names),
            "outputs": [vars(one) for one in self.meanings],
            "primary": vars(self.primary),
            "is_within": self.is_within,
        }


def plain_value(text: Any) -> str:
    """Write a name or code in one way, so that configs mean what tables say: 1.0 is 1."""
    found = normal_text(str(text))
    return re.sub(r"\.0+$", "", found) if re.fullmatch(r"-?\d+\.0+", found) else found


def unit_responses(responses: Numbers, train: NDArray[np.intp]) -> NDArray[np.float32]:
    """Centre responses, (N, K), and give them unit variance over the training scans."""
    mean, sd = np.nanmean(responses[train], axis=0), np.nanstd(responses[train], axis=0)
    scaled: NDArray[np.float32] = ((responses - mean) / np.where(sd > 0, sd, 1)).astype(np.float32)
    return scaled
