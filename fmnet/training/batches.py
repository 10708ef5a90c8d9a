"""What feeds trainings: maps or time series."""

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from fmnet.training.augmentation import BatchTransform, RandomSource, check_augmentation
from fmnet.training.datamodule import Batch, EpochOrder, StackDataModule, Training
from fmnet.training.scan_set import SeriesScans
from fmnet.training.series import RandomWindows


class SeriesDataModule(pl.LightningDataModule):
    """Training and validation scans of one training on time series, read from disk as needed.

    Parameters
    ----------
    training : Training
        Its scans are read as series.
    batch_size : int
        Scans per step.
    augmentation : BatchTransform or None
        Changes training images; volumes of a window are changed alike.
    """

    def __init__(
        self, training: Training, batch_size: int, augmentation: BatchTransform | None
    ) -> None:
        super().__init__()
        check_augmentation(augmentation)
        assert isinstance(training.scans, SeriesScans)
        self.trainings, self.scans = [training], training.scans
        self.batch_size, self.augmentation = batch_size, augmentation
        self.sources: list[RandomSource] = []
        grid = self.scans.grid
        self.mask = torch.from_numpy(grid.mask.ravel().nonzero()[0])
        self.grid_shape = grid.shape

    def train_dataloader(self) -> Any:
        """One random window of each training scan, in a new order each epoch."""
        assert self.trainer is not None
        rank, n_ranks = self.trainer.global_rank, self.trainer.world_size
        seed = self.trainings[0].seed + rank
        self.sources = [RandomSource(seed)]
        order = EpochOrder(self.trainings, self.batch_size, rank, n_ranks)
        starts = torch.Generator().manual_seed(seed)
        windows = RandomWindows(self.scans, self.scans.window_volumes, starts)
        is_pinned = self.trainer.strategy.root_device.type == "cuda"
        # its own generator: torch's would draw from the one that dropout draws from
        idle = torch.Generator().manual_seed(0)
        return DataLoader(
            windows, sampler=order, batch_size=None, pin_memory=is_pinned, generator=idle
        )

    def on_after_batch_transfer(self, batch: Batch, _: int) -> Batch:
        """Turn windows, (1, B, T, V), into augmented volumes, (1, B, T, X, Y, Z)."""
        values = batch["values"]
        volumes = values.new_zeros((*values.shape[:-1], int(np.prod(self.grid_shape))))
        volumes[..., self.mask.to(values.device)] = values
        image = volumes.reshape(*values.shape[:-1], *self.grid_shape)
        if self.augmentation is not None:
            image = self.augmentation(image, self.sources)
        return {"image": image, "label": batch["label"], "weight": batch["weight"]}

    def validation_scores(self, stack: torch.nn.Module, device: torch.device) -> torch.Tensor:
        """Score the validation scans, each the mean over all of its windows: (1, N)."""
        rows = self.trainings[0].validation
        assert rows is not None
        scores = [self._score(stack, int(row), device) for row in rows]
        return torch.stack(scores)[None]

    def _score(self, stack: torch.nn.Module, row: int, device: torch.device) -> torch.Tensor:
        windows = torch.from_numpy(self.scans.inputs(np.array([row])))
        parts = torch.split(windows, self.batch_size)
        return torch.cat([stack(part[None].to(device))[0] for part in parts]).mean()


TrainingData = StackDataModule | SeriesDataModule


def build_data(
    trainings: list[Training],
    batch_size: int,
    augmentation: BatchTransform | None,
    is_resident: bool,
) -> TrainingData:
    """Build what feeds trainings side by side; those on time series run one at a time."""
    if trainings[0].scans.reads_series:
        (one,) = trainings
        return SeriesDataModule(one, batch_size, augmentation)
    return StackDataModule(trainings, batch_size, augmentation, is_resident)
