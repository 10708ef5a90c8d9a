"""Synthetic BOLD files to read, as large and about as compressible as real ones."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from tqdm import tqdm

from fmnet.bold.bold_file import BoldRun, open_bold
from fmnet.data.nifti import write_series, write_volume
from fmnet.data.volume import Volume

T_R = 2.0
#: Edge of the box that holds a brain in MNI space, in mm.
BOX_MM = (182.0, 218.0, 182.0)
CORNER_MM = (-90.0, -126.0, -72.0)
#: A field of noise is this many times smoother along each axis than white noise, in voxels.
NOISE_SIGMA = 0.7
#: Of the mean, as a share: how much BOLD moves from volume to volume.
NOISE_SHARE = 0.015
#: Fields of noise that volumes are mixed from, which is faster than drawing each anew.
N_FIELDS = 12


def make_run(path: Path, shape: tuple[int, int, int], n_volumes: int, seed: int) -> BoldRun:
    """Write one run and its mask: int16, a smooth brain in a void, noise in the brain.

    Parameters
    ----------
    path : Path
        ``.nii.gz``; compressed as nibabel and fMRIPrep do.
    shape : tuple of int
        Voxels along x, y and z of a box of 182 x 218 x 182 mm.
    n_volumes : int
        Along time.
    seed : int
        Of brain and noise.
    """
    rng = np.random.default_rng(seed)
    inside = _ellipsoid(shape)
    smooth = gaussian_filter(rng.normal(size=shape).astype(np.float32), [n / 20 for n in shape])
    brain = np.where(inside, 9000 + 2000 * smooth / smooth.std(), 0)
    fields = [_noise(rng, shape) for _ in range(N_FIELDS)]
    data = np.zeros((*shape, n_volumes), np.int16, order="F")
    for number in range(n_volumes):
        one, two = rng.choice(N_FIELDS, 2, replace=False)
        shift = int(rng.integers(shape[0]))
        noise = fields[one] + np.roll(fields[two], shift, axis=0)
        data[..., number] = np.rint(brain * (1 + NOISE_SHARE / np.sqrt(2) * noise))
    affine = np.diag([*(np.array(BOX_MM) / shape), 1.0])
    affine[:3, 3] = CORNER_MM
    write_series(data, affine, T_R, path)
    return with_mask(path, path.with_name(f"mask-{path.name}"))


def make_runs(
    folder: Path, n_runs: int, shape: tuple[int, int, int], n_volumes: int
) -> list[BoldRun]:
    """Write several runs."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds = tqdm(range(n_runs), desc="making runs", unit="run", leave=False)
    return [make_run(folder / f"run-{k:03d}.nii.gz", shape, n_volumes, k) for k in seeds]


def with_mask(path: Path, mask_path: Path) -> BoldRun:
    """Write a mask of what is brighter than the mean of a run's first volume; name the run."""
    with open_bold(path) as file:
        first = next(file.volumes()).astype(np.float32)
        order, affine = file.header.ras
        t_r = file.header.t_r
    inside = (first > np.nanmean(first))[order]
    write_volume(Volume(inside[None].astype(np.float32), affine, "MNI152"), mask_path)
    return BoldRun(path.name, path.name, path, "MNI152", mask_path, t_r or T_R)


def _ellipsoid(shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    axes = [np.linspace(-1.2, 1.2, n, dtype=np.float32) for n in shape]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    inside: NDArray[np.bool_] = x**2 + y**2 + z**2 < 1
    return inside


def _noise(rng: np.random.Generator, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    field = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), NOISE_SIGMA)
    unit: NDArray[np.float32] = field / field.std()
    return unit
