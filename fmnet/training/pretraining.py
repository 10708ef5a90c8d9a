"""Pretraining on simulated cohorts: episodes made on the device, the Lightning module, its files.

A step never sees an episode twice. The random numbers of each are seeded by the run's seed, the
process and the number of the batch, so that a run that is gone on with draws what it would have.
"""

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.random import SeedSequence
from pytorch_lightning.callbacks import Callback
from torch import nn
from torch.nn.functional import softplus
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, IterableDataset

from fmnet.networks.prior_cnn import BANDS_MM, SignatureCnn, Support, support_statistics
from fmnet.networks.scale_space import ScaleSpace
from fmnet.networks.signature_file import Backbone, write_signature_cnn
from fmnet.training.episodes import EpisodeMaker, Episodes
from fmnet.training.module import OptimizerBuilder, SchedulerBuilder

#: The mask, on the device that works, to what makes episodes.
MakerBuilder = Callable[[torch.Tensor], EpisodeMaker]
#: How steep the loss is in units of the separation: it asks for order, not for size.
STEEPNESS = 1.2
#: Added to the seed for episodes of validation, which training never draws.
HELD_OUT = 0x5EED


class Prepared(NamedTuple):
    """What the network is shown of E episodes, and what its signatures are judged by.

    ``support`` is E cohorts with one labeling each; ``query`` (M, S * V) are people without a
    difference, ``unseen`` (E, K, S * V) what other patients would show.
    """

    support: Support
    query: torch.Tensor
    unseen: torch.Tensor
    mask: torch.Tensor
    kinds: list[str]


class Preparer:
    """Turns episodes into statistics, on their device."""

    def __init__(self, mask: torch.Tensor, voxel_size_mm: float) -> None:
        x, y, z = mask.shape
        self.space = ScaleSpace((1, x, y, z), BANDS_MM, voxel_size_mm).to(mask.device)

    @torch.no_grad()
    def __call__(self, episodes: Episodes) -> Prepared:
        """Filter, plant what is shown, compare the groups."""
        n_sets, inside = len(episodes.labels), episodes.mask.bool()
        self.space.mask.copy_(episodes.mask)
        support = self._bands(episodes.support).expand(n_sets, -1, -1, -1, -1, -1).clone()
        support[episodes.labels == 1] += self._bands(episodes.shown.flatten(0, 1))
        statistics = support_statistics(support, episodes.labels[:, None], episodes.mask)
        query = self._bands(episodes.query)[..., inside].flatten(1)
        unseen = self._bands(episodes.unseen.flatten(0, 1))[..., inside].flatten(1)
        unseen = unseen.view(n_sets, -1, unseen.shape[-1])
        return Prepared(statistics, query, unseen, episodes.mask, episodes.kinds)

    def _bands(self, maps: torch.Tensor) -> torch.Tensor:
        bands: torch.Tensor = self.space(maps[:, None])
        return bands[:, :, 0]


class EpisodeStream(IterableDataset[Prepared]):
    """Draws the episodes of some numbers, in order, each from a seed of its own.

    Parameters
    ----------
    draw : callable
        A generator and a number to prepared episodes.
    numbers : callable
        To the numbers of the batches of this process in this epoch.
    seeds : tuple of int
        What seeds are made of, beside the number.
    device : torch.device
    """

    def __init__(
        self,
        draw: Callable[[torch.Generator, int], Prepared],
        numbers: Callable[[], Iterable[int]],
        seeds: tuple[int, ...],
        device: torch.device,
    ) -> None:
        self.draw, self.numbers, self.seeds, self.device = draw, numbers, seeds, device

    def __iter__(self) -> Iterator[Prepared]:
        """Draw one epoch."""
        for number in self.numbers():
            state = SeedSequence([*self.seeds, number]).generate_state(1, np.uint64)
            generator = torch.Generator(self.device).manual_seed(int(state[0]) >> 1)
            yield self.draw(generator, number)


class EpisodeData(pl.LightningDataModule):
    """Batches of episodes for training, and the same ones at each validation.

    A batch is one background with `n_together` cohorts; ``trainer.accumulate_grad_batches`` says
    how many of them a step takes. Validation draws from other priors than training, one kind of
    difference after the other.

    Parameters
    ----------
    mask : Tensor, shape (X, Y, Z)
    episodes, held_out : callable
        For training and for validation.
    seed : int
    n_batches : int
        Of one process between two validations, which is an epoch.
    n_validation : int
        Backgrounds for each kind of difference in validation.
    """

    def __init__(
        self,
        mask: torch.Tensor,
        episodes: MakerBuilder,
        held_out: MakerBuilder,
        seed: int,
        n_batches: int,
        n_validation: int,
    ) -> None:
        super().__init__()
        self.mask, self.episodes, self.held_out = mask, episodes, held_out
        self.seed, self.n_batches, self.n_validation = seed, n_batches, n_validation
        self.kinds = list(held_out(mask).effect.kinds)

    def train_dataloader(self) -> DataLoader[Prepared]:
        """Draw episodes that were never drawn before, on this process's device."""
        trainer, device = self._trainer(), self._device()
        maker, prepare = self._maker(self.episodes)

        def numbers() -> Iterable[int]:
            first = trainer.global_step * trainer.accumulate_grad_batches
            return range(first, first + self.n_batches)

        def draw(generator: torch.Generator, _: int) -> Prepared:
            return prepare(maker.draw(generator))

        stream = EpisodeStream(draw, numbers, (self.seed, trainer.global_rank), device)
        return DataLoader(stream, batch_size=None)

    def val_dataloader(self) -> DataLoader[Prepared]:
        """Draw the episodes of validation, of which each process takes its part."""
        trainer, device = self._trainer(), self._device()
        maker, prepare = self._maker(self.held_out)
        makers = [replace(maker, effect=replace(maker.effect, kinds={k: 1.0})) for k in self.kinds]

        def numbers() -> Iterable[int]:
            total = self.n_validation * len(self.kinds)
            return range(trainer.global_rank, total, trainer.world_size)

        def draw(generator: torch.Generator, number: int) -> Prepared:
            return prepare(makers[number % len(makers)].draw(generator))

        stream = EpisodeStream(draw, numbers, (HELD_OUT,), device)
        return DataLoader(stream, batch_size=None)

    def transfer_batch_to_device(self, batch: Prepared, device: torch.device, _: int) -> Prepared:
        """Leave episodes where they were made: on the device."""
        del device
        return batch

    def _maker(self, build: MakerBuilder) -> tuple[EpisodeMaker, Preparer]:
        mask = self.mask.to(self._device())
        maker = build(mask)
        return maker, Preparer(mask, maker.voxel_size_mm)

    def _trainer(self) -> pl.Trainer:
        assert self.trainer is not None
        return self.trainer

    def _device(self) -> torch.device:
        return self._trainer().strategy.root_device


class SignatureModule(pl.LightningModule):
    """Trains a `SignatureCnn`; logs ``train/loss``, ``val/loss``, ``val/auroc`` and gains.

    ``val/gain`` is how much AUROC the signatures have more than those of the closed form, from
    which the network starts, with normal scores; ``val/gain_KIND`` the same for one kind of
    difference.

    Parameters
    ----------
    network : SignatureCnn
    optimizer, scheduler : callable
        See `fmnet.training.module`; the scheduler is stepped after each step.
    kinds : sequence of str
        Kinds of differences in validation.
    """

    def __init__(
        self,
        network: SignatureCnn,
        optimizer: OptimizerBuilder,
        scheduler: SchedulerBuilder | None,
        kinds: Iterable[str],
    ) -> None:
        super().__init__()
        self.network, self.optimizer, self.scheduler = network, optimizer, scheduler
        self.kinds = list(kinds)
        n_features = network.last.in_channels
        # not a submodule: it is neither trained nor kept
        self._closed_form = (SignatureCnn(_Nothing(n_features), network.n_bands, n_features),)
        self._known: dict[int, torch.Tensor] = {}
        self._sums: dict[str, list[torch.Tensor]] = {}

    def training_step(self, batch: Prepared, _: int) -> torch.Tensor:
        """Return the mean loss of the episodes of one background."""
        loss = softplus(-STEEPNESS * separation(self.network, batch)).mean()
        self.log("train/loss", loss, batch_size=1)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Start anew."""
        self._sums = {kind: [] for kind in self.kinds}

    def validation_step(self, batch: Prepared, number: int) -> None:
        """Note loss, AUROC and gain of the episodes of one background."""
        with torch.autocast(self.device.type, enabled=False):
            found = separation(self.network, batch)
            if number not in self._known:
                self._known[number] = separation(self._closed_form[0].to(self.device), batch)
        auroc, before = normal_auroc(found), normal_auroc(self._known[number])
        rows = torch.stack([softplus(-STEEPNESS * found), auroc, auroc - before], 1)
        for kind, row in zip(batch.kinds, rows, strict=True):
            self._sums[kind].append(row)

    def on_validation_epoch_end(self) -> None:
        """Log means over all processes, which are the same in each."""
        table = torch.zeros(len(self.kinds), 4, device=self.device)
        for row, kind in zip(table, self.kinds, strict=True):
            for found in self._sums[kind]:
                row += torch.cat([found, found.new_ones(1)])
        table = cast(torch.Tensor, self.trainer.strategy.reduce(table, reduce_op="sum"))
        means = table[:, :3] / table[:, 3:]
        logged = dict(zip(("val/loss", "val/auroc", "val/gain"), means.mean(0), strict=True))
        logged |= {f"val/gain_{kind}": row[2] for kind, row in zip(self.kinds, means, strict=True)}
        self.log_dict(logged, batch_size=1, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Build the optimiser, and the scheduler where there is one."""
        optimizer = self.optimizer(self.parameters())
        if self.scheduler is None:
            return optimizer
        scheduler = {"scheduler": self.scheduler(optimizer), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}


def separation(network: SignatureCnn, batch: Prepared) -> torch.Tensor:
    """Judge signatures by people who weren't shown to the network.

    Returns
    -------
    Tensor, shape (E,)
        How far the scores of patients lie above those of controls, in standard deviations.
    """
    weight = network(batch.support, batch.mask)[:, 0].flatten(1)  # (E, S * V)
    with torch.autocast(weight.device.type, enabled=False):
        scores = weight @ batch.query.T  # (E, M)
        shift = torch.einsum("ekv,ev->ek", batch.unseen, weight)
        # patients differ among themselves by what they show, too
        spread = (scores.var(1) + shift.var(1) / 2).sqrt().clamp(min=1e-9)
        found: torch.Tensor = shift.mean(1) / spread
        return found


def normal_auroc(separations: torch.Tensor) -> torch.Tensor:
    """Turn separations into the AUROC of scores that are normally distributed."""
    return 0.5 * (1 + torch.erf(separations / 2))


class WarmupCosine(LambdaLR):
    """Raise the rate over the first steps, then lower it to 0 along a cosine.

    Parameters
    ----------
    optimizer : Optimizer
    n_steps : int
        At the last of them the rate is 0; a run that is gone on with may have more.
    warmup : int
    """

    def __init__(self, optimizer: Optimizer, n_steps: int, warmup: int = 100) -> None:
        def factor(step: int) -> float:
            falling = 0.5 * (1 + math.cos(math.pi * min(step / max(n_steps, 1), 1)))
            return min(1.0, (step + 1) / max(warmup, 1)) * falling

        super().__init__(optimizer, factor)


class _Nothing(nn.Module):
    """Gives features of 0."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = n_features

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps.new_zeros(len(maps), self.n_features, *maps.shape[2:])


class WeightsKeeper(Callback):
    """Writes weights and the curve after each validation; the best weights have the product's name.

    It comes before the callback that averages weights, so that those are the ones that it sees.

    Parameters
    ----------
    run_dir : Path
    backbone : Backbone
    voxel_size_mm : float
    n_episodes : int
        In one step, of all processes.
    record : dict
        What else is written of the training.
    """

    #: The best weights in validation, the last ones, and figures by step.
    BEST, LATEST, CURVE = "signature_cnn.safetensors", "latest.safetensors", "curve.csv"

    def __init__(
        self,
        run_dir: Path,
        backbone: Backbone,
        voxel_size_mm: float,
        n_episodes: int,
        record: Mapping[str, Any],
    ) -> None:
        self.run_dir, self.backbone, self.voxel_size_mm = run_dir, backbone, voxel_size_mm
        self.n_episodes, self.record = n_episodes, dict(record)
        self.curve: list[dict[str, float]] = []
        self.weights: dict[str, torch.Tensor] = {}

    def on_validation_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Take the weights that were validated."""
        del trainer
        assert isinstance(module, SignatureModule)
        self.weights = {
            name: value.detach().cpu().clone()
            for name, value in module.network.state_dict().items()
        }

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Write them, with their figures."""
        del module
        figures = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith(("val/", "train/"))
        }
        step = trainer.global_step
        row = {"step": step, "episodes": step * self.n_episodes, **figures}
        self.curve.append(row)
        if not trainer.is_global_zero:
            return
        is_best = row["val/loss"] <= min(one["val/loss"] for one in self.curve)
        for name in [self.LATEST, *([self.BEST] if is_best else [])]:
            write_signature_cnn(
                self.run_dir / name,
                self.weights,
                self.backbone,
                self.record | {"figures": row},
                self.voxel_size_mm,
            )
        with (self.run_dir / self.CURVE).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(self.curve[-1]), extrasaction="ignore")
            writer.writeheader()
            writer.writerows(
                {name: f"{value:.6g}" for name, value in one.items()} for one in self.curve
            )

    def state_dict(self) -> dict[str, Any]:
        """Keep the curve in checkpoints."""
        return {"curve": self.curve}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the curve."""
        self.curve = list(state_dict["curve"])
