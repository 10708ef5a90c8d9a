"""What can be told from an image without looking at brain activity."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fmnet.baselines.features import FeatureModel
from fmnet.baselines.linear import KernelModel, solve_svm
from fmnet.data.grid import Grid
from fmnet.data.volume import FloatArray
from fmnet.training.scan_set import ScanSet

#: How near to a map's largest or smallest value, as a share of its range, a voxel counts as there.
AT_LIMIT = 0.01


@dataclass(frozen=True)
class Coverage(KernelModel):
    """Sees only where voxels are missing: a linear map on the mask of missing voxels.

    Parameters
    ----------
    fwhm_mm : list of float
        Not used; the pattern is taken as it is.
    c : list of float
        Values of C to choose from.
    """

    fwhm_mm: tuple[float, ...] = (0.0,)

    def lacks(self, data: ScanSet) -> str:
        """Say that there is nothing to see where all scans cover the same voxels."""
        missing = np.isnan(data.values)
        return "" if (missing != missing[:1]).any() else "scans that differ in coverage"

    def _features(self, data: ScanSet, train: Any, fwhm_mm: float) -> FloatArray:
        missing = np.isnan(data.values).reshape(len(data.values), -1).astype(np.float32)
        centred: FloatArray = missing - missing[train].mean(axis=0)
        return centred

    def _solve(self, kernel: Any, labels: Any, c: float) -> Any:
        return solve_svm(kernel, labels, c)


@dataclass(frozen=True)
class Scale(FeatureModel):
    """Sees only how large values are, and whether they end at a limit.

    Log SD, log mean absolute value and mean over SD; and the log shares of voxels within
    `AT_LIMIT` of the range from the largest and the smallest value, which are few in any map but
    one that was clipped.
    """

    def table(self, data: ScanSet) -> pd.DataFrame:
        """Tabulate five numbers per channel."""
        values = data.values.astype(np.float64)
        sd = np.nanstd(values, axis=2)
        absolute = np.nanmean(np.abs(values), axis=2)
        low, high = np.nanmin(values, axis=2), np.nanmax(values, axis=2)
        near = AT_LIMIT * (high - low)[..., None]
        n_known = np.isfinite(values).sum(axis=2)
        n_high = (values >= high[..., None] - near).sum(axis=2)
        n_low = (values <= low[..., None] + near).sum(axis=2)
        return _as_table(
            {
                "log_sd": np.log(sd),
                "log_abs": np.log(absolute),
                "mean_over_sd": np.nanmean(values, axis=2) / sd,
                "log_at_top": np.log(n_high / n_known),
                "log_at_bottom": np.log(n_low / n_known),
            }
        )


@dataclass(frozen=True)
class Roughness(FeatureModel):
    """Sees only how fast values change from voxel to voxel, along each axis."""

    def table(self, data: ScanSet) -> pd.DataFrame:
        """Tabulate three numbers per channel."""
        steps = roughness(data.values, data.cohort.grid)
        return _as_table(
            {f"log_step_{axis}": np.log(steps[..., k]) for k, axis in enumerate("xyz")}
        )


@dataclass(frozen=True)
class FileGrid(FeatureModel):
    """Sees only how each file is written: voxels, their size, orientation, type of numbers."""

    def lacks(self, data: ScanSet) -> str:
        """Say that there is nothing to see where all files are written alike."""
        grids = {stored.file_grids for stored in data.cohort.stored}
        return "" if len(grids) > 1 else "files that are written differently"

    def table(self, data: ScanSet) -> pd.DataFrame:
        """Tabulate one text per channel."""
        rows = [stored.file_grids for stored in data.cohort.stored]
        return pd.DataFrame(rows).add_prefix("grid_").astype(object)


@dataclass(frozen=True)
class TemporalSnr(FeatureModel):
    """Sees only how noisy a BOLD run is: mean over SD in time, as percentiles over voxels.

    Motion, head coil and sequence all show in it.
    """

    def lacks(self, data: ScanSet) -> str:
        """Say that maps have no time."""
        rows = [_tsnr(stored) for stored in data.cohort.stored]
        return "" if rows and None not in rows else "time series: a cohort of BOLD runs"

    def table(self, data: ScanSet) -> pd.DataFrame:
        """Tabulate the logarithms of the 10th, 50th and 90th percentile."""
        rows = np.array([_tsnr(stored) for stored in data.cohort.stored], dtype=float)
        known = np.where(rows > 0, rows, np.nan)
        return pd.DataFrame(np.log(known), columns=["log_tsnr_10", "log_tsnr_50", "log_tsnr_90"])


def _tsnr(stored: Any) -> tuple[float, float, float] | None:
    return getattr(stored, "tsnr", None)


def roughness(values: FloatArray, grid: Grid) -> FloatArray:
    """Mean squared step between neighbouring voxels over variance.

    Parameters
    ----------
    values : ndarray of float32, shape (N, C, V)
        On the grid, NaN where missing.
    grid : Grid
        Where they lie.

    Returns
    -------
    ndarray, shape (N, C, 3)
        Along x, y and z.
    """
    volumes = grid.unmask(values, np.nan)  # (N, C, X, Y, Z)
    variance = np.nanvar(values, axis=2)
    steps = [np.nanmean(np.diff(volumes, axis=axis) ** 2, axis=(2, 3, 4)) for axis in (2, 3, 4)]
    relative: FloatArray = np.stack(steps, axis=-1) / variance[..., None]
    return relative


def _as_table(parts: dict[str, Any]) -> pd.DataFrame:
    """Make one column of each part, (N, C), and channel."""
    return pd.DataFrame(
        {
            f"{name}_{channel}": part[:, channel]
            for name, part in parts.items()
            for channel in range(part.shape[1])
        }
    )
