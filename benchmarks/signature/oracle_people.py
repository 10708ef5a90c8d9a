"""The oracle's map where the groups' means are alike, and people differ in how values go along."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack
from scipy.special import softmax
from sklearn.model_selection import GroupKFold

from benchmarks.power.planted import PlantedCohort
from benchmarks.signature.candidates import Candidates
from benchmarks.signature.noise import N_TRIED, Floats, fit_spread, product_with_itself
from fmnet.data.volume import FloatArray

#: Parts of the cohort whose noise is learned from the others: a background that the model of noise
#: was fitted to would give away what isn't background.
N_FOLDS = 5
#: Middles of regions in the first look at pairs are so far apart, in mm; the best pairs are looked
#: at with all that lie this near.
COARSE_MM = 8.0
#: Pairs that are looked at once more.
N_BEST = 30
#: Candidates that are compared with all at a time.
TOGETHER = 64


class Fits(NamedTuple):
    """Products of people's maps and of candidates with one another about the noise.

    ``each`` is (K, N, M), of contrast k's region at place m; ``sizes`` (K, M), of each with itself;
    ``along`` (K, M, R), whose products are what two regions that don't touch have in common, with a
    minus.
    """

    each: FloatArray
    sizes: Floats
    along: FloatArray

    def at(self, places: NDArray[np.intp]) -> "Fits":
        """Take some of the places."""
        return Fits(self.each[:, :, places], self.sizes[:, places], self.along[:, places])


def weigh_people(planted: PlantedCohort, candidates: Candidates) -> Fits:
    """Compare each person's map with a region at each place, by noise learned from the others."""
    n, n_contrasts, n_voxels = planted.values.shape
    flat = planted.background.reshape(n, -1)
    scale = planted.effect.size * np.broadcast_to(planted.effect.noise_sd, (n_contrasts, n_voxels))
    each = np.zeros((n_contrasts, n, len(candidates.middles)), dtype=np.float32)
    sizes, alongs = [], []
    # of the first contrast alone: the others are as smooth
    chosen = np.random.default_rng(planted.seed).permutation(len(candidates.middles))[:N_TRIED]
    first = candidates.shapes[chosen] * scale[0][None]
    tried = hstack([first, csr_array((len(chosen), (n_contrasts - 1) * n_voxels))], format="csr")
    splitter = GroupKFold(N_FOLDS)
    for train, test in splitter.split(flat, groups=planted.families):
        mean = flat[train].mean(axis=0)
        own = [planted.families[row] for row in train]
        spread = fit_spread(flat[train], flat[train] - mean, own, tried)
        rows = planted.values[test].reshape(len(test), -1) - mean
        seen, seen_along = spread.whitened(rows)
        own_sizes, own_alongs = [], []
        for k in range(n_contrasts):
            inside = slice(k * n_voxels, (k + 1) * n_voxels)
            weight = spread.weight[inside] / np.sqrt(spread.rest)
            shapes = (candidates.shapes * (scale[k] * weight)[None]).tocsr()
            along = shapes @ spread.axes[:, inside].T * np.sqrt(spread.share)
            size = product_with_itself(shapes, along)
            each[k, test] = (shapes @ seen[:, inside].T - along @ seen_along.T).T
            own_sizes.append(size)
            own_alongs.append(along)
        sizes.append(own_sizes)
        alongs.append(np.stack(own_alongs))
    along = np.concatenate(alongs, axis=2) / np.sqrt(N_FOLDS)
    return Fits(each, np.mean(sizes, axis=0), along.astype(np.float32))


def opposing_contrasts(planted: PlantedCohort, fits: Fits) -> Floats:
    """Log odds of a region whose two contrasts agree in patients and oppose in controls: (M,)."""
    one, other = fits.each
    shared = -(fits.along[0] * fits.along[1]).sum(axis=1)
    return _log_odds(planted.labels, one, other, fits.sizes.sum(axis=0), shared)


def interacting_pairs(planted: PlantedCohort, candidates: Candidates, fits: Fits) -> Floats:
    """How probable it is that one of two interacting regions lies at each place: (M,)."""
    lattice = np.rint(candidates.middles / COARSE_MM).astype(int)
    _, coarse = np.unique(lattice, axis=0, return_index=True)
    some = fits.at(coarse)
    best: list[tuple[float, int, int]] = []
    for start in range(0, len(coarse), TOGETHER):
        rows = np.arange(start, min(start + TOGETHER, len(coarse)))
        odds = _pair_odds(planted, candidates.middles[coarse], some, candidates.apart_mm, rows)
        order = np.argsort(odds, axis=None)[-N_BEST:]
        found = zip(*np.unravel_index(order, odds.shape), strict=True)
        best += [(float(odds[i, j]), int(coarse[rows[i]]), int(coarse[j])) for i, j in found]
    best.sort(reverse=True)
    total: dict[tuple[int, int], float] = {}
    for _, one, other in best[:N_BEST]:
        near = [
            np.flatnonzero(
                (np.abs(candidates.middles - candidates.middles[end]) <= COARSE_MM).all(axis=1)
            )
            for end in (one, other)
        ]
        places = np.concatenate(near)
        own = fits.at(places)
        rows = np.arange(len(near[0]))
        odds = _pair_odds(planted, candidates.middles[places], own, candidates.apart_mm, rows)
        for i, row in enumerate(odds):
            for j in range(len(near[0]), len(places)):
                pair = sorted((int(places[i]), int(places[j])))
                total[pair[0], pair[1]] = float(row[j])
    pairs, shares = np.array(list(total)), softmax(np.array(list(total.values())))
    probability = np.zeros(len(candidates.middles))
    for end in (0, 1):
        np.add.at(probability, pairs[:, end], shares)
    return probability


def _pair_odds(
    planted: PlantedCohort, middles: Floats, fits: Fits, apart_mm: float, rows: NDArray[np.intp]
) -> Floats:
    """Log odds of regions at each pair of places, (rows, M); none where they are too near."""
    each, sizes, along = fits.each[0], fits.sizes[0], fits.along[0]
    shared = -(along[rows] @ along.T)
    size = sizes[rows, None] + sizes[None]
    odds = _log_odds(planted.labels, each[:, rows, None], each[:, None, :], size, shared)
    away = np.linalg.norm(middles[rows, None] - middles[None], axis=2)
    return np.where(away >= apart_mm, odds, -np.inf)


def _log_odds(
    labels: NDArray[np.int64], one: FloatArray, other: FloatArray, size: Floats, shared: Floats
) -> Floats:
    """Compare a part that rises with another in patients and falls with it in controls to none.

    `one` and `other` are (N, ...), `size` of both and `shared` of the two (...).
    """
    total = np.zeros(np.broadcast_shapes(size.shape, shared.shape))
    for label, sign in ((1, 1), (0, -1)):
        own = labels == label
        size_of_both = size / 2 + sign * shared
        for first, second in zip(one[own], other[own], strict=True):
            total += _log_cosh(first + sign * second) - size_of_both
    return total


def _log_cosh(values: FloatArray) -> FloatArray:
    size = np.abs(values)
    return np.asarray(size + np.log1p(np.exp(-2 * size)) - np.log(2))
