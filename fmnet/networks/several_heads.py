"""A head of several targets: outputs side by side, each learned from those of whom it is known."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torchmetrics import Metric

from fmnet.networks.heads import Head, LossFunction


class SeveralHead(Head):
    """Reads the outputs of several heads side by side; what isn't known of a scan is left out.

    Targets have, for each task one after the other, how much the scan counts in it (0 where its
    outcome isn't known), how its groups weigh (see `Head.balance`) and what the task's own head
    reads. The loss of a scan is the sum over its tasks, each times what it counts.

    Parameters
    ----------
    names : list of str
        Of the tasks.
    heads : list of Head
        One for each.
    n_targets : list of int
        How many numbers the loss of each head reads.
    """

    def __init__(
        self, names: Sequence[str], heads: Sequence[Head], n_targets: Sequence[int]
    ) -> None:
        super().__init__()
        self.names, self.n_targets = list(names), list(n_targets)
        self.heads = torch.nn.ModuleList(heads)
        self.n_outputs = sum(head.n_outputs for head in heads)
        self.is_flat = [head(torch.zeros(2, head.n_outputs)).ndim == 1 for head in heads]

    def forward(self, outputs: torch.Tensor) -> torch.Tensor:
        """Put the scores of all side by side: (..., n_outputs) to (..., K)."""
        return torch.cat([scores for scores, _ in self._scores(outputs)], dim=-1)

    def _scores(self, outputs: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Give scores, (..., K_t), and outputs, (..., n_t), of each task."""
        parts = torch.split(outputs, [head.n_outputs for head in self._heads()], dim=-1)
        return [
            (head(part)[..., None] if flat else head(part), part)
            for head, part, flat in zip(self._heads(), parts, self.is_flat, strict=True)
        ]

    def _heads(self) -> list[Head]:
        return [head for head in self.heads if isinstance(head, Head)]

    def loss(
        self,
        outputs: torch.Tensor,
        target: torch.Tensor,
        balance: torch.Tensor,
        function: LossFunction | None = None,  # noqa: ARG002 (each task has a loss of its own)
    ) -> torch.Tensor:
        """Sum the losses of a scan over the tasks that it is known for."""
        total = outputs.new_zeros(outputs.shape[:-1])
        parts = torch.split(target, [2 + n for n in self.n_targets], dim=-1)
        for head, (_, own), part in zip(self._heads(), self._scores(outputs), parts, strict=True):
            counts, weighs = part[..., 0], part[..., 1]
            total = total + counts * head.loss(own, part[..., 2:], weighs)
        return total * balance

    def metrics(self) -> dict[str, Metric]:
        """Build the metrics of each task, ``TASK_METRIC``, of those it is known for."""
        found: dict[str, Metric] = {}
        first_score = first_target = 0
        sizes = [scores.shape[-1] for scores, _ in self._scores(torch.zeros(1, self.n_outputs))]
        for n, head in enumerate(self._heads()):
            columns = (first_score, first_score + sizes[n]), (first_target, self.n_targets[n])
            for name, metric in head.metrics().items():
                one = TaskMetric(metric, *columns, self.is_flat[n])
                found[f"{self.names[n]}_{name}"] = one
            first_score += sizes[n]
            first_target += 2 + self.n_targets[n]
        return found

    def describe(self) -> dict[str, Any]:
        """Say how it is built again: its class, and the same of each of its heads."""
        settings: Mapping[str, Any] = {
            "names": self.names,
            "heads": [head.describe() for head in self._heads()],
            "n_targets": self.n_targets,
        }
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        return {"name": name, "settings": dict(settings)}


class TaskMetric(Metric):  # type: ignore[misc]
    """A metric of one task: of its own columns, and of the scans that it is known for.

    Parameters
    ----------
    metric : Metric
        Of the task's own scores and targets.
    scores : tuple of int
        First and one past the last of its scores.
    targets : tuple of int
        First of its columns (how much a scan counts), and number of those its head reads.
    is_flat : bool
        Whether its head gives (N,) in the place of (N, 1).
    """

    full_state_update = False

    def __init__(
        self, metric: Metric, scores: tuple[int, int], targets: tuple[int, int], is_flat: bool
    ) -> None:
        super().__init__()
        self.metric, self.columns, self.targets, self.is_flat = metric, scores, targets, is_flat

    def update(self, scores: torch.Tensor, target: torch.Tensor) -> None:
        """Take scores of all tasks, (N, K), and targets, (N, D)."""
        first, n = self.targets
        known = target[:, first] > 0
        own = scores[known, slice(*self.columns)]
        if len(own):
            self.metric.update(
                own[:, 0] if self.is_flat else own, target[known, first + 2 :][:, :n]
            )

    def compute(self) -> Any:
        """Compute the metric of the task."""
        return self.metric.compute()

    def reset(self) -> None:
        """Start anew."""
        super().reset()
        self.metric.reset()
