"""One training: a fresh network, a fixed number of epochs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger

from fmnet.data.volume import FloatArray
from fmnet.networks.backbones import NetworkBuilder, ScoreNetwork
from fmnet.training.datamodule import Augmentation, ExampleDataModule, Examples
from fmnet.training.recipe import Recipe
from fmnet.training.task import ClassificationTask
from fmnet.training.trainer import TrainerBuilder

#: A folder for logs and the name of one training to a Lightning logger.
LoggerBuilder = Callable[[Path, str], Logger]


@dataclass(frozen=True)
class Trainable:
    """Everything that defines a training but the data.

    Parameters
    ----------
    build_network : callable
        Input shape (C, X, Y, Z) to a fresh `ScoreNetwork`.
    recipe : Recipe
        Optimiser and budget.
    build_trainer : callable
        See `fmnet.training.trainer.TrainerBuilder`.
    build_augmentation : callable
        ``seed=...`` to an augmentation or None.
    build_loggers : tuple of callable
        See `LoggerBuilder`.
    log_dir : Path
        Where logs go.
    """

    build_network: NetworkBuilder
    recipe: Recipe
    build_trainer: TrainerBuilder
    build_augmentation: Callable[..., Augmentation | None]
    build_loggers: tuple[LoggerBuilder, ...] = ()
    log_dir: Path = Path("logs")


class History(Callback):
    """Keeps loss and scores of the validation scans after each epoch; tells of each epoch's end.

    Parameters
    ----------
    network : ScoreNetwork
        The one in training.
    validation : Examples or None
        What is scored; in one piece, whatever the number of processes.
    on_epoch : callable
        Called after each epoch.
    """

    def __init__(
        self, network: ScoreNetwork, validation: Examples | None, on_epoch: Callable[[], Any]
    ) -> None:
        self.losses: list[float] = []
        self.scores: list[NDArray[np.float32]] = []
        self.network = network
        self.validation = validation
        self.on_epoch = on_epoch

    def on_validation_end(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        """Note loss and scores."""
        self.losses.append(float(trainer.callback_metrics["val_loss"]))
        if self.validation is not None:
            self.scores.append(predict_scores(self.network, self.validation.images))

    def on_train_epoch_end(self, _: pl.Trainer, __: pl.LightningModule) -> None:
        """Report one more epoch."""
        self.on_epoch()


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained network; loss and scores, (N,), of each epoch if there was a validation set."""

    network: ScoreNetwork
    losses: list[float] = field(default_factory=list)
    scores: list[NDArray[np.float32]] = field(default_factory=list)


def fit_network(
    trainable: Trainable,
    train: Examples,
    validation: Examples | None,
    n_epochs: int,
    seed: int,
    name: str,
    on_epoch: Callable[[], Any] = lambda: None,
) -> Fitted:
    """Train a fresh network for exactly `n_epochs`.

    Parameters
    ----------
    trainable : Trainable
        What and how.
    train, validation : Examples
        Prepared scans; validation may be None and never changes the weights.
    n_epochs : int
        Length.
    seed : int
        Of weights, order and augmentation.
    name : str
        Of this training in the logs.
    on_epoch : callable
        Called after each epoch.
    """
    pl.seed_everything(seed, verbose=False)
    network = trainable.build_network(tuple(train.images.shape[1:]))
    positives = int(train.labels.sum())
    task = ClassificationTask(
        network,
        trainable.recipe.learning_rate,
        trainable.recipe.weight_decay,
        (len(train.labels) - positives) / positives,
    )
    augmentation = trainable.build_augmentation(seed=seed)
    data = ExampleDataModule(train, validation, trainable.recipe.batch_size, augmentation, seed)
    history = History(network, validation, on_epoch)
    loggers = [build(trainable.log_dir, name) for build in trainable.build_loggers]
    trainable.build_trainer(n_epochs, [history], loggers).fit(task, datamodule=data)
    return Fitted(network.cpu().eval(), history.losses, history.scores)


@torch.no_grad()
def predict_scores(
    network: ScoreNetwork, images: FloatArray, batch_size: int = 8
) -> NDArray[np.float32]:
    """Score prepared scans, (N, C, X, Y, Z), in float32 where the network lies: (N,)."""
    device = next(network.parameters()).device
    batches = torch.split(torch.from_numpy(images), batch_size)
    scores = [network(batch.to(device)).cpu() for batch in batches]
    return np.asarray(torch.cat(scores).numpy(), dtype=np.float32)
