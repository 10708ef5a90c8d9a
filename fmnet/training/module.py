"""The LightningModules: a network, its loss, optimiser, scheduler and metrics."""

import copy
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, OneCycleLR, ReduceLROnPlateau
from torchmetrics import MetricCollection

from fmnet.networks.backbones import ScoreNetwork
from fmnet.networks.heads import Head, LossFunction, per_scan
from fmnet.networks.residual import learn_on_cpu
from fmnet.training.data import Batch

#: Parameters to an optimiser, as `functools.partial` of a class of ``torch.optim``.
OptimizerBuilder = Callable[[Any], Optimizer]
#: Optimiser to a scheduler of its learning rate, as a partial of a class of ``torch.optim``.
SchedulerBuilder = Callable[[Optimizer], LRScheduler]
State = dict[str, torch.Tensor]

#: Schedulers that are stepped after each batch; the others after each epoch.
PER_STEP = (OneCycleLR, CyclicLR)


class ScoreModule(pl.LightningModule):
    """Trains one network; logs ``train/loss``, ``val/loss`` and the head's ``val/...``.

    Parameters
    ----------
    network : ScoreNetwork
        Scores scans: (B, C, X, Y, Z) to (B,) or (B, K).
    optimizer, scheduler : callable
        See `OptimizerBuilder` and `SchedulerBuilder`.
    loss : callable, optional
        In place of the head's own: ``(outputs, target)`` to a number for each scan, or to a mean.
    balance : Tensor, optional
        How the classes weigh in the loss, see `fmnet.networks.heads.Head.balance`.
    batch_size : int
        Images that are scored at once, for scans that come in many windows.
    is_channels_last, is_compiled : bool
        See `fmnet.training.compute.Compute`.
    """

    balance: torch.Tensor

    def __init__(
        self,
        network: nn.Module,
        optimizer: OptimizerBuilder,
        scheduler: SchedulerBuilder | None = None,
        loss: LossFunction | None = None,
        balance: torch.Tensor | None = None,
        batch_size: int = 8,
        is_channels_last: bool = False,
        is_compiled: bool = False,
    ) -> None:
        super().__init__()
        self.layout = torch.channels_last_3d if is_channels_last else torch.contiguous_format
        self.network = network.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.optimizer, self.scheduler, self.batch_size = optimizer, scheduler, batch_size
        self.loss = loss and per_scan(loss)
        self.register_buffer("balance", torch.ones(()) if balance is None else balance, False)
        self.metrics = MetricCollection(self.head.metrics(), prefix="val/")
        compute: Any = network.outputs
        self._outputs = torch.compile(compute) if is_compiled else compute
        self.step_losses: list[torch.Tensor] = []
        self.step_sizes: list[int] = []
        self.val_outputs: list[torch.Tensor] = []
        self.val_labels: list[torch.Tensor] = []
        settings = getattr(optimizer, "keywords", {})
        self.save_hyperparameters(
            {name: value for name, value in settings.items() if isinstance(value, int | float)}
        )

    @property
    def head(self) -> Head:
        """What turns the network's outputs into scores."""
        head = self.network.head
        assert isinstance(head, Head)
        return head

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Compute what the head reads: (B, C, X, Y, Z) to (B, n_outputs)."""
        outputs: torch.Tensor = self._outputs(image.contiguous(memory_format=self.layout))
        return outputs

    def on_fit_start(self) -> None:
        """Choose how the network computes on this device."""
        if self.device.type == "cpu":
            learn_on_cpu(self.network)

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        """Return the mean loss of a batch."""
        losses = self.scan_losses(self(batch["image"]), batch["label"])
        loss = (losses * batch["weight"]).mean()
        self.step_losses.append(loss.detach())
        self.step_sizes.append(len(losses))
        if self.trainer.is_last_batch:  # once: a small network's step is as short as a log
            self._log("train/loss", self.epoch_losses())
        return loss

    def validation_step(self, batch: Batch, _: int) -> torch.Tensor:
        """Log loss and metrics of a batch, computed in float32; return the outputs of its scans."""
        label = batch["label"]
        with torch.autocast(self.device.type, enabled=False):
            images = torch.split(batch["image"], self.batch_size)
            outputs = torch.cat([self(some) for some in images])
            # a scan that comes in several windows counts by the mean of their outputs
            outputs = outputs.reshape(len(label), -1, outputs.shape[1]).mean(dim=1)
        self.val_outputs.append(outputs)
        self.val_labels.append(label)
        return outputs

    def on_validation_epoch_end(self) -> None:
        """Log loss and metrics of all validation scans."""
        outputs, label = torch.cat(self.val_outputs), torch.cat(self.val_labels)
        self.val_outputs.clear()
        self.val_labels.clear()
        self._log("val/loss", self.scan_losses(outputs, label).mean())
        self.metrics.update(self.head(outputs), label)
        for name, value in self.metrics.compute().items():
            self._log(name, value)
        self.metrics.reset()

    def scan_losses(self, outputs: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Compute the loss of each scan, weighted by class: (B,)."""
        return self.head.loss(outputs, label, self.balance, self.loss)

    def configure_optimizers(self) -> Any:
        """Build the optimiser, and the scheduler where there is one."""
        optimizer = self.optimizer(self.parameters())
        if self.scheduler is None:
            return optimizer
        scheduler = self.scheduler(optimizer)
        interval = "step" if isinstance(scheduler, PER_STEP) else "epoch"
        found: dict[str, Any] = {"scheduler": scheduler, "interval": interval}
        if monitor := monitored_by(self.scheduler):
            found["monitor"] = monitor
        return {"optimizer": optimizer, "lr_scheduler": found}

    def epoch_losses(self) -> torch.Tensor:
        """Average the losses of the epoch that ends over its scans, () or (M,); start the next."""
        sizes = torch.tensor(self.step_sizes, dtype=torch.float32)
        losses = torch.stack(self.step_losses, dim=-1).cpu() @ (sizes / sizes.sum())
        self.step_losses.clear()
        self.step_sizes.clear()
        return losses

    def _log(self, name: str, value: torch.Tensor) -> None:
        is_ddp, value = self.trainer.world_size > 1, value.to(self.device)
        self.log(name, value, on_step=False, on_epoch=True, batch_size=1, sync_dist=is_ddp)


def monitored_by(scheduler: SchedulerBuilder) -> str:
    """Name the metric that a scheduler waits for; empty if for none."""
    kind = getattr(scheduler, "func", scheduler)
    if not (isinstance(kind, type) and issubclass(kind, ReduceLROnPlateau)):
        return ""
    return str(getattr(scheduler, "keywords", {}).get("monitor", "val/loss"))


class NetworkStack(nn.Module):
    """M networks side by side: (M, B, C, X, Y, Z) to outputs, (M, B, n), each on its own scans.

    Their parameters are stacked along a new first axis, so that one operation serves all: a
    convolution becomes a grouped one. What happens to one network doesn't depend on the others,
    but for the rounding of sums and for dropout, whose draws they share.

    Parameters
    ----------
    networks : list of ScoreNetwork
        Alike but for their weights.
    """

    def __init__(self, networks: list[ScoreNetwork]) -> None:
        super().__init__()
        parameters, buffers = stack_module_state(networks)
        self.names, self.buffer_names = list(parameters), list(buffers)
        self.stacked = nn.ParameterList(nn.Parameter(parameters[name]) for name in self.names)
        for index, name in enumerate(self.buffer_names):
            self.register_buffer(f"stacked_buffer_{index}", buffers[name])
        form = copy.deepcopy(networks[0]).to("meta")
        form.forward = form.outputs  # type: ignore[method-assign]
        # In a tuple: a module without data must not move to the device with the rest.
        self._form = (form,)
        # its loss is computed outside of the stack, and with numbers of its own if it has some
        self.head = copy.deepcopy(networks[0].head)

    def outputs(self, image: torch.Tensor) -> torch.Tensor:
        """Compute what the heads read: (M, B, C, X, Y, Z) to (M, B, n_outputs)."""
        if self._form[0].training != self.training:  # Lightning sets the mode of what it knows
            self._form[0].train(self.training)
        parameters = dict(zip(self.names, self.stacked, strict=True))

        def compute(parameters: State, buffers: State, image: torch.Tensor) -> Any:
            return functional_call(self._form[0], (parameters, buffers), (image,))

        outputs: torch.Tensor = vmap(compute, randomness="different")(
            parameters, self._buffers_by_name(), image
        )
        return outputs

    def state(self, index: int) -> State:
        """Copy parameters and buffers of one network."""
        both = dict(zip(self.names, self.stacked, strict=True)) | self._buffers_by_name()
        return {name: values[index].detach().cpu().clone() for name, values in both.items()}

    def _buffers_by_name(self) -> State:
        found = (getattr(self, f"stacked_buffer_{n}") for n in range(len(self.buffer_names)))
        return dict(zip(self.buffer_names, found, strict=True))


class StackModule(ScoreModule):
    """Networks side by side, each with the gradient of its own loss; batches have one more axis.

    Callbacks and schedulers see one training where there are many, so that none can be served:
    `fmnet.training.compute.plan_compute` refuses them. ``balance`` has one more axis as well.
    """

    network: NetworkStack

    def on_fit_start(self) -> None:
        """Leave networks as they are: what is fast for one alone is not for many."""

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        """Return the sum of the networks' mean losses: each gets the gradient of its own."""
        every = self.scan_losses(self(batch["image"]), batch["label"]) * batch["weight"]
        losses = every.mean(dim=1)  # (M, B) -> (M,)
        self.step_losses.append(losses.detach())
        self.step_sizes.append(every.shape[1])
        return losses.sum()

    def validation_step(self, batch: Batch, _: int) -> torch.Tensor:
        """Return the outputs of a batch, computed in float32: (M, B, n_outputs)."""
        with torch.autocast(self.device.type, enabled=False):
            outputs: torch.Tensor = self(batch["image"])
        return outputs

    def on_validation_epoch_end(self) -> None:
        """Leave it to `fmnet.training.trainer.History`, which tells the trainings apart."""
