"""One group against another, out of any number: ``target=contrast``, or one of several."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torchmetrics import Metric
from torchmetrics.classification import BinaryAUROC

from fmnet.data.outcomes import Numbers, Outcomes
from fmnet.errors import Fault
from fmnet.evaluation.graded import auc_within, fold_numbers
from fmnet.inference.links import Link, LogisticLink
from fmnet.networks.heads import BinaryHead, Head, LossFunction
from fmnet.targets.base import Meaning, Null, Primary, Said, Target, plain_value, unit_responses
from fmnet.targets.sentences import answer, beside
from fmnet.targets.shrinkage import SLOPES, believed_slope, person_weights

#: Fewest people of each group.
FEWEST = 5


@dataclass(frozen=True)
class Contrast(Target):
    """One group against another; whoever belongs to neither is not studied.

    Parameters
    ----------
    positive, negative : str
        Values of the column: scores are higher for the first.
    column : str
        Of the table of participants.
    """

    kind: ClassVar[str] = "contrast"
    title: ClassVar[str] = "one group against another"

    positive: str
    negative: str
    column: str = "group"

    @property
    def columns(self) -> dict[str, str]:
        """Column that the group is read from."""
        return {"group": self.column}

    def read(self, texts: pd.DataFrame) -> tuple[Self, dict[str, Numbers], list[Fault]]:
        """Give 1 to the positive group and 0 to the negative one; NaN to all others."""
        number_of = {plain_value(self.positive): 1.0, plain_value(self.negative): 0.0}
        cells = [plain_value(text) for text in texts[self.column]]
        group = np.array([number_of.get(cell, np.nan) for cell in cells])
        found = ", ".join(sorted(set(cells) - {""}))
        missing = [name for name, one in number_of.items() if not (group == one).any()]
        faults = [
            Fault(
                f"column '{self.column}'",
                f"{found or 'nothing'}; nobody of '{name}'",
                f"'{self.positive}' and '{self.negative}'",
                "name groups as the table does (target.positive, target.negative)",
            )
            for name in missing
        ]
        return self, {"group": group}, faults

    def check(self, outcomes: Outcomes) -> list[Fault]:
        """Find a group of fewer than 5 people."""
        return self._few(outcomes, f"{self.positive} against {self.negative}", FEWEST)

    def check_training(self, train: Outcomes, where: str) -> list[Fault]:
        """Find a group without people to learn from."""
        return self._few(train, where, 2)

    def _few(self, outcomes: Outcomes, where: str, fewest: int) -> list[Fault]:
        faults = []
        for name, number in ((self.positive, 1.0), (self.negative, 0.0)):
            rows = np.flatnonzero(outcomes["group"] == number)
            if (n := len({outcomes.units[row] for row in rows})) < fewest:
                action = f"add people of '{name}', or compare other groups"
                faults.append(Fault(where, f"{n} of '{name}'", f"{fewest} or more", action))
        return faults

    def strata(self, outcomes: Outcomes) -> list[str]:
        """Name the group of each scan."""
        names = {1.0: self.positive, 0.0: self.negative}
        return [names.get(float(one), "") for one in outcomes["group"]]

    @property
    def score_names(self) -> tuple[str, ...]:
        """One score."""
        return ("score",)

    def head(self) -> Head:
        """Read one output as the logit of the positive group."""
        return ContrastHead()

    def fit_null(self, outcomes: Outcomes, train: NDArray[np.intp]) -> Null:
        """Subtract the fraction of the positive group among the training scans."""
        group = outcomes["group"][:, None]
        return Null(unit_responses(group, train), group.astype(np.float32))

    def fit_link(self, scores: Numbers, outcomes: Outcomes) -> Link:
        """Fit a logistic curve with a shrunken slope, both groups counting alike; 0 at chance."""
        score = scores[:, 0].astype(float)
        slope, intercept = fit_logistic(score, outcomes["group"], outcomes.participants)
        return LogisticLink(slope, intercept, self.positive)

    @property
    def primary(self) -> Primary:
        """The area under the ROC curve, within test folds."""
        return Primary("auc", f"AUC, {self.positive} against {self.negative}", 0.5)

    def figures(self, rows: pd.DataFrame) -> dict[str, float]:
        """Compute ``auc`` within folds and the ``brier`` score, both groups counting alike."""
        group = rows["outcome_group"].to_numpy(float)
        score, p = (rows[name].to_numpy(float) for name in ("score", f"p_{self.positive}"))
        wrong = (p - group) ** 2
        both = [wrong[group == one].mean() if (group == one).any() else np.nan for one in (0, 1)]
        auc = auc_within(score, group == 1, fold_numbers(rows))
        return {"auc": auc, "brier": float(np.mean(both))}

    def details(self, rows: pd.DataFrame) -> dict[str, Any]:
        """List the probability of each scan, the mean over repeats."""
        name = f"p_{self.positive}"
        keys = ["participant_id", "scan_id", "outcome_group"]
        people = rows.groupby(keys, sort=True)[name].mean().reset_index()
        listed = [
            {"participant_id": row["participant_id"], "scan_id": row["scan_id"]}
            | {"observed": int(row["outcome_group"]), "p": float(row[name])}
            for row in people.to_dict("records")
        ]
        return {"groups": [self.negative, self.positive], "people": listed}

    def statistic(self, scores: Numbers, outcomes: Outcomes, fold: NDArray[np.intp]) -> float:
        """Compute the AUC over pairs within test folds."""
        return auc_within(scores[:, 0].astype(float), outcomes["group"] == 1, fold)

    @property
    def meanings(self) -> tuple[Meaning, ...]:
        """The probability."""
        return (
            Meaning(
                f"p_{self.positive}",
                "probability",
                f"how probable '{self.positive}' is against '{self.negative}', were both groups "
                "equally common",
                "how probable the condition is in anybody's case: only these two groups were "
                "compared, others may score alike, and most people are in neither",
            ),
        )

    def summary(self, outcomes: Outcomes) -> str:
        """Count the people of both groups."""
        counts = []
        for name, number in ((self.positive, 1.0), (self.negative, 0.0)):
            rows = np.flatnonzero(outcomes["group"] == number)
            counts.append(f"{len({outcomes.participants[row] for row in rows})} {name}")
        return f"{counts[0]} against {counts[1]}"

    def verdict(self, facts: Mapping[str, Any]) -> list[Said]:
        """Say whether the groups are told apart, and beside what."""
        claim = f"scans tell {self.positive} from {self.negative}"
        return [answer(facts, self.primary, claim), *beside(facts, self.primary)]

    def tripod(self, facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:  # noqa: ARG002
        """Say what the outcome is, and what the probability is of."""
        outcome = f"'{self.positive}' against '{self.negative}' in column '{self.column}'"
        groups = "people of neither group were not studied; both count alike in probabilities"
        return [("8a", "Outcome", outcome), ("12g", "Class imbalance", groups)]


def fit_logistic(
    score: Numbers, group: Numbers, participants: tuple[str, ...]
) -> tuple[float, float]:
    """Fit slope and intercept of a logistic curve on out-of-fold scores, (N,), of 0 and 1.

    Both groups count alike, and each person once. The slope is shrunken, and 0 where scores tell
    nothing: then all get one half.
    """
    share = person_weights(participants)
    for one in (0, 1):
        share[group == one] /= 2 * max(share[group == one].sum(), 1e-12)
    middle = float(share @ score)
    sd = float(np.sqrt(share @ (score - middle) ** 2))
    if sd <= 1e-9 * np.abs(score).max(initial=0) or len(set(group.tolist())) < 2:
        return 0.0, 0.0
    standard = (score - middle) / sd
    steps = SLOPES[:, None] * standard  # (S, N)
    logits = steps + _shifts(steps, share)[:, None]
    likelihood = np.where(group == 1, -np.logaddexp(0, -logits), -np.logaddexp(0, logits))
    slope = believed_slope(likelihood @ share * len(set(participants)))
    if not slope:
        return 0.0, 0.0
    shift = float(_shifts(slope * standard[None], share)[0])
    return slope / sd, shift - slope * middle / sd


def _shifts(steps: Numbers, share: Numbers) -> Numbers:
    """Find what to add to log odds, (S, N), for a mean probability of one half: (S,)."""
    high = np.full(len(steps), np.abs(steps).max() + 1)
    low = -high
    for _ in range(45):
        middle = (low + high) / 2
        is_low = expit(steps + middle[:, None]) @ share < 0.5
        low, high = np.where(is_low, middle, low), np.where(is_low, high, middle)
    return np.asarray((low + high) / 2)


class ContrastHead(BinaryHead):
    """Reads one output as a logit; targets are (..., 1), NaN where the group isn't known."""

    def forward(self, outputs: torch.Tensor) -> torch.Tensor:
        """Take the logit as the one score of several targets: (..., 1) to the same."""
        return outputs

    def loss(
        self,
        outputs: torch.Tensor,
        target: torch.Tensor,
        balance: torch.Tensor,
        function: LossFunction | None = None,
    ) -> torch.Tensor:
        """Compute the cross-entropy of each scan, weighted by group; 0 of those not known."""
        label = target[..., 0]
        known = ~torch.isnan(label)
        every = super().loss(outputs, torch.where(known, label, 0.0), balance, function)
        return torch.where(known, every, 0.0)

    def balance(self, target: torch.Tensor) -> torch.Tensor:
        """Weigh positive scans by negatives over positives, so that both groups count alike."""
        return super().balance(target[..., 0])

    def metrics(self) -> dict[str, Metric]:
        """Build the area under the ROC curve of scans whose group is known."""
        return {"auroc": KnownAuroc(validate_args=False)}


class KnownAuroc(BinaryAUROC):  # type: ignore[misc]
    """AUC of those whose group is known; targets are (N, 1)."""

    def update(self, preds: torch.Tensor, target: torch.Tensor) -> None:
        """Take scores, (N,) or (N, 1)."""
        known = ~torch.isnan(target[:, 0])
        super().update(preds.reshape(-1)[known], target[known, 0].int())
