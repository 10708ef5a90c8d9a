"""How alike the time series of neighbouring voxels are: regional homogeneity (ReHo).

References
----------
Zang, Y., Jiang, T., Lu, Y., He, Y., & Tian, L. (2004). Regional homogeneity approach to fMRI data
analysis. NeuroImage, 22.
"""

import numpy as np
from numpy.typing import NDArray

from fmnet.bold.open_run import OpenRun
from fmnet.data.grid import Grid
from fmnet.data.volume import FloatArray

#: Voxels that are ranked at a time.
BLOCK = 4096
#: Fewest voxels of a neighbourhood, a voxel and those that share a face with it; W of fewer is
#: large whatever they do.
MIN_VOXELS = 7


def reho(run: OpenRun) -> FloatArray:
    """Regional homogeneity of the cleaned series: (V,), see `kendall_w`."""
    return kendall_w(run.cleaned(), run.source.grid)


def kendall_w(series: FloatArray, grid: Grid) -> FloatArray:
    """Kendall's coefficient of concordance of each voxel's series and its neighbours'.

    Neighbours are the up to 26 voxels that share a face, an edge or a corner with it and have data.
    Equal values share a rank; there is no further correction for them.

    Parameters
    ----------
    series : ndarray of float32, shape (T, V)
        NaN where there are no data.
    grid : Grid
        Where the V voxels lie.

    Returns
    -------
    ndarray of float32, shape (V,)
        0 to 1; NaN where fewer than `MIN_VOXELS` voxels have data, the voxel among them.
    """
    n = len(series)
    known = np.asarray(np.isfinite(series).all(axis=0))
    ranks = _centred_ranks(series, known)
    squares = np.zeros(grid.n_voxels)
    for number in range(n):
        # centred, so that the sum over a neighbourhood deviates from 0, not from its mean
        squares += _sum_neighbours(ranks[number], grid).astype(np.float64) ** 2
    count = _sum_neighbours(known.astype(np.float32), grid)
    usable = known & (count >= MIN_VOXELS)
    w = np.full(grid.n_voxels, np.nan, dtype=np.float32)
    w[usable] = 12 * squares[usable] / (count[usable] ** 2 * float(n**3 - n))
    return w


def _centred_ranks(series: FloatArray, known: NDArray[np.bool_]) -> FloatArray:
    """Rank each voxel's values over time: (T, V), with a mean of 0; 0 where nothing is known."""
    from scipy.stats import rankdata  # slow, and other maps need not wait

    ranks = np.zeros(series.shape, dtype=np.float32)
    places = np.flatnonzero(known)
    for start in range(0, len(places), BLOCK):
        block = places[start : start + BLOCK]
        ranks[:, block] = rankdata(series[:, block], axis=0) - (len(series) + 1) / 2
    return ranks


def _sum_neighbours(values: FloatArray, grid: Grid) -> FloatArray:
    """Sum in-mask values, (V,), over cubes of three voxels' edge: (V,)."""
    box = np.pad(grid.unmask(values), 1)
    for axis in range(3):
        lines = np.moveaxis(box, axis, 0)
        box = np.moveaxis(lines[:-2] + lines[1:-1] + lines[2:], 0, axis)
    inside: FloatArray = box[grid.mask]
    return inside
