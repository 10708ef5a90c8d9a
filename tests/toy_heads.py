"""Heads of toy targets: a number, three groups, and ranks, which a batch shows as a whole."""

import torch
from torch.nn.functional import cross_entropy
from torchmetrics import MeanMetric, MeanSquaredError
from torchmetrics.classification import MulticlassAccuracy

from fmnet.networks.heads import Head, Trial, losses_by


class NumberHead(Head):
    """Numbers, (..., n), learned by squared error; those not known cost nothing."""

    accepted_loss = "a loss of outputs and numbers, both (B, n)"

    def __init__(self, n_outputs: int = 1) -> None:
        super().__init__()
        self.n_outputs = n_outputs

    def loss(self, outputs, target, balance, function=None):
        known = target.isfinite()
        filled = target.nan_to_num()
        if function is not None:
            return losses_by(function, outputs, filled) * known.all(-1)
        return ((outputs - filled).square() * known).mean(-1)

    def metrics(self):
        return {"mse": MeanSquaredError()}

    def trial(self):
        target = torch.tensor([-1.0, 0.0, 2.0])[:, None].expand(-1, self.n_outputs)
        return Trial(target, target, [torch.zeros_like(target), -target])


class ThreeGroups(Head):
    """Logits of three groups, whose weights make up for how many scans they have."""

    n_outputs = 3

    def loss(self, outputs, target, balance, function=None):
        group = target[..., 0].long()
        losses = cross_entropy(outputs.flatten(0, -2), group.flatten(), reduction="none")
        each = torch.nn.functional.one_hot(group, 3)
        return losses.view(group.shape) * (each * balance).sum(-1)

    def balance(self, target):
        counts = torch.bincount(target[:, 0].long(), minlength=3)
        return len(target) / (3 * counts.clamp(min=1))

    def metrics(self):
        return {"accuracy": OfGroups(num_classes=3)}


class OfGroups(MulticlassAccuracy):
    def update(self, preds, target):
        super().update(preds, target[:, 0].long())


class RankHead(Head):
    """Scores in the order of times: each scan's loss compares it with the others of its batch."""

    def loss(self, outputs, target, balance, function=None):
        score, time = outputs[..., 0], target[..., 0]
        later = time[..., None, :] > time[..., None]  # (..., B, B), of the row's scan
        difference = score[..., None] - score[..., None, :]
        losses = torch.nn.functional.softplus(-difference) * later
        return losses.sum(-1) / later.sum(-1).clamp(min=1)

    def metrics(self):
        return {"mean": MeanOfScores()}


class MeanOfScores(MeanMetric):
    def update(self, scores, target):
        del target
        super().update(scores)
