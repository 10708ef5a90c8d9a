"""A head of several targets: outputs side by side, each learned from those of whom it is known."""

from collections.abc import Sequence
from typing import Any

import torch
from torchmetrics import Metric

from fmnet.networks.heads import Head, LossFunction


class SeveralHead(Head):
    """Reads the outputs of several heads side by side; what isn't known of a scan is left out.

    Targets begin with how many numbers each task's own head reads. Then follow, for each task, how
    much the scan counts in it (0 where its outcome isn't known), how its groups weigh (see
    `Head.balance`), and these numbers. The loss of a scan is the sum over its tasks, each times
    what it counts.

    Parameters
    ----------
    names : list of str
        Of the tasks.
    heads : list of Head
        One for each.
    """

    def __init__(self, names: Sequence[str], heads: Sequence[Head]) -> None:
        super().__init__()
        self.names, self.heads = list(names), torch.nn.ModuleList(heads)
        self.n_outputs = sum(head.n_outputs for head in heads)
        # some heads give (N,) in the place of (N, 1)
        self.is_flat = [head(torch.zeros(2, head.n_outputs)).ndim == 1 for head in heads]

    def forward(self, outputs: torch.Tensor) -> torch.Tensor:
        """Put the scores of all side by side: (..., n_outputs) to (..., K)."""
        return torch.cat([self._score(n, part) for n, part in enumerate(self._split(outputs))], -1)

    def _head(self, number: int) -> Head:
        head = self.heads[number]
        assert isinstance(head, Head)
        return head

    def _split(self, outputs: torch.Tensor) -> Sequence[torch.Tensor]:
        sizes = [self._head(n).n_outputs for n in range(len(self.names))]
        return torch.split(outputs, sizes, dim=-1)

    def _score(self, number: int, outputs: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self._head(number)(outputs)
        return scores[..., None] if self.is_flat[number] else scores

    def loss(
        self,
        outputs: torch.Tensor,
        target: torch.Tensor,
        balance: torch.Tensor,
        function: LossFunction | None = None,  # noqa: ARG002 (each task has a loss of its own)
    ) -> torch.Tensor:
        """Sum the losses of a scan over the tasks that it is known for."""
        total = outputs.new_zeros(outputs.shape[:-1])
        parts = split_targets(target, len(self.names))
        for n, (own, part) in enumerate(zip(self._split(outputs), parts, strict=True)):
            every = self._head(n).loss(own, part[..., 2:], part[..., 1])
            total = total + torch.where(part[..., 0] > 0, part[..., 0] * every, 0.0)
        return total * balance

    def metrics(self) -> dict[str, Metric]:
        """Build the metrics of each task, ``TASK_METRIC``, of those it is known for."""
        found: dict[str, Metric] = {}
        first = 0
        for n, part in enumerate(self._split(torch.zeros(2, self.n_outputs))):
            size = self._score(n, part).shape[-1]
            for name, metric in self._head(n).metrics().items():
                place = (n, len(self.names), first, size)
                found[f"{self.names[n]}_{name}"] = TaskMetric(metric, place, self.is_flat[n])
            first += size
        return found

    def describe(self) -> dict[str, Any]:
        """Say how it is built again: its class, and the same of each of its heads."""
        heads = [self._head(n).describe() for n in range(len(self.names))]
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        return {"name": name, "settings": {"names": self.names, "heads": heads}}


def split_targets(target: torch.Tensor, n_tasks: int) -> Sequence[torch.Tensor]:
    """Take what each task reads out of targets, (..., D): what it counts, how groups weigh, ..."""
    sizes = [2 + int(n) for n in target.reshape(-1, target.shape[-1])[0, :n_tasks].tolist()]
    return torch.split(target[..., n_tasks : n_tasks + sum(sizes)], sizes, dim=-1)


class TaskMetric(Metric):  # type: ignore[misc]
    """A metric of one task: of its own columns, and of the scans that it is known for.

    Parameters
    ----------
    metric : Metric
        Of the task's own scores and targets.
    place : tuple of int
        Number of the task, and of how many; its first score, and how many it has.
    is_flat : bool
        Whether its head gives (N,) in the place of (N, 1).
    """

    full_state_update = False

    def __init__(self, metric: Metric, place: tuple[int, int, int, int], is_flat: bool) -> None:
        super().__init__()
        self.metric, self.place, self.is_flat = metric, place, is_flat

    def update(self, scores: torch.Tensor, target: torch.Tensor) -> None:
        """Take scores of all tasks, (N, K), and targets, (N, D)."""
        number, n_tasks, first, size = self.place
        part = split_targets(target, n_tasks)[number]
        known = part[:, 0] > 0
        own = scores[known, first : first + size]
        if len(own):
            self.metric.update(own[:, 0] if self.is_flat else own, part[known, 2:])

    def compute(self) -> Any:
        """Compute the metric of the task."""
        return self.metric.compute()

    def reset(self) -> None:
        """Start anew."""
        super().reset()
        self.metric.reset()
