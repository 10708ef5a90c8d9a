"""What is kept of trainings while they run: losses, scores, and networks that are done."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger
from torchmetrics.functional.classification import binary_auroc

from fmnet.training.batches import TrainingData
from fmnet.training.stack import NetworkStack, SingleNetwork, State
from fmnet.training.task import ClassificationTask


class History(Callback):
    """Keeps loss and scores of the validation scans after each epoch, and each network at its end.

    Parameters
    ----------
    stack : NetworkStack or SingleNetwork
        The ones in training.
    data : StackDataModule or SeriesDataModule
        Of the same trainings.
    loggers : list of Logger
        Of each training; all empty for none.
    on_epoch : callable
        Called after each epoch with the number of trainings that it belonged to.
    """

    def __init__(
        self,
        stack: NetworkStack | SingleNetwork,
        data: TrainingData,
        loggers: list[list[Logger]],
        on_epoch: Callable[[int], Any],
    ) -> None:
        self.stack, self.data, self.loggers, self.on_epoch = stack, data, loggers, on_epoch
        n = len(data.trainings)
        self.losses: list[list[float]] = [[] for _ in range(n)]
        self.scores: list[list[NDArray[np.float32]]] = [[] for _ in range(n)]
        self.states: list[State] = [{} for _ in range(n)]

    def on_train_epoch_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Note loss and scores, log, and keep the networks whose last epoch this was."""
        assert isinstance(task, ClassificationTask)
        epoch = trainer.current_epoch + 1
        train_losses = task.epoch_losses()
        if self.data.trainings[0].validation is not None:
            self._validate(trainer, task, epoch)
        for index, training in enumerate(self.data.trainings):
            if epoch <= training.n_epochs:
                self._log(index, float(train_losses[index]), epoch, trainer.global_step)
            if epoch == training.n_epochs:
                self.states[index] = self.stack.state(index)
        self.on_epoch(sum(epoch <= one.n_epochs for one in self.data.trainings))

    @torch.no_grad()
    def _validate(self, trainer: pl.Trainer, task: ClassificationTask, epoch: int) -> None:
        """Score in float32, in one piece; what the first process finds counts for all."""
        task.eval()
        scores = self.data.validation_scores(self.stack, task.device).cpu()
        task.train()
        scores = trainer.strategy.broadcast(scores)
        weights = torch.as_tensor(task.positive_weight).cpu()
        for index, training in enumerate(self.data.trainings):
            rows = training.validation
            if rows is None or epoch > training.n_epochs:
                continue
            own = scores[index, : len(rows)]
            label = torch.from_numpy(training.scans.labels[rows])
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                own, label.float(), pos_weight=weights[index]
            )
            self.losses[index].append(float(loss))
            self.scores[index].append(own.numpy().astype(np.float32))

    def _log(self, index: int, train_loss: float, epoch: int, step: int) -> None:
        if not self.loggers[index]:
            return
        found = {"epoch": float(epoch - 1), "train_loss": train_loss}
        rows = self.data.trainings[index].validation
        if rows is not None:
            label = torch.from_numpy(self.data.trainings[index].scans.labels[rows])
            score = torch.from_numpy(self.scores[index][-1])
            found["val_loss"] = self.losses[index][-1]
            found["val_auc"] = float(binary_auroc(score, label))
        for logger in self.loggers[index]:
            logger.log_metrics(found, step)
