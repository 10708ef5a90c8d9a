"""Prepared scans as batches, read by name."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from fmnet.data.volume import FloatArray

Augmentation = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Examples:
    """Prepared scans with labels.

    Parameters
    ----------
    images : ndarray of float32, shape (N, C, X, Y, Z)
        The network's input.
    labels : ndarray of int, shape (N,)
        0 or 1.
    """

    images: FloatArray
    labels: NDArray[np.int64]


class ExampleDataset(Dataset[dict[str, torch.Tensor]]):
    """One item per scan: ``image`` (C, X, Y, Z) and ``label``; augmented if so asked."""

    def __init__(self, examples: Examples, augmentation: Augmentation | None = None) -> None:
        self.images = torch.from_numpy(examples.images)
        self.labels = torch.from_numpy(examples.labels)
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        image = self.images[index]
        if self.augmentation is not None:
            image = self.augmentation(image)
        return {"image": image, "label": self.labels[index]}


class ExampleDataModule(pl.LightningDataModule):
    """Training and, where there is one, validation examples of one fit.

    Parameters
    ----------
    train : Examples
        What is learned from.
    validation : Examples or None
        Inner fold that the budget is chosen on.
    batch_size : int
        Scans per step.
    augmentation : callable or None
        Changes a training image, (C, X, Y, Z) to the same shape.
    seed : int
        Of the order, which is drawn apart from everything else that is random: whether there is
        a validation fold to go through changes nothing about the training.
    """

    def __init__(
        self,
        train: Examples,
        validation: Examples | None,
        batch_size: int,
        augmentation: Augmentation | None,
        seed: int,
    ) -> None:
        super().__init__()
        self.orders = [torch.Generator().manual_seed(seed) for _ in range(2)]
        self.train = ExampleDataset(train, augmentation)
        self.validation = None if validation is None else ExampleDataset(validation)
        self.batch_size = batch_size

    def train_dataloader(self) -> DataLoader[dict[str, torch.Tensor]]:
        """All training scans, in a new order each epoch."""
        return DataLoader(
            self.train, batch_size=self.batch_size, shuffle=True, generator=self.orders[0]
        )

    def val_dataloader(self) -> list[DataLoader[dict[str, torch.Tensor]]]:
        """All validation scans, in order; none for a fit of fixed length."""
        if self.validation is None:
            return []
        return [DataLoader(self.validation, self.batch_size, generator=self.orders[1])]
