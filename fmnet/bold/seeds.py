"""How strongly each voxel is coupled with a seed region: Fisher's z of the correlation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fmnet.bold.open_run import OpenRun
from fmnet.data.grid import Grid
from fmnet.data.volume import MNI_SPACES, FloatArray

RADIUS_MM = 6.0
#: Correlations are kept this far within -1 and 1: a seed of one voxel is one with itself.
MAX_R = 0.999
#: Share of a seed's voxels in which a run must have data.
MIN_SHARE = 0.5
#: Below this share of the median one, a voxel's variation is rounding.
LEAST_NORM = 1e-6


@dataclass(frozen=True)
class Seed:
    """A sphere in the brain.

    Parameters
    ----------
    name : str
        Of the seed.
    centre_mm : tuple of float
        Coordinates in MNI space, in mm: to the right, to the front, upwards.
    """

    name: str
    centre_mm: tuple[float, float, float]

    def correlation(self, run: OpenRun) -> FloatArray:
        """Fisher's z of each voxel's correlation with the seed's mean series: (V,).

        Raises
        ------
        VolumeError
            If the run isn't in MNI space, the seed lies outside the mask, or the run has no data
            there.
        """
        grid = run.source.grid
        centre = ", ".join(f"{place:g}" for place in self.centre_mm)
        where = f"seed '{self.name}' at ({centre}) mm"
        if grid.space not in MNI_SPACES:
            action = "normalise the run to MNI152, or leave the seed out"
            raise run.refusal(f"{where} in space '{grid.space}'", "a run in MNI space", action)
        voxels = seed_voxels(grid, self.centre_mm)
        if not len(voxels):
            accepted, action = "a seed inside the template's mask", "correct its coordinates"
            raise run.refusal(f"{where}, outside the mask", accepted, action)
        series = run.cleaned()
        share = float(np.isfinite(series[:, voxels]).all(axis=0).mean())
        if share < MIN_SHARE:
            found = f"data in {share:.0%} of the {len(voxels)} voxels of {where}"
            action = "leave the seed or the run out"
            raise run.refusal(found, f"{MIN_SHARE:.0%} at least", action)
        return correlate(series, voxels)


def seed_voxels(grid: Grid, centre_mm: tuple[float, float, float]) -> NDArray[np.intp]:
    """Find the in-mask voxels, counted in the mask, that make up a seed.

    They are those whose centre lies within `RADIUS_MM`. If there are none, as on a coarse grid,
    those nearest to the seed are taken, unless they are further away than a voxel's diagonal.
    """
    places = np.argwhere(grid.mask) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    distance = np.linalg.norm(places - np.array(centre_mm), axis=1)
    nearest = float(distance.min(initial=np.inf))
    if nearest > max(RADIUS_MM, float(np.linalg.norm(grid.voxel_size_mm))):
        return np.empty(0, dtype=np.intp)
    return np.flatnonzero(distance <= max(RADIUS_MM, nearest + 1e-6))


def correlate(series: FloatArray, voxels: NDArray[np.intp]) -> FloatArray:
    """Fisher's z of each voxel's correlation with the mean of some voxels.

    Parameters
    ----------
    series : ndarray of float32, shape (T, V)
        NaN where there are no data.
    voxels : ndarray of int, shape (n,)
        Which make up the seed; those without data don't count.

    Returns
    -------
    ndarray of float32, shape (V,)
        NaN where there are no data or nothing varies.
    """
    seed = np.nanmean(series[:, voxels].astype(np.float64), axis=1)
    seed -= seed.mean()
    centred = series - series.mean(axis=0)
    norm = np.sqrt(np.einsum("tv,tv->v", centred, centred)) * np.linalg.norm(seed)
    known = norm > LEAST_NORM * np.nanmedian(norm)
    r = np.full(series.shape[1], np.nan, dtype=np.float32)
    r[known] = (seed.astype(np.float32) @ centred)[known] / norm[known]
    z: FloatArray = np.arctanh(np.clip(r, -MAX_R, MAX_R))
    return z
