"""Planted effects, and the forms in space that they and the noise around them have.

An effect says where and in which form it lies, how large it is in standard deviations of the noise
between subjects, and how strongly each subject shows it. All that is made up here and in the
benchmarks, maps as well as BOLD runs, carries its effects in this way.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, gaussian_filter1d

from fmnet.data.grid import Grid
from fmnet.data.volume import FloatArray

Array = NDArray[Any]
Point = tuple[float, float, float]

FWHM_PER_SD = math.sqrt(8 * math.log(2))
#: Strengths of an effect that only patients show, and of one that moves the groups apart, each by
#: half of it.
SHOWN, HIDDEN = np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)
HALF = SHOWN / 2


@dataclass(frozen=True, eq=False)
class Effect:
    """What differs between the groups.

    Parameters
    ----------
    patterns : ndarray, shape (K, ...)
        Where K parts of it lie and in which form, without a unit: (K, C, V) of maps, (K,) of plain
        numbers. Blobs and balls have a peak of 1, fields a root mean square of 1.
    size : float or ndarray
        How large it is where a pattern is 1, in SDs of the noise between subjects.
    noise_sd : float or ndarray
        That SD, in the unit of the values; it may differ from place to place.
    patient, control : ndarray, shape (H, K)
        How strongly a subject of either group shows each pattern in each of H hidden states, all
        equally probable.
    """

    patterns: Array
    size: float | Array = 1.0
    noise_sd: float | Array = 1.0
    patient: Array = field(default_factory=lambda: SHOWN)
    control: Array = field(default_factory=lambda: HIDDEN)

    @cached_property
    def sized(self) -> Array:
        """What a strength of 1 adds, in the unit of the values: (K, ...)."""
        return np.asarray(self.size * self.noise_sd * self.patterns)

    def strengths(self, is_patient: Sequence[Any] | Array, rng: Generator | None = None) -> Array:
        """Draw each subject's state, and from it the strengths of the patterns: (N, K).

        Raises
        ------
        ValueError
            If there are several states and no random numbers to draw from.
        """
        flags = np.asarray(is_patient, dtype=bool)
        if len(self.patient) == len(self.control) == 1:
            return np.where(flags[:, None], self.patient, self.control)
        if rng is None:
            raise ValueError("an effect of several hidden states needs random numbers")
        states = [self.patient if flag else self.control for flag in flags]
        return np.stack([own[rng.integers(len(own))] for own in states])

    def added(self, is_patient: Sequence[Any] | Array, rng: Generator | None = None) -> Array:
        """Draw what is added to the values of each subject: (N, ...)."""
        return np.tensordot(self.strengths(is_patient, rng), self.sized, axes=1)

    def plant(
        self, values: Array, is_patient: Sequence[Any] | Array, rng: Generator | None = None
    ) -> Array:
        """Add the effect to the values of subjects, (N, ...); NaN stays what it is."""
        return np.asarray(values + self.added(is_patient, rng))


@dataclass(frozen=True)
class Region:
    """A place where something is planted: MNI coordinates in mm, and +1 or -1."""

    name: str
    hemisphere: str
    centre_mm: Point
    direction: int


def both_sides(centre_mm: Point) -> tuple[Point, Point]:
    """Mirror a place on the right: the one on the left, and itself."""
    x, y, z = centre_mm
    return (-x, y, z), (x, y, z)


def depth_in_mm(grid: Grid) -> NDArray[np.float64]:
    """Measure how far each voxel lies from the outside of the mask: (X, Y, Z), 0 outside."""
    padded = distance_transform_edt(np.pad(grid.mask, 1), sampling=grid.voxel_size_mm)
    return np.asarray(padded[1:-1, 1:-1, 1:-1])


def sum_blobs(grid: Grid, blobs: Sequence[tuple[Any, float]], sd_mm: float) -> FloatArray:
    """Add up Gaussian blobs, each a centre in mm and a height, all of one width: (X, Y, Z)."""
    total = np.zeros(grid.shape)
    axes = [
        grid.affine[axis, 3] + grid.affine[axis, axis] * np.arange(length)
        for axis, length in enumerate(grid.shape)
    ]
    for centre_mm, height in blobs:
        along = [
            np.exp(-((axis - middle) ** 2) / (2 * sd_mm**2))
            for axis, middle in zip(axes, centre_mm, strict=True)
        ]
        total += height * np.einsum("x,y,z->xyz", *along)
    return total.astype(np.float32)


def unit_rms(field: FloatArray) -> FloatArray:
    """Scale a field, (V,), to a root mean square of 1."""
    scaled: FloatArray = field / np.sqrt(np.mean(field**2))
    return scaled


def draw_field(rng: Generator, grid: Grid, fwhm_mm: float) -> FloatArray:
    """Draw a smooth Gaussian random field, mean 0 and SD 1 over draws at every voxel: (X, Y, Z).

    It isn't scaled field by field: that would shrink the differences between subjects. Noise is
    drawn on a box that wraps around, which keeps the SD the same up to the rim; the box is longer
    than the brain by enough that its two sides don't resemble each other.
    """
    sd_voxels = fwhm_mm / FWHM_PER_SD / np.array(grid.voxel_size_mm)
    box = tuple(int(n) for n in np.array(grid.shape) + np.ceil(4 * sd_voxels))
    noise = rng.standard_normal(box, dtype=np.float32)
    x, y, z = grid.shape
    if not fwhm_mm:
        return noise[:x, :y, :z]
    smooth = gaussian_filter(noise, sd_voxels, mode="wrap")
    # the SD that white noise of SD 1 is left with
    impulses = [np.eye(1, length)[0] for length in box]
    kernels = [
        gaussian_filter1d(impulse, sd, mode="wrap")
        for impulse, sd in zip(impulses, sd_voxels, strict=True)
    ]
    field: FloatArray = smooth[:x, :y, :z] / math.prod(float(np.linalg.norm(k)) for k in kernels)
    return field


def draw_fields(rng: Generator, grid: Grid, n: int, fwhm_mm: float) -> FloatArray:
    """Draw fields that are smooth in space and independent of one another: (n, V), SD 1."""
    fields = np.empty((n, grid.n_voxels), np.float32)
    for row in fields:
        row[:] = draw_field(rng, grid, fwhm_mm)[grid.mask]
    return fields
