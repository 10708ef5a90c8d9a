"""A made-up cohort and pipelines on it, for benchmarks that train."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fmnet.crossval.fold_loop import Pipeline
from fmnet.data.cohort import open_cohort
from fmnet.data.folds import build_folds
from fmnet.data.listing import Listing
from fmnet.data.scans import MapsOnGrid
from fmnet.data.store import ArrayStore
from fmnet.data.template import build_grid
from fmnet.inference.preparation import PreparationSettings
from fmnet.networks.backbones import NetworkBuilder, build_small_cnn
from fmnet.synthetic.maps import read_synthetic
from fmnet.training.compute import Compute, count_processes, plan_compute
from fmnet.training.fit import Trainable
from fmnet.training.scan_set import ScanSet, read_scans
from fmnet.training.trainer import CPU_TRAINER, TrainerBuilder, build_trainer
from fmnet.types import Count, Several, VoxelSize


@dataclass(frozen=True)
class Setting:
    """A study whose cost is measured; what it finds is of no interest.

    Parameters
    ----------
    n_subjects : int
        Made-up people, one map each.
    voxel_size_mm : int
        Of maps and template grid.
    n_splits, n_repeats, inner_splits : int
        Of the folds.
    max_epochs : int
        Of each inner training.
    network : callable
        Input shape to a fresh network.
    trainer : callable
        See `fmnet.training.trainer.TrainerBuilder`.
    """

    n_subjects: Several = 70
    voxel_size_mm: VoxelSize = 4
    n_splits: Several = 5
    n_repeats: Count = 1
    inner_splits: Several = 3
    max_epochs: Count = 20
    network: NetworkBuilder = build_small_cnn
    trainer: TrainerBuilder = CPU_TRAINER

    def make_maps(self, folder: Path) -> Listing:
        """Write the cohort's maps."""
        return read_synthetic(
            folder / "maps", self.n_subjects, 2.5, voxel_size_mm=self.voxel_size_mm
        )

    def open(self, listing: Listing, folder: Path) -> ScanSet:
        """Decode, check and smooth the maps, as a study does; `folder` gets the store."""
        settings = PreparationSettings(voxel_size_mm=self.voxel_size_mm)
        store = ArrayStore(folder / "store", MapsOnGrid(build_grid(self.voxel_size_mm)))
        return read_scans(open_cohort(listing, store), settings)

    def pipeline(self, data: ScanSet, compute: Compute) -> Pipeline:
        """Build what is run on the cohort: the network, without baselines."""
        trainable = Trainable(self.network, self.trainer, self.max_epochs)
        folds = partial(
            build_folds,
            n_splits=self.n_splits,
            n_repeats=self.n_repeats,
            inner_splits=self.inner_splits,
        )
        planned = plan_compute(trainable, compute, data)
        n_jobs = count_processes(compute, build_trainer(self.trainer))
        return Pipeline(planned, {}, folds, 0, n_jobs)
