"""Heads: what the last layer's outputs mean, the loss they learn by and how they are judged."""

import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

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


def losses_by(function: LossFunction, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Compute a user's loss of each scan: (..., n) outputs and (..., D) targets to (...).

    The mean of what it gives for a scan; of a function that averages by itself, its mean for each.
    """
    every = function(outputs, target)
    scans = outputs.shape[:-1]
    if every.ndim == 0:
        return every.expand(scans)
    return every.reshape(*scans, -1).mean(-1)


class Trial(NamedTuple):
    """Targets with outputs that fit them, and outputs that don't: what a loss must tell apart."""

    target: torch.Tensor
    right: torch.Tensor
    wrong: Sequence[torch.Tensor]


class Head(nn.Module, ABC):
    """Turns the outputs of a network into the scores of each scan; knows its loss and metrics.

    Leading axes may be several, (..., B, n_outputs): networks that are trained together have one
    more, and the scans of a batch are always the last of them. D numbers of each scan are what the
    loss reads: `fmnet.targets.base.Null.losses`, or a label, which has no axis of its own.
    """

    #: How many outputs the network has to give.
    n_outputs: int = 1
    #: What a user's loss has to take in place of the head's own; empty where none can.
    accepted_loss: ClassVar[str] = ""
    #: Some that do, each followed by a comma.
    usual_losses: ClassVar[str] = ""

    def forward(self, outputs: torch.Tensor) -> torch.Tensor:
        """Turn outputs into K scores, (..., n_outputs) to (..., K): by default they are these."""
        return outputs

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
        outputs : Tensor, shape (..., B, n_outputs)
            Of the network.
        target : Tensor, shape (..., B, D)
            What should come out, NaN where it isn't known; (..., B) of labels.
        balance : Tensor
            See `balance`; broadcast against the targets.
        function : callable, optional
            A user's loss in place of the head's own.

        Returns
        -------
        Tensor, shape (..., B)
            Not averaged; of a function that averages by itself, its mean for every scan. It may
            depend on the other scans of the batch. 0, not NaN, for what isn't known.
        """

    def balance(self, target: torch.Tensor) -> torch.Tensor:
        """Say how training targets, (N,) or (N, D), weigh in the loss; by default all alike."""
        return torch.ones((), device=target.device)

    @abstractmethod
    def metrics(self) -> dict[str, Metric]:
        """Build the metrics of scores and targets, by name."""

    def trial(self) -> Trial:
        """Make up what a user's loss is tried on; asked for where `accepted_loss` says something.

        Outputs are (n, n_outputs), targets (n,) or (n, D).
        """
        raise NotImplementedError

    def check_loss(self, function: LossFunction) -> None:
        """Raise `ConfigError` unless a user's loss is smaller for right outputs than for others.

        Else nothing would be learned, without a word: a loss for several classes, as
        `torch.nn.CrossEntropyLoss`, is always 0 where there is one logit.
        """
        if not self.accepted_loss:
            accepted = "none: what is predicted here has a loss of its own"
            raise ConfigError(Fault("loss", "a loss", accepted, "set loss=null"))
        (target, right, wrong), balance = self.trial(), torch.ones(())
        try:
            own = per_scan(function)
            best, *others = (
                float(self.loss(one, target, balance, own).mean()) for one in (right, *wrong)
            )
            found = "" if best < min(others) else "a loss that isn't smaller for right outputs"
        except Exception as error:  # noqa: BLE001 (whatever a user's function raises)
            reason = " ".join(str(error).split())[:200]
            found = f"a loss that can't be computed ({type(error).__name__}: {reason})"
        if found:
            action = f"use {self.usual_losses}or none for the usual one"
            raise ConfigError(Fault("loss", found, self.accepted_loss, action))

    def describe(self) -> dict[str, Any]:
        """Say how it is built again: dotted ``name`` of its class and plain ``settings``.

        Settings are the arguments of its constructor, which it keeps under their own names.
        """
        given = inspect.signature(type(self)).parameters.values()
        names = [one.name for one in given if one.kind not in {one.VAR_POSITIONAL, one.VAR_KEYWORD}]
        settings = {name: getattr(self, name) for name in names}
        return {
            "name": f"{type(self).__module__}.{type(self).__qualname__}",
            "settings": {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in settings.items()
            },
        }


class BinaryHead(Head):
    """Reads one output as the logit of the positive class, which is a scan's one score."""

    accepted_loss = "a loss of logits and labels 0 or 1, both (B, 1)"
    usual_losses = "loss=focal, torch.nn.BCEWithLogitsLoss, "

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
        logit, label = outputs.squeeze(-1).float(), target.float()
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

    def trial(self) -> Trial:
        """Make up two scans of each group."""
        right, low, high = ([-1.0, -1.0, 2.0, 2.0], [-1.0] * 4, [2.0] * 4)
        outputs = [torch.tensor(one)[:, None] for one in (right, low, high)]
        return Trial(torch.tensor([0, 0, 1, 1]), outputs[0], outputs[1:])
