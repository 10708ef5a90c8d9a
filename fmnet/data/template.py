"""Grids cut from the MNI152 template that nilearn carries; a bundle brings its own."""

import numpy as np
from nilearn.datasets import load_mni152_brain_mask, load_mni152_gm_template
from scipy.ndimage import distance_transform_edt

from fmnet.data.grid import Grid, MaskName
from fmnet.errors import Fault, VolumeError

#: How far outside the brain the background begins.
BACKGROUND_MARGIN_MM = 8.0
#: Grey matter is where the template's probability of it is larger, as in nilearn's mask.
MIN_GREY_MATTER = 0.2


def build_grid(voxel_size_mm: int = 4, mask: MaskName = "brain") -> Grid:
    """Build the default grid from the MNI152 template that nilearn carries, cropped to the mask.

    `mask` says what is looked at: nilearn's brain mask, or the grey matter in it. As negative
    controls: the rest of the brain mask, or what lies 8 mm and more outside of it. ``space`` is the
    generic ``MNI152``.

    References
    ----------
    The ICBM 152 2009a symmetric template: Fonov et al., NeuroImage 54 (2011) 313-327.
    """
    if not 1 <= voxel_size_mm <= 12:
        accepted = "a whole number from 1 to 12 (mm)"
        action = "choose a voxel size in that range, 4 is the default"
        raise VolumeError(Fault("preparation.voxel_size_mm", f"{voxel_size_mm}", accepted, action))
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
