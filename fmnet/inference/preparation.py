"""`Preparation`: the one way from a map to the network's input, in training and in use."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fmnet.data.grid import Grid, MaskName
from fmnet.data.resample import smooth_values
from fmnet.data.volume import FloatArray, is_ras
from fmnet.errors import BundleError, Fault, VolumeError
from fmnet.inference.bundle_files import (
    MAX_BYTES_OF,
    NUMBER,
    SHARE,
    SPACE,
    TEXT,
    Kind,
    is_number,
    list_of,
    read_bounded,
    read_fields,
)
from fmnet.types import NonNegative, Share, VoxelSize

#: A voxel that fewer of the training scans cover is left out: it would mostly show coverage.
MIN_TRAINING_SHARE = 0.5
#: Smallest standard deviation, as a share of the median one, that a voxel is divided by.
SD_FLOOR = 0.1
#: Most of a smoothing width or an edge of a voxel, in mm: no brain is larger.
MAX_MM = 1000.0
#: Most of a mean or a weight, whose square float32 still holds.
MAX_VALUE = 1e18
#: What is relied on of preparation.json.
FIELDS = {
    "contrasts": list_of(TEXT),
    "space": SPACE,
    "affine": list_of(list_of(NUMBER)),
    "fwhm_mm": Kind(
        f"a number from 0 to {MAX_MM:g}", lambda value: is_number(value) and 0 <= value <= MAX_MM
    ),
    "min_coverage": SHARE,
}


@dataclass(frozen=True)
class PreparationSettings:
    """What is chosen about the preparation before any data are seen.

    Parameters
    ----------
    voxel_size_mm : int
        Edge length of the template's voxels.
    mask : {"brain", "grey_matter"}
        What is looked at.
    fwhm_mm : float
        Smoothing on the template grid, full width at half maximum.
    min_coverage : float
        Smallest share of the mask that a map must cover.
    """

    voxel_size_mm: VoxelSize = 4
    mask: MaskName = "brain"
    fwhm_mm: NonNegative = 8.0
    min_coverage: Share = 0.5


@dataclass(frozen=True, eq=False)
class Preparation:
    """Fitted transform from a map to the network's input.

    Parameters
    ----------
    grid : Grid
        Template grid and mask; V voxels in the mask.
    contrasts : tuple of str
        Name of each of the C channels.
    fwhm_mm : float
        Smoothing on the grid.
    min_coverage : float
        Smallest share of the mask that a map must cover.
    mean, weight : ndarray of float32, shape (C, V)
        Voxel-wise mean over the training scans, and one over their standard deviation; 0 where
        too few of them have data.
    """

    grid: Grid
    contrasts: tuple[str, ...]
    fwhm_mm: float
    min_coverage: float
    mean: FloatArray
    weight: FloatArray

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Shape of the network's input for one scan: (C, X, Y, Z)."""
        return len(self.contrasts), *self.grid.shape

    def standardise(self, smoothed: FloatArray) -> FloatArray:
        """Standardise smoothed values by voxel, (..., C, V); missing voxels become 0, the mean."""
        standard: FloatArray = (smoothed - self.mean) * self.weight
        return np.nan_to_num(standard, copy=False, nan=0.0)

    def images(self, smoothed: FloatArray) -> FloatArray:
        """Turn smoothed values (..., C, V) into the network's input (..., C, X, Y, Z)."""
        return self.grid.unmask(self.standardise(smoothed))

    def prepare(self, values: FloatArray) -> FloatArray:
        """Turn values on the grid, (..., C, V), into the network's input (..., C, X, Y, Z)."""
        return self.images(smooth_values(values, self.grid, self.fwhm_mm))


def fit_preparation(
    smoothed: FloatArray, grid: Grid, contrasts: tuple[str, ...], settings: PreparationSettings
) -> Preparation:
    """Fit mean and standard deviation of each voxel on the training scans.

    Parameters
    ----------
    smoothed : ndarray of float32, shape (N, C, V)
        The training scans, smoothed by ``settings.fwhm_mm``; NaN where missing.
    grid : Grid
        Where the values lie.
    contrasts : tuple of str
        Names of the channels.
    settings : PreparationSettings
        What was chosen beforehand.
    """
    mean, weight = fit_standard(smoothed)
    return Preparation(grid, contrasts, settings.fwhm_mm, settings.min_coverage, mean, weight)


def fit_standard(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fit mean and weight, one over the standard deviation, of each voxel over scans.

    Parameters
    ----------
    values : ndarray of float32, shape (N, C, V)
        Of the training scans; NaN where missing.

    Returns
    -------
    tuple of ndarray of float32, shape (C, V)
        Mean and weight; 0 where too few scans have data.
    """
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0).sum(axis=0, dtype=np.float64) / count
    deviation = np.where(known, values - mean, 0)
    sd = np.sqrt((deviation**2).sum(axis=0, dtype=np.float64) / count)
    usable = known.mean(axis=0) >= MIN_TRAINING_SHARE
    floor = [
        SD_FLOOR * np.median(row[use]) if use.any() else 1.0
        for row, use in zip(sd, usable, strict=True)
    ]
    spread = np.maximum(np.maximum(sd, np.array(floor)[:, None]), np.finfo(np.float32).tiny)
    return (
        np.where(usable, mean, 0).astype(np.float32),
        np.where(usable, 1 / spread, 0).astype(np.float32),
    )


def write_preparation(preparation: Preparation, folder: Path) -> None:
    """Write ``preparation.json`` and ``preparation.safetensors``."""
    settings = {
        "contrasts": preparation.contrasts,
        "space": preparation.grid.space,
        "orientation": "RAS+",
        "affine": preparation.grid.affine.tolist(),
        "shape": preparation.grid.shape,
        "voxel_size_mm": preparation.grid.voxel_size_mm,
        "fwhm_mm": preparation.fwhm_mm,
        "min_coverage": preparation.min_coverage,
    }
    (folder / "preparation.json").write_text(json.dumps(settings, indent=2) + "\n", "utf-8")
    arrays: dict[str, NDArray[Any]] = {
        "mask": preparation.grid.mask.astype(np.uint8),
        "mean": preparation.mean,
        "weight": preparation.weight,
    }
    # not save_file: it makes files that only their owner may read
    (folder / "preparation.safetensors").write_bytes(save(arrays))


def read_preparation(folder: Path) -> Preparation:
    """Read what `write_preparation` wrote.

    Raises
    ------
    BundleError
        If a file is missing or damaged, or the two don't fit together.
    """
    try:
        settings = read_fields(folder / "preparation.json", FIELDS)
        arrays = read_arrays(folder)
        grid = read_grid(settings, arrays["mask"], folder)
        preparation = Preparation(
            grid,
            tuple(settings["contrasts"]),
            float(settings["fwhm_mm"]),
            float(settings["min_coverage"]),
            arrays["mean"],
            arrays["weight"],
        )
    except KeyError as error:
        raise damaged(folder, f"no array {error}") from error
    expected = (len(preparation.contrasts), preparation.grid.n_voxels)
    if preparation.mean.shape != expected or preparation.weight.shape != expected:
        raise damaged(folder, f"arrays of shape {preparation.mean.shape}, not {expected}")
    for values in (preparation.mean, preparation.weight):
        if values.dtype != np.float32 or not np.isfinite(values).all():
            raise damaged(folder, f"values of type {values.dtype}, not finite float32")
        if (largest := np.abs(values).max()) > MAX_VALUE:
            raise damaged(folder, f"values as large as {largest:g}")
    return preparation


def read_arrays(folder: Path) -> dict[str, NDArray[Any]]:
    """Read ``preparation.safetensors``.

    Raises
    ------
    BundleError
        If it is missing, damaged, too large, or holds types that NumPy doesn't know.
    """
    path = folder / "preparation.safetensors"
    try:
        return load(read_bounded(path, MAX_BYTES_OF[path.name]))
    except (OSError, LookupError, TypeError, ValueError, AttributeError, SafetensorError) as error:
        raise damaged(folder, f"{type(error).__name__}: {error}") from error


def read_grid(settings: dict[str, Any], mask: NDArray[Any], folder: Path) -> Grid:
    """Make the grid of a preparation that was read.

    Raises
    ------
    BundleError
        If the mask is no volume of zeros and ones, or the affine that of no brain's voxels.
    """
    if mask.ndim != 3 or not mask.any():
        raise damaged(folder, f"a mask of shape {mask.shape} with {np.count_nonzero(mask)} voxels")
    if mask.dtype not in (np.uint8, np.bool_) or mask.max() > 1:
        raise damaged(folder, f"a mask of type {mask.dtype}, not of 0 and 1")
    try:
        affine = np.array(settings["affine"], dtype=float)
        grid = Grid(mask.astype(bool), affine, settings["space"])
    except (ValueError, VolumeError) as error:
        raise damaged(folder, f"{type(error).__name__}: {error}") from error
    if not is_ras(grid.affine):
        raise damaged(folder, f"an affine that isn't RAS+: {affine.round(3).tolist()}")
    if not all(0.1 <= edge <= MAX_MM for edge in grid.voxel_size_mm):
        raise damaged(folder, f"voxels of {grid.voxel_size_mm} mm")
    return grid


def damaged(folder: Path, reason: str) -> BundleError:
    """Say why a preparation can't be used."""
    return BundleError(
        Fault(
            str(folder),
            f"a preparation that can't be read ({reason})",
            "preparation.json and preparation.safetensors as fmnet wrote them",
            "copy or export the folder again",
        )
    )
