"""The LightningDataModules: scans of one or several trainings, prepared on the device."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from fmnet.inference.preparation import standardise
from fmnet.training.augmentation import BatchTransform, RandomSource, check_augmentation
from fmnet.training.scan_set import Rows, ScanSet, SeriesScans

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Training:
    """One training: its scans, its length and its random numbers.

    Parameters
    ----------
    scans : ScanSet
        All scans, with a preparation fitted on those that are learned from.
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
    rate_factors : tuple of float
        What the first learning rate is multiplied by in each epoch, where a scheduler waits for a
        validation loss and there is no validation set; empty for the scheduler itself.
    folds : ndarray of int, shape (N_train,), optional
        Which inner fold a row that is learned from is in, where a fit in closed form leaves each
        out once; by default it divides them itself.
    """

    scans: ScanSet
    train: Rows
    validation: Rows | None
    n_epochs: int
    seed: int
    name: str
    rate_factors: tuple[float, ...] = ()
    folds: NDArray[np.int64] | None = None

    def label(self, rows: Rows) -> torch.Tensor:
        """Look up what the loss reads: labels, (N_rows,), or of other targets (N_rows, D)."""
        return torch.from_numpy(losses_of(self.scans)[rows])


def losses_of(scans: ScanSet) -> NDArray[Any]:
    """Take what the loss reads of all scans of a fitted set: (N,) labels, or (N, D) numbers."""
    return scans.labels if scans.null is None else scans.null.losses


class Step(NamedTuple):
    """Scans that one process learns from in one step.

    Parameters
    ----------
    rows : Tensor, shape (M, B)
        Of the scans, for each of M trainings.
    weight : Tensor, shape (B,)
        Of each scan in the mean loss of this process, so that the mean over processes is that of
        all scans of the step.
    """

    rows: torch.Tensor
    weight: torch.Tensor


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
        orders = []
        for rows, source in zip(self.rows, self.sources, strict=True):
            # torch's DataLoader draws a number before each order; the same seed, the same order
            torch.empty((), dtype=torch.int64).random_(generator=source)
            orders.append(rows[torch.randperm(len(rows), generator=source)])
        for rows in torch.split(torch.stack(orders), self.batch_size, dim=1):
            n, n_filled = rows.shape[1], -(-rows.shape[1] // self.n_ranks) * self.n_ranks
            filled = torch.cat([rows, rows[:, :1].expand(-1, n_filled - n)], dim=1)
            # exactly 1 where scans come out even
            weight = (torch.arange(n_filled) < n) * (n_filled / n)
            yield Step(filled[:, self.rank :: self.n_ranks], weight[self.rank :: self.n_ranks])


class Loaded:
    """Batches of a dataset by step, without a loader: nothing is moved or waited for."""

    def __init__(self, dataset: Dataset[Batch], steps: Sequence[Any] | EpochOrder) -> None:
        self.dataset, self.steps = dataset, steps

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Batch]:
        return (self.dataset[step] for step in self.steps)


class ScanData(pl.LightningDataModule):
    """Training and validation scans of M trainings; of one alone, batches have no axis for it.

    Parameters
    ----------
    trainings : list of Training
        On the same scans, each with labels and a preparation of its own.
    batch_size : int
        Scans of each training per step.
    augmentation : BatchTransform or None
        Changes training images.
    is_resident : bool
        Whether the scans are kept on the device; if not, batches are streamed to it from pinned
        memory.
    """

    def __init__(
        self,
        trainings: list[Training],
        batch_size: int,
        augmentation: BatchTransform | None,
        is_resident: bool = False,
    ) -> None:
        super().__init__()
        check_augmentation(augmentation)
        self.trainings, self.batch_size = trainings, batch_size
        self.augmentation, self.is_resident = augmentation, is_resident
        self.sources: list[RandomSource] = []
        self.grid_shape = trainings[0].scans.grid.shape
        self.mask = torch.from_numpy(trainings[0].scans.grid.mask.ravel().nonzero()[0])

    @abstractmethod
    def dataset(self, seed: int) -> Dataset[Batch]:
        """Make what training steps are looked up in; random windows start from a seed."""

    def train_dataloader(self) -> Any:
        """All training scans, in a new order each epoch."""
        assert self.trainer is not None
        rank, n_ranks = self.trainer.global_rank, self.trainer.world_size
        self.sources = [RandomSource(one.seed + rank) for one in self.trainings]
        order = EpochOrder(self.trainings, self.batch_size, rank, n_ranks)
        dataset = self.dataset(self.trainings[0].seed + rank)
        if self.is_resident:
            return Loaded(dataset, order)
        is_pinned = self.trainer.strategy.root_device.type == "cuda"
        # its own generator: torch's would draw from the one that dropout draws from
        idle = torch.Generator().manual_seed(0)
        return DataLoader(
            dataset, sampler=order, batch_size=None, pin_memory=is_pinned, generator=idle
        )

    def on_after_batch_transfer(self, batch: Batch, _: int) -> Batch:
        """Turn values, (M, B, C, V), into images, (M, B, C, X, Y, Z), augmented in training."""
        image = self.prepare(batch["values"])
        if self.augmentation is not None and "weight" in batch:  # not in validation
            image = self.augmentation(image, self.sources)
        batch = {name: values for name, values in batch.items() if name != "values"}
        if len(self.trainings) > 1:
            return batch | {"image": image}
        return batch | {"image": image[0], "label": batch["label"][0]}

    def prepare(self, values: torch.Tensor) -> torch.Tensor:
        """Put in-mask values on the grid: (..., V) to (..., X, Y, Z)."""
        images = values.new_zeros((*values.shape[:-1], int(np.prod(self.grid_shape))))
        images[..., self.mask.to(values.device)] = values
        return images.reshape(*values.shape[:-1], *self.grid_shape)


class MapValues(Dataset[Batch]):
    """Look up values and labels of the rows of a step, wherever the tensors lie.

    Values are smoothed ones, (N, C, V), or prepared ones, (N, C, X, Y, Z); labels, (M, N) or
    (M, N, D), are as each training has them.
    """

    def __init__(self, values: torch.Tensor, labels: torch.Tensor) -> None:
        self.values, self.labels = values, labels

    def __getitem__(self, step: Step | torch.Tensor) -> Batch:
        rows = (step.rows if isinstance(step, Step) else step).to(self.values.device)
        index = rows.view(*rows.shape, *[1] * (self.labels.ndim - 2))
        index = index.expand(-1, -1, *self.labels.shape[2:])
        batch = {"values": self.values[rows], "label": self.labels.gather(1, index)}
        return batch | {"weight": step.weight.to(rows.device)} if isinstance(step, Step) else batch


class MapData(ScanData):
    """Maps of M trainings, standardised on the device as each training's `Preparation` does."""

    def __init__(
        self,
        trainings: list[Training],
        batch_size: int,
        augmentation: BatchTransform | None,
        is_resident: bool,
    ) -> None:
        super().__init__(trainings, batch_size, augmentation, is_resident)
        self.is_prepared = False
        labels = torch.from_numpy(np.stack([losses_of(one.scans) for one in trainings]))
        self.maps = MapValues(torch.from_numpy(trainings[0].scans.values), labels)
        fitted: list[Any] = [one.scans.preparation for one in trainings]
        self.mean = torch.from_numpy(np.stack([one.mean for one in fitted])[:, None])
        self.weight = torch.from_numpy(np.stack([one.weight for one in fitted])[:, None])

    def dataset(self, _: int) -> MapValues:
        """Move what is needed in every step to the device; a lone training's maps are prepared."""
        assert self.trainer is not None
        device = self.trainer.strategy.root_device
        self.mean, self.weight, self.mask = (
            one.to(device) for one in (self.mean, self.weight, self.mask)
        )
        if self.is_resident:
            self.maps = MapValues(self.maps.values.to(device), self.maps.labels.to(device))
            if len(self.trainings) == 1 and not self.is_prepared:
                images = self.prepare(self.maps.values[None])[0]
                self.maps, self.is_prepared = MapValues(images, self.maps.labels), True
        return self.maps

    def val_dataloader(self) -> Loaded:
        """Give validation scans in order; shorter lists of a stack are filled up with their own."""
        rows = [np.asarray(one.validation) for one in self.trainings]
        longest = max(map(len, rows))
        even = np.stack([np.pad(one, (0, longest - len(one)), mode="wrap") for one in rows])
        return Loaded(self.maps, torch.split(torch.from_numpy(even), self.batch_size, dim=1))

    def prepare(self, values: torch.Tensor) -> torch.Tensor:
        """Standardise values, (M, B, C, V), and put them on the grid: (M, B, C, X, Y, Z).

        Of a training that is alone on its device all scans are prepared beforehand.
        """
        if self.is_prepared:
            return values
        return super().prepare(standardise(values, self.mean, self.weight))


class RandomWindows(Dataset[Batch]):
    """Cut a window out of each scan of a step, at random.

    With 0 `window_volumes` it is as long as the shortest scan of the step.
    """

    def __init__(self, scans: SeriesScans, window_volumes: int, source: torch.Generator) -> None:
        self.scans, self.window_volumes, self.source = scans, window_volumes, source

    def __getitem__(self, step: tuple[torch.Tensor, torch.Tensor]) -> Batch:
        rows, weight = step
        (own,) = rows.tolist()  # of the one training
        scans = [self.scans.series[row] for row in own]
        length = self.window_volumes or min(series.n_volumes for series in scans)
        windows = []
        for series in scans:
            last = series.n_volumes - length
            start = int(torch.randint(last + 1, (1,), generator=self.source))
            values = series.values()[start : start + length]  # (length, V)
            # 0 where any of its runs has no data
            windows.append(np.where(series.known, values, np.float32(0)))
        label = torch.from_numpy(losses_of(self.scans)[np.array(own)])[None]
        return {
            "values": torch.from_numpy(np.stack(windows)[None]),
            "label": label,
            "weight": weight,
        }


class AllWindows(Dataset[Batch]):
    """Series of one training as all of their windows, each scan read when it is asked for."""

    def __init__(self, scans: ScanSet) -> None:
        self.scans = scans

    def __getitem__(self, row: int) -> Batch:
        windows = torch.from_numpy(self.scans.inputs(np.array([row])))[None]
        return {"image": windows, "label": torch.from_numpy(losses_of(self.scans)[[row]])[None]}


class SeriesData(ScanData):
    """Time series of one training, read from disk as needed: one window of a scan, or all."""

    def dataset(self, seed: int) -> RandomWindows:
        """Draw one random window of each training scan; volumes of one are augmented alike."""
        scans = self.trainings[0].scans
        assert isinstance(scans, SeriesScans)
        return RandomWindows(scans, scans.window_volumes, torch.Generator().manual_seed(seed))

    def val_dataloader(self) -> Loaded:
        """Give validation scans in order, all windows of one at a time."""
        training = self.trainings[0]
        assert training.validation is not None
        return Loaded(AllWindows(training.scans), [int(row) for row in training.validation])

    def on_after_batch_transfer(self, batch: Batch, index: int) -> Batch:
        """Put windows, (1, B, T, V), on the grid; those of validation scans are there already."""
        if "values" in batch:
            return super().on_after_batch_transfer(batch, index)
        return {"image": batch["image"][0], "label": batch["label"][0]}


class SeriesVolumes(Sequence[torch.Tensor]):
    """Scans of a fitted set as volumes, (T, X, Y, Z), each read when it is asked for."""

    def __init__(self, scans: ScanSet, rows: NDArray[np.intp]) -> None:
        self.scans, self.rows = scans, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> torch.Tensor:  # type: ignore[override]
        assert self.scans.preparation is not None
        series = self.scans.series[self.rows[index]]
        return torch.from_numpy(self.scans.preparation.images(series.values()))


def build_data(
    trainings: list[Training],
    batch_size: int,
    augmentation: BatchTransform | None,
    is_resident: bool,
) -> ScanData:
    """Build what feeds trainings side by side; those on time series run one at a time."""
    if trainings[0].scans.reads_series:
        (one,) = trainings
        return SeriesData([one], batch_size, augmentation)
    return MapData(trainings, batch_size, augmentation, is_resident)
