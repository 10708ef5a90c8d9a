"""How trainings are computed; what they come to is the same up to rounding."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import pytorch_lightning as pl
from joblib import cpu_count  # of this job, where a cluster gives it a share of a machine

from fmnet.errors import ConfigError, Fault
from fmnet.training.closed_form_fit import can_start
from fmnet.training.fit import Trainable
from fmnet.training.memory import choose_stack, free_bytes, training_bytes
from fmnet.training.scan_set import ScanSet
from fmnet.training.selfcheck import check_device
from fmnet.types import Count, Jobs

#: Processes that one GPU is shared by; each has a context of its own in its memory.
GPU_SHARERS = 4
#: Share of the free memory that a cohort may take to be kept on the device.
RESIDENT_SHARE = 0.5
#: Share of the free memory that stacked trainings are planned with.
PLANNED_SHARE = 0.8
#: Most networks that "auto" puts side by side; not measured, see docs/performance.md.
LARGEST_STACK = 256


@dataclass(frozen=True)
class Compute:
    """How many trainings run at once, and how.

    Parameters
    ----------
    n_jobs : int
        Processes among which folds and permutations are shared; -1 for one per processor, or as
        many as can share a GPU.
    n_stacked : int or "auto"
        Networks trained side by side in one process, see `fmnet.training.stack`; "auto" for as many
        as fit a GPU's memory, and for one on a CPU, where stacking is slower.
    resident : bool or "auto"
        Whether the cohort is kept on the device; "auto" for where it fits.
    channels_last : bool
        Whether networks that are trained one at a time keep channels innermost in memory.
    compile : bool
        Whether networks are compiled by ``torch.compile`` before training.
    """

    n_jobs: Jobs = 1
    n_stacked: Count | Literal["auto"] = "auto"
    resident: bool | Literal["auto"] = "auto"
    channels_last: bool = False
    compile: bool = False


def plan_compute(trainable: Trainable, compute: Compute, scans: ScanSet) -> Trainable:
    """Decide, before anything is trained, how many trainings run at once and where scans lie.

    Parameters
    ----------
    trainable : Trainable
        What is trained.
    compute : Compute
        What is asked for.
    scans : ScanSet
        On what.

    Raises
    ------
    ConfigError
        If the grid is too small for the network, networks are to be stacked that can't be, or the
        recipe doesn't fit the network.
    TrainingError
        If the device computes convolutions wrongly.
    """
    trainer = trainable.build_trainer(1, [], [])
    device, shape = trainer.strategy.root_device, scans.input_shape
    network = trainable.build_network(shape)
    _check_recipe(trainable, can_start(network), trainer.world_size)
    if device.type != "cpu" or trainer.precision != "32-true":
        check_device(network, shape, device, str(trainer.precision))
    if scans.reads_series:
        _check_alone(compute)
        return replace(trainable, n_stacked=1, is_resident=False)
    free = free_bytes(device) // count_processes(compute, trainer)
    is_resident = compute.resident
    if is_resident == "auto":
        is_resident = _prepared_bytes(scans) <= RESIDENT_SHARE * free
    n_stacked = compute.n_stacked
    if n_stacked == "auto":
        n_stacked = 1
        if device.type == "cuda" and trainer.world_size == 1 and trainer.precision != "16-mixed":
            one = training_bytes(network.to("meta"), shape, trainable.recipe.batch_size)
            resident = _prepared_bytes(scans) if is_resident else 0
            n_stacked = choose_stack(one, resident, free, LARGEST_STACK, PLANNED_SHARE)
    elif n_stacked > 1:
        _check_stackable(trainer)
    return replace(
        trainable,
        n_stacked=n_stacked,
        is_resident=is_resident,
        is_channels_last=compute.channels_last,
        is_compiled=compute.compile,
    )


def _check_recipe(trainable: Trainable, is_starting: bool, n_devices: int) -> None:
    """Raise `ConfigError` for a training that would change nothing, or settings without effect."""
    if trainable.recipe.max_epochs > 0:
        return
    if not is_starting:
        accepted = "1 epoch or more for a network whose weights are random at first"
        action = "set task=classification, or choose network=scale_space"
        raise ConfigError(Fault("task.max_epochs", "0", accepted, action))
    if trainable.augmentation is not None:
        accepted = "no augmentation where no epoch is trained (task.max_epochs=0)"
        action = "set augmentation=none, or task.max_epochs to 1 or more"
        raise ConfigError(Fault("augmentation", "some", accepted, action))
    if n_devices > 1:
        accepted = "one device where no epoch is trained (task.max_epochs=0)"
        action = "leave trainer.devices at 1; folds are shared by compute.n_jobs"
        raise ConfigError(Fault("trainer.devices", str(n_devices), accepted, action))


def _check_alone(compute: Compute) -> None:
    """Raise `ConfigError` for settings that a network which reads time series has no use for."""
    found = {
        "compute.n_stacked": compute.n_stacked not in {1, "auto"},
        "compute.channels_last": compute.channels_last,
        "compute.compile": compute.compile,
    }
    accepted = "the default, for a network that reads time series"
    faults = [
        Fault(name, "another setting", accepted, f"leave {name} out")
        for name, is_set in found.items()
        if is_set
    ]
    if faults:
        raise ConfigError(faults)


def _prepared_bytes(scans: ScanSet) -> int:
    return len(scans.values) * math.prod(scans.input_shape) * scans.values.itemsize


def count_processes(compute: Compute, trainer: pl.Trainer) -> int:
    """Say how many processes share the folds: 1 where several share each training already."""
    if trainer.world_size > 1:
        return 1
    if compute.n_jobs != -1:
        return compute.n_jobs
    processors = int(cpu_count())
    on_gpu = trainer.strategy.root_device.type == "cuda"
    return min(processors, GPU_SHARERS) if on_gpu else processors


def _check_stackable(trainer: pl.Trainer) -> None:
    """Raise `ConfigError` where stacked networks would not be independent of one another."""
    reasons = {
        "several processes that share each training": trainer.world_size > 1,
        "precision 16-mixed, which scales the losses of all networks together": (
            trainer.precision == "16-mixed"
        ),
    }
    if found := [reason for reason, holds in reasons.items() if holds]:
        accepted = "one device, and precision 32-true or bf16-mixed, for stacked networks"
        action = "set compute.n_stacked=1, or change the trainer"
        raise ConfigError(Fault("compute.n_stacked", " and ".join(found), accepted, action))
