"""Cox models of columns of a table: what is known of when an event happens without any scan."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fmnet.baselines.base import Baseline, Scores
from fmnet.baselines.shortcuts import Columns, encoder
from fmnet.data.folds import Fold
from fmnet.targets.hazards import whole
from fmnet.targets.onset import Onset
from fmnet.training.scan_set import Rows, ScanSet
from fmnet.types import ModelKind, Positives


@dataclass(frozen=True)
class CoxCovariates(Baseline):
    """Cox model with Efron's ties and a ridge penalty, of columns of the participants table.

    Numbers are imputed by the median of the training people and standardised, texts become
    indicators. The penalty is chosen by the score test on the inner folds; ties go to the first
    named.

    Parameters
    ----------
    columns, symptoms
        See `fmnet.baselines.shortcuts.Columns`.
    penalty : list of float
        To choose from: half of it times the sum of squared coefficients is taken off the log
        likelihood. With 1 they are about as large as those of a hazard ratio of 2.7 a standard
        deviation, with 10 of 1.4.
    """

    is_for_outcomes = True

    columns: Sequence[str] = ("age", "sex", "site")
    symptoms: bool | None = None
    penalty: Positives = (10.0, 1.0, 0.1)

    @property
    def source(self) -> Columns:
        """What reads those columns."""
        return Columns(columns=self.columns, symptoms=self.symptoms)

    def describe(self, name: str) -> tuple[ModelKind, str]:
        """Say that it reads symptoms, or else nothing of the condition."""
        kind, title = self.source.describe(name)
        return kind, f"{title} (Cox)"

    def lacks(self, data: ScanSet) -> str:
        """Say which columns would be needed, or that the study isn't of times to an event."""
        if not isinstance(data.target, Onset):
            return "times to an event, target=onset"
        return self.source.lacks(data)

    def choose(self, data: ScanSet, fold: Fold) -> float:
        """Choose the penalty."""
        inner = data.inner_rows(fold)
        rows = np.concatenate([held_out for _, held_out in inner])
        part = np.repeat(np.arange(len(inner)), [len(held_out) for _, held_out in inner])
        assert data.target is not None
        found = []
        for penalty in self.penalty:
            scores = np.concatenate([self.scores(data, *pair, penalty) for pair in inner])
            found.append(data.target.statistic(scores, data.outcomes.take(rows), part))
        return self.penalty[int(np.argmax(found))]

    def scores(self, data: ScanSet, train: Rows, test: Rows, choice: float) -> Scores:
        """Fit with the penalty chosen: log relative hazards, (N_test, 1)."""
        table, outcomes = self.source.table(data), data.outcomes
        encode = encoder().fit(table.iloc[train])
        design, other = (_dense(encode.transform(table.iloc[rows])) for rows in (train, test))
        mean = design.mean(axis=0)
        follow = whole(outcomes["time"][train], outcomes["event"][train])
        slope = follow.fit_cox(design - mean, choice)
        return np.asarray((other - mean) @ slope)[:, None]


def _dense(features: object) -> Scores:
    return np.asarray(features.toarray() if hasattr(features, "toarray") else features, float)
