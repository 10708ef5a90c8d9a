"""Lightning trainers of many short trainings, their callbacks, and what is kept of them."""

import copy
import logging
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from numpy.typing import NDArray
from pytorch_lightning.callbacks import (
    BatchSizeFinder,
    Callback,
    Checkpoint,
    DeviceStatsMonitor,
    LearningRateFinder,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelPruning,
    ProgressBar,
    StochasticWeightAveraging,
    Timer,
)
from pytorch_lightning.loggers import Logger

from fmnet.errors import ConfigError, Fault
from fmnet.networks.backbones import ScoreNetwork
from fmnet.progress.show import moves_bars
from fmnet.training.data import Training
from fmnet.training.module import (
    OptimizerBuilder,
    SchedulerBuilder,
    ScoreModule,
    StackModule,
)

#: `pytorch_lightning.Trainer`, or a partial of it with what the user asks for.
TrainerBuilder = Callable[..., pl.Trainer]

#: The usual trainer: one CPU process.
CPU_TRAINER: TrainerBuilder = partial(pl.Trainer, accelerator="cpu", devices=1)

#: Advice from Lightning that does not hold for cohorts kept in memory, or that a user can't act on.
SILENCED = (
    ".*does not have many workers.*",
    ".*is smaller than the logging interval.*",
    ".*isinstance.treespec, LeafSpec.*",
    "Total length of .list. across ranks is zero.*",
    ".*Checkpoint directory .* exists and is not empty.*",
)

#: What Lightning raises for settings that it, or this machine, can't work with.
UNUSABLE = (MisconfigurationException, ValueError, TypeError, RuntimeError)

#: Arguments of a Trainer that fmnet gives itself, and where a user says the same.
ELSEWHERE = {
    "callbacks": "name them in the group callbacks, for instance callbacks=early_stopping",
    "logger": "choose the group logger, for instance logger=tensorboard",
    "default_root_dir": "set run_dir: logs and checkpoints go below it",
    "use_distributed_sampler": "leave it out: fmnet shares the scans of a step out itself",
    "fast_dev_run": "use experiment=quick, or trainer.limit_train_batches and trainer.max_epochs",
    "limit_val_batches": "leave it out: the number of epochs and the calibration need all scores",
    "overfit_batches": "use trainer.limit_train_batches",
    "val_check_interval": "leave it out: the number of epochs is chosen from scores after each",
    "max_steps": "set trainer.max_epochs",
    "max_time": "set trainer.max_epochs: results must not depend on how fast a machine is",
    "reload_dataloaders_every_n_epochs": "leave it out: each epoch has an order of its own anyway",
    "barebones": "leave it out",
    "num_sanity_val_steps": "leave it out: each network is tried before scans are read",
}
#: The same, with the value that is no other than the default.
HARMLESS = {
    "fast_dev_run": False,
    "overfit_batches": 0.0,
    "max_steps": -1,
    "reload_dataloaders_every_n_epochs": 0,
    "barebones": False,
    "num_sanity_val_steps": 0,
    "limit_val_batches": 1.0,
    "val_check_interval": 1.0,
}
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
#: Callbacks that show or keep what happens in a training, and change nothing of it.
WATCHING = (ProgressBar, LearningRateMonitor, Checkpoint, DeviceStatsMonitor)
#: Callbacks that can't go with a length that is chosen on inner folds, and what to do instead.
UNSERVED: dict[type[Callback], str] = {
    StochasticWeightAveraging: "use EMAWeightAveraging: its mean weights are those that are judged",
    LearningRateFinder: "compare values of optimizer.lr: -m optimizer.lr=1e-4,1e-3",
    BatchSizeFinder: "set batch_size",
    ModelPruning: "leave it out: a bundle holds whole networks",
    Timer: ELSEWHERE["max_time"],
}


def asked(builder: Callable[..., Any]) -> Mapping[str, Any]:
    """Look up what a partial is to be called with."""
    keywords: Mapping[str, Any] = getattr(builder, "keywords", {})
    return keywords


def build_trainer(
    build: TrainerBuilder,
    max_epochs: int = 1,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    **more: Any,
) -> pl.Trainer:
    """Build a trainer, quiet and reproducible where the user asked for nothing else.

    `max_epochs` and `more` count whatever the user's limits are; the rest is as Lightning takes it.
    """
    given = {name for name, value in asked(build).items() if value is not None}
    is_on_cpu = asked(build).get("accelerator", "cpu") == "cpu"
    usual = {
        "deterministic": True if is_on_cpu else "warn",
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
        "enable_progress_bar": any(isinstance(one, ProgressBar) for one in callbacks),
        "enable_model_summary": False,
        "enable_checkpointing": any(isinstance(one, Checkpoint) for one in callbacks),
    }
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    for message in SILENCED:
        warnings.filterwarnings("ignore", message=message)
    return build(
        max_epochs=max_epochs,
        callbacks=list(callbacks),
        logger=list(loggers) or False,
        use_distributed_sampler=False,  # EpochOrder divides the scans of a step
        **{name: value for name, value in usual.items() if name not in given},
        **more,
    )


def check_training(
    build: TrainerBuilder,
    optimizer: OptimizerBuilder,
    scheduler: SchedulerBuilder | None = None,
    callbacks: Sequence[Callback] = (),
) -> pl.Trainer:
    """Build trainer, optimiser and scheduler once, before any scan is read or result written.

    Raises
    ------
    ConfigError
        If settings or callbacks can't be used for trainings whose length is chosen on inner folds,
        or Lightning refuses them, for instance a GPU where there is none.
    """
    given = {
        name: value
        for name, value in asked(build).items()
        if value is not None and (name not in HARMLESS or value != HARMLESS[name])
    }
    faults = [
        Fault(f"trainer.{name}", str(given[name]), "nothing, since fmnet sets it", action)
        for name, action in ELSEWHERE.items()
        if name in given
    ]
    if given.get("max_epochs", 0) < 0:
        accepted = "a whole number, at least 0, or null for what the network needs"
        action = "give the longest training: how much of it is used is chosen on inner folds"
        faults.append(Fault("trainer.max_epochs", str(given["max_epochs"]), accepted, action))
    if given.get("check_val_every_n_epoch", 1) != 1:
        found, action = str(given["check_val_every_n_epoch"]), ELSEWHERE["val_check_interval"]
        faults.append(Fault("trainer.check_val_every_n_epoch", found, "1", action))
    faults += [fault for one in callbacks for fault in _callback_faults(one)]
    faults += _optimizer_faults(optimizer, scheduler)
    if faults:
        raise ConfigError(faults)
    try:
        trainer = build_trainer(build)
        environment = getattr(trainer.strategy, "cluster_environment", None)
        if environment is not None:
            environment.validate_settings(trainer.num_devices, trainer.num_nodes)
    except UNUSABLE as error:
        reason = f"settings that Lightning refuses ({' '.join(str(error).split())})"
        if not torch.cuda.is_available() and "gpu" in str(error).lower():
            reason = "no CUDA device on this machine"
        accepted = "devices that this machine has, and settings that Lightning takes"
        action = "choose trainer=cpu, or correct trainer.accelerator, devices and strategy"
        raise ConfigError(Fault("trainer", reason, accepted, action)) from error
    if trainer.precision not in PRECISIONS:
        accepted, action = ", ".join(PRECISIONS), "choose one of these"
        raise ConfigError(Fault("trainer.precision", str(trainer.precision), accepted, action))
    return trainer


def name_of(callback: Callback) -> str:
    """Name a callback in messages."""
    return type(callback).__name__


def monitor_of(callback: Callback) -> str:
    """Name the metric that a callback waits for; empty if for none."""
    return str(getattr(callback, "monitor", None) or "")


def _optimizer_faults(
    build: OptimizerBuilder, build_scheduler: SchedulerBuilder | None
) -> list[Fault]:
    action = "correct it; torch.optim describes each"
    where = "optimizer"
    try:
        optimizer = build([torch.zeros(1, requires_grad=True)])
        if not optimizer.param_groups[0]["lr"] > 0:
            return [Fault("optimizer.lr", "0", "a number, above 0", "raise it")]
        where = "scheduler"
        if build_scheduler is not None:
            build_scheduler(optimizer)
    except UNUSABLE as error:
        reason = " ".join(str(error).split())
        return [Fault(where, f"settings that it refuses ({reason})", "others", action)]
    return []


def _callback_faults(callback: Callback) -> list[Fault]:
    """Say what is wrong with a callback."""
    where, faults = f"callbacks, {name_of(callback)}", []
    for kind, action in UNSERVED.items():
        if isinstance(callback, kind):
            accepted = "callbacks that suit trainings whose length is chosen on inner folds"
            faults.append(Fault(where, "a callback that fmnet can't serve", accepted, action))
    monitor = monitor_of(callback)
    if monitor and not monitor.startswith(("val/", "train/")):
        accepted = "train/loss, val/loss or val/auroc"
        faults.append(Fault(f"{where}.monitor", monitor, accepted, "monitor one of these"))
    folder = getattr(callback, "dirpath", None)
    if isinstance(callback, ModelCheckpoint) and folder:
        # Lightning makes each of them absolute, from the folder where the program was started
        accepted = "nothing: each training has a folder of its own below the run's logs"
        faults.append(Fault(f"{where}.dirpath", str(folder), accepted, "leave dirpath out"))
    return faults


def own_callbacks(
    callbacks: Sequence[Callback], training: Training, log_dir: Path, is_logged: bool
) -> list[Callback]:
    """Copy a user's callbacks for one training.

    Those that monitor ``val/...`` go to trainings with a validation set alone, those that log
    learning rates to trainings with a logger, progress bars to terminals: a log would get pieces of
    them. Checkpoints are written to ``<log_dir>/checkpoints/<training>``.
    """
    copies = []
    for one in callbacks:
        if monitor_of(one).startswith("val/") and training.validation is None:
            continue
        if isinstance(one, LearningRateMonitor | DeviceStatsMonitor) and not is_logged:
            continue
        if isinstance(one, ProgressBar) and not moves_bars(sys.stdout):
            continue
        own = copy.deepcopy(one)
        if isinstance(own, ModelCheckpoint):
            own.dirpath = str(log_dir.absolute() / "checkpoints" / training.name)
        copies.append(own)
    return copies


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained network, and what its validation set, if there was one, got after each epoch.

    Parameters
    ----------
    network : ScoreNetwork
        In evaluation mode.
    losses, scores : list
        Mean loss and scores, (N,) or (N, K), after each epoch from the first one that counts.
    rates : list of float
        Learning rate of each epoch.
    first_epoch : int
        0 where a network was fitted in closed form, which is worth a look before any epoch; else 1.
    """

    network: ScoreNetwork
    losses: list[float] = field(default_factory=list)
    scores: list[NDArray[np.float32]] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    first_epoch: int = 1


class History(Callback):
    """Notes loss and scores of validation scans after each epoch, in the `Fitted` of each training.

    Of several trainings, each logs to its own loggers, and its network takes its weights from the
    stack after its last epoch; of one alone Lightning sees to both. After each epoch `on_epoch` is
    called with the number of trainings that it belonged to.
    """

    def __init__(
        self,
        trainings: list[Training],
        fitted: list[Fitted],
        loggers: list[list[Logger]],
        on_epoch: Callable[[int], Any],
    ) -> None:
        self.trainings, self.fitted = trainings, fitted
        self.loggers, self.on_epoch = loggers, on_epoch
        self.outputs: list[torch.Tensor] = []

    def on_validation_epoch_start(self, *_: Any) -> None:
        """Start anew."""
        self.outputs.clear()

    def on_validation_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Keep the outputs of a batch."""
        del trainer, module
        self.outputs.append(outputs)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Note loss and scores, log, and keep the networks whose last epoch this was."""
        assert isinstance(module, ScoreModule)
        epoch = trainer.current_epoch + 1
        running = [n for n, one in enumerate(self.trainings) if epoch <= one.n_epochs]
        if self.outputs:
            # what the first process finds counts for all
            outputs = trainer.strategy.broadcast(torch.cat(self.outputs, dim=-2))
            for number in running:
                self._note(module, number, outputs if len(self.trainings) == 1 else outputs[number])
        for number in running:
            self.fitted[number].rates.append(float(trainer.optimizers[0].param_groups[0]["lr"]))
        if isinstance(module, StackModule):
            self._follow_stack(module, epoch, running, trainer.global_step)
        self.on_epoch(len(running))

    @torch.no_grad()
    def _note(self, module: ScoreModule, number: int, outputs: torch.Tensor) -> None:
        training = self.trainings[number]
        assert training.validation is not None
        own = outputs[: len(training.validation)]
        label = training.label(training.validation).to(own.device)
        balance = module.balance[number] if isinstance(module, StackModule) else module.balance
        losses = module.head.loss(own, label, balance.to(own.device), module.loss)
        self.fitted[number].losses.append(float(losses.mean()))
        self.fitted[number].scores.append(module.head(own).float().cpu().numpy())

    def _follow_stack(self, module: StackModule, epoch: int, running: list[int], step: int) -> None:
        train_losses = module.epoch_losses()
        for number in running:
            training, fitted = self.trainings[number], self.fitted[number]
            logged = {"epoch": float(epoch - 1), "train/loss": float(train_losses[number])}
            if self.loggers[number] and training.validation is not None:
                score = torch.from_numpy(fitted.scores[-1])
                label = training.label(training.validation)
                logged["val/loss"] = fitted.losses[-1]
                for name, metric in module.head.metrics().items():
                    logged[f"val/{name}"] = float(metric(score, label))
            for logger in self.loggers[number]:
                logger.log_metrics(logged, step)
            if epoch == training.n_epochs:
                fitted.network.load_state_dict(module.network.state(number))
