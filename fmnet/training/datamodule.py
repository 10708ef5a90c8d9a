"""Scans of several trainings, batch by batch, prepared on the device that trains."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from fmnet.inference.preparation import standardise
from fmnet.training.augmentation import BatchTransform, RandomSource, check_augmentation
from fmnet.training.scan_set import Rows, ScanSet

Batch = dict[str, torch.Tensor]


class Step(NamedTuple):
    """What one process learns from in one step.

    Parameters
    ----------
    rows : Tensor, shape (M, B)
        Of the cohort, for each of M trainings.
    weight : Tensor, shape (B,)
        Of each scan in the mean loss of this process, so that the mean over processes is that of
        all scans of the step.
    """

    rows: torch.Tensor
    weight: torch.Tensor


@dataclass(frozen=True, eq=False)
class Training:
    """One training: on what, how long, with which random numbers.

    Parameters
    ----------
    scans : ScanSet
        Fitted on those that are learned from.
    train : ndarray of int
        Rows that are learned from.
    validation : ndarray of int or None
        Rows scored after each epoch; they never change the weights.
    n_epochs : int
        Length.
    seed : int
        Of weights, order and augmentation.
    name : str
        For logs and messages.
    """

    scans: ScanSet
    train: Rows
    validation: Rows | None
    n_epochs: int
    seed: int
    name: str


class EpochOrder(Sampler[Step]):
    """Rows of each step of an epoch, in a new order each epoch, of each training its own.

    Parameters
    ----------
    trainings : list of Training
        M trainings on equally many scans.
    batch_size : int
        Scans per step, of all processes together.
    rank, n_ranks : int
        This process among those that share a training: each takes every n-th scan of a step. Where
        they don't come out even, the step's first scan fills up with weight 0.
    """

    def __init__(
        self, trainings: list[Training], batch_size: int, rank: int = 0, n_ranks: int = 1
    ) -> None:
        self.rows = [torch.from_numpy(np.asarray(one.train)) for one in trainings]
        self.sources = [torch.Generator().manual_seed(one.seed) for one in trainings]
        self.batch_size, self.rank, self.n_ranks = batch_size, rank, n_ranks

    def __len__(self) -> int:
        return -(-len(self.rows[0]) // self.batch_size)

    def __iter__(self) -> Iterator[Step]:
        orders = zip(self.rows, self.sources, strict=True)
        shuffled = torch.stack([_shuffle(rows, source) for rows, source in orders])
        yield from map(self._own, torch.split(shuffled, self.batch_size, dim=1))

    def _own(self, rows: torch.Tensor) -> Step:
        n, n_each = rows.shape[1], -(-rows.shape[1] // self.n_ranks)
        filled = torch.cat([rows, rows[:, :1].expand(-1, n_each * self.n_ranks - n)], dim=1)
        # exactly 1 where scans come out even
        weight = (torch.arange(filled.shape[1]) < n) * (n_each * self.n_ranks / n)
        return Step(filled[:, self.rank :: self.n_ranks], weight[self.rank :: self.n_ranks])


def _shuffle(rows: torch.Tensor, source: torch.Generator) -> torch.Tensor:
    # torch's DataLoader draws a number before each order; the same seed gives the same order
    torch.empty((), dtype=torch.int64).random_(generator=source)
    return rows[torch.randperm(len(rows), generator=source)]


class CohortValues(Dataset[Batch]):
    """In-mask values and labels of the rows of a step; lies wherever its tensors lie.

    Parameters
    ----------
    values : Tensor, shape (N, C, V) or (N, C, X, Y, Z)
        Smoothed, or prepared.
    labels : Tensor, shape (M, N)
        As each training has them.
    """

    def __init__(self, values: torch.Tensor, labels: torch.Tensor) -> None:
        self.values, self.labels = values, labels

    def __getitem__(self, step: Step) -> Batch:
        rows = step.rows.to(self.values.device)
        labels = self.labels.gather(1, rows)
        return {"values": self.values[rows], "label": labels, "weight": step.weight.to(rows.device)}


class ResidentBatches:
    """Batches of a cohort that lies on the device: nothing is loaded, moved or waited for."""

    def __init__(self, cohort: CohortValues, order: EpochOrder) -> None:
        self.cohort, self.order = cohort, order

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        return (self.cohort[step] for step in self.order)


class StackDataModule(pl.LightningDataModule):
    """Training and validation scans of M trainings on one cohort.

    Parameters
    ----------
    trainings : list of Training
        On the same values, each with labels and a preparation of its own.
    batch_size : int
        Scans of each training per step.
    augmentation : BatchTransform or None
        Changes training images.
    is_resident : bool
        Whether the cohort is kept on the device; if not, batches are streamed to it from pinned
        memory.
    """

    def __init__(
        self,
        trainings: list[Training],
        batch_size: int,
        augmentation: BatchTransform | None,
        is_resident: bool,
    ) -> None:
        super().__init__()
        check_augmentation(augmentation)
        self.trainings, self.batch_size = trainings, batch_size
        self.augmentation, self.is_resident = augmentation, is_resident
        self.is_prepared = False
        self.sources: list[RandomSource] = []
        scans = [one.scans for one in trainings]
        self.cohort = CohortValues(
            torch.from_numpy(scans[0].values),
            torch.from_numpy(np.stack([one.labels for one in scans])),
        )
        preparations: list[Any] = [one.preparation for one in scans]
        self.mean = torch.from_numpy(np.stack([one.mean for one in preparations])[:, None])
        self.weight = torch.from_numpy(np.stack([one.weight for one in preparations])[:, None])
        self.mask = torch.from_numpy(preparations[0].grid.mask.ravel().nonzero()[0])
        self.grid_shape = preparations[0].grid.shape

    def place(self, device: torch.device) -> None:
        """Move what is needed in every step to the device."""
        self.mean, self.weight, self.mask = (
            one.to(device) for one in (self.mean, self.weight, self.mask)
        )
        if self.is_resident:
            self.cohort = CohortValues(self.cohort.values.to(device), self.cohort.labels.to(device))
            if len(self.trainings) == 1 and not self.is_prepared:
                images = self.prepare(self.cohort.values[None])[0]
                self.cohort, self.is_prepared = CohortValues(images, self.cohort.labels), True

    def train_dataloader(self) -> Any:
        """All training scans, in a new order each epoch."""
        assert self.trainer is not None
        strategy = self.trainer.strategy
        self.place(strategy.root_device)
        rank, n_ranks = self.trainer.global_rank, self.trainer.world_size
        self.sources = [RandomSource(one.seed + rank) for one in self.trainings]
        order = EpochOrder(self.trainings, self.batch_size, rank, n_ranks)
        if self.is_resident:
            return ResidentBatches(self.cohort, order)
        is_pinned = strategy.root_device.type == "cuda"
        # its own generator: torch's would draw from the one that dropout draws from
        idle = torch.Generator().manual_seed(0)
        return DataLoader(
            self.cohort, sampler=order, batch_size=None, pin_memory=is_pinned, generator=idle
        )

    def on_after_batch_transfer(self, batch: Batch, _: int) -> Batch:
        """Turn values, (M, B, C, V), into augmented images, (M, B, C, X, Y, Z)."""
        images = self.prepare(batch["values"])
        if self.augmentation is not None:
            images = self.augmentation(images, self.sources)
        return {"image": images, "label": batch["label"], "weight": batch["weight"]}

    def prepare(self, values: torch.Tensor) -> torch.Tensor:
        """Standardise values, (M, B, C, V), as each training's `Preparation` does, and unmask.

        Of a training that is alone on its device the whole cohort is prepared beforehand.
        """
        if self.is_prepared:
            return values
        standard = standardise(values, self.mean, self.weight)
        images = standard.new_zeros((*values.shape[:-1], int(np.prod(self.grid_shape))))
        images[..., self.mask] = standard
        return images.reshape(*values.shape[:-1], *self.grid_shape)

    def validation_scores(self, stack: torch.nn.Module, device: torch.device) -> torch.Tensor:
        """Score the validation scans of each training: (M, N), the shorter lists filled up."""
        return torch.cat([stack(images) for images in self.validation_batches(device)], dim=1)

    def validation_batches(self, device: torch.device) -> Iterator[torch.Tensor]:
        """Prepare the validation scans in order; shorter lists are filled up with their first."""
        rows = [np.asarray(one.validation) for one in self.trainings]
        longest = max(map(len, rows))
        even = np.stack([np.pad(one, (0, longest - len(one)), mode="wrap") for one in rows])
        for part in torch.split(torch.from_numpy(even), self.batch_size, dim=1):
            values = self.cohort.values[part.to(self.cohort.values.device)]
            yield self.prepare(values.to(device))
