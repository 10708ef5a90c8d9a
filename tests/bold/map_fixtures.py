"""Runs without files behind them, for tests of maps."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fmnet.bold.acquired import AcquiredRun
from fmnet.bold.bids_files import PreprocessedRun
from fmnet.bold.bold_file import BoldRun
from fmnet.bold.confounds import Nuisance
from fmnet.bold.settings import CleaningSettings


@dataclass(frozen=True)
class HeldRun:
    """What maps use of a stored run, held in memory."""

    values: Any
    grid: Any
    t_r: float

    @property
    def n_volumes(self):
        return len(self.values)

    def read_window(self, start, n):
        return self.values[start : start + n].astype(np.float32)


@dataclass(frozen=True)
class HeldSource(AcquiredRun):
    """A run whose cleaned series are given, and not limited to a band."""

    def cleaned(self):
        values = self.stored.values[self.nuisance.kept]
        return (100 * (values / values.mean(axis=0) - 1)).astype(np.float32)

    unfiltered = cleaned


def make_source(
    grid,
    values,
    t_r=2.0,
    kept=None,
    events: Path | None = None,
    regressors=None,
    run_id="sub-01_task-rest_run-1",
    cleaning=None,
):
    n = len(values)
    kept = np.arange(n) if kept is None else np.asarray(kept)
    regressors = np.zeros((n, 0)) if regressors is None else regressors
    names = tuple(f"r{k}" for k in range(regressors.shape[1]))
    bold = BoldRun(run_id, "sub-01", Path("bold.nii.gz"), "MNI152")
    return HeldSource(
        PreprocessedRun(bold, "rest", events=events),
        HeldRun(np.asarray(values), grid, t_r),
        Nuisance(regressors, names, kept, 0, n - len(kept), np.full(n, np.nan), ""),
        cleaning or CleaningSettings(),
    )


def open_source(grid, values, **more):
    return make_source(grid, values, **more)


def noise(rng, grid, n=60):
    """Values as acquired: 1000, and 2 percent noise with some memory."""
    white = rng.normal(size=(n, grid.n_voxels))
    white[1:] += 0.4 * white[:-1]
    return 1000 + 20 * white
