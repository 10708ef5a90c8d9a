"""Places in the brain where something is planted."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree

from fmnet.data.grid import Grid
from fmnet.data.volume import FloatArray
from fmnet.errors import ConfigError, Fault

#: How far the centres of two regions are apart at least, and how deep in the brain they lie.
APART_MM, DEPTH_MM = 24.0, 8.0
#: How often places are drawn anew if the first ones leave no room for the others.
N_TRIES = 100

Points = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Brain:
    """In-mask voxels of a grid as places in mm.

    Parameters
    ----------
    grid : Grid
        V voxels in its mask.
    """

    grid: Grid

    @cached_property
    def places(self) -> Points:
        """World coordinates of the voxels in mm: (V, 3)."""
        affine = self.grid.affine
        return np.asarray(np.argwhere(self.grid.mask) @ affine[:3, :3].T + affine[:3, 3])

    @cached_property
    def depth(self) -> Points:
        """Distance of the voxels from the nearest outside the mask in mm: (V,)."""
        padded = np.pad(self.grid.mask, 1)
        depth = distance_transform_edt(padded, sampling=self.grid.voxel_size_mm)
        return np.asarray(depth[1:-1, 1:-1, 1:-1][self.grid.mask])

    @cached_property
    def _tree(self) -> KDTree:
        return KDTree(self.places)

    def balls(self, centres: Points, radius_mm: float) -> FloatArray:
        """Mark the voxels within a radius of each centre, (K, 3) in mm: (K, V), 1 or 0."""
        marked = np.zeros((len(centres), len(self.places)), dtype=np.float32)
        for row, near in zip(marked, self._tree.query_ball_point(centres, radius_mm), strict=True):
            row[near] = 1
        return marked

    def draw_centres(self, count: int, rng: Generator) -> Points:
        """Draw voxels deep in the brain and far from one another: (K, 3) in mm.

        Raises
        ------
        ConfigError
            If the brain has no room for them.
        """
        deep = self.places[self.depth > DEPTH_MM]
        for _ in range(N_TRIES):
            centres = _draw_apart(deep, count, rng)
            if len(centres) == count:
                return centres
        voxels = f"{self.grid.voxel_size_mm[0]:g} mm"
        found = f"no {count} places {APART_MM:g} mm apart and {DEPTH_MM:g} mm deep at {voxels}"
        raise ConfigError(
            Fault("suite.voxel_size_mm", found, "a grid with room", "choose smaller voxels")
        )


def _draw_apart(deep: Points, count: int, rng: Generator) -> Points:
    """Draw one place after another among those that are left; fewer if none is left."""
    centres: list[Points] = []
    while len(centres) < count and len(deep):
        centres.append(deep[rng.integers(len(deep))])
        deep = deep[np.linalg.norm(deep - centres[-1], axis=1) >= APART_MM]
    return np.array(centres).reshape(-1, 3)
