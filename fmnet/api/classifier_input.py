"""What a classifier reads: images, to learn from and to score, and how its network is trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from omegaconf import DictConfig

from fmnet.api.cohort_tables import write_tables
from fmnet.api.composed import compose_study
from fmnet.api.images import ImageFile, arrange, listed, on_disk, temporary_folder
from fmnet.config.entry import build
from fmnet.crossval.further_networks import check_networks
from fmnet.data.bids import describe
from fmnet.data.cohort import open_cohort
from fmnet.data.image_table import read_image_table
from fmnet.data.scans import MapsOnGrid, Scan, StoredScan
from fmnet.data.store import ArrayStore
from fmnet.data.template import build_grid
from fmnet.data.values import UNSAID_STAT
from fmnet.data.volume import FloatArray
from fmnet.errors import Fault, InputError, VolumeError
from fmnet.inference.preparation import Preparation
from fmnet.training.compute import plan_compute
from fmnet.training.fit import Trainable
from fmnet.training.scan_set import ScanSet, read_scans
from fmnet.training.trainer import asked, check_training

#: Column of the labels in the table that a cohort is read from.
LABEL = "label"
#: Keys of the configuration that a training is built from.
KEYS = (
    "preparation", "network", "loss", "optimizer", "scheduler", "augmentation", "trainer",
    "callbacks", "compute", "batch_size",
)  # fmt: skip
#: Labels, (N,); the two classes, the positive one last; whom people belong with, (N,) or None.
Labels = tuple[NDArray[Any], NDArray[Any], Any]


@dataclass(frozen=True)
class Images:
    """Images of N scans, and how they are read.

    Parameters
    ----------
    given : list, DataFrame or 4-D nibabel image
        One scan, row or volume each.
    space : str
        Of images whose names don't state it.
    memory : path or None
        Folder that keeps decoded maps.
    n_jobs : int
        Threads.
    contrasts : sequence of str or None
        Names of the maps of each scan.
    """

    given: Any
    space: str
    memory: str | Path | None
    n_jobs: int
    contrasts: Sequence[str] | None

    def __post_init__(self) -> None:
        table = self.given
        if self.is_table and "contrast" in table and table["contrast"].nunique() > 1:
            # rows are what scikit-learn splits
            accepted = "one row per scan, of one contrast"
            action = "give a list with a tuple of maps for each scan, and contrasts=[NAME, ...]"
            raise InputError(Fault("imgs", "a DataFrame of several contrasts", accepted, action))

    @property
    def is_table(self) -> bool:
        """Whether they are rows of a DataFrame."""
        return isinstance(self.given, pd.DataFrame)

    def store(self, recipe: Any, folder: Path) -> ArrayStore[Scan, StoredScan]:
        """Keep decoded maps in the memory, or below `folder`."""
        return ArrayStore(Path(self.memory or folder / "store"), recipe)


def read_training(
    images: Images, labels: Labels, settings: Mapping[str, Any], folder: Path
) -> tuple[ScanSet, Trainable]:
    """Read and check images to learn from, and say how a network is trained on them.

    `settings` are keys of the configuration; tables, and images that are in memory, go to `folder`.

    Raises
    ------
    FmnetError
        With all that is wrong with settings, images or people.
    """
    # the cohort of the configuration is not this one, and isn't looked at
    whole = compose_study({"run_dir": "unused", "logger": "none", **settings})
    parts = build(DictConfig({key: whole[key] for key in KEYS if key in whole}))
    own, classes, groups = labels
    tables = write_tables(images.given, folder, own, None, groups, LABEL, images.contrasts)
    listing = read_image_table(
        tables["images"],
        tables["participants"],
        stat=tables.get("stat", UNSAID_STAT),
        contrasts=None if images.contrasts is None else list(images.contrasts),
        space=images.space,
        label=LABEL,
        positive=str(classes[1]),
        negative=str(classes[0]),
    )
    preparation = parts["preparation"]
    grid = build_grid(preparation.voxel_size_mm, preparation.mask)
    trainer, callbacks = parts["trainer"], tuple((parts.get("callbacks") or {}).values())
    check_training(trainer, parts["optimizer"], parts.get("scheduler"), callbacks)
    trainable = Trainable(
        build_network=parts["network"],
        build_trainer=trainer,
        max_epochs=asked(trainer).get("max_epochs"),
        build_optimizer=parts["optimizer"],
        build_scheduler=parts.get("scheduler"),
        loss=parts.get("loss"),
        callbacks=callbacks,
        batch_size=parts["batch_size"],
        augmentation=parts.get("augmentation"),
        log_dir=folder / "logs",
    )
    shape = (len(listing.contrasts), *grid.shape)
    checked = check_networks({}, trainable, (), parts["compute"], shape)
    store = images.store(listing.recipe(grid, preparation.min_coverage), folder)
    cohort = open_cohort(listing, store, images.n_jobs)
    checked.check_people(cohort.hashes, shape)
    scans = read_scans(cohort, preparation)
    return scans, plan_compute(checked.own, parts["compute"], scans)


def read_values(images: Images, preparation: Preparation) -> FloatArray:
    """Read images to be scored, and put them on the grid: (N, C, V).

    Raises
    ------
    VolumeError
        With all that is wrong with all of them.
    InputError
        If there are too many or too few for the contrasts.
    """
    table, contrasts = images.given, preparation.contrasts
    with temporary_folder() as folder:
        given = [(one,) for one in table["path"]] if images.is_table else listed(table)
        has_spaces = images.is_table and "space" in table
        spaces = table["space"] if has_spaces else [""] * len(given)
        scans = [
            _describe(number, files, contrasts, stated, images.space)
            for number, (files, stated) in enumerate(
                zip(on_disk(given, folder), spaces, strict=True), start=1
            )
        ]
        store = images.store(MapsOnGrid(preparation.grid, preparation.min_coverage), folder)
        found = list(store.add_all(scans, images.n_jobs))
        wrong = [fault for one in found if isinstance(one, VolumeError) for fault in one.faults]
        if wrong:
            raise VolumeError(wrong)
        return np.stack([np.array(one.values()) for one in found if isinstance(one, StoredScan)])


def _describe(
    number: int, files: tuple[ImageFile, ...], contrasts: Sequence[str], stated: Any, space: str
) -> Scan:
    """Describe a scan to be scored; names that state contrasts may come in any order."""
    files = arrange(files, contrasts, f"scan {number}")
    name = describe(Path(files[0].name))
    if not isinstance(stated, str) or not stated:
        stated = name.entities.get("space", "") if name else ""
    return Scan(f"scan {number}", str(number), tuple(one.path for one in files), stated or space)
