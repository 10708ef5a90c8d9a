"""Thin, curved patches of the template's cortex: places of an effect that are no balls."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from nilearn.datasets import (
    load_mni152_brain_mask,
    load_mni152_gm_template,
    load_mni152_wm_template,
)
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, label
from scipy.spatial import KDTree

from fmnet.data.grid import Grid
from fmnet.data.volume import FloatArray
from fmnet.errors import ConfigError, Fault

Points = NDArray[np.float64]

#: How far from the white matter the cortex reaches.
THICKNESS_MM = 3.5
#: Least probability of grey matter in it.
MIN_GREY_MATTER = 0.3
#: What lies deeper in the brain is no cortex.
MAX_DEPTH_MM = 30.0
#: The cerebellum lies below and behind.
CEREBELLUM_MM = (-40.0, -15.0)
#: Smoothing of the tissues' probabilities before the direction of the cortex is taken.
SMOOTHING_MM = 1.5
#: A patch ends where the cortex has turned away from its middle by more than this cosine, so that
#: the other bank of a sulcus, a millimetre away, is no part of it.
LEAST_COSINE = 0.0
#: How far the middles of two patches are apart at least.
APART_MM = 24.0
#: Smallest patch, as a part of a flat disc of its radius and thickness.
LEAST_FILLED = 0.4
#: How often a patch is drawn anew if there is no room for it.
N_TRIES = 200


@dataclass(frozen=True, eq=False)
class Cortex:
    """Points of the template's cortex on a lattice of 1 mm.

    Parameters
    ----------
    points : ndarray, shape (P, 3)
        In mm.
    normals : ndarray of float32, shape (P, 3)
        Unit vectors that point away from the white matter.
    """

    points: Points
    normals: FloatArray

    @cached_property
    def _tree(self) -> KDTree:
        return KDTree(self.points)

    def patch(self, seed: int, radius_mm: float) -> NDArray[np.intp]:
        """Follow the cortex from one of its points to a distance: which points are met."""
        near = np.array(self._tree.query_ball_point(self.points[seed], radius_mm))
        near = near[self.normals[near] @ self.normals[seed] > LEAST_COSINE]
        lattice = np.rint(self.points[near] - self.points[seed]).astype(int)
        low = lattice.min(axis=0)
        box = np.zeros(lattice.max(axis=0) - low + 1, dtype=bool)
        box[tuple((lattice - low).T)] = True
        parts, _ = label(box, structure=np.ones((3, 3, 3)))
        found = near[parts[tuple((lattice - low).T)] == parts[tuple(-low)]]
        return np.asarray(found, dtype=np.intp)

    def draw_patches(self, count: int, radius_mm: float, rng: Generator) -> list[Points]:
        """Draw patches whose middles are far from one another: `count` of (P, 3) in mm.

        Raises
        ------
        ConfigError
            If there is no room for them.
        """
        least = LEAST_FILLED * np.pi * radius_mm**2 * THICKNESS_MM
        middles: list[Points] = []
        patches: list[Points] = []
        for _ in range(N_TRIES * count):
            seed = int(rng.integers(len(self.points)))
            middle = self.points[seed]
            if any(np.linalg.norm(middle - other) < APART_MM for other in middles):
                continue
            chosen = self.points[self.patch(seed, radius_mm)]
            if len(chosen) >= least:  # a cubic millimetre each
                middles.append(middle)
                patches.append(chosen)
            if len(patches) == count:
                return patches
        found = f"no {count} patches of cortex of {radius_mm:g} mm, {APART_MM:g} mm apart"
        raise ConfigError(
            Fault("suite.radius_mm", found, "patches with room", "choose a smaller radius")
        )

    def sheets(self, count: int, radius_mm: float, grid: Grid, rng: Generator) -> FloatArray:
        """Draw patches, and say which part of each voxel of a grid they fill: (count, V)."""
        patches = self.draw_patches(count, radius_mm, rng)
        return np.stack([filled_part(patch, grid) for patch in patches])


def filled_part(points: Points, grid: Grid) -> FloatArray:
    """Work out which part of each voxel cubes of 1 mm, (P, 3), fill: (V,), 0 to 1."""
    inverse = np.linalg.inv(grid.affine)
    voxels = np.rint(points @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
    inside = ((voxels >= 0) & (voxels < grid.shape)).all(axis=1)
    volume = np.zeros(grid.shape)
    np.add.at(volume, tuple(voxels[inside].T), 1 / np.prod(grid.voxel_size_mm))
    return np.asarray(np.minimum(volume, 1)[grid.mask], dtype=np.float32)


@lru_cache(maxsize=1)
def find_cortex() -> Cortex:
    """Find the cortex of the MNI152 template: up to 3.5 mm from the white matter."""
    grey, white = (
        load(resolution=1) for load in (load_mni152_gm_template, load_mni152_wm_template)
    )
    affine = np.asarray(grey.affine, dtype=float)
    probability, of_white = np.asarray(grey.dataobj), np.asarray(white.dataobj)
    distance = distance_transform_edt(of_white <= probability)
    is_cortex = (distance > 0) & (distance <= THICKNESS_MM) & (probability > MIN_GREY_MATTER)
    is_cortex[[0, -1]] = is_cortex[:, [0, -1]] = is_cortex[:, :, [0, -1]] = False
    voxels = np.argwhere(is_cortex)
    points = voxels @ affine[:3, :3].T + affine[:3, 3]
    is_behind = (points[:, 1] <= CEREBELLUM_MM[0]) & (points[:, 2] <= CEREBELLUM_MM[1])
    kept = ~is_behind & (_depth_mm(points) <= MAX_DEPTH_MM)
    voxels, points = voxels[kept], points[kept]
    # away from the white matter, which gets less in that direction
    smooth = gaussian_filter(of_white - probability, SMOOTHING_MM)
    steps = np.eye(3, dtype=int)
    slopes = [smooth[tuple((voxels - k).T)] - smooth[tuple((voxels + k).T)] for k in steps]
    normals = np.stack(slopes, axis=1) * np.sign(np.diag(affine)[:3])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
    return Cortex(points, normals.astype(np.float32))


def _depth_mm(points: Points) -> NDArray[np.float64]:
    """Measure how deep points, (P, 3) in mm, lie in the brain, to a few millimetres: (P,)."""
    brain = load_mni152_brain_mask(resolution=4)
    depth = distance_transform_edt(np.asarray(brain.dataobj) > 0, sampling=4.0)
    inverse = np.linalg.inv(brain.affine)
    voxels = np.rint(points @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
    voxels = np.clip(voxels, 0, np.array(depth.shape) - 1)
    return np.asarray(depth[tuple(voxels.T)])
