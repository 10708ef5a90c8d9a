"""How far maps agree: correlation over voxels and regions, overlap of their top, ICC."""

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from fmnet.data.volume import FloatArray

#: Squares along each axis where two maps are counted, up to this quantile of their sizes.
N_SQUARES, REACH = 41, 0.999

Floats = NDArray[np.float64]

#: Part of the voxels, of all contrasts together, that counts as the top of a map.
TOP = 0.05
#: Voxels that are multiplied at once.
BLOCK = 4096
#: Spread of a map, in units of its mean, that is no more than rounding.
FLAT = 1e-12
#: The measures, in the order in which they are told.
MEASURES = ("voxel_r", "region_r", "dice", "icc", "icc_agreement")


def standard_weights(weights: FloatArray | Floats, values: FloatArray) -> Floats:
    """Multiply weights by the standard deviation of their voxel between scans.

    What a model makes of a voxel is its weight times how much people differ there; weights alone
    are largest where nobody differs.

    Parameters
    ----------
    weights : ndarray of float, shape (..., C, V)
        In units of score per unit of the map.
    values : ndarray of float32, shape (N, C, V)
        Maps of the scans that the weights were learnt from, NaN where missing.

    Returns
    -------
    ndarray of float64, shape (..., C, V)
        In units of score per standard deviation; 0 where fewer than two scans have data.
    """
    is_known = np.isfinite(values)
    count = np.maximum(is_known.sum(axis=0), 1)
    mean = np.where(is_known, values, 0).sum(axis=0, dtype=np.float64) / count
    square = np.where(is_known, values - mean, 0) ** 2
    return np.asarray(weights * np.sqrt(square.sum(axis=0, dtype=np.float64) / count))


def agreement_of_maps(
    maps: FloatArray | Floats, regions: NDArray[np.integer[Any]] | None = None
) -> dict[str, float]:
    """Measure how far several maps agree, by the mean over their pairs.

    Parameters
    ----------
    maps : ndarray of float, shape (M, C, V)
        Two maps or more, of one unit.
    regions : ndarray of int, shape (V,), optional
        Region of each voxel in the mask, 0 for none.

    Returns
    -------
    dict
        ``voxel_r``, ``region_r`` (with regions), ``dice``, ``icc`` and ``icc_agreement``, see
        `compare_maps`; the ICCs are of all maps at once. ``n_maps``.
    """
    pairs = list(combinations(range(len(maps)), 2))
    total = {name: 0.0 for name in MEASURES}
    for first, second in pairs:
        found = compare_maps(maps[first][None], maps[second][None], regions)
        for name, values in found.items():
            total[name] += float(values[0]) / len(pairs)
    flat = np.asarray(maps, dtype=np.float64).reshape(len(maps), 1, -1)
    consistency, agreement = _intraclass(flat)
    total |= {"icc": float(consistency[0]), "icc_agreement": float(agreement[0])}
    if regions is None:
        del total["region_r"]
    return total | {"n_maps": len(maps)}


def compare_maps(
    one: FloatArray | Floats,
    other: FloatArray | Floats,
    regions: NDArray[np.integer[Any]] | None = None,
) -> dict[str, Floats]:
    """Measure how far pairs of maps agree; 0 where a map is the same everywhere.

    Parameters
    ----------
    one, other : ndarray of float, shape (L, C, V)
        First and second map of L pairs.
    regions : ndarray of int, shape (V,), optional
        Region of each voxel in the mask, 0 for none.

    Returns
    -------
    dict of ndarray, shape (L,)
        ``voxel_r``: Pearson's correlation over the voxels of all contrasts. ``region_r``: the same
        over means of regions. ``dice``: Dice coefficient of the top 5 % of the voxels by size, of
        which only those of equal sign count as shared. ``icc``: ICC(3,1), consistency; unlike the
        correlation it is less than 1 where one map is the other times a number. ``icc_agreement``:
        ICC(A,1), less than 1 also where one is the other plus a number.

    References
    ----------
    McGraw, K. O., & Wong, S. P. (1996). Forming inferences about some intraclass correlation
    coefficients. Psychological Methods, 1, 30-46. Cases 3 and 2A.
    """
    pair = np.stack([one, other]).astype(np.float64)  # (2, L, C, V)
    flat = pair.reshape(2, len(one), -1)
    found = {"voxel_r": _correlate(*flat)}
    if regions is not None:
        found["region_r"] = _correlate(*_region_means(pair, regions))
    first, second = map(_top_signs, flat)
    shared = ((first == second) & (first != 0)).sum(axis=1)
    size = (first != 0).sum(axis=1) + (second != 0).sum(axis=1)
    found["dice"] = 2 * shared / np.maximum(size, 1)
    found["icc"], found["icc_agreement"] = _intraclass(flat)
    return found


def count_pairs(one: FloatArray | Floats, other: FloatArray | Floats) -> dict[str, Any]:
    """Count how often voxels of two maps have which values, so that they can be drawn as squares.

    Parameters
    ----------
    one, other : ndarray of float, shape (C, V)
        Standard weights of two halves of a cohort.

    Returns
    -------
    dict
        Plain values: ``edges``, (E + 1,), of both axes alike, and ``counts``, E x E, whose first
        axis is that of `one`. Values beyond the edges count in the outermost squares.
    """
    both = np.abs(np.concatenate([np.ravel(one), np.ravel(other)]))
    reach = float(np.quantile(both, REACH)) or 1.0
    edges = np.linspace(-reach, reach, N_SQUARES + 1)
    clipped = (np.clip(np.ravel(one), -reach, reach), np.clip(np.ravel(other), -reach, reach))
    counts = np.histogram2d(*clipped, bins=(edges, edges))[0]
    return {"edges": edges.tolist(), "counts": counts.astype(int).tolist()}


def correlation_matrix(maps: FloatArray | Floats) -> Floats:
    """Correlate maps, (M, C, V), with one another over voxels: (M, M)."""
    flat = maps.reshape(len(maps), -1)
    mean = flat.mean(axis=1, keepdims=True, dtype=np.float64)
    products = np.zeros((len(maps), len(maps)))
    for start in range(0, flat.shape[1], BLOCK):  # hundreds of maps take room
        centred = flat[:, start : start + BLOCK] - mean
        products += centred @ centred.T
    length = np.sqrt(np.diag(products))
    is_flat = length <= FLAT * np.abs(mean[:, 0]) * np.sqrt(flat.shape[1])
    length = np.where(is_flat, np.inf, length)
    return np.asarray(products / length / length[:, None])


def _unit(maps: Floats) -> Floats:
    """Centre maps, (..., F), and scale them to length 1; 0 where they are the same everywhere."""
    mean = maps.mean(axis=-1, keepdims=True)
    centred = maps - mean
    length = np.linalg.norm(centred, axis=-1, keepdims=True)
    is_flat = length <= FLAT * np.abs(mean) * np.sqrt(maps.shape[-1])
    centred /= np.where(is_flat, np.inf, length)
    return np.asarray(centred)


def _correlate(one: Floats, other: Floats) -> Floats:
    """Correlate pairs of maps, (L, F) both: (L,)."""
    return np.asarray(np.einsum("lf,lf->l", _unit(one), _unit(other)))


def _region_means(maps: Floats, regions: NDArray[np.integer[Any]]) -> Floats:
    """Average maps, (2, L, C, V), over regions, (V,): (2, L, C * R)."""
    names, index = np.unique(regions[regions > 0], return_inverse=True)
    size = np.bincount(index, minlength=len(names))
    places = np.flatnonzero(regions > 0), index
    mean = csr_array((1 / size[index], places), shape=(len(regions), len(names)))
    flat = maps.reshape(-1, len(regions)) @ mean
    return np.asarray(flat).reshape(*maps.shape[:2], -1)


def _top_signs(maps: Floats) -> NDArray[np.int8]:
    """Give the sign of each of the largest values of maps, (L, F), and 0 to all others."""
    n_top = max(1, round(TOP * maps.shape[1]))
    largest = np.argpartition(-np.abs(maps), n_top - 1, axis=1)[:, :n_top]
    signs = np.zeros(maps.shape, np.int8)
    found = np.sign(np.take_along_axis(maps, largest, axis=1)).astype(np.int8)
    np.put_along_axis(signs, largest, found, axis=1)
    return signs


def _intraclass(maps: Floats) -> tuple[Floats, Floats]:
    """Compute ICC(C,1), alias ICC(3,1), and ICC(A,1) of M maps of F voxels, (M, L, F): (L,) each.

    Voxels are the rows of McGraw and Wong, maps the columns.
    """
    m, _, f = maps.shape
    grand = maps.mean(axis=(0, 2))  # (L,)
    between_voxels = m * ((maps.mean(axis=0) - grand[:, None]) ** 2).sum(axis=1)
    between_maps = f * ((maps.mean(axis=2) - grand) ** 2).sum(axis=0)
    total = ((maps - grand[:, None]) ** 2).sum(axis=(0, 2))
    rows, columns = between_voxels / (f - 1), between_maps / (m - 1)
    error = (total - between_voxels - between_maps) / ((f - 1) * (m - 1))
    error = np.maximum(error, 0)
    whole = rows + (m - 1) * error
    wider = whole + m / f * (columns - error)
    consistency, agreement = (
        np.divide(rows - error, below, out=np.zeros_like(below), where=below > 0)
        for below in (whole, wider)
    )
    return consistency, agreement
