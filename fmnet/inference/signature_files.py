"""What lies in a bundle's `signature/`: regions, and weights of what is linear."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fmnet.data.grid import Grid
from fmnet.data.nifti import read_volume
from fmnet.data.signature_map import Description, SignatureMap, file_stems, read_signature_map
from fmnet.errors import VolumeError
from fmnet.inference.bundle import Bundle
from fmnet.inference.bundle_files import SIGNATURE, refuse

#: Numbers of the regions, on the bundle's grid, 0 for none.
REGIONS = "regions_dseg.nii.gz"
#: Edges of the boxes that stand in for regions, in mm.
BOX_MM = 32.0


def read_regions(bundle: Bundle, labels: tuple[int, ...]) -> NDArray[np.int64]:
    """Read the number of each in-mask voxel's region: (V,).

    Raises
    ------
    BundleError
        If the file is damaged, on another grid, or of other regions than `labels`.
    """
    grid = bundle.preparation.grid
    try:
        volume = read_volume(bundle.folder / SIGNATURE / REGIONS, grid.space)
    except VolumeError as error:
        raise refuse(bundle.folder, f"regions that can't be read ({error})") from error
    is_same = volume.data.shape == (1, *grid.shape) and np.allclose(volume.affine, grid.affine)
    if not is_same:
        raise refuse(bundle.folder, "regions on another grid than the preparation's")
    numbers = np.nan_to_num(volume.data[0][grid.mask])
    present = {int(number) for number in np.unique(numbers)} - {0}
    if not np.array_equal(numbers, numbers.round()) or present != set(labels):
        raise refuse(bundle.folder, f"regions {sorted(present)[:9]}, not those of the people")
    return np.asarray(numbers, dtype=np.int64)


def read_weights(bundle: Bundle, files: tuple[str, ...]) -> SignatureMap | None:
    """Read the weights of the linear part, else of the nearest linear map; None without either.

    `files` are those of the bundle.

    Raises
    ------
    BundleError
        If one is damaged or on another grid.
    """
    grid, contrasts = bundle.preparation.grid, bundle.preparation.contrasts
    descriptions: tuple[Description, ...] = ("weights", "surrogate")
    for description in descriptions:
        stems = file_stems(contrasts, grid.space, description)
        if all(f"{SIGNATURE}/{stem}.nii.gz" in files for stem in stems):
            try:
                return read_signature_map(bundle.folder / SIGNATURE, description, grid, contrasts)
            except VolumeError as error:
                found = f"weights that can't be read ({error})"
                raise refuse(bundle.folder, found) from error
    return None


def world_points(grid: Grid) -> NDArray[np.float64]:
    """Give the place of each in-mask voxel in mm: (V, 3)."""
    indices = np.argwhere(grid.mask)
    return np.asarray(indices @ grid.affine[:3, :3].T + grid.affine[:3, 3])


def coordinate_boxes(
    grid: Grid, edge_mm: float = BOX_MM
) -> tuple[NDArray[np.int64], Mapping[int, str]]:
    """Cut the mask into boxes, left and right apart: numbers of voxels, (V,), and names."""
    corners = np.floor(world_points(grid) / edge_mm)  # x = 0 is a border
    boxes, numbers = np.unique(corners, axis=0, return_inverse=True)
    names = {}
    for number, (x, y, z) in enumerate(boxes * edge_mm, start=1):
        side = "left" if x < 0 else "right"
        spans = (
            f"{a} {low:g} to {low + edge_mm:g}" for a, low in zip("xyz", (x, y, z), strict=True)
        )
        names[number] = f"{side} box, {', '.join(spans)} mm"
    return numbers.ravel().astype(np.int64) + 1, names
