"""Trainings: fresh networks, a fixed number of epochs each, side by side where so asked."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits

from fmnet.networks.backbones import NetworkBuilder, ScoreNetwork
from fmnet.training.augmentation import BatchTransform, check_augmentation
from fmnet.training.batches import build_data
from fmnet.training.closed_form_fit import can_start, start_network
from fmnet.training.datamodule import Training
from fmnet.training.history import History
from fmnet.training.loggers import LoggerBuilder
from fmnet.training.optimiser import Recipe
from fmnet.training.scoring import score_scans
from fmnet.training.stack import stack_networks
from fmnet.training.task import ClassificationTask
from fmnet.training.trainer import TrainerBuilder


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
    augmentation : BatchTransform or None
        Changes training images.
    build_loggers : tuple of callable
        See `LoggerBuilder`.
    log_dir : Path
        Where logs go.
    n_stacked : int
        Trainings side by side.
    is_resident, is_channels_last, is_compiled : bool
        See `fmnet.training.compute.Compute`.
    """

    build_network: NetworkBuilder
    recipe: Recipe
    build_trainer: TrainerBuilder
    augmentation: BatchTransform | None = None
    build_loggers: tuple[LoggerBuilder, ...] = ()
    log_dir: Path = Path("logs")
    n_stacked: int = 1
    is_resident: bool = True
    is_channels_last: bool = False
    is_compiled: bool = False

    def __post_init__(self) -> None:
        check_augmentation(self.augmentation)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained network; loss and scores, (N,), after some epochs if there was a validation set.

    Parameters
    ----------
    network : ScoreNetwork
        In evaluation mode.
    losses, scores : list
        After each epoch from the first one that counts.
    first_epoch : int
        0 where a network started from the scans, which is worth a look before any epoch; 1 if not.
    """

    network: ScoreNetwork
    losses: list[float] = field(default_factory=list)
    scores: list[NDArray[np.float32]] = field(default_factory=list)
    first_epoch: int = 1


def fit_networks(
    trainable: Trainable, trainings: list[Training], on_epoch: Callable[[int], Any] = lambda _: None
) -> list[Fitted]:
    """Train a fresh network for each training, `n_stacked` of them side by side.

    Results are the same as one at a time, up to rounding; dropout alone draws other numbers.

    Parameters
    ----------
    trainable : Trainable
        What and how.
    trainings : list of Training
        On what; in any order.
    on_epoch : callable
        Called after each epoch with the number of trainings that it belonged to.
    """
    fitted: dict[int, Fitted] = {}
    for places in _groups(trainings, trainable.n_stacked):
        together = [trainings[place] for place in places]
        done = _fit_together(trainable, together, on_epoch)
        fitted |= dict(zip(places, done, strict=True))
    return [fitted[place] for place in range(len(trainings))]


def _groups(trainings: list[Training], n_stacked: int) -> list[list[int]]:
    """Put trainings together that take the same steps: equally many scans of the same values."""
    alike: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for place, one in enumerate(trainings):
        key = place if n_stacked == 1 else 0
        values = id(one.scans.values)
        is_trained = one.n_epochs > 0
        alike[key, len(one.train), values, one.validation is None, is_trained].append(place)
    groups = []
    for places in alike.values():
        # of about the same length: the longest holds up the others
        places.sort(key=lambda place: trainings[place].n_epochs)
        groups += [places[k : k + n_stacked] for k in range(0, len(places), n_stacked)]
    return groups


def _fit_together(
    trainable: Trainable, trainings: list[Training], on_epoch: Callable[[int], Any]
) -> list[Fitted]:
    recipe = trainable.recipe
    networks = []
    for one in trainings:
        pl.seed_everything(one.seed, verbose=False)
        network = trainable.build_network(one.scans.input_shape)
        networks.append(start_network(network, one))
    before = [_before_training(*pair) for pair in zip(networks, trainings, strict=True)]
    longest = max(one.n_epochs for one in trainings)
    if longest == 0:
        on_epoch(len(trainings))
        return before
    stack = stack_networks([network.train() for network in networks], trainable.is_channels_last)
    if trainable.is_compiled:
        stack.compile()
    weights = torch.tensor([_positive_weight(one) for one in trainings])
    task = ClassificationTask(stack, recipe.learning_rate, recipe.weight_decay, weights)
    data = build_data(trainings, recipe.batch_size, trainable.augmentation, trainable.is_resident)
    loggers = [
        [build(trainable.log_dir, one.name) for build in trainable.build_loggers]
        for one in trainings
    ]
    history = History(stack, data, loggers, on_epoch)
    trainer = trainable.build_trainer(longest, [history], [one for own in loggers for one in own])
    trainer.fit(task, datamodule=data)
    for network, state in zip(networks, history.states, strict=True):
        network.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        network.eval().load_state_dict(state)
    for fitted, losses, scores in zip(before, history.losses, history.scores, strict=True):
        fitted.losses.extend(losses)
        fitted.scores.extend(scores)
    return before


def _before_training(network: ScoreNetwork, training: Training) -> Fitted:
    """Note what a network that started from the scans is worth before its first epoch."""
    network.eval()
    if not can_start(network):
        return Fitted(network)
    fitted = Fitted(network, first_epoch=0)
    if training.validation is not None:
        scores = score_scans(network, training.scans, training.validation)
        label = torch.from_numpy(training.scans.labels[training.validation])
        loss = binary_cross_entropy_with_logits(
            torch.from_numpy(scores),
            label.float(),
            pos_weight=torch.tensor(_positive_weight(training)),
        )
        fitted.losses.append(float(loss))
        fitted.scores.append(scores)
    return fitted


def _positive_weight(training: Training) -> float:
    labels = training.scans.labels[training.train]
    return float((labels == 0).sum() / (labels == 1).sum())
