"""The LightningModule: networks, loss, optimiser."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from fmnet.networks.residual import learn_on_cpu
from fmnet.training.datamodule import Batch
from fmnet.training.stack import SingleNetwork


class ClassificationTask(pl.LightningModule):
    """Tell two groups apart from prepared scans, by M networks that know nothing of one another.

    Parameters
    ----------
    stack : torch.nn.Module
        Scores scans: (M, B, C, X, Y, Z) to (M, B), see `fmnet.training.stack`.
    learning_rate, weight_decay : float
        Of AdamW.
    positive_weight : Tensor, shape (M,)
        Weight of the positive class in the loss: negatives over positives in the training data.
    """

    def __init__(
        self,
        stack: torch.nn.Module,
        learning_rate: float,
        weight_decay: float,
        positive_weight: torch.Tensor,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["stack", "positive_weight"])
        self.stack = stack
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.register_buffer("positive_weight", positive_weight[:, None], persistent=False)
        self.step_losses: list[torch.Tensor] = []
        self.step_sizes: list[int] = []

    def on_fit_start(self) -> None:
        """Choose how a network that is trained alone computes on this device."""
        if isinstance(self.stack, SingleNetwork) and self.device.type == "cpu":
            learn_on_cpu(self.stack)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Score prepared scans: (M, B, C, X, Y, Z) to (M, B)."""
        score: torch.Tensor = self.stack(image)
        return score

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        """Return the sum of the networks' losses: each gets the gradient of its own."""
        losses = self.losses(self(batch["image"]), batch["label"], batch["weight"])
        self.step_losses.append(losses.detach())
        self.step_sizes.append(batch["label"].shape[1])
        return losses.sum()

    def losses(
        self, score: torch.Tensor, label: torch.Tensor, scan_weight: torch.Tensor
    ) -> torch.Tensor:
        """Cross-entropy of scores, (M, B), weighted by class and by scan, (B,): (M,)."""
        weight: Any = self.positive_weight
        score, label = score.float(), label.float()
        every = binary_cross_entropy_with_logits(score, label, reduction="none", pos_weight=weight)
        return (every * scan_weight).mean(dim=1)

    def epoch_losses(self) -> torch.Tensor:
        """Mean training loss over the scans of the epoch that ends, (M,); starts the next."""
        sizes = torch.tensor(self.step_sizes, dtype=torch.float32)
        losses = self._of_all(torch.stack(self.step_losses, dim=1)).cpu()
        self.step_losses.clear()
        self.step_sizes.clear()
        return losses @ (sizes / sizes.sum())

    def _of_all(self, losses: torch.Tensor) -> torch.Tensor:
        """Mean over the processes that share the training."""
        if self.trainer.world_size == 1:
            return losses
        mean: Any = self.trainer.strategy.reduce(losses, reduce_op="mean")
        return torch.as_tensor(mean)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build AdamW, which treats every number apart: stacked networks don't mix."""
        return torch.optim.AdamW(
            self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay, fused=True
        )
