"""Lightning trainers for many short trainings in a row."""

import logging
import warnings
from collections.abc import Callable
from typing import Literal

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger

from fmnet.errors import ConfigError, Fault
from fmnet.types import Count, Devices

#: ``(max_epochs, callbacks, loggers)`` to a Trainer.
TrainerBuilder = Callable[[int, list[Callback], list[Logger]], pl.Trainer]

#: Advice from Lightning that does not hold for cohorts kept in memory, or that a user can't act on.
SILENCED = (
    ".*does not have many workers.*",
    ".*is smaller than the logging interval.*",
    ".*isinstance.treespec, LeafSpec.*",
    "Total length of .list. across ranks is zero.*",
)

#: What Lightning raises for settings that it, or this machine, can't work with.
UNUSABLE = (MisconfigurationException, ValueError, TypeError, RuntimeError)


def build_trainer(
    max_epochs: int,
    callbacks: list[Callback],
    loggers: list[Logger],
    accelerator: Literal["cpu", "gpu", "auto"] = "cpu",
    devices: Devices = 1,
    strategy: Literal["auto", "ddp"] = "auto",
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true",
    num_nodes: Count = 1,
) -> pl.Trainer:
    """Build a quiet, reproducible trainer of fixed length.

    Parameters
    ----------
    max_epochs : int
        Exact length of the training.
    callbacks, loggers : list
        As Lightning takes them.
    accelerator, devices, strategy, precision, num_nodes
        Where and how to compute, as Lightning takes them.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    for message in SILENCED:
        warnings.filterwarnings("ignore", message=message)
    return pl.Trainer(
        max_epochs=max_epochs,
        callbacks=callbacks,
        logger=loggers or False,
        accelerator=accelerator,
        devices=devices,
        strategy=strategy,
        precision=precision,
        num_nodes=num_nodes,
        use_distributed_sampler=False,  # EpochOrder shares scans out
        deterministic="warn" if accelerator != "cpu" else True,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )


def check_trainer(build_trainer: TrainerBuilder) -> pl.Trainer:
    """Build a trainer once, so that what this machine lacks is known before anything is written.

    Raises
    ------
    ConfigError
        If Lightning refuses the settings, for instance a GPU where there is none.
    """
    try:
        trainer = build_trainer(1, [], [])
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
    return trainer
