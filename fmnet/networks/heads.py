"""Heads: what the last layer's outputs mean, the loss they learn by and how they are judged."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torchmetrics import Metric
from torchmetrics.classification import BinaryAUROC

from fmnet.errors import ConfigError, Fault

#: ``(outputs, target)`` to one number for each scan, or to their mean.
LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def per_scan(function: LossFunction) -> LossFunction:
    """Copy a loss, which may hold weights or buffers of its own, so that it doesn't average."""
    own = copy.deepcopy(function)
    if hasattr(own, "reduction"):
        own.reduction = "none"
    return own


class Head(nn.Module, ABC):
    """Turns the outputs of a network into one score for each scan; knows its loss and metrics.

    Leading axes may be several, (..., n_outputs): networks that are trained together have one more.
    """

    #: How many outputs the network has to give.
    n_outputs: int = 1

    @abstractmethod
    def forward(self, outputs: torch.Tensor) -> torch.Tensor:
        """Turn outputs into scores: (..., n_outputs) to (...)."""

    @abstractmethod
    def loss(
        self,
        outputs: torch.Tensor,
        target: torch.Tensor,
        balance: torch.Tensor,
        function: LossFunction | None = None,
    ) -> torch.Tensor:
        """Compute the loss of each scan.

        Parameters
        ----------
        outputs : Tensor, shape (..., n_outputs)
            Of the network.
        target : Tensor, shape (...)
            What should come out.
        balance : Tensor
            See `balance`; broadcast against the targets.
        function : callable, optional
            A user's loss in place of the head's own.

        Returns
        -------
        Tensor, shape (...)
            Not averaged; of a function that averages by itself, its mean for every scan.
        """

    def balance(self, target: torch.Tensor) -> torch.Tensor:
        """Say how training targets, (N,), weigh in the loss; by default all scans alike."""
        return torch.ones((), device=target.device)

    @abstractmethod
    def metrics(self) -> dict[str, Metric]:
        """Build the metrics of scores and targets, by name."""

    def check_loss(self, function: LossFunction) -> None:
        """Raise `ConfigError` unless a user's loss can be learned by; by default all can."""


class BinaryHead(Head):
    """Reads one output as the logit of the positive class."""

    def forward(self, outputs: torch.Tensor) -> torch.Tensor:
        """Take the logit: (..., 1) to (...)."""
        return outputs.squeeze(-1)

    def loss(
        self,
        outputs: torch.Tensor,
        target: torch.Tensor,
        balance: torch.Tensor,
        function: LossFunction | None = None,
    ) -> torch.Tensor:
        """Compute the cross-entropy, or the function given, weighted by class.

        A function gets logits and labels as floats of shape (..., 1).
        """
        logit, label = self(outputs).float(), target.float()
        if function is None:
            return binary_cross_entropy_with_logits(
                logit, label, reduction="none", pos_weight=balance
            )
        every = function(logit[..., None], label[..., None])
        if every.ndim == 0:
            return every.expand(label.shape)
        return every.reshape(label.shape) * torch.where(label == 1, balance, 1.0)

    def balance(self, target: torch.Tensor) -> torch.Tensor:
        """Weigh positive scans by negatives over positives, so that both classes count alike."""
        return torch.tensor(float((target == 0).sum() / (target == 1).sum()))

    def metrics(self) -> dict[str, Metric]:
        """Build the area under the ROC curve."""
        return {"auroc": BinaryAUROC(validate_args=False)}

    def check_loss(self, function: LossFunction) -> None:
        """Raise `ConfigError` unless a loss is smaller for right logits than for wrong ones.

        A loss for several classes, as `torch.nn.CrossEntropyLoss`, is always 0 where there is one
        logit: nothing would be learned, without a word.
        """
        label, balance = torch.tensor([0, 0, 1, 1]), torch.ones(())
        right, low, high = [-1.0, -1.0, 2.0, 2.0], [-1.0] * 4, [2.0] * 4
        try:
            own = per_scan(function)
            best, *others = (
                float(self.loss(torch.tensor(one)[:, None], label, balance, own).mean())
                for one in (right, low, high)
            )
            found = "" if best < min(others) else "a loss that isn't smaller for right logits"
        except Exception as error:  # noqa: BLE001 (whatever a user's function raises)
            reason = " ".join(str(error).split())[:200]
            found = f"a loss that can't be computed ({type(error).__name__}: {reason})"
        if found:
            accepted = "a loss of logits and labels 0 or 1, both (B, 1)"
            action = "use loss=focal, torch.nn.BCEWithLogitsLoss, or none for the usual one"
            raise ConfigError(Fault("loss", found, accepted, action))
