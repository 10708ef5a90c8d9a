"""The template grid that every scan is put on, and how a map gets there."""

import hashlib
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from nilearn.datasets import load_mni152_brain_mask, load_mni152_gm_template
from nilearn.image import resample_img
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from fmnet.data.nifti import to_image
from fmnet.data.volume import Affine, FloatArray, Volume, check_affine, check_space
from fmnet.errors import Fault, VolumeError

MaskName = Literal["brain", "grey_matter", "non_grey", "background"]
#: How far outside the brain the background begins.
BACKGROUND_MARGIN_MM = 8.0

#: A voxel of the template counts as covered when at least this share of it lies in the map.
MIN_VOXEL_COVERAGE = 0.5

#: Grey matter is where the template's probability of it is larger, as in nilearn's mask.
MIN_GREY_MATTER = 0.2


@dataclass(frozen=True, eq=False)
class Grid:
    """A voxel grid in template space and the voxels of it that are looked at.

    Parameters
    ----------
    mask : ndarray of bool, shape (X, Y, Z)
        True inside the brain.
    affine : ndarray of float64, shape (4, 4)
        From voxel index to world coordinates in mm, RAS+.
    space : str
        One of `fmnet.data.volume.MNI_SPACES`.
    """

    mask: NDArray[np.bool_]
    affine: Affine
    space: str

    def __post_init__(self) -> None:
        check_affine(self.affine, "template grid")
        check_space(self.space, "template grid")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along x, y and z."""
        x, y, z = self.mask.shape
        return x, y, z

    @property
    def voxel_size_mm(self) -> tuple[float, float, float]:
        """Edge lengths of a voxel in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def n_voxels(self) -> int:
        """Voxels inside the mask."""
        return int(self.mask.sum())

    @cached_property
    def digest(self) -> str:
        """Hash of everything that decides where a value lands."""
        parts = (np.packbits(self.mask).tobytes(), self.affine.tobytes(), repr(self.shape).encode())
        return hashlib.sha256(b"|".join(parts)).hexdigest()

    def unmask(self, values: FloatArray, fill: float = 0.0) -> FloatArray:
        """Put in-mask values, shape (..., V), back on the grid: (..., X, Y, Z)."""
        volume = np.full((*values.shape[:-1], *self.shape), fill, dtype=np.float32)
        volume[..., self.mask] = values
        return volume


def build_grid(voxel_size_mm: int = 4, mask: MaskName = "brain") -> Grid:
    """Build the default grid from the MNI152 template that nilearn carries.

    Parameters
    ----------
    voxel_size_mm : int
        Edge length of the cubic voxels.
    mask : {"brain", "grey_matter", "non_grey", "background"}
        What is looked at: nilearn's brain mask, or the grey matter in it. As negative controls: the
        rest of the brain mask, or what lies 8 mm and more outside of it.

    Returns
    -------
    Grid
        Cropped to the mask; ``space`` is the generic ``MNI152``.

    References
    ----------
    The ICBM 152 2009a symmetric template: Fonov et al., NeuroImage 54 (2011) 313-327.
    """
    if not 1 <= voxel_size_mm <= 12:
        raise VolumeError(
            Fault(
                "preparation.voxel_size_mm",
                f"{voxel_size_mm}",
                "a whole number from 1 to 12 (mm)",
                "choose a voxel size in that range, 4 is the default",
            )
        )
    image = load_mni152_brain_mask(resolution=voxel_size_mm)
    inside = np.asarray(image.dataobj) > 0
    if mask in {"grey_matter", "non_grey"}:
        # Not nilearn's grey-matter mask: it closes gaps by two voxels, at 4 mm all white matter.
        grey = load_mni152_gm_template(resolution=voxel_size_mm)
        inside &= (np.asarray(grey.dataobj) > MIN_GREY_MATTER) == (mask == "grey_matter")
    elif mask == "background":
        inside = distance_transform_edt(~inside, sampling=voxel_size_mm) >= BACKGROUND_MARGIN_MM
    low = np.argwhere(inside).min(axis=0)
    high = np.argwhere(inside).max(axis=0) + 1
    affine = np.array(image.affine, dtype=float)
    affine[:3, 3] += affine[:3, :3] @ low
    cropped = inside[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    return Grid(np.ascontiguousarray(cropped), affine, "MNI152")


def place_on_grid(volume: Volume, grid: Grid) -> FloatArray:
    """Resample one map to the grid and keep what lies in the mask.

    Background, NaN or exactly 0, is no data: it never mixes into its neighbours. Each value is the
    linear interpolation over the voxels that hold data, so that a map looks the same whether its
    background was written as NaN or as 0.

    Parameters
    ----------
    volume : Volume
        The map, shape (C, X, Y, Z), any grid.
    grid : Grid
        Where it goes.

    Returns
    -------
    ndarray of float32, shape (C, V)
        In-mask values; NaN where the map has none.
    """
    covered = np.isfinite(volume.data) & (volume.data != 0)
    filled = np.where(covered, volume.data, np.float32(0))
    if volume.data.shape[1:] == grid.shape and np.allclose(volume.affine, grid.affine, atol=1e-4):
        share, total = covered[:, grid.mask].astype(np.float32), filled[:, grid.mask]
    else:
        both = np.concatenate([filled, covered.astype(np.float32)])
        total, share = np.split(_resample(both, volume.affine, grid)[:, grid.mask], 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = total / share
    return np.where(share >= MIN_VOXEL_COVERAGE, values, np.float32(np.nan)).astype(np.float32)


def smooth_values(values: FloatArray, grid: Grid, fwhm_mm: float) -> FloatArray:
    """Smooth in-mask values with a Gaussian that stays inside the mask and skips missing voxels.

    Parameters
    ----------
    values : ndarray of float32, shape (..., V)
        In-mask values, NaN where missing.
    grid : Grid
        The grid they lie on.
    fwhm_mm : float
        Full width at half maximum in mm; 0 leaves the values as they are.

    Returns
    -------
    ndarray of float32, shape (..., V)
        NaN stays NaN.
    """
    if fwhm_mm == 0:
        return values
    sigma = fwhm_mm / (np.sqrt(8 * np.log(2)) * np.array(grid.voxel_size_mm))
    smoothed = np.full_like(values, np.nan)
    for index in np.ndindex(values.shape[:-1]):
        known = np.isfinite(values[index])
        data = grid.unmask(np.where(known, values[index], np.float32(0)))
        weight = gaussian_filter(grid.unmask(known.astype(np.float32)), sigma, mode="constant")
        blurred = gaussian_filter(data, sigma, mode="constant")[grid.mask][known]
        smoothed[index][known] = blurred / weight[grid.mask][known]
    return smoothed


def _resample(data: FloatArray, affine: Affine, grid: Grid) -> FloatArray:
    with warnings.catch_warnings():
        # Coverage is a share on purpose: interpolating a binary image is what is wanted here.
        warnings.filterwarnings("ignore", message="Resampling binary images")
        image = resample_img(
            to_image(np.moveaxis(data, 0, -1), affine),
            target_affine=grid.affine,
            target_shape=grid.shape,
            interpolation="linear",
            copy_header=True,
            force_resample=True,
        )
    return np.moveaxis(np.asarray(image.dataobj, dtype=np.float32), -1, 0)
