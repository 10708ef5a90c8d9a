"""Tell by its content whether a map is mirrored, turned over or turned round.

A map and the same map flipped about the middle of the template differ where the brain, or what it
does, is not symmetric: in the values, in how large they are (vessels, noise, dropout), and in where
there are data at all. What is learned from the training people is which of the two is the right
one: a ridge regression, from the antisymmetric part of a map to 1, which comes to -1 for the same
map flipped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fmnet.data.grid import Grid
from fmnet.data.volume import FloatArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

#: Which axis is flipped, by the name of the gate.
FLIPS: dict[str, int] = {"left and right": 0, "front and back": 1, "top and bottom": 2}
#: What of a map is looked at: its values, their sizes, and where there are any.
N_ASPECTS = 3
#: Added to sizes, in root mean squares of a map, before their logarithm is taken.
LEAST_SIZE = 0.1
#: By how much flipped maps may be displaced besides, in mm, for who knows what they turn about.
OFF_MM = 8.0
#: Penalty of the weights, as a fraction of the mean square of the training people's maps. It
#: hardly matters, and a choice among several would make the training people look too good.
PENALTY = 1.0
#: Least standard deviation of scores whose mean is 1 that an aspect is credited with: where all of
#: one study have the same mask, it would be all that counts.
LEAST_SPREAD = 0.3


@lru_cache(maxsize=8)
def flipped_voxels(grid: Grid, axis: int) -> Indices:
    """Name, for each in-mask voxel, the one that lands on it when an axis is flipped: (V,).

    The first axis is flipped about x = 0, the others about the middle of the mask; -1 where what
    lands on a voxel comes from outside the mask.
    """
    place = np.argwhere(grid.mask)
    number = np.full(grid.shape, -1, np.intp)
    number[grid.mask] = np.arange(len(place))
    total = int(place[:, axis].min() + place[:, axis].max())
    if axis == 0:
        total = int(np.rint(-2 * grid.affine[0, 3] / grid.affine[0, 0]))
    other = place.copy()
    other[:, axis] = total - place[:, axis]
    inside = (other[:, axis] >= 0) & (other[:, axis] < grid.shape[axis])
    other[~inside] = 0
    return np.asarray(np.where(inside, number[tuple(other.T)], -1))


def aspect_of(values: FloatArray, aspect: int) -> FloatArray:
    """Take of maps, (..., C, V), the values of unit size, their sizes, or where there are any.

    NaN where there are none, but for the last, which is 0 and 1.
    """
    if aspect == 2:
        return np.isfinite(values).astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        count = np.isfinite(values).sum(axis=-1, keepdims=True)
        square = np.nansum(np.square(values, dtype=np.float64), axis=-1, keepdims=True) / count
        scaled: FloatArray = (values / np.sqrt(square)).astype(np.float32)
    if aspect == 0:
        return scaled
    sizes = np.log(np.abs(scaled) + np.float32(LEAST_SIZE))
    middle = np.nansum(sizes, axis=-1, keepdims=True) / np.maximum(count, 1)
    return np.asarray(sizes - middle, dtype=np.float32)


def displaced(values: FloatArray, grid: Grid, axis: int, distance_mm: float) -> FloatArray:
    """Move maps, (..., V), along an axis, with linear interpolation; NaN where nothing lands."""
    image = grid.unmask(values, np.nan)
    voxels = distance_mm / grid.voxel_size_mm[axis]
    whole, place = int(np.floor(voxels)), image.ndim - 3 + axis

    def shifted(count: int) -> FloatArray:
        moved = np.full_like(image, np.nan)
        n = image.shape[place]
        to, source = (
            slice(max(count, 0), n + min(count, 0)),
            slice(max(-count, 0), n - max(count, 0)),
        )
        before = (slice(None),) * place
        moved[(*before, to)] = image[(*before, source)]
        inside: FloatArray = moved[..., grid.mask]
        return inside

    part = np.float32(voxels - whole)
    near, far = shifted(whole), shifted(whole + 1)
    mixed = (1 - part) * near + part * far
    # where one of the two has no data, the nearer of them decides
    return np.asarray(np.where(np.isnan(mixed), near if part < 0.5 else far, mixed))


def aspects_of(values: FloatArray) -> list[FloatArray]:
    """Take all aspects of maps, each (..., C, V), see `aspect_of`."""
    return [aspect_of(values, aspect) for aspect in range(N_ASPECTS)]


def antisymmetric(values: FloatArray, grid: Grid, axis: int) -> FloatArray:
    """Subtract from each voxel, (..., C, V), what lands on it when an axis is flipped.

    0 where either has no data.
    """
    other = flipped_voxels(grid, axis)
    difference: FloatArray = values - values[..., other]
    difference[..., other < 0] = 0
    difference[np.isnan(difference)] = 0
    return difference


def flip_score(aspects: Sequence[FloatArray], weights: FloatArray, grid: Grid, axis: int) -> float:
    """Tell whether a scan is the right way round: about 1, or -1 where it is flipped.

    Given are all of its aspects, (C, V), and the `weights` of `fit_flip`, (`N_ASPECTS`, C, V).
    """
    return float(
        sum(
            np.sum(antisymmetric(aspect, grid, axis) * own, dtype=np.float64)
            for aspect, own in zip(aspects, weights, strict=True)
            if own.any()
        )
    )


def fit_flip(
    values: FloatArray, grid: Grid, axis: int, people: Indices
) -> tuple[FloatArray, Floats]:
    """Learn from maps, (N, C, V), how the right ones differ from flipped ones.

    Each aspect counts as much as it tells the training people's maps from flipped ones.

    Parameters
    ----------
    values : ndarray of float32, shape (N, C, V)
        Maps, NaN where they have no data.
    grid : Grid
        Theirs.
    axis : int
        Which is flipped.
    people : ndarray of int, shape (N,)
        Numbers of those whose scans they are.

    Returns
    -------
    weights : ndarray of float32, shape (`N_ASPECTS`, C, V)
        See `flip_score`; 0 where nothing differs.
    left_out : ndarray, shape (3, N)
        Score of each scan with weights of the other people: where it lies, and displaced by
        `OFF_MM` to either side.
    """
    weights = np.zeros((N_ASPECTS, *values.shape[1:]), np.float32)
    n, total = len(values), 0.0
    left_out = np.zeros((3, n))
    for aspect in range(N_ASPECTS):
        parts = np.concatenate(
            [
                antisymmetric(aspect_of(moved, aspect), grid, axis)
                for moved in (
                    values,
                    displaced(values, grid, axis, OFF_MM),
                    displaced(values, grid, axis, -OFF_MM),
                )
            ]
        )
        if not parts.any():
            continue
        found = fit_discriminant(parts.reshape(3 * n, -1), np.tile(people, 3))
        own = found.left_out[:n]
        if not own.mean() > 0:
            continue
        share = own.mean() / max(own.std(), LEAST_SPREAD * own.mean()) ** 2
        weights[aspect] = share * found.weights.reshape(values.shape[1:])
        left_out += share * found.left_out.reshape(3, n)
        total += share * own.mean()
    if total > 0:
        weights /= np.float32(total)
        left_out /= total
    return weights, left_out


@dataclass(frozen=True, eq=False)
class Discriminant:
    """Weights, (V,), whose product with the right maps is about 1, and the training people's.

    ``left_out``, (N,), are products of each person's maps with weights of the others.
    """

    weights: FloatArray
    left_out: Floats


def fit_discriminant(parts: FloatArray, people: Indices) -> Discriminant:
    """Fit weights of maps, (N, V), that lead to 1.

    `people`, (N,), number those whose scans they are; all scans of a person are left out together.
    """
    products = (parts @ parts.T).astype(np.float64)
    size = max(float(np.trace(products)) / len(products), np.finfo(np.float64).tiny)
    inverse = np.linalg.inv(products + PENALTY * size * np.eye(len(products)))
    hat = products @ inverse
    left_out = np.empty(len(products))
    for person in np.unique(people):
        own = people == person
        rest = 1 - hat[own].sum(axis=1)
        left_out[own] = 1 - np.linalg.solve(np.eye(own.sum()) - hat[np.ix_(own, own)], rest)
    return Discriminant(inverse.sum(axis=1).astype(np.float32) @ parts, left_out)
