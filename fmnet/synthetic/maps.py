"""Synthetic contrast maps: background, planted effect, and what usually gets in its way."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.random import SeedSequence
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, gaussian_filter1d

from fmnet.data.grid import Grid
from fmnet.data.volume import FloatArray
from fmnet.synthetic.maps_design import Design, motion_in_sd

Point = tuple[float, float, float]

#: Width of a planted blob.
BLOB_FWHM_MM = 14.0
#: The planted effect in the second and later contrasts, relative to the first.
LATER_EFFECT = 0.7
#: How much smoother the coarse half of a background is than the fine half.
COARSER = 3
#: Correlation of the backgrounds of one person's contrasts.
SHARED_BACKGROUND = 0.5

FWHM_PER_SD = math.sqrt(8 * math.log(2))


@dataclass(frozen=True)
class Region:
    """A place where something is planted: MNI coordinates in mm, and +1 or -1."""

    name: str
    hemisphere: str
    centre_mm: Point
    direction: int


def _both(name: str, centre_mm: Point, direction: int) -> tuple[Region, Region]:
    x, y, z = centre_mm
    return (
        Region(name, "left", (-x, y, z), direction),
        Region(name, "right", (x, y, z), direction),
    )


#: Where FM differs. The choice of regions was prompted by López-Solà et al., Pain 158 (2017) 34-47;
#: it simplifies their findings, and the coordinates are centres of regions, not that paper's peaks.
REGIONS = (
    *_both("insula_operculum", (40, 6, 0), 1),
    *_both("secondary_somatosensory", (56, -24, 22), 1),
    Region("medial_prefrontal", "midline", (0, 52, 8), 1),
    Region("posterior_cingulate", "midline", (0, -50, 28), 1),
    *_both("dorsolateral_prefrontal", (40, 32, 32), -1),
)

#: What painful pressure does in everybody, in the same SDs: centre in mm and height.
ACTIVATION: tuple[tuple[Point, float], ...] = (
    ((-40, 6, 2), 1.5),
    ((40, 6, 2), 1.5),
    ((-56, -24, 22), 1.2),
    ((56, -24, 22), 1.2),
    ((0, 14, 36), 1.5),
    ((0, -16, 6), 1.0),
    ((-40, -26, 54), 1.2),
    ((24, -56, -26), 1.0),
    ((0, 48, -6), -1.0),
    ((0, -58, 36), -1.2),
    ((-46, -66, 34), -1.0),
    ((46, -66, 34), -1.0),
)
ACTIVATION_FWHM_MM = 26.0


def draw_maps(
    design: Design, grid: Grid, people: pd.DataFrame, seed: SeedSequence
) -> Iterator[FloatArray]:
    """Draw the maps of every person in the table, in its order.

    Parameters
    ----------
    design : Design
        The knobs.
    grid : Grid
        Where the maps lie.
    people : DataFrame
        ``group``, ``site`` and ``mean_framewise_displacement`` (mm) of each.
    seed : SeedSequence
        Where the randomness comes from. A person's background depends on nothing else but the grid,
        the smoothness and the person's place in the table.

    Yields
    ------
    ndarray of float32, shape (C, X, Y, Z)
        One map per contrast in SDs of the between-person background; 0 where there are no data.
    """
    coverage_seed, site_seed, person_seed = seed.spawn(3)
    coarse_mm = COARSER * design.smoothness_mm
    offsets = {
        f"site-{k + 1}": design.site_shift * _draw_field(grid, coarse_mm, child)
        for k, child in enumerate(site_seed.spawn(design.n_sites))
    }
    common, rim = _activation(grid), _rim(grid)
    missing = _draw_missing(design, grid, coverage_seed)
    for k, child in enumerate(person_seed.spawn(len(people))):
        shift_seed, background_seed = child.spawn(2)
        person = people.iloc[k]
        maps = common + offsets[person["site"]] + _draw_background(design, grid, background_seed)
        z = motion_in_sd(person["mean_framewise_displacement"])
        maps += float(design.motion_effect * z) * rim
        if person["group"] == "FM":
            shift_mm = design.jitter_mm * np.random.default_rng(shift_seed).standard_normal(3)
            maps += _effect_sizes(design) * effect_pattern(grid, shift_mm=shift_mm)
        yield np.where(grid.mask & ~missing[k], maps, np.float32(0))


def expected_difference(design: Design, grid: Grid) -> FloatArray:
    """Work out the planted difference of the group means, FM minus HC.

    Displacement from person to person makes it wider and lower. Motion is not part of it.

    Returns
    -------
    ndarray of float32, shape (C, X, Y, Z)
        In SDs of the between-person background; 0 outside the mask.
    """
    pattern = _effect_sizes(design) * effect_pattern(grid, spread_mm=design.jitter_mm)
    return np.where(grid.mask, pattern, np.float32(0))


def effect_pattern(
    grid: Grid, shift_mm: NDArray[np.float64] | None = None, spread_mm: float = 0.0
) -> FloatArray:
    """Add up the blobs of `REGIONS`, each of height 1 or -1.

    Parameters
    ----------
    grid : Grid
        Where to look at them.
    shift_mm : ndarray of float, shape (3,), optional
        Moves all blobs alike.
    spread_mm : float
        SD per axis of a random displacement to take the mean over.

    Returns
    -------
    ndarray of float32, shape (X, Y, Z)
    """
    sd_mm = math.hypot(BLOB_FWHM_MM / FWHM_PER_SD, spread_mm)
    height = (BLOB_FWHM_MM / FWHM_PER_SD / sd_mm) ** 3
    shift = np.zeros(3) if shift_mm is None else shift_mm
    blobs = [(np.array(region.centre_mm) + shift, region.direction * height) for region in REGIONS]
    return sum_blobs(grid, blobs, sd_mm)


def regions_table() -> pd.DataFrame:
    """Tabulate `REGIONS`: ``region, hemisphere, x_mm, y_mm, z_mm, direction``."""
    rows = [
        (
            region.name,
            region.hemisphere,
            *region.centre_mm,
            "up" if region.direction > 0 else "down",
        )
        for region in REGIONS
    ]
    return pd.DataFrame(rows, columns=["region", "hemisphere", "x_mm", "y_mm", "z_mm", "direction"])


def _effect_sizes(design: Design) -> FloatArray:
    later = np.arange(len(design.contrasts)) > 0
    sizes: FloatArray = (design.effect_size * LATER_EFFECT**later).astype(np.float32)
    return sizes[:, None, None, None]  # (C, 1, 1, 1)


def _draw_background(design: Design, grid: Grid, seed: SeedSequence) -> FloatArray:
    """Draw one person's background of SD 1: (C, X, Y, Z)."""
    shared, *own = [
        _draw_texture(grid, design.smoothness_mm, child)
        for child in seed.spawn(1 + len(design.contrasts))
    ]
    return math.sqrt(SHARED_BACKGROUND) * shared + math.sqrt(1 - SHARED_BACKGROUND) * np.stack(own)


def _draw_texture(grid: Grid, fwhm_mm: float, seed: SeedSequence) -> FloatArray:
    """Draw a field of SD 1, half of its variance fine and half coarse: (X, Y, Z)."""
    fine, coarse = seed.spawn(2)
    both = _draw_field(grid, fwhm_mm, fine) + _draw_field(grid, COARSER * fwhm_mm, coarse)
    return math.sqrt(0.5) * both


def _draw_field(grid: Grid, fwhm_mm: float, seed: SeedSequence) -> FloatArray:
    """Draw a smooth Gaussian random field, mean 0 and SD 1 over draws at every voxel: (X, Y, Z).

    It isn't scaled map by map: that would shrink the differences between persons. Noise is drawn on
    a box that wraps around, which keeps the SD the same up to the rim; the box is longer than the
    brain by enough that its two sides don't resemble each other.
    """
    sd_voxels = fwhm_mm / FWHM_PER_SD / np.array(grid.voxel_size_mm)
    box = tuple(int(n) for n in np.array(grid.shape) + np.ceil(4 * sd_voxels))
    noise = np.random.default_rng(seed).standard_normal(box, dtype=np.float32)
    smooth = gaussian_filter(noise, sd_voxels, mode="wrap")
    x, y, z = grid.shape
    field: FloatArray = smooth[:x, :y, :z] / norm_of_kernel(box, sd_voxels)
    return field


def norm_of_kernel(box: tuple[int, ...], sd_voxels: NDArray[np.float64]) -> float:
    """Work out the SD that white noise of SD 1 is left with."""
    impulses = [np.eye(1, length)[0] for length in box]
    kernels = [
        gaussian_filter1d(impulse, sd, mode="wrap")
        for impulse, sd in zip(impulses, sd_voxels, strict=True)
    ]
    return math.prod(float(np.linalg.norm(kernel)) for kernel in kernels)


def _draw_missing(design: Design, grid: Grid, seed: SeedSequence) -> NDArray[np.bool_]:
    """Mark the slices that each person's maps lack, below or above: (N, 1, 1, Z)."""
    rng = np.random.default_rng(seed)
    n, n_slices = design.n_subjects, grid.shape[2]
    lacking = rng.permutation(n) < round(design.missing_coverage * n)
    thickness = np.maximum(np.rint(rng.uniform(0.10, 0.25, n) * n_slices), 1)
    is_below = rng.random(n) < 0.5
    height = np.arange(n_slices)
    from_end = np.where(is_below[:, None], height, height[::-1])
    return (lacking[:, None] & (from_end < thickness[:, None]))[:, None, None, :]


def _activation(grid: Grid) -> FloatArray:
    blobs = [(np.array(centre_mm), height) for centre_mm, height in ACTIVATION]
    return sum_blobs(grid, blobs, ACTIVATION_FWHM_MM / FWHM_PER_SD)


def _rim(grid: Grid) -> FloatArray:
    """Where motion shows: 1 in the outermost voxels of the mask, falling off over 8 mm."""
    padded = np.pad(grid.mask, 1)
    depth_mm = distance_transform_edt(padded, sampling=grid.voxel_size_mm)[1:-1, 1:-1, 1:-1]
    rim: FloatArray = np.exp(-(depth_mm - min(grid.voxel_size_mm)) / 8).astype(np.float32)
    return rim


def sum_blobs(
    grid: Grid, blobs: list[tuple[NDArray[np.float64], float]], sd_mm: float
) -> FloatArray:
    """Add up Gaussian blobs, each a centre in mm and a height, all of one width: (X, Y, Z)."""
    total = np.zeros(grid.shape)
    x, y, z = (
        grid.affine[axis, 3] + grid.affine[axis, axis] * np.arange(length)
        for axis, length in enumerate(grid.shape)
    )
    for centre_mm, height in blobs:
        along = [
            np.exp(-((axis - middle) ** 2) / (2 * sd_mm**2))
            for axis, middle in zip((x, y, z), centre_mm, strict=True)
        ]
        total += height * np.einsum("x,y,z->xyz", *along)
    return total.astype(np.float32)
