"""Tell by its content whether a map is mirrored, turned over or turned round.

A map and the same map flipped about the middle of the template differ where the brain, or what it
does, is not symmetric. What is learned from the training people is which of two such maps is the
right one: a ridge regression, from the antisymmetric part of a map to 1, which comes to -1 for
whatever is flipped.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fmnet.data.grid import Grid
from fmnet.data.volume import FloatArray

Floats = NDArray[np.float64]

#: Which axes are flipped, by the name of the gate.
FLIPS: dict[str, tuple[int, ...]] = {
    "left and right": (0,),
    "front and back": (1,),
    "top and bottom": (2,),
}
#: Penalties that are tried, as fractions of the mean square of the training people's maps.
PENALTIES = (0.01, 0.1, 1.0, 10.0)


def flipped_voxels(grid: Grid, axes: tuple[int, ...]) -> NDArray[np.intp]:
    """Name, for each in-mask voxel, the one that lands on it when axes are flipped: (V,).

    The left and the right are flipped about x = 0, the others about the middle of the mask; -1
    where what lands on a voxel comes from outside the mask.
    """
    place = np.argwhere(grid.mask)
    number = np.full(grid.shape, -1, np.intp)
    number[grid.mask] = np.arange(len(place))
    low, high = place.min(axis=0), place.max(axis=0)
    other = place.copy()
    for axis in axes:
        total = low[axis] + high[axis]
        if axis == 0:
            total = int(np.rint(-2 * grid.affine[0, 3] / grid.affine[0, 0]))
        other[:, axis] = total - place[:, axis]
    inside = ((other >= 0) & (other < grid.shape)).all(axis=1)
    other[~inside] = 0
    return np.asarray(np.where(inside, number[tuple(other.T)], -1))


def antisymmetric(values: FloatArray, other: NDArray[np.intp]) -> FloatArray:
    """Subtract from each voxel of maps of equal size, (..., C, V), what lands on it when flipped.

    0 where either has no data.
    """
    size = np.sqrt(np.nanmean(np.square(values, dtype=np.float64), axis=-1, keepdims=True))
    scaled = (values / np.maximum(size, np.finfo(np.float32).tiny)).astype(np.float32)
    difference: FloatArray = scaled - scaled[..., other]
    difference[..., other < 0] = 0
    difference[np.isnan(difference)] = 0
    return difference


@dataclass(frozen=True, eq=False)
class Discriminant:
    """Weights, (C, V), whose product with the right maps is about 1, and the training people's.

    ``left_out``, (N,), are products of each person's maps with weights of the others.
    """

    weights: FloatArray
    left_out: Floats


def fit_discriminant(parts: FloatArray, people: NDArray[np.intp]) -> Discriminant:
    """Fit weights of maps, (N, C, V), that lead to 1, with the penalty that holds for new people.

    `people`, (N,), number those whose scans they are; all scans of a person are left out together.
    """
    flat = parts.reshape(len(parts), -1)
    products = (flat @ flat.T).astype(np.float64)
    size = max(float(np.trace(products)) / len(products), np.finfo(np.float64).tiny)
    best = None
    for penalty in PENALTIES:
        inverse = np.linalg.inv(products + penalty * size * np.eye(len(products)))
        hat = products @ inverse
        left_out = np.empty(len(products))
        for person in np.unique(people):
            own = people == person
            rest = 1 - hat[own].sum(axis=1)
            left_out[own] = 1 - np.linalg.solve(np.eye(own.sum()) - hat[np.ix_(own, own)], rest)
        apart = left_out.mean() / max(left_out.std(), 1e-12)
        if best is None or apart > best[0]:
            best = apart, inverse.sum(axis=1), left_out
    assert best is not None
    weights = (best[1].astype(np.float32) @ flat).reshape(parts.shape[1:])
    return Discriminant(weights, best[2])
