"""The template grid that every scan is put on, and how a map gets there."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import inv
from scipy.ndimage import affine_transform, gaussian_filter

from fmnet.data.volume import (
    OWN_SPACE,
    SPACES,
    Affine,
    FloatArray,
    Volume,
    check_affine,
    check_space,
)

MaskName = Literal["brain", "grey_matter", "non_grey", "background"]

#: A voxel of the template counts as covered when at least this share of it lies in the map.
MIN_VOXEL_COVERAGE = 0.5


@dataclass(frozen=True, eq=False)
class Grid:
    """A voxel grid in template space and the voxels of it that are looked at.

    Parameters
    ----------
    mask : ndarray of bool, shape (X, Y, Z)
        True inside the brain.
    affine : ndarray of float64, shape (4, 4)
        From voxel index to world coordinates in mm, RAS+.
    space : str
        One of `fmnet.data.volume.SPACES`.
    """

    mask: NDArray[np.bool_]
    affine: Affine
    space: str

    def __post_init__(self) -> None:
        check_affine(self.affine, "template grid")
        check_space(self.space, "template grid", SPACES)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along x, y and z."""
        x, y, z = self.mask.shape
        return x, y, z

    @property
    def voxel_size_mm(self) -> tuple[float, float, float]:
        """Edge lengths of a voxel in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def n_voxels(self) -> int:
        """Voxels inside the mask."""
        return int(self.mask.sum())

    @cached_property
    def digest(self) -> str:
        """Hash of everything that decides where a value lands."""
        parts = (np.packbits(self.mask).tobytes(), self.affine.tobytes(), repr(self.shape).encode())
        return hashlib.sha256(b"|".join(parts)).hexdigest()

    def unmask(self, values: FloatArray, fill: float = 0.0) -> FloatArray:
        """Put in-mask values, shape (..., V), back on the grid: (..., X, Y, Z)."""
        volume = np.full((*values.shape[:-1], *self.shape), fill, dtype=np.float32)
        volume[..., self.mask] = values
        return volume


def place_on_grid(volume: Volume, grid: Grid) -> FloatArray:
    """Resample one map to the grid and keep what lies in the mask.

    Background is no data: NaN in what was read from a file (see `fmnet.data.map_values`), NaN or
    exactly 0 in what was computed. It never mixes into its neighbours. Each value is the linear
    interpolation over the voxels that hold data, so that a map looks the same however its
    background was written.

    Parameters
    ----------
    volume : Volume
        The map, shape (C, X, Y, Z), any grid.
    grid : Grid
        Where it goes.

    Returns
    -------
    ndarray of float32, shape (C, V)
        In-mask values; NaN where the map has none.

    Raises
    ------
    VolumeError
        If one of the two is in somebody's own space and the other is not.
    """
    if OWN_SPACE in {volume.space, grid.space} and volume.space != grid.space:
        check_space(volume.space, volume.name, (grid.space,))
    covered = np.isfinite(volume.data) & (volume.data != 0)
    filled = np.where(covered, volume.data, np.float32(0))
    if volume.data.shape[1:] == grid.shape and np.allclose(volume.affine, grid.affine, atol=1e-4):
        share, total = covered[:, grid.mask].astype(np.float32), filled[:, grid.mask]
    else:
        both = np.concatenate([filled, covered.astype(np.float32)])
        total, share = np.split(_resample(both, volume.affine, grid)[:, grid.mask], 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = total / share
    return np.where(share >= MIN_VOXEL_COVERAGE, values, np.float32(np.nan)).astype(np.float32)


def smooth_values(values: FloatArray, grid: Grid, fwhm_mm: float) -> FloatArray:
    """Smooth in-mask values with a Gaussian that stays inside the mask and skips missing voxels.

    Parameters
    ----------
    values : ndarray of float32, shape (..., V)
        In-mask values, NaN where missing.
    grid : Grid
        The grid they lie on.
    fwhm_mm : float
        Full width at half maximum in mm; 0 leaves the values as they are.

    Returns
    -------
    ndarray of float32, shape (..., V)
        NaN stays NaN.
    """
    if fwhm_mm == 0:
        return values
    sigma = fwhm_mm / (np.sqrt(8 * np.log(2)) * np.array(grid.voxel_size_mm))
    smoothed = np.full_like(values, np.nan)
    for index in np.ndindex(values.shape[:-1]):
        known = np.isfinite(values[index])
        data = grid.unmask(np.where(known, values[index], np.float32(0)))
        weight = gaussian_filter(grid.unmask(known.astype(np.float32)), sigma, mode="constant")
        blurred = gaussian_filter(data, sigma, mode="constant")[grid.mask][known]
        smoothed[index][known] = blurred / weight[grid.mask][known]
    return smoothed


def _resample(data: FloatArray, affine: Affine, grid: Grid) -> FloatArray:
    """Interpolate linearly, (C, X, Y, Z) to the grid's shape; 0 outside.

    `nilearn.image.resample_img` gives the same values, and tests hold this to it. It isn't called
    here because importing it takes several times as long as all else that scoring a map does, and
    because it raises where a map lies wholly on one side of the grid.
    """
    # exactly so for the grid's own affine, which rounding would blur
    between = np.eye(4) if np.array_equal(affine, grid.affine) else inv(affine) @ grid.affine
    matrix, offset = between[:3, :3], between[:3, 3]
    if np.array_equal(matrix, np.diag(np.diag(matrix))):
        matrix = np.diag(matrix)  # for which SciPy is faster
    resampled = np.empty((len(data), *grid.shape), dtype=np.float32)
    for channel, out in zip(data, resampled, strict=True):
        affine_transform(channel, matrix, offset, grid.shape, output=out, order=1)
    return resampled
