"""How many volumes a second one large network learns from, and what share of the device that is."""

from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.profilers import SimpleProfiler
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.race import Goal
from benchmarks.validity.people import build_cohort
from fmnet.data.grid import Grid
from fmnet.inference.preparation import MapPreparation, PreparationSettings
from fmnet.networks.backbones import NetworkBuilder, build_resnet
from fmnet.training.data import Training
from fmnet.training.fit import Trainable, fit_networks
from fmnet.training.scan_set import MapScans
from fmnet.training.trainer import CPU_TRAINER, TrainerBuilder, build_trainer
from fmnet.types import Count, Several

#: What Lightning's profiler calls the wait for a batch.
WAITING = "train_dataloader_next"
#: Edge of the matrices whose product stands for the most that a device can do.
MATRIX = {"cuda": 8192, "cpu": 2048}

#: ResNet-18 in three dimensions.
resnet18 = partial(build_resnet, layers=(2, 2, 2, 2), channels=(64, 128, 256, 512))


@dataclass(frozen=True)
class Throughput:
    """Training of one network on cubes of noise that lie on the device.

    Parameters
    ----------
    edge_voxels : int
        Of the cubes.
    batch_size : int
        Volumes per step.
    n_steps, n_epochs : int
        Steps per epoch, and epochs that are timed after a first one that isn't.
    network : callable
        Input shape to a fresh network.
    trainer : callable
        See `fmnet.training.trainer.TrainerBuilder`.
    channels_last, compiled : bool
        See `fmnet.training.compute.Compute`.
    volumes_per_second : float
        Hoped for; 0 for no goal.
    """

    edge_voxels: Several = 48
    batch_size: Several = 8
    n_steps: Count = 3
    n_epochs: Count = 2
    network: NetworkBuilder = resnet18
    trainer: TrainerBuilder = CPU_TRAINER
    channels_last: bool = False
    compiled: bool = False
    volumes_per_second: float = 0.0

    def measure(self) -> pd.DataFrame:
        """Train and count: one row."""
        profiler, ends = SimpleProfiler(), []

        def note(_: int) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            ends.append(perf_counter())

        trainable = Trainable(
            self.network,
            partial(self.trainer, profiler=profiler),
            batch_size=self.batch_size,
            is_channels_last=self.channels_last,
            is_compiled=self.compiled,
        )
        fit_networks(trainable, [self._training()], note)
        seconds = ends[-1] - ends[0]
        volumes = self.batch_size * self.n_steps * self.n_epochs / seconds
        waits = [
            wait
            for name, durations in profiler.recorded_durations.items()
            if name.endswith(WAITING)
            for wait in durations[self.n_steps :]
        ]
        trainer = build_trainer(self.trainer)
        flops = volumes * self._flops()
        return pd.DataFrame(
            [
                {
                    "network": getattr(self.network, "func", self.network).__name__,
                    "edge": self.edge_voxels,
                    "precision": trainer.precision,
                    "volumes_per_second": volumes,
                    "waiting_share": sum(waits) / seconds,
                    "tflop_per_second": flops / 1e12,
                    "share_of_matrix_product": flops / _matrix_rate(trainer),
                }
            ]
        )

    def goals(self, table: pd.DataFrame) -> list[Goal]:
        """Say what was hoped for."""
        found = table.iloc[0]
        goals = [Goal("share of time waiting for data", found["waiting_share"], 0.01, False)]
        if self.volumes_per_second:
            measured = float(found["volumes_per_second"])
            goals.append(Goal("volumes per second", measured, self.volumes_per_second))
        return goals

    def _training(self) -> Training:
        n, edge = self.batch_size * self.n_steps, self.edge_voxels
        rng = np.random.default_rng(0)
        grid = Grid(np.ones((edge,) * 3, dtype=bool), np.diag([2.0, 2.0, 2.0, 1.0]), "MNI152")
        zeros = np.zeros((1, grid.n_voxels), dtype=np.float32)
        values = rng.normal(size=(n, 1, grid.n_voxels)).astype(np.float32)
        preparation = MapPreparation(grid, ("noise",), 0.5, 0.0, zeros, zeros + 1)
        cohort = replace(build_cohort(np.arange(n) % 2), grid=grid)
        scans = MapScans(cohort, values, PreparationSettings(fwhm_mm=0.0), preparation=preparation)
        return Training(scans, np.arange(n), None, self.n_epochs + 1, 0, "throughput")

    def _flops(self) -> float:
        """Count the operations of learning from one volume, without computing."""
        shape = (1, *(self.edge_voxels,) * 3)
        network = self.network(shape).to("meta")
        with FlopCounterMode(display=False) as counter:
            network(torch.empty((1, *shape), device="meta")).sum().backward()
        return float(counter.get_total_flops())


def _matrix_rate(trainer: pl.Trainer) -> float:
    """Operations per second of a large matrix product in the trainer's precision."""
    device = trainer.strategy.root_device
    dtype = torch.float32 if trainer.precision == "32-true" else torch.bfloat16
    n = MATRIX[device.type]
    one = torch.randn((n, n), device=device, dtype=dtype)
    best = np.inf
    for _ in range(5):
        started = perf_counter()
        product = one @ one
        float(product[0, 0])  # waits for the device
        best = min(best, perf_counter() - started)
    return float(2 * n**3 / best)
