"""Cleaned in-mask time series of one scan."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fmnet.data.volume import FloatArray


@dataclass(frozen=True, eq=False)
class Series:
    """Time series of one scan: one file for each of its runs, in the order they were acquired.

    Parameters
    ----------
    paths : tuple of Path
        ``.npy`` files, float32, shape (T_run, V), in percent of each voxel's mean over the run; NaN
        where the run has no data, at all of its times alike.
    lengths : tuple of int
        T_run of each.
    t_r : float
        Repetition time in seconds, the same for all runs.
    """

    paths: tuple[Path, ...]
    lengths: tuple[int, ...]
    t_r: float

    @property
    def n_volumes(self) -> int:
        """Volumes of all runs."""
        return sum(self.lengths)

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Tell which voxels have data in all runs, and so at all times: (V,)."""
        firsts = [np.load(path, mmap_mode="r", allow_pickle=False)[0] for path in self.paths]
        return np.asarray(np.isfinite(firsts).all(axis=0))

    def values(self) -> FloatArray:
        """Read the runs one after the other: (T, V) float32, NaN where there are no data."""
        runs = [np.load(path, mmap_mode="r", allow_pickle=False) for path in self.paths]
        whole: FloatArray = runs[0] if len(runs) == 1 else np.concatenate(runs)
        return whole
