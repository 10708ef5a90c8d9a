"""The brain of synthetic BOLD: tissues, brightness, and where motion and pulse show."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from fmnet.data.grid import Grid
from fmnet.data.template import build_grid
from fmnet.data.volume import FloatArray
from fmnet.synthetic.maps import sum_blobs

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
#: Smallest share of the brain that a tissue mask for confounds has.
MASK_SHARE = 0.03


@dataclass(frozen=True, eq=False)
class Anatomy:
    """What all synthetic people share.

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
    places_mm : ndarray of float32, shape (V, 3)
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
    places_mm: FloatArray
    csf: NDArray[np.bool_]
    white: NDArray[np.bool_]


def build_anatomy(voxel_size_mm: int) -> Anatomy:
    """Build it from the tissues of nilearn's template."""
    grid = build_grid(voxel_size_mm)
    grey, white = _tissues(grid, voxel_size_mm)
    padded = distance_transform_edt(np.pad(grid.mask, 1), sampling=voxel_size_mm)[1:-1, 1:-1, 1:-1]
    depth_mm = padded[grid.mask].astype(np.float32)
    fluid = np.clip(1 - grey - white, 0, 1)
    is_deep = depth_mm >= DEEP_MM
    brightness = grey + WHITE * white + fluid * np.where(is_deep, VENTRICLE, RIM)
    vessels = sum_blobs(grid, [(np.array(v), 1.0) for v in VESSELS_MM], VESSEL_SD_MM)[grid.mask]
    rim = np.exp(-(depth_mm - voxel_size_mm) / RIM_MM)
    places = np.argwhere(grid.mask) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    return Anatomy(
        grid,
        (BRIGHTNESS * brightness).astype(np.float32),
        grey,
        rim,
        np.clip(np.where(is_deep, fluid, 0.3 * fluid) + vessels, 0, 1).astype(np.float32),
        _outward(grid) * rim[:, None],
        places.astype(np.float32),
        _most(np.where(is_deep, fluid, 0)),
        _most(np.where(depth_mm > 1.5 * voxel_size_mm, white, 0)),
    )


def _tissues(grid: Grid, voxel_size_mm: int) -> tuple[FloatArray, FloatArray]:
    # Costs a second and is not needed where BOLD is only read.
    from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template

    shares = []
    for load in (load_mni152_gm_template, load_mni152_wm_template):
        image = load(resolution=voxel_size_mm)
        low = np.rint((grid.affine[:3, 3] - image.affine[:3, 3]) / voxel_size_mm).astype(int)
        box = tuple(slice(a, a + n) for a, n in zip(low, grid.shape, strict=True))
        shares.append(np.clip(np.asarray(image.dataobj, np.float32)[box][grid.mask], 0, 1))
    grey, white = shares
    total = np.maximum(grey + white, 1)
    return grey / total, white / total


def _outward(grid: Grid) -> FloatArray:
    """Find unit vectors against the gradient of the smoothed mask: (V, 3)."""
    smooth = gaussian_filter(np.pad(grid.mask, 2).astype(np.float32), 1.0)
    slopes = [np.gradient(smooth, axis=axis)[2:-2, 2:-2, 2:-2][grid.mask] for axis in range(3)]
    gradient = np.stack(slopes, axis=-1)
    length = np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-6)
    outward: FloatArray = (-gradient / length).astype(np.float32)
    return outward


def _most(share: FloatArray) -> NDArray[np.bool_]:
    """Voxels with the largest share of a tissue, no fewer than a few."""
    n = max(round(MASK_SHARE * len(share)), 6)
    chosen = np.zeros(len(share), dtype=bool)
    chosen[np.argsort(-share, kind="stable")[:n]] = True
    return chosen
