"""Made-up maps that a bundle takes for scans like those it was trained on."""

from pathlib import Path

import numpy as np

from fmnet.data.grid import Grid
from fmnet.data.nifti import write_volume
from fmnet.data.resample import place_on_grid, smooth_values
from fmnet.data.volume import FloatArray, Volume
from fmnet.inference.bundle import Bundle
from fmnet.inference.predict import NewScan

#: The 2 mm grid of FSL, SPM and fMRIPrep, and the world place of its first voxel, in mm.
NATIVE_SHAPE, NATIVE_SIZE_MM, NATIVE_ORIGIN_MM = (91, 109, 91), 2.0, (-90.0, -126.0, -72.0)


def native_grid(space: str) -> Grid:
    """Build the 2 mm grid on which most software writes maps in MNI152 space."""
    affine = np.diag([NATIVE_SIZE_MM] * 3 + [1.0])
    affine[:3, 3] = NATIVE_ORIGIN_MM
    return Grid(np.ones(NATIVE_SHAPE, dtype=bool), affine, space)


def write_new_scans(
    bundle: Bundle, grid: Grid, folder: Path, n_scans: int, seed: int
) -> list[NewScan]:
    """Write noise as smooth and as strong as the training scans, one map per contrast.

    Parameters
    ----------
    bundle : Bundle
        Who is to accept them.
    grid : Grid
        How the files are written: all of its voxels, 0 outside the bundle's mask.
    folder : Path
        Made if it isn't there.
    n_scans, seed : int
        How many, and what they start from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    scans = []
    for number in range(n_scans):
        files = tuple(
            folder / f"scan-{number:03d}_channel-{channel}.nii.gz"
            for channel in range(len(bundle.preparation.contrasts))
        )
        for file, values in zip(files, _draw(bundle, rng), strict=True):
            write_volume(_on(grid, values, bundle.preparation.grid), file)
        scans.append(NewScan(",".join(map(str, files)), files))
    return scans


def _draw(bundle: Bundle, rng: np.random.Generator) -> FloatArray:
    """Draw one scan's values in the mask, (C, V), amid those that the bundle was trained on."""
    grid, reference = bundle.preparation.grid, bundle.reference
    noise = rng.normal(size=(len(reference.contrasts), grid.n_voxels)).astype(np.float32)
    smooth = smooth_values(noise, grid, 2 * max(grid.voxel_size_mm))
    middle = np.add(reference.scale_low, reference.scale_high)[:, None] / 2
    scale = np.sqrt(np.mean(smooth**2, axis=1, keepdims=True))
    drawn: FloatArray = (smooth / scale * middle).astype(np.float32)
    return drawn


def _on(grid: Grid, values: FloatArray, source: Grid) -> Volume:
    volume = Volume(source.unmask(values[None]), source.affine, source.space)
    placed = np.nan_to_num(place_on_grid(volume, grid))
    return Volume(grid.unmask(placed), grid.affine, source.space)
