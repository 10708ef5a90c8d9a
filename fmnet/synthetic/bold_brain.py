"""The brain of synthetic BOLD: tissues, networks, and where motion, pulse and pain show."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from fmnet.data.grid import Grid
from fmnet.data.template import build_grid
from fmnet.data.volume import FloatArray
from fmnet.synthetic.effects import FWHM_PER_SD, Point, both_sides, depth_in_mm, sum_blobs

#: Brightness of grey matter in the units of the scanner.
BRIGHTNESS = 9000.0
#: Brightness of the tissues relative to grey matter; outermost voxels lie half outside.
WHITE, VENTRICLE, RIM = 0.88, 1.15, 0.3
#: Where CSF is that of the ventricles, and not around the brain.
DEEP_MM = 16.0
#: How fast the rim falls off inwards.
RIM_MM = 8.0
#: Large vessels: circle of Willis, sagittal sinus, middle cerebral arteries; centres in MNI mm.
VESSELS_MM = ((0, 0, -24), (0, -90, 20), (0, -70, 62), (-44, 4, -14), (44, 4, -14))
VESSEL_SD_MM = 9.0
#: Smallest fraction of the brain that a tissue mask for confounds has.
MASK_FRACTION = 0.03

Correlations = NDArray[np.float64]

BLOB_FWHM_MM = 26.0
#: A subject's correlation is drawn within so many SDs of the group's mean.
MAX_SD = 2.0
#: Smallest eigenvalue that a matrix of correlations is left with.
MIN_EIGENVALUE = 0.05


@dataclass(frozen=True)
class Network:
    """A network: its name and the centres of its blobs in MNI mm."""

    name: str
    centres_mm: tuple[Point, ...]


#: Rough centres, as any textbook names them; the fronto-parietal one lies on the left alone.
NETWORKS = (
    Network(
        "default_mode",
        ((0, -54, 28), (0, 52, 2), *both_sides((46, -66, 34)), *both_sides((58, -12, -18))),
    ),
    Network("salience", (*both_sides((38, 12, 0)), (0, 18, 38), *both_sides((58, -34, 28)))),
    Network("sensorimotor", (*both_sides((40, -26, 54)), (0, -10, 60))),
    Network("visual", ((0, -84, 4), *both_sides((28, -88, -4)))),
    Network("auditory", both_sides((54, -20, 6))),
    Network("fronto_parietal", ((-42, 36, 26), (-44, -52, 48), (-58, -44, -10), (-6, 28, 46))),
    Network(
        "dorsal_attention",
        (*both_sides((26, -60, 52)), *both_sides((26, -4, 52)), *both_sides((48, -66, -6))),
    ),
    Network("subcortical", (*both_sides((12, -18, 8)), *both_sides((24, 4, 0)))),
)
#: The pair whose correlation may differ between the groups.
FIRST, SECOND = 0, 1
#: Correlations of the time series, row by row above the diagonal.
BASE = (
    (0.10, -0.05, 0.05, 0.05, 0.20, -0.15, 0.10),
    (0.15, 0.05, 0.20, 0.10, 0.10, 0.25),
    (0.20, 0.35, 0.00, 0.20, 0.10),
    (0.20, 0.00, 0.25, 0.05),
    (0.00, 0.05, 0.10),
    (0.20, 0.05),
    (0.05,),
)
#: Where painful events show, and by how much: centre in MNI mm and height.
PAIN_RESPONSE: tuple[tuple[Point, float], ...] = (
    *((centre, 1.0) for centre in both_sides((38, 8, 2))),
    *((centre, 0.9) for centre in both_sides((56, -26, 22))),
    *((centre, 0.7) for centre in both_sides((12, -16, 6))),
    ((0, 14, 36), 1.0),
    ((-40, -26, 56), 0.8),
    ((0, 50, -4), -0.5),
    ((0, -56, 32), -0.5),
)


@dataclass(frozen=True, eq=False)
class Anatomy:
    """What is alike in all synthetic subjects.

    Parameters
    ----------
    grid : Grid
        The voxels.
    brightness : ndarray of float32, shape (V,)
        Mean signal.
    grey, rim, pulse : ndarray of float32, shape (V,)
        From 0 to 1: grey matter; nearness to the outside; ventricles and vessels.
    outward : ndarray of float32, shape (V, 3)
        Towards the outside, of length `rim`.
    positions_mm : ndarray of float32, shape (V, 3)
        Where each voxel lies.
    csf, white : ndarray of bool, shape (V,)
        Voxels that confounds are taken from.
    """

    grid: Grid
    brightness: FloatArray
    grey: FloatArray
    rim: FloatArray
    pulse: FloatArray
    outward: FloatArray
    positions_mm: FloatArray
    csf: NDArray[np.bool_]
    white: NDArray[np.bool_]


def build_anatomy(voxel_size_mm: int) -> Anatomy:
    """Build the anatomy from the tissues of nilearn's template."""
    grid = build_grid(voxel_size_mm)
    grey, white = _tissues(grid, voxel_size_mm)
    depth_mm = depth_in_mm(grid)[grid.mask].astype(np.float32)
    fluid = np.clip(1 - grey - white, 0, 1)
    is_deep = depth_mm >= DEEP_MM
    brightness = grey + WHITE * white + fluid * np.where(is_deep, VENTRICLE, RIM)
    vessels = sum_blobs(grid, [(np.array(v), 1.0) for v in VESSELS_MM], VESSEL_SD_MM)[grid.mask]
    rim = np.exp(-(depth_mm - voxel_size_mm) / RIM_MM)
    # unit vectors against the gradient of the smoothed mask
    smooth = gaussian_filter(np.pad(grid.mask, 2).astype(np.float32), 1.0)
    slopes = [np.gradient(smooth, axis=axis)[2:-2, 2:-2, 2:-2][grid.mask] for axis in range(3)]
    gradient = np.stack(slopes, axis=-1)
    length = np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-6)
    outward = (-gradient / length).astype(np.float32)
    positions = np.argwhere(grid.mask) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    return Anatomy(
        grid,
        (BRIGHTNESS * brightness).astype(np.float32),
        grey,
        rim,
        np.clip(np.where(is_deep, fluid, 0.3 * fluid) + vessels, 0, 1).astype(np.float32),
        outward * rim[:, None],
        positions.astype(np.float32),
        _largest(np.where(is_deep, fluid, 0)),
        _largest(np.where(depth_mm > 1.5 * voxel_size_mm, white, 0)),
    )


def _tissues(grid: Grid, voxel_size_mm: int) -> tuple[FloatArray, FloatArray]:
    # Costs a second and is not needed where BOLD is only read.
    from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template

    tissues = []
    for load in (load_mni152_gm_template, load_mni152_wm_template):
        image = load(resolution=voxel_size_mm)
        low = np.rint((grid.affine[:3, 3] - image.affine[:3, 3]) / voxel_size_mm).astype(int)
        box = tuple(slice(a, a + n) for a, n in zip(low, grid.shape, strict=True))
        tissues.append(np.clip(np.asarray(image.dataobj, np.float32)[box][grid.mask], 0, 1))
    grey, white = tissues
    total = np.maximum(grey + white, 1)
    return grey / total, white / total


def _largest(tissue: FloatArray) -> NDArray[np.bool_]:
    """Mark the voxels with the largest part of a tissue, no fewer than a few."""
    n = max(round(MASK_FRACTION * len(tissue)), 6)
    chosen = np.zeros(len(tissue), dtype=bool)
    chosen[np.argsort(-tissue, kind="stable")[:n]] = True
    return chosen


def group_correlations(coupling: float) -> Correlations:
    """Build the K x K correlations with the two networks' own moved by ``coupling``."""
    matrix = np.eye(len(NETWORKS))
    for row, values in enumerate(BASE):
        matrix[row, row + 1 :] = matrix[row + 1 :, row] = values
    matrix[FIRST, SECOND] += coupling
    matrix[SECOND, FIRST] += coupling
    return matrix


def coupling_range(coupling: float, coupling_sd: float) -> tuple[float, float]:
    """Lowest and highest correlation that a subject of either group may get."""
    reach = abs(coupling) / 2 + MAX_SD * coupling_sd
    return BASE[0][0] - reach, BASE[0][0] + reach


def are_positive(coupling: float, coupling_sd: float) -> bool:
    """Tell whether the correlations at both ends of that range go together."""
    reach = abs(coupling) / 2 + MAX_SD * coupling_sd
    return all(_smallest(group_correlations(shift)) > MIN_EIGENVALUE for shift in (-reach, reach))


def draw_correlations(rng: Generator, coupling: float, coupling_sd: float) -> Correlations:
    """Draw one subject's correlations around the group's.

    The group adds `coupling` to the two networks' correlation, which is kept in expectation; the SD
    between subjects is `coupling_sd`, and half of it for the other pairs. The same random numbers
    give the same deviations from the group, whatever the coupling.
    """
    z = np.clip(rng.standard_normal(), -MAX_SD, MAX_SD)
    centre = group_correlations(coupling + coupling_sd * float(z))
    upper = np.triu(rng.standard_normal(centre.shape) * coupling_sd / 2, 1)
    upper[FIRST, SECOND] = 0
    others = upper + upper.T
    # The pair itself is never touched: its expectation is what `coupling` promises.
    while _smallest(centre + others) <= MIN_EIGENVALUE:
        others *= 0.8
    return np.asarray(centre + others, dtype=float)


def network_maps(grid: Grid, shift_mm: NDArray[np.float64] | None = None) -> FloatArray:
    """Draw the networks' maps, with peaks of about 1, moved by `shift_mm`, (K, 3): (K, V)."""
    shifts = np.zeros((len(NETWORKS), 3)) if shift_mm is None else shift_mm
    sd_mm = BLOB_FWHM_MM / FWHM_PER_SD
    maps = []
    for network, shift in zip(NETWORKS, shifts, strict=True):
        blobs = [(np.array(centre) + shift, 1.0) for centre in network.centres_mm]
        maps.append(sum_blobs(grid, blobs, sd_mm)[grid.mask])
    return np.stack(maps)


def response_map(grid: Grid) -> FloatArray:
    """Draw where painful events show: (V,)."""
    blobs = [(np.array(centre), height) for centre, height in PAIN_RESPONSE]
    response: FloatArray = sum_blobs(grid, blobs, BLOB_FWHM_MM / FWHM_PER_SD)[grid.mask]
    return response


def _smallest(matrix: Correlations) -> float:
    return float(np.linalg.eigvalsh(matrix)[0])
