"""How the volumes of one file get onto a grid: decided once, applied to every volume."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from fmnet.data.grid import MIN_VOXEL_COVERAGE, Grid
from fmnet.data.volume import Affine, FloatArray

#: Voxels of two grids that are nearer than this, in voxels, are one.
SAME_PLACE = 1e-4


@dataclass(frozen=True, eq=False)
class Lookup:
    """Each in-mask value is one of the file's own.

    Parameters
    ----------
    places : ndarray of int, shape (V,)
        Where it lies in a volume of the file.
    known : ndarray of bool, shape (V,)
        Where the file has data.
    """

    places: NDArray[np.intp]
    known: NDArray[np.bool_]

    def apply(self, volume: NDArray[Any]) -> NDArray[Any]:
        """Take the values out of a volume of the file: (V,), in its own type of numbers."""
        return np.take(volume, self.places, mode="clip")


@dataclass(frozen=True, eq=False)
class Interpolation:
    """Each in-mask value is a weighted mean of the file's.

    Parameters
    ----------
    weights : sparse array, shape (V, N)
        Of the N voxels that are used; each row adds up to 1, or is empty where the file has none.
    places : ndarray of int, shape (N,)
        Where those lie in a volume of the file.
    known : ndarray of bool, shape (V,)
        Where the file has data.
    """

    weights: Any
    places: NDArray[np.intp]
    known: NDArray[np.bool_]

    def apply(self, volume: NDArray[Any]) -> FloatArray:
        """Interpolate a volume of the file: (V,) float32."""
        used = np.take(volume, self.places, mode="clip").astype(np.float32)
        values: FloatArray = self.weights @ used
        return values


def coordinates(grid: Grid, affine: Affine) -> NDArray[np.float64]:
    """Voxel coordinates, in a volume with this affine, of the in-mask voxels of a grid: (V, 3)."""
    between = np.linalg.inv(affine) @ grid.affine
    return np.asarray(np.argwhere(grid.mask) @ between[:3, :3].T + between[:3, 3])


def are_voxels(places: NDArray[np.float64]) -> bool:
    """Tell whether coordinates, (V, 3), fall on voxels, so that nothing has to be interpolated."""
    return bool(np.abs(places - np.rint(places)).max(initial=0) < SAME_PLACE)


def build_lookup(
    places: NDArray[np.float64], order: NDArray[np.intp], support: NDArray[np.bool_]
) -> Lookup:
    """Build a `Lookup` for coordinates that fall on voxels.

    Parameters
    ----------
    places : ndarray, shape (V, 3)
        Coordinates in RAS+ voxels of the file.
    order : ndarray of int, shape (X, Y, Z)
        Where each of those lies in the file, see `fmnet.data.nifti.ras_order`.
    support : ndarray of bool, shape (X, Y, Z)
        Which of them hold data.
    """
    index = np.rint(places).astype(np.intp)
    inside = ((index >= 0) & (index < order.shape)).all(axis=1)
    index[~inside] = 0
    at = tuple(index.T)
    return Lookup(order[at], inside & support[at])


def linear_weights(places: NDArray[np.float64], shape: tuple[int, ...]) -> Any:
    """Weights of trilinear interpolation at coordinates, (V, 3): sparse (V, X * Y * Z).

    As in `fmnet.data.grid.place_on_grid`, nothing is known beyond the centres of the outermost
    voxels. Coordinates that fall on these centres but for rounding are inside.
    """
    last = np.array(shape) - 1
    inside = ((places > -SAME_PLACE) & (places < last + SAME_PLACE)).all(axis=1)
    rows = np.flatnonzero(inside)
    clipped = np.clip(places[rows], 0, last)
    low = np.minimum(np.floor(clipped), np.maximum(last - 1, 0)).astype(np.intp)
    share = clipped - low
    parts = []
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, share, 1 - share), axis=1)
        at = np.ravel_multi_index(tuple(np.minimum(low + corner, last).T), shape)
        parts.append((weight, rows, at))
    weights, at_rows, columns = (np.concatenate(part) for part in zip(*parts, strict=True))
    size = (len(places), int(np.prod(shape)))
    matrix = csr_array((weights.astype(np.float32), (at_rows, columns)), shape=size)
    matrix.eliminate_zeros()
    return matrix


def build_interpolation(
    weights: Any, order: NDArray[np.intp], support: NDArray[np.bool_]
) -> Interpolation:
    """Keep of `linear_weights` what holds data, so that background never mixes into it.

    Parameters
    ----------
    weights : sparse array, shape (V, X * Y * Z)
        From `linear_weights`.
    order, support : ndarray, shape (X, Y, Z)
        As in `build_lookup`.
    """
    kept = weights[:, np.flatnonzero(support)]
    share = np.asarray(kept.sum(axis=1)).ravel()
    known = share >= MIN_VOXEL_COVERAGE
    scale = np.divide(1, share, out=np.zeros_like(share), where=known)
    kept.data *= np.repeat(scale, np.diff(kept.indptr)).astype(np.float32)
    kept.eliminate_zeros()
    used = np.unique(kept.indices)
    return Interpolation(kept[:, used].tocsr(), order[support][used], known)
