"""How trainings are computed: side by side, on which device, in how many processes."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import psutil
import pytorch_lightning as pl
import torch
from joblib import cpu_count  # of this job, where a cluster gives it a part of a machine
from torch.optim import (
    ASGD,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    NAdam,
    RAdam,
    RMSprop,
    Rprop,
)

from fmnet.errors import ConfigError, Fault, TrainingError
from fmnet.networks.backbones import InputShape, ScoreNetwork
from fmnet.networks.heads import per_scan
from fmnet.training.fit import Trainable, is_closed_form
from fmnet.training.module import NetworkStack, monitored_by
from fmnet.training.scan_set import ScanSet
from fmnet.training.trainer import asked, build_trainer, monitor_of, name_of
from fmnet.types import Count, Jobs

#: Epochs of a training where the user gives no number, of a network with random weights.
USUAL_EPOCHS = 20
#: Most processes on one GPU; each has a context of its own in its memory.
GPU_SHARERS = 4
#: Fraction of the free memory that a cohort may take to be kept on the device.
RESIDENT_FRACTION = 0.5
#: Fraction of the free memory that stacked trainings are planned with.
PLANNED_FRACTION = 0.8
#: Most networks that "auto" puts side by side; not measured, see docs/performance.md.
LARGEST_STACK = 256
#: Memory of parameters in training, in copies: themselves, gradient and AdamW's two moments.
COPIES = 4
#: Room for what convolutions need to work in and for what the allocator can't use.
WORKING_ROOM = 1.5
#: Optimisers that treat every number apart, so that stacked networks don't mix.
ELEMENTWISE = (
    SGD, Adam, AdamW, NAdam, RAdam, Adamax, RMSprop, Rprop, Adagrad, Adadelta, ASGD,
)  # fmt: skip
#: Largest relative error, root mean square, of scores and gradients by Lightning's precision.
TOLERANCES = {"32-true": 1e-3, "bf16-mixed": 5e-2, "16-mixed": 1e-2}
DTYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True)
class Compute:
    """How many trainings run at once, and how; results are the same up to rounding.

    Parameters
    ----------
    n_jobs : int
        Processes that work on folds and permutations at once; -1 for one per processor, or as
        many as can share a GPU.
    n_stacked : int or "auto"
        Networks trained side by side in one process, see `fmnet.training.module.NetworkStack`;
        "auto" for as many as fit a GPU's memory, and for one on a CPU, where stacking is slower, or
        where callbacks, scheduler, clipping or the network allow no more.
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
    """Decide, before anything is trained, how long, how many at once and where scans lie.

    Raises
    ------
    ConfigError
        If the grid is too small for the network, networks are to be stacked that can't be, or
        settings would have no effect, or none that can be served.
    TrainingError
        If the device computes convolutions wrongly.
    """
    trainer = build_trainer(trainable.build_trainer)
    device, shape = trainer.strategy.root_device, scans.input_shape
    network = trainable.build_network(shape)
    trainable = check_plan(trainable, compute, network, shape)
    if device.type != "cpu" or trainer.precision != "32-true":
        check_device(network, shape, device, str(trainer.precision))
    # of other devices some lack numbers of 64 bits, in which variances are decomposed
    trainable = replace(trainable, device=device if device.type == "cuda" else torch.device("cpu"))
    if scans.reads_series:
        return replace(trainable, n_stacked=1, is_resident=False)
    free = free_bytes(device) // count_processes(compute, trainer)
    prepared = len(scans.values) * math.prod(shape) * scans.values.itemsize
    is_resident = compute.resident
    if is_resident == "auto":
        is_resident = prepared <= RESIDENT_FRACTION * free
    n_stacked = compute.n_stacked
    if n_stacked == "auto":
        n_stacked = 1
        if device.type == "cuda" and not stacking_faults(trainable, network, shape, trainer):
            one = training_bytes(network.to("meta"), shape, trainable.batch_size)
            resident = prepared if is_resident else 0
            n_stacked = choose_stack(one, resident, free)
    return replace(
        trainable,
        n_stacked=n_stacked,
        is_resident=is_resident,
        is_channels_last=compute.channels_last,
        is_compiled=compute.compile,
    )


def check_plan(
    trainable: Trainable, compute: Compute, network: ScoreNetwork, shape: InputShape
) -> Trainable:
    """Decide how long trainings are; refuse what can't be served, without looking at any scan.

    Parameters
    ----------
    trainable, compute
        What is trained, and what is asked for.
    network : ScoreNetwork
        As `trainable` builds it for scans of a shape.
    shape : tuple of int
        (C, X, Y, Z).

    Raises
    ------
    ConfigError
        If settings would have no effect, or can't be served, or networks are to be stacked that
        can't be.
    """
    trainer = build_trainer(trainable.build_trainer)
    if trainable.max_epochs is None:
        n_epochs = 0 if is_closed_form(network) else USUAL_EPOCHS
        trainable = replace(trainable, max_epochs=n_epochs)
    if faults := _faults(trainable, network, trainer):
        raise ConfigError(faults)
    if network.window_volumes is not None:
        unused = {
            "compute.n_stacked": compute.n_stacked not in {1, "auto"},
            "compute.channels_last": compute.channels_last,
            "compute.compile": compute.compile,
        }
        accepted = "the default, for a network that reads time series"
        if faults := [
            Fault(name, "another setting", accepted, f"leave {name} out")
            for name, is_set in unused.items()
            if is_set
        ]:
            raise ConfigError(faults)
    elif (
        compute.n_stacked != "auto"
        and compute.n_stacked > 1
        and (reasons := stacking_faults(trainable, network, shape, trainer))
    ):
        accepted = "what each network can do without the others, for stacked networks"
        action = "set compute.n_stacked=1, or leave that out"
        raise ConfigError(Fault("compute.n_stacked", " and ".join(reasons), accepted, action))
    return trainable


def _faults(trainable: Trainable, network: ScoreNetwork, trainer: pl.Trainer) -> list[Fault]:
    """Say which settings would change nothing, or can't be served for this network."""
    faults = []
    names = ["train/loss", "val/loss", *(f"val/{name}" for name in network.head.metrics())]
    monitors = {f"callbacks, {name_of(one)}": monitor_of(one) for one in trainable.callbacks}
    if trainable.build_scheduler is not None:
        monitors["scheduler"] = monitored_by(trainable.build_scheduler)
    for where, monitor in monitors.items():
        if monitor and monitor not in names:
            accepted = ", ".join(names)
            faults.append(Fault(f"{where}.monitor", monitor, accepted, "monitor one of these"))
    given = asked(trainable.build_trainer)
    is_clipped = given.get("gradient_clip_val") is not None
    is_fused = asked(trainable.build_optimizer).get("fused")
    if trainer.precision == "16-mixed" and is_clipped and is_fused:
        accepted = "optimizer.fused=false, where gradients are clipped in precision 16-mixed"
        faults.append(Fault("optimizer.fused", "true", accepted, "set it, or use bf16-mixed"))
    if trainer.world_size > 1 and (loss := trainable.loss and per_scan(trainable.loss)) is not None:
        target, outputs, _ = network.head.trial()
        if loss(outputs, target.float().view(len(target), -1)).ndim == 0:
            found = "one that averages over scans by itself, those that fill up a step included"
            accepted = "a loss for each scan, where several devices share a training"
            action = "give it a 'reduction' that can be 'none', or leave trainer.devices at 1"
            faults.append(Fault("loss", found, accepted, action))
    if trainable.longest == 0:
        faults += _faults_without_epochs(trainable, network, trainer)
    return faults


def _faults_without_epochs(
    trainable: Trainable, network: ScoreNetwork, trainer: pl.Trainer
) -> list[Fault]:
    if not is_closed_form(network):
        accepted = "1 epoch or more for a network whose weights are random at first"
        action = "leave trainer.max_epochs out, or choose network=prior_cnn"
        return [Fault("trainer.max_epochs", "0", accepted, action)]
    unused = {
        "augmentation": trainable.augmentation is not None,
        "callbacks": bool(trainable.callbacks),
        "scheduler": trainable.build_scheduler is not None,
        "trainer.gradient_clip_val": (
            asked(trainable.build_trainer).get("gradient_clip_val") is not None
        ),
    }
    accepted = "none where no epoch is trained: the network is fitted without gradient steps"
    faults = [
        Fault(where, "some", accepted, f"leave {where} out, or set trainer.max_epochs to 1 or more")
        for where, is_there in unused.items()
        if is_there
    ]
    if trainer.world_size > 1:
        accepted = "one device where no epoch is trained (trainer.max_epochs=0)"
        action = "leave trainer.devices at 1; folds are shared by compute.n_jobs"
        faults.append(Fault("trainer.devices", str(trainer.world_size), accepted, action))
    return faults


def count_processes(compute: Compute, trainer: pl.Trainer) -> int:
    """Say how many processes share the folds: 1 where several share each training already."""
    if trainer.world_size > 1:
        return 1
    if compute.n_jobs != -1:
        return compute.n_jobs
    processors = int(cpu_count())
    on_gpu = trainer.strategy.root_device.type == "cuda"
    return min(processors, GPU_SHARERS) if on_gpu else processors


def stacking_faults(
    trainable: Trainable, network: ScoreNetwork, shape: InputShape, trainer: pl.Trainer
) -> list[str]:
    """Name what keeps networks from being trained side by side; nothing if they can be."""
    optimizer = getattr(trainable.build_optimizer, "func", trainable.build_optimizer)
    given: Mapping[str, Any] = asked(trainable.build_trainer)
    reasons = {
        "several processes that share each training": trainer.world_size > 1,
        "precision 16-mixed, which scales the losses of all networks together": (
            trainer.precision == "16-mixed"
        ),
        f"callbacks ({', '.join(map(name_of, trainable.callbacks))})": bool(trainable.callbacks),
        "a scheduler": trainable.build_scheduler is not None,
        "a loss of one's own": trainable.loss is not None,
        "trainer.gradient_clip_val, which clips the gradients of all networks together": (
            given.get("gradient_clip_val") is not None
        ),
        "trainer.accumulate_grad_batches": given.get("accumulate_grad_batches", 1) != 1,
        f"optimiser {getattr(optimizer, '__name__', optimizer)}, which may not treat every weight "
        "by itself": optimizer not in ELEMENTWISE,
    }
    found = [reason for reason, holds in reasons.items() if holds]
    if any(True for _ in network.head.parameters()):
        found.append("a head that learns numbers of its own")
    try:  # without computing anything
        pair = [copy.deepcopy(network).to("meta").train() for _ in range(2)]
        outputs = NetworkStack(pair).outputs(torch.empty((2, 2, *shape), device="meta"))
        torch.autograd.backward(outputs.sum())
    except (RuntimeError, ValueError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        found.append(f"a network that can't be computed side by side ({reason})")
    return found


def training_bytes(network: ScoreNetwork, input_shape: InputShape, batch_size: int) -> int:
    """Estimate the memory that training one network takes, without computing anything.

    The network is on the "meta" device, where tensors have a shape and no data. Counted are bytes
    of everything that is kept for the backward pass in float32, twice the input, and parameters
    with their gradients and moments, with room to work in.
    """
    kept: dict[int, int] = {}
    alive: list[torch.UntypedStorage] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[id(storage)] = storage.nbytes()
        alive.append(storage)  # so that no other gets its id
        return tensor

    image = torch.empty((batch_size, *input_shape), device="meta")
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        network.train()(image).sum()
    parameters = sum(one.numel() * one.element_size() for one in network.parameters())
    activations = sum(kept.values()) + 2 * image.nbytes
    return int(WORKING_ROOM * activations + COPIES * parameters)


def free_bytes(device: torch.device) -> int:
    """Ask how much memory a device has left."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def choose_stack(one_training: int, cohort: int, free: int) -> int:
    """Say how many trainings fit into the memory that is free, with the cohort; all in bytes."""
    n_fitting = int((PLANNED_FRACTION * free - cohort) // one_training)
    return max(1, min(LARGEST_STACK, n_fitting))


def check_device(
    network: ScoreNetwork, input_shape: InputShape, device: torch.device, precision: str
) -> None:
    """Compare a network's scores and gradients on the device with those of the CPU in float32.

    Releases of cuDNN have given wrong results for some 3-D convolutions in reduced precision
    without a word; a network trained on them learns noise. Precisions are as Lightning names them.

    Raises
    ------
    TrainingError
        If scores or gradients differ by more than rounding explains.
    """
    image = torch.randn((2, *input_shape), generator=torch.Generator().manual_seed(0))
    true = _scores_and_gradients(copy.deepcopy(network), image, None)
    there = copy.deepcopy(network).to(device)
    found = _scores_and_gradients(there, image.to(device), DTYPES.get(precision))
    errors = [
        float((one.cpu().float() - other).norm() / other.norm().clamp(min=1e-12))
        for one, other in zip(found, true, strict=True)
    ]
    worst, accepted = float(np.max(errors)), TOLERANCES[precision]
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    if not worst <= accepted:
        raise TrainingError(
            Fault(
                f"{device}, precision {precision}",
                f"3-D convolutions off by {worst:.0%} from those of the CPU in float32 "
                f"(cuDNN {cudnn}, torch {torch.__version__})",
                f"at most {accepted:.1%}",
                "set trainer.precision=32-true, or change the version of torch or cuDNN",
            )
        )


def _scores_and_gradients(
    network: ScoreNetwork, image: torch.Tensor, dtype: torch.dtype | None
) -> list[torch.Tensor]:
    """Compute scores, and the gradient of their sum by all parameters in one piece."""
    with torch.autocast(image.device.type, dtype, enabled=dtype is not None):
        scores = network.eval()(image)
    scores.float().sum().backward()
    gradients = [one.grad.flatten() for one in network.parameters() if one.grad is not None]
    return [scores.detach(), torch.cat(gradients)]
