"""What people write today: MONAI and Lightning, a DataLoader, one fold after the other.

The same people, folds, inner folds, network, optimiser and number of epochs as fmnet's; only the
way to compute it differs, and what MONAI has no counterpart for: maps are standardised each by
itself instead of by voxel on the training fold.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from monai.data.dataset import PersistentDataset
from monai.networks.nets import Classifier
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    EnsureTyped,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
    ResizeWithPadOrCropd,
    Spacingd,
)
from numpy.typing import NDArray
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader

from benchmarks.setting import Setting
from fmnet.data.folds import Fold, rows_of
from fmnet.networks.backbones import InputShape, NetworkBuilder, ScoreNetwork, build_small_cnn
from fmnet.training.scan_set import ScanSet

Item = dict[str, Any]


class UsualTask(pl.LightningModule):
    """One network, cross-entropy, AdamW; training and validation loss logged each epoch."""

    def __init__(self, network: ScoreNetwork, learning_rate: float) -> None:
        super().__init__()
        self.network, self.learning_rate = network, learning_rate
        self.validation_losses: list[float] = []

    def training_step(self, batch: Item, _: int) -> torch.Tensor:
        """Return the loss of a batch."""
        loss = self._loss(batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Item, _: int) -> None:
        """Log the loss of a batch."""
        self.log("val_loss", self._loss(batch), on_epoch=True)

    def on_validation_epoch_end(self) -> None:
        """Keep the loss, which the number of epochs is chosen by."""
        self.validation_losses.append(float(self.trainer.callback_metrics["val_loss"]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=self.learning_rate, weight_decay=1e-2)

    def _loss(self, batch: Item) -> torch.Tensor:
        score = self.network(torch.as_tensor(batch["image"]))
        return binary_cross_entropy_with_logits(score, batch["label"].float())


def _plain_monai(build_network: NetworkBuilder) -> NetworkBuilder:
    """Take MONAI's own classifier where fmnet computes the same one in another way."""
    function = getattr(build_network, "func", build_network)
    if function is not build_small_cnn:
        return build_network
    return partial(_build_classifier, **getattr(build_network, "keywords", {}))


def _build_classifier(
    input_shape: InputShape,
    channels: Sequence[int] = (8, 16, 32),
    n_residual_units: int = 1,
    dropout: float = 0.0,
) -> ScoreNetwork:
    return ScoreNetwork(
        Classifier(
            in_shape=input_shape,
            classes=1,
            channels=tuple(channels),
            strides=(2,) * len(channels),
            num_res_units=n_residual_units,
            dropout=dropout or None,
        )
    )


@dataclass(frozen=True)
class UsualForm:
    """A cross-validation in the usual form.

    Parameters
    ----------
    files : list of Path
        One map per scan.
    labels : ndarray of int, shape (N,)
        0 or 1.
    participant_ids : list of str
        Whose scan it is.
    build_network : callable
        Input shape to a fresh network.
    max_epochs : int
        Of each inner training.
    input_shape : tuple of int
        (C, X, Y, Z).
    voxel_size_mm : float
        Edge length of voxels.
    cache_dir : Path
        Of PersistentDataset.
    accelerator, precision : str
        As Lightning takes them.
    n_workers : int
        Of each DataLoader.
    """

    files: list[Path]
    labels: NDArray[np.int64]
    participant_ids: list[str]
    build_network: NetworkBuilder
    max_epochs: int
    input_shape: tuple[int, int, int, int]
    voxel_size_mm: float
    cache_dir: Path
    accelerator: str = "cpu"
    precision: Any = "32-true"
    n_workers: int = 0

    def crossvalidate(self, folds: Sequence[Fold]) -> NDArray[np.float32]:
        """Score each fold's test scans, one fold after the other, in one row."""
        return np.concatenate([self._run_fold(fold) for fold in folds])

    def _run_fold(self, fold: Fold) -> NDArray[np.float32]:
        losses = []
        for part in fold.validation:
            train = self._items(tuple(set(fold.train) - set(part)))
            losses.append(self._fit(train, self._items(part), self.max_epochs)[1])
        n_epochs = int(np.mean(losses, axis=0).argmin()) + 1
        network, _ = self._fit(self._items(fold.train), [], n_epochs)
        network.eval()
        with torch.no_grad():
            batches = self._loader(self._items(fold.test), shuffle=False)
            device = next(network.parameters()).device
            scores = [network(torch.as_tensor(one["image"]).to(device)).cpu() for one in batches]
        return np.asarray(torch.cat(scores).numpy(), dtype=np.float32)

    def _fit(
        self, train: list[Item], validation: list[Item], n_epochs: int
    ) -> tuple[ScoreNetwork, list[float]]:
        task = UsualTask(self.build_network(self.input_shape), 1e-3)
        with tempfile.TemporaryDirectory(prefix="fmnet-usual-") as folder:
            monitored = "val_loss" if validation else None
            trainer = pl.Trainer(
                max_epochs=n_epochs,
                accelerator=self.accelerator,
                devices=1,
                precision=self.precision,
                default_root_dir=folder,
                callbacks=[ModelCheckpoint(folder, monitor=monitored)],
                num_sanity_val_steps=0,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            loaders = [self._loader(validation, shuffle=False)] if validation else []
            trainer.fit(task, self._loader(train, shuffle=True), loaders)
        return task.network, task.validation_losses

    def _items(self, people: tuple[str, ...]) -> list[Item]:
        rows = rows_of(people, self.participant_ids)
        return [{"image": str(self.files[row]), "label": int(self.labels[row])} for row in rows]

    def _loader(self, items: list[Item], shuffle: bool) -> DataLoader[Any]:
        dataset = PersistentDataset(items, self._transform(), cache_dir=self.cache_dir)
        return DataLoader(
            dataset,
            8,
            shuffle=shuffle,
            num_workers=self.n_workers,
            persistent_workers=self.n_workers > 0,
        )

    def _transform(self) -> Compose:
        return Compose(
            [
                LoadImaged("image"),
                EnsureChannelFirstd("image"),
                Orientationd("image", axcodes="RAS"),
                Spacingd("image", pixdim=(self.voxel_size_mm,) * 3),
                ResizeWithPadOrCropd("image", self.input_shape[1:]),
                NormalizeIntensityd("image", nonzero=True),
                EnsureTyped("image", track_meta=False),
            ]
        )


def usual_form(
    setting: Setting, data: ScanSet, cache_dir: Path, accelerator: str, precision: str
) -> UsualForm:
    """Set the usual form up for the same study."""
    return UsualForm(
        [scan.files[0] for scan in data.cohort.scans],
        data.cohort.labels,
        data.cohort.participant_ids,
        _plain_monai(setting.network),
        setting.max_epochs,
        data.input_shape,
        float(setting.voxel_size_mm),
        cache_dir,
        accelerator,
        precision,
    )
