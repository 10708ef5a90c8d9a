"""The LightningModule: network, loss, metrics, optimiser."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torchmetrics.classification import BinaryAUROC

Batch = dict[str, torch.Tensor]


class ClassificationTask(pl.LightningModule):
    """Tell two groups apart from prepared scans.

    Parameters
    ----------
    network : torch.nn.Module
        Scores scans: (B, C, X, Y, Z) to (B,).
    learning_rate, weight_decay : float
        Of AdamW.
    positive_weight : float
        Weight of the positive class in the loss: negatives over positives in the training data.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        learning_rate: float,
        weight_decay: float,
        positive_weight: float,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["network"])
        self.network = network
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.register_buffer("positive_weight", torch.tensor(positive_weight), persistent=False)
        self.val_auc = BinaryAUROC()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Score prepared scans: (B, C, X, Y, Z) to (B,)."""
        score: torch.Tensor = self.network(image)
        return score

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        """Return the loss of one batch."""
        loss = self._loss(self(batch["image"]), batch["label"])
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["label"]))
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Log loss and AUC of the inner validation fold."""
        score = self(batch["image"])
        size = len(batch["label"])
        self.val_auc.update(score, batch["label"].int())
        loss = self._loss(score, batch["label"])
        self.log("val_loss", loss, on_epoch=True, sync_dist=True, batch_size=size)
        self.log("val_auc", self.val_auc, on_epoch=True, batch_size=size)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build AdamW."""
        return torch.optim.AdamW(
            self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )

    def _loss(self, score: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        weight: Any = self.positive_weight
        return binary_cross_entropy_with_logits(score.float(), label.float(), pos_weight=weight)
