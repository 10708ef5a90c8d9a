"""Target: which of several groups a person belongs to, and which other group is nearest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch.nn.functional import cross_entropy
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAUROC

from fmnet.data.outcomes import Numbers, Outcomes
from fmnet.data.tables import say_some
from fmnet.errors import Fault
from fmnet.evaluation.graded import auc_within, fold_numbers, held_out_means, once_a_person
from fmnet.evaluation.grouped import called_groups, nearest_groups, pairs_of_groups
from fmnet.evaluation.metrics import CLIP
from fmnet.inference.links import SoftmaxLink
from fmnet.networks.heads import Head, LossFunction, Trial, losses_by
from fmnet.targets.base import Meaning, Null, Primary, Said, Target, plain_value, unit_responses
from fmnet.targets.sentences import answer, beside
from fmnet.targets.shrinkage import SLOPES, believed_slope, person_weights
from fmnet.types import Several

#: Least standard deviation within groups, as a fraction of that of all scores: logits stay finite
#: where groups are told apart without an error.
LEAST_WITHIN = 0.1


class ClassesHead(Head):
    """One output a group is its logit; learned by cross-entropy in which groups count alike.

    Targets hold the number of the group and the weight of the scan.

    Parameters
    ----------
    n_groups : int
        How many groups there are.
    """

    accepted_loss = "a loss of logits (B, K) and numbers of groups (B,)"
    usual_losses = "torch.nn.CrossEntropyLoss, torch.nn.MultiMarginLoss, "

    def __init__(self, n_groups: int) -> None:
        super().__init__()
        self.n_outputs = self.n_groups = n_groups

    def forward(self, outputs: torch.Tensor) -> torch.Tensor:
        """Take their mean from the logits, which probabilities don't depend on: (..., K)."""
        return outputs - outputs.mean(dim=-1, keepdim=True)

    def loss(
        self,
        outputs: torch.Tensor,
        target: torch.Tensor,
        balance: torch.Tensor,  # noqa: ARG002 (weights are part of the target)
        function: LossFunction | None = None,
    ) -> torch.Tensor:
        """Compute the cross-entropy, or the function given, times the weight of the scan.

        A function gets logits (B, K) and the numbers of groups (B,). It is 0 where the group isn't
        known.
        """
        group, weight = target[..., 0], torch.nan_to_num(target[..., 1])
        flat = outputs.float().reshape(-1, self.n_outputs)
        number = torch.nan_to_num(group).long().reshape(-1)
        if function is None:
            every = cross_entropy(flat, number, reduction="none")
        else:
            every = losses_by(function, flat, number)
        return every.reshape(group.shape) * weight * torch.isfinite(group)

    def trial(self) -> Trial:
        """Make up two scans of each group."""
        group = torch.arange(self.n_groups).repeat(2)
        target = torch.stack([group.float(), torch.ones(len(group))], dim=-1)
        right = 3 * torch.eye(self.n_groups)[group]
        return Trial(target, right, [torch.zeros_like(right), -right])

    def metrics(self) -> dict[str, Metric]:
        """Build the mean of the areas under the ROC curves, each group against the rest."""
        return {"macro_auroc": _MacroAuroc(num_classes=self.n_outputs, validate_args=False)}


class _MacroAuroc(MulticlassAUROC):  # type: ignore[misc]
    def update(self, scores: torch.Tensor, target: torch.Tensor) -> None:
        """Take scores, (B, K), and targets, (B, 2), of which the group is known."""
        is_known = torch.isfinite(target[:, 0])
        super().update(scores[is_known], target[is_known, 0].long())


@dataclass(frozen=True)
class Classes(Target):
    """Which group a person belongs to, of any number.

    Parameters
    ----------
    column : str
        Of the tables.
    groups : dict of list of str, optional
        Values of the column that make up each group, in the order of the scores; several put
        together, as ``{OA: [kneeOA, hipOA]}``. People with other values are left out. By default
        each value found is a group.
    min_people : int
        Fewest people in a group.
    """

    kind: ClassVar[str] = "classes"
    title: ClassVar[str] = "which group it is"

    column: str = "group"
    groups: Mapping[str, Sequence[str]] | None = None
    min_people: Several = 10

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the K groups."""
        return tuple(str(name) for name in self.groups or {})

    @property
    def columns(self) -> dict[str, str]:
        """Take the group from its column."""
        return {"group": self.column}

    def read(self, texts: pd.DataFrame) -> tuple[Self, dict[str, Numbers], list[Fault]]:
        """Turn values into numbers of groups, from 0; those that belong to none have no number.

        Where no groups were named, those found are, in alphabetical order.
        """
        cells = [plain_value(text) for text in texts[self.column]]
        found = sorted(set(cells) - {""})
        chosen = {name: [name] for name in found} if self.groups is None else self.groups
        groups = {
            str(name): [plain_value(value) for value in _listed(values)]
            for name, values in chosen.items()
        }
        every = [value for values in groups.values() for value in values]
        where, faults = f"target.groups, {self.column}", []
        if unmet := [value for value in every if value not in found]:
            accepted = f"values of the column: {say_some(found)}"
            told = f"{', '.join(map(repr, unmet))}, which nobody has"
            faults.append(Fault(where, told, accepted, "correct target.groups"))
        if twice := sorted({value for value in every if every.count(value) > 1}):
            told = f"{', '.join(map(repr, twice))} more than once"
            faults.append(Fault(where, told, "each value in one group", "correct target.groups"))
        place = {value: k for k, values in enumerate(groups.values()) for value in values}
        numbers = np.array([place.get(cell, np.nan) for cell in cells], dtype=float)
        return replace(self, groups=groups), {"group": numbers}, faults

    def check(self, outcomes: Outcomes) -> list[Fault]:
        """Find groups of hardly any people, and fewer than two groups."""
        where, people = f"target, {self.column}", np.array(outcomes.participants)
        counts = [len(set(people[outcomes["group"] == k])) for k in range(len(self.names))]
        if len(counts) < 2:
            found = f"{len(counts)} groups"
            return [Fault(where, found, "two groups or more", "name them in target.groups")]
        few = {name: n for name, n in zip(self.names, counts, strict=True) if n < self.min_people}
        if not few:
            return []
        found = ", ".join(f"{n} people in '{name}'" for name, n in few.items())
        accepted = f"{self.min_people} people or more in each (target.min_people)"
        action = "put groups together or leave some out in target.groups"
        return [Fault(where, found, accepted, action)]

    def check_training(self, train: Outcomes, where: str) -> list[Fault]:
        """Find groups that nobody of the training people is in."""
        held = set(train["group"].tolist())
        if not (absent := [name for k, name in enumerate(self.names) if k not in held]):
            return []
        found, action = f"nobody of {', '.join(absent)}", "choose fewer folds (folds.n_splits)"
        return [Fault(where, found, "people of every group", action)]

    def strata(self, outcomes: Outcomes) -> list[str]:
        """Name the group of each scan."""
        return [self.names[int(group)] for group in outcomes["group"]]

    @property
    def score_names(self) -> tuple[str, ...]:
        """One score a group."""
        return self.names

    def head(self) -> Head:
        """Build a head that learns groups by cross-entropy."""
        return ClassesHead(len(self.names))

    def fit_null(self, outcomes: Outcomes, train: NDArray[np.intp]) -> Null:
        """Take its share from the indicator of each group.

        Losses are the number of the group and a weight with which all groups count alike.
        """
        group = outcomes["group"]
        is_known = np.isfinite(group)
        member = np.where(is_known[:, None], group[:, None] == np.arange(len(self.names)), np.nan)
        counts = np.nansum(member[train], axis=0)
        weights = counts.sum() / (np.maximum(counts, 1) * max((counts > 0).sum(), 1))
        own = np.where(is_known, weights[np.where(is_known, group, 0).astype(int)], np.nan)
        losses = np.stack([group, own], axis=1).astype(np.float32)
        return Null(unit_responses(member.astype(float), train), losses)

    def fit_link(self, scores: Numbers, outcomes: Outcomes) -> SoftmaxLink:
        """Fit a softmax whose slope is shrunken and whose mean probabilities are the shares.

        People count once each. Scores that tell nothing give everybody the shares of the groups.
        """
        x, group = np.asarray(scores, dtype=float), outcomes["group"]
        is_known = np.isfinite(x).all(axis=1) & np.isfinite(group)
        x, group = x[is_known], group[is_known].astype(int)
        weights = person_weights(tuple(np.array(outcomes.participants)[is_known]))
        shares = np.bincount(group, weights, len(self.names))
        shares = np.maximum(shares, 0.5) / np.maximum(shares, 0.5).sum()
        x = x - x.mean(axis=1, keepdims=True)
        middle = np.average(x, axis=0, weights=weights)
        within = (
            x
            - np.stack([np.bincount(group, one)[group] for one in x.T], axis=1)
            / (np.bincount(group)[group][:, None])
        )
        sd = max(float(within.std()), LEAST_WITHIN * float((x - middle).std()))
        if sd <= 1e-9 * np.abs(x).max(initial=0):
            return SoftmaxLink(0.0, np.log(shares).tolist(), list(self.names))
        standard = (x - middle) / sd
        steps = SLOPES[:, None, None] * standard  # (S, N, K)
        logits = steps + _intercepts(steps, weights, shares, 40)[:, None]
        p = softmax(logits, axis=2)[:, np.arange(len(group)), group]
        slope = believed_slope(np.log(np.maximum(p, 1e-12)) @ weights)
        intercepts = _intercepts(slope * standard[None], weights, shares, 400)[0]
        own = intercepts - slope / sd * middle
        return SoftmaxLink(slope / sd, own.tolist(), list(self.names))

    @property
    def primary(self) -> Primary:
        """Area under the ROC curve of each group against the rest, their mean."""
        return Primary("macro_auc", "macro AUC", 0.5)

    def _scores(self, rows: pd.DataFrame) -> Numbers:
        return rows[[f"score_{name}" for name in self.names]].to_numpy(float)

    def _probabilities(self, rows: pd.DataFrame) -> Numbers:
        return rows[[f"p_{name}" for name in self.names]].to_numpy(float)

    def with_null(self, table: pd.DataFrame) -> pd.DataFrame:
        """Add the share of each group among the people of other folds."""
        member = table["outcome_group"].to_numpy(float)[:, None] == np.arange(len(self.names))
        repeat, fold = (table[name].to_numpy(np.intp) for name in ("repeat", "fold"))
        shares = held_out_means(member.astype(float), repeat, fold, once_a_person(table))
        return table.assign(**{f"null_{k}": own for k, own in enumerate(shares.T)})

    def _shares(self, rows: pd.DataFrame) -> Numbers:
        rows = rows if "null_0" in rows else self.with_null(rows)
        return rows[[f"null_{k}" for k in range(len(self.names))]].to_numpy(float)

    def figures(self, rows: pd.DataFrame) -> dict[str, float]:
        """Compute how well groups are told apart, and how near probabilities come.

        Returns
        -------
        dict
            ``auc_GROUP``, the area under the ROC curve against the rest, over pairs of scans within
            folds, and their mean ``macro_auc``; ``balanced_accuracy``, the mean part of the groups
            that is called rightly, where the group is called whose probability is largest beside
            its share; ``log_loss``, and ``log_loss_shares`` of the other folds' shares.
        """
        group, names = rows["outcome_group"].to_numpy(np.intp), self.names
        scores, p = self._scores(rows), self._probabilities(rows)
        folds, shares = fold_numbers(rows), self._shares(rows)
        aucs = [auc_within(scores[:, k], group == k, folds) for k in range(len(names))]
        called = called_groups(p, shares)
        own = np.arange(len(group))
        n = np.bincount(group, minlength=len(names))
        right = np.bincount(group, called[own, group], len(names))[n > 0] / n[n > 0]
        losses = (-np.log(np.clip(one[own, group], CLIP, 1)).mean() for one in (p, shares))
        known = [auc for auc in aucs if np.isfinite(auc)]
        return {
            "macro_auc": float(np.mean(known)) if known else np.nan,
            **{f"auc_{name}": auc for name, auc in zip(names, aucs, strict=True)},
            "balanced_accuracy": float(right.mean()),
            **dict(zip(("log_loss", "log_loss_shares"), map(float, losses), strict=True)),
        }

    def details(self, rows: pd.DataFrame) -> dict[str, Any]:
        """Tabulate calls, pairs of groups and which group is nearest, and list people.

        Returns
        -------
        dict
            ``groups``; ``confusion``, how many scans of each group (rows) were called which
            (columns), the mean over repeats; ``pairs``, for each two groups the ``auc`` within
            folds of the difference of their scores, with its interval ``ci``; ``nearest``, see
            `nearest_groups`; ``people``.
        """
        group, names = rows["outcome_group"].to_numpy(np.intp), self.names
        p, shares = self._probabilities(rows), self._shares(rows)
        unit = pd.factorize(rows["unit"].to_numpy())[0]
        counts = np.zeros((len(names), len(names)))
        np.add.at(counts, group, called_groups(p, shares) / rows["repeat"].nunique())
        outputs = [f"p_{name}" for name in names]
        keys = ["participant_id", "scan_id", "outcome_group"]
        people = rows.groupby(keys, sort=True)[outputs].mean().reset_index()
        listed = [
            {"participant_id": row["participant_id"], "scan_id": row["scan_id"]}
            | {"observed": names[int(row["outcome_group"])]}
            | {name: float(row[name]) for name in outputs}
            for row in people.to_dict("records")
        ]
        return {
            "groups": list(names),
            "confusion": counts.tolist(),
            "pairs": pairs_of_groups(self._scores(rows), group, fold_numbers(rows), unit, names),
            "nearest": nearest_groups(
                p / shares,
                group,
                unit,
                names,
                self.figures(rows)["macro_auc"],
            ),
            "people": listed,
        }

    def statistic(self, scores: Numbers, outcomes: Outcomes, fold: NDArray[np.intp]) -> float:
        """Average the AUCs within folds of each group against the rest."""
        group = outcomes["group"]
        aucs = [auc_within(scores[:, k], group == k, fold) for k in range(len(self.names))]
        return float(np.nanmean(aucs))

    @property
    def meanings(self) -> tuple[Meaning, ...]:
        """Say what the probability of each group is."""
        return tuple(
            Meaning(
                f"p_{name}",
                "probability",
                f"what fraction of people with such a scan belongs to {name}, among people of"
                f" these groups ({', '.join(self.names)}) alone and with their shares in the study",
                "a diagnosis, or anything about people of other groups or of the population",
            )
            for name in self.names
        )

    def summary(self, outcomes: Outcomes) -> str:
        """Say how many people are in each group."""
        group, people = outcomes["group"], np.array(outcomes.participants)
        counts = [f"{len(set(people[group == k]))} {name}" for k, name in enumerate(self.names)]
        return f"{len(set(outcomes.participants))} people: {', '.join(counts)}"

    def verdict(self, facts: Mapping[str, Any]) -> list[Said]:
        """Say whether groups are told apart, beside what, which aren't, and which are near."""
        own = facts["models"][facts["studied"]]
        said = [answer(facts, self.primary, "scans tell the groups apart")]
        said += beside(facts, self.primary)
        details = facts.get("details", {}).get(facts["studied"], {})
        if alike := [
            pair for pair in details.get("pairs", []) if pair["ci"] and pair["ci"][0] <= 0.5
        ]:
            listed = "; ".join(
                f"{pair['one']} and {pair['other']}, AUC {pair['auc']:.2f}"
                f" [{pair['ci'][0]:.2f}, {pair['ci'][1]:.2f}]"
                for pair in alike
            )
            said.append(Said(f"Not shown to be told apart from each other: {listed}.", "amber"))
        said += [self._say_nearest(row) for row in details.get("nearest", []) if row["is_told"]]
        gain = own["log_loss_shares"] - own["log_loss"]
        told = (
            f"Of each group {own['balanced_accuracy']:.0%} are called rightly on average, chance"
            f" {1 / len(self.names):.0%}; probabilities say"
            f" {'more' if gain > 0 else 'no more'} than the groups' shares in the study (log loss"
            f" {own['log_loss']:.3f}, that of shares {own['log_loss_shares']:.3f})."
        )
        return [*said, Said(told, "none" if gain > 0 else "amber")]

    def _say_nearest(self, row: Mapping[str, Any]) -> Said:
        name, others = row["nearest"], len(self.names) - 1
        low, high = row["ci"][name]
        return Said(
            f"Of the other groups, {name} is the one that scans of {row['group']} are nearest to"
            f" ({row['closeness'][name]:.0%} [{low:.0%}, {high:.0%}] of what goes to other groups,"
            f" chance {1 / others:.0%}); that they share a cause doesn't follow."
        )

    def tripod(self, facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """List items of TRIPOD+AI on outcome, class balance and performance."""
        members = "; ".join(
            name if [name] == list(values) else f"{name} ({', '.join(map(str, values))})"
            for name, values in (self.groups or {}).items()
        )
        return [
            (
                "8a",
                "Outcome",
                f"The group in column {self.column}: {members}. People with other values were left"
                " out. Groups were assigned beforehand, not by the model.",
            ),
            (
                "12d",
                "Class imbalance",
                "Groups count alike in the loss of networks. Probabilities have the groups' shares"
                " among training people on average; the group is called whose probability is"
                " largest beside its share.",
            ),
            (
                "12e",
                "Performance measures",
                "Area under the ROC curve of each group against the rest, over pairs of scans"
                " within folds, and their mean; of each two groups, by the difference of their"
                " scores; balanced accuracy, confusion matrix, log loss beside that of shares.",
            ),
            ("20a", "Participants", f"{facts['n_subjects']} people, {facts['n_scans']} scans."),
        ]


def _listed(values: Any) -> list[Any]:
    return [values] if isinstance(values, str | int | float) else list(values)


def _intercepts(steps: Numbers, weights: Numbers, shares: Numbers, n: int) -> Numbers:
    """Find intercepts, (S, K), with which groups have their shares on average.

    By `n` rounds of proportional fitting, for each of S arrays of log odds, (S, N, K).
    """
    odds = np.exp(steps - steps.max(axis=2, keepdims=True))
    part, factors = weights / weights.sum(), np.tile(shares, (len(steps), 1))
    for _ in range(n):
        total = np.einsum("snk,sk->sn", odds, factors)
        mean = factors * np.einsum("snk,sn->sk", odds, part / total)
        ratio = shares / np.maximum(mean, 1e-12)
        factors = factors * ratio / (factors * ratio).sum(axis=1, keepdims=True)
        if np.abs(ratio - 1).max() < 1e-9:
            break
    return np.asarray(np.log(factors))
