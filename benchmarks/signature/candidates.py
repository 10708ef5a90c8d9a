"""Every place where a regime may plant a region, and in which form it would lie there."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from benchmarks.power.cortex import find_cortex
from benchmarks.power.regimes import N_REGIONS, N_SHOWN, PATCH_RADII, RegimeName
from benchmarks.power.regions import APART_MM, DEPTH_MM, Brain, Points
from fmnet.data.grid import Grid

#: Points of the cortex that may be the middle of a patch; all of them are too many.
N_PATCHES = 6000
#: Beyond so many standard deviations of a shift nothing of a shifted ball is looked for.
REACH_SDS = 2.0


@dataclass(frozen=True, eq=False)
class Candidates:
    """M places of a region among V voxels.

    Parameters
    ----------
    middles : ndarray, shape (M, 3)
        In mm.
    shapes : sparse array, shape (M, V)
        What a region there adds to the mean of the patients, where its amplitude is 1.
    painted : sparse array, shape (M, V)
        1 where the planted mask would have it.
    apart_mm : float
        How far the middles of two regions are apart at least.
    count : int
        Regions in a cohort.
    """

    middles: Points
    shapes: Any
    painted: Any
    apart_mm: float
    count: int

    def far_from(self, taken: Points) -> NDArray[np.bool_]:
        """Tell which places are free beside regions at others, (K, 3) in mm: (M,)."""
        if not len(taken):
            return np.ones(len(self.middles), dtype=bool)
        return np.asarray((cdist(self.middles, taken) >= self.apart_mm).all(axis=1))


def list_candidates(
    regime: RegimeName, grid: Grid, radius_mm: float, jitter_mm: float
) -> Candidates:
    """List the places of a regime whose effect sits in regions."""
    if regime == "cortical_sheets":
        return _sheets(grid, PATCH_RADII * radius_mm)
    brain = Brain(grid)
    deep = brain.places[brain.depth > DEPTH_MM]
    balls = _kernel(brain, deep, radius_mm, 0.0)
    count = 2 if regime == "interaction" else N_REGIONS
    shapes = balls
    if regime == "varied":  # a patient shows some of them
        shapes = balls * (N_SHOWN / N_REGIONS)
    elif regime == "shifted":
        shapes = _kernel(brain, deep, radius_mm, jitter_mm / np.sqrt(3))
    return Candidates(deep, shapes, balls, APART_MM, count)


def _kernel(brain: Brain, middles: Points, radius_mm: float, sd_mm: float) -> Any:
    """Mark voxels by the probability that a ball around each middle, shifted, has them: (M, V)."""
    tree = KDTree(brain.places)
    reach_mm = radius_mm + REACH_SDS * sd_mm
    near = [tree.query_ball_point(middle, reach_mm) for middle in middles]
    lengths = [len(one) for one in near]
    columns = np.concatenate(near).astype(np.intp)
    rows = np.repeat(np.arange(len(middles)), lengths)
    values = np.ones(len(columns), dtype=np.float32)
    if sd_mm:
        distance = np.linalg.norm(brain.places[columns] - middles[rows], axis=1)
        steps = np.linspace(0, radius_mm + REACH_SDS * sd_mm, 100)
        shifts = np.random.default_rng(0).normal(0, sd_mm, (20_000, 3))
        away = np.linalg.norm(shifts - np.array([1.0, 0, 0]) * steps[:, None, None], axis=2)
        inside = (away <= radius_mm).mean(axis=1)
        values = np.interp(distance, steps, inside).astype(np.float32)
    return csr_array((values, (rows, columns)), shape=(len(middles), len(brain.places)))


def _sheets(grid: Grid, radius_mm: float) -> Candidates:
    """Patches around points of the cortex, spread over all of it."""
    cortex = find_cortex()
    chosen = np.random.default_rng(0).permutation(len(cortex.points))[:N_PATCHES]
    rows = [_filled(cortex.points[cortex.patch(int(one), radius_mm)], grid) for one in chosen]
    shapes = vstack(rows, format="csr")
    painted = shapes.copy()
    painted.data = (painted.data > 0).astype(np.float32)
    return Candidates(cortex.points[chosen], shapes, painted, APART_MM, N_REGIONS)


def _filled(points: NDArray[np.float64], grid: Grid) -> Any:
    """Work out which part of each voxel cubes of 1 mm fill: sparse, (1, V)."""
    inverse = np.linalg.inv(grid.affine)
    voxels = np.rint(points @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
    voxels = voxels[((voxels >= 0) & (voxels < grid.shape)).all(axis=1)]
    number = np.cumsum(grid.mask.ravel()) - 1
    flat = np.ravel_multi_index(tuple(voxels.T), grid.shape)
    columns, counts = np.unique(number[flat[grid.mask.ravel()[flat]]], return_counts=True)
    filled = np.minimum(counts / np.prod(grid.voxel_size_mm), 1).astype(np.float32)
    return csr_array((filled, (np.zeros_like(columns), columns)), shape=(1, grid.n_voxels))
