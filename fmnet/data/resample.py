"""How images get onto a grid, and how values on it are smoothed.

Everything is linear interpolation over the voxels that hold data: background is no data and never
mixes into its neighbours. Where each voxel of the grid lies in an image, and the weights of its
neighbours there, depends on the two grids alone, and is worked out once for all images alike.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.sparse import csr_array

from fmnet.data.grid import Grid
from fmnet.data.volume import OWN_SPACE, Affine, FloatArray, Volume, check_space

#: A voxel of the template counts as covered when at least this fraction of it lies in the map.
MIN_VOXEL_COVERAGE = 0.5
#: Voxels of two grids that are nearer than this, in voxels, are one.
SAME_POSITION = 1e-4


def place_on_grid(volume: Volume, grid: Grid) -> FloatArray:
    """Resample one map, (C, X, Y, Z) on any grid, to the in-mask values of a grid: (C, V) float32.

    Background is no data: NaN in what was read from a file (see `fmnet.data.volume`), NaN or
    exactly 0 in what was computed. Each value is the linear interpolation over the voxels that hold
    data, so that a map looks the same however its background was written; NaN where the map has
    none.

    `nilearn.image.resample_img` gives the same values, and tests hold this to it. It isn't called
    here because importing it takes several times as long as all else that scoring a map does, and
    because it raises where a map lies wholly on one side of the grid.

    Raises
    ------
    VolumeError
        If one of the two is in somebody's own space and the other is not.
    """
    if OWN_SPACE in {volume.space, grid.space} and volume.space != grid.space:
        check_space(volume.space, volume.name, (grid.space,))
    weights = weights_between(grid, volume.affine, volume.data.shape[1:])
    placed = np.empty((len(volume.data), grid.n_voxels), np.float32)
    for channel, out in zip(volume.data.reshape(len(volume.data), -1), placed, strict=True):
        covered = np.isfinite(channel) & (channel != 0)
        total = weights @ np.where(covered, channel, np.float32(0))
        fraction = weights @ covered.astype(np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            out[:] = np.where(fraction >= MIN_VOXEL_COVERAGE, total / fraction, np.float32(np.nan))
    return placed


def nearest_on_grid(volume: Volume, grid: Grid) -> FloatArray:
    """Take, for each in-mask voxel of a grid, the nearest of one channel's voxels: (V,).

    For labels, which have no means; 0 outside the image.
    """
    data = volume.data[0]
    index = np.rint(coordinates(grid, volume.affine)).astype(np.intp)
    inside = ((index >= 0) & (index < data.shape)).all(axis=1)
    found = np.zeros(grid.n_voxels, np.float32)
    found[inside] = data[tuple(index[inside].T)]
    return found


def weights_between(grid: Grid, affine: Affine, shape: tuple[int, ...]) -> Any:
    """Weights from the voxels of an image to those of a grid: sparse, shape (V, X * Y * Z).

    The last few are kept, for images of one study most often share their grid.
    """
    return _weights_between(grid, affine.tobytes(), shape)


@lru_cache(maxsize=4)
def _weights_between(grid: Grid, affine: bytes, shape: tuple[int, ...]) -> Any:
    points = coordinates(grid, np.frombuffer(affine).reshape(4, 4))
    return linear_weights(np.rint(points) if are_voxels(points) else points, shape)


@dataclass(frozen=True, eq=False)
class Lookup:
    """Each in-mask value is one of the file's own.

    ``indices``, (V,), say where it lies in a volume of the file; ``known``, (V,), where the file
    has data.
    """

    indices: NDArray[np.intp]
    known: NDArray[np.bool_]

    def apply(self, volume: NDArray[Any]) -> NDArray[Any]:
        """Take the values out of a volume of the file: (V,), in its own type of numbers."""
        return np.take(volume, self.indices, mode="clip")


@dataclass(frozen=True, eq=False)
class Interpolation:
    """Each in-mask value is a weighted mean of the file's.

    ``weights``, sparse (V, N), are of the N voxels that are used; each row adds up to 1, or is
    empty where the file has none. ``indices``, (N,), say where those lie in a volume of the file;
    ``known``, (V,), where the file has data.
    """

    weights: Any
    indices: NDArray[np.intp]
    known: NDArray[np.bool_]

    def apply(self, volume: NDArray[Any]) -> FloatArray:
        """Interpolate a volume of the file: (V,) float32."""
        used = np.take(volume, self.indices, mode="clip").astype(np.float32)
        values: FloatArray = self.weights @ used
        return values


def coordinates(grid: Grid, affine: Affine) -> NDArray[np.float64]:
    """Voxel coordinates, in a volume with this affine, of the in-mask voxels of a grid: (V, 3)."""
    between = np.linalg.inv(affine) @ grid.affine
    return np.asarray(np.argwhere(grid.mask) @ between[:3, :3].T + between[:3, 3])


def are_voxels(points: NDArray[np.float64]) -> bool:
    """Tell whether coordinates, (V, 3), fall on voxels, so that nothing has to be interpolated."""
    return bool(np.abs(points - np.rint(points)).max(initial=0) < SAME_POSITION)


def build_lookup(
    points: NDArray[np.float64], order: NDArray[np.intp], support: NDArray[np.bool_]
) -> Lookup:
    """Build a `Lookup` for coordinates, (V, 3), in RAS+ voxels of the file, that fall on voxels.

    `order`, (X, Y, Z), tells where each of those lies in the file, see
    `fmnet.data.nifti.ras_order`; `support`, (X, Y, Z), which of them hold data.
    """
    index = np.rint(points).astype(np.intp)
    inside = ((index >= 0) & (index < order.shape)).all(axis=1)
    index[~inside] = 0
    at = tuple(index.T)
    return Lookup(order[at], inside & support[at])


def linear_weights(points: NDArray[np.float64], shape: tuple[int, ...]) -> Any:
    """Weights of trilinear interpolation at coordinates, (V, 3): sparse (V, X * Y * Z).

    Nothing is known beyond the centres of the outermost voxels. Coordinates that fall on these
    centres but for rounding are inside.
    """
    last = np.array(shape) - 1
    inside = ((points > -SAME_POSITION) & (points < last + SAME_POSITION)).all(axis=1)
    clipped = np.clip(points[inside], 0, last)
    low = np.minimum(np.floor(clipped), np.maximum(last - 1, 0))
    upper = clipped - low  # (V_inside, 3): the weight of the upper neighbour along each axis
    x, y, z = (np.stack([1 - one, one], axis=1).astype(np.float32) for one in upper.T)
    weights = x[:, :, None, None] * y[:, None, :, None] * z[:, None, None, :]
    kind = np.int32 if np.prod(shape) < 2**31 else np.int64
    first = low.astype(kind)
    i, j, k = np.stack([first, np.minimum(first + 1, last)], axis=1).transpose(2, 0, 1)
    columns = (i[:, :, None, None] * shape[1] + j[:, None, :, None]) * shape[2]
    columns = (columns + k[:, None, None, :]).astype(kind)
    ends = np.concatenate([[0], np.cumsum(8 * inside)])
    size = (len(points), int(np.prod(shape)))
    matrix = csr_array((weights.ravel(), columns.ravel(), ends), shape=size)
    matrix.eliminate_zeros()
    return matrix


def build_interpolation(
    weights: Any, order: NDArray[np.intp], support: NDArray[np.bool_]
) -> Interpolation:
    """Keep of `linear_weights` what holds data, so that background never mixes into it.

    `order` and `support` are as in `build_lookup`.
    """
    kept = weights[:, np.flatnonzero(support)]
    fraction = np.asarray(kept.sum(axis=1)).ravel()
    known = fraction >= MIN_VOXEL_COVERAGE
    scale = np.divide(1, fraction, out=np.zeros_like(fraction), where=known)
    kept.data *= np.repeat(scale, np.diff(kept.indptr)).astype(np.float32)
    kept.eliminate_zeros()
    used = np.unique(kept.indices)
    return Interpolation(kept[:, used].tocsr(), order[support][used], known)


def smooth_values(values: FloatArray, grid: Grid, fwhm_mm: float) -> FloatArray:
    """Smooth in-mask values with a Gaussian that stays inside the mask and skips missing voxels.

    `values` are (..., V), NaN where missing, which they stay; `fwhm_mm` of 0 leaves them as they
    are.
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


def weights_before_smoothing(weights: FloatArray, grid: Grid, fwhm_mm: float) -> FloatArray:
    """Turn weights of smoothed values, (..., V), into weights of the values before smoothing.

    It is the transpose of `smooth_values` where no voxel is missing: smoothed values times
    `weights` come to the values times what is returned.
    """
    if fwhm_mm == 0:
        return weights
    sigma = fwhm_mm / (np.sqrt(8 * np.log(2)) * np.array(grid.voxel_size_mm))
    total = gaussian_filter(grid.mask.astype(np.float32), sigma, mode="constant")[grid.mask]
    before = np.empty_like(weights)
    for index in np.ndindex(weights.shape[:-1]):
        divided = grid.unmask(weights[index] / total)
        before[index] = gaussian_filter(divided, sigma, mode="constant")[grid.mask]
    return before
