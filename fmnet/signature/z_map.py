"""Weights against those under exchanged labels: z maps, and which voxels survive a threshold.

Under the null hypothesis the observed labels are one order among all that are drawn, so whatever is
computed of every map in one way, the observed one among them, gives exact tests.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label
from scipy.stats import false_discovery_control

from fmnet.baselines.base import Model
from fmnet.crossval.exchange import exchange, find_cells
from fmnet.data.cohort import Cohort
from fmnet.data.folds import Fold
from fmnet.data.grid import Grid
from fmnet.data.volume import FloatArray
from fmnet.training.scan_set import ScanSet

#: Part of the seeds of the orders of labels that maps are tested by.
DRAWS = 5_000_000
#: Labelings that share what needs no labels.
TOGETHER = 100
#: Usual level of a test.
ALPHA = 0.05
#: Least SD of a voxel over orders, in units of the median one: one that hardly any order gives a
#: weight would stand out by a weight as small as any.
SD_FLOOR = 0.1


@dataclass(frozen=True, eq=False)
class LabelOrders:
    """Orders of the labels that are as likely as the observed one under the null hypothesis.

    Parameters
    ----------
    labelings : ndarray of int, shape (n, N)
        Of all scans.
    folds : tuple of Fold, optional
        Where labels can't be exchanged within inner folds: those moved along, one for each order.
    """

    labelings: NDArray[np.int64]
    folds: tuple[Fold, ...] | None = None

    def weights(self, model: Model, data: ScanSet, fold: Fold) -> Iterator[FloatArray]:
        """Let a model learn the fold under each order: some (L, C, V) at a time.

        Nothing comes from a model without voxel weights.
        """
        if self.folds is None:
            work = [
                (fold, self.labelings[start : start + TOGETHER])
                for start in range(0, len(self.labelings), TOGETHER)
            ]
        else:
            work = list(zip(self.folds, self.labelings[:, None], strict=True))
        for own, labelings in work:
            weights = model.weights_of_labelings(data, own, labelings)
            if weights is None:
                return
            yield weights


def permuted_labelings(cohort: Cohort, fold: Fold, n: int, seed: int) -> LabelOrders:
    """Draw orders of the labels for a model that learns one fold, such as the final one.

    Labels are exchanged within sites and inner folds, so that all that needs no labels is computed
    once; where few would vary so, as with few people at each of many sites, within sites alone, and
    inner folds move along with labels. Either way the test is exact, see `fmnet.crossval.exchange`.

    Parameters
    ----------
    fold : Fold
        Whose training subjects are learned from.
    n : int
        Orders, the observed one not among them.
    """
    cells = find_cells(cohort, [fold], seed)
    orders = [exchange(cohort, np.random.default_rng([seed, DRAWS, k]), cells) for k in range(n)]
    labelings = np.stack([order.labels for order in orders])
    if cells is not None:
        return LabelOrders(labelings)
    return LabelOrders(labelings, tuple(order.moved(fold) for order in orders))


@dataclass(frozen=True, eq=False)
class LabelTest:
    """A map of weights against those under exchanged labels.

    Parameters
    ----------
    z : ndarray of float32, shape (C, V)
        Weight less its mean over all orders of the labels, in SDs over them.
    p_fwe, p_fdr, cluster_p : ndarray of float32, shape (C, V)
        Of each voxel, for all voxels of all contrasts together: by the largest ``|z|``; by
        Benjamini and Hochberg; and of the cluster that the voxel lies in, by the largest mass, 1
        outside clusters.
    n_permutations : int
        Orders beside the observed one.
    threshold_fwe : float
        A voxel survives at 5 % where ``|z|`` is larger; infinite with fewer than 19 orders.
    cluster_z : float
        What ``|z|`` reaches in a cluster.
    """

    z: FloatArray
    p_fwe: FloatArray
    p_fdr: FloatArray
    cluster_p: FloatArray
    n_permutations: int
    threshold_fwe: float
    cluster_z: float


def test_by_labels(
    observed: FloatArray,
    draws: Iterable[FloatArray],
    grid: Grid,
    cluster_z: float = 3.0,  # noqa: PT028 (no test of pytest's)
) -> LabelTest:
    """Test each voxel, and each cluster of voxels, against maps under exchanged labels.

    All maps are put on one scale, by mean and SD of each voxel over all of them, the observed one
    among them: what is then compared is exchangeable, so that family-wise errors are controlled
    whatever the weights' distribution. False discovery rates take the tail of all voxels' ``|z|``
    under exchanged labels together: one voxel's draws are too few for the small p that so many
    voxels ask for, and a normal tail would be wrong, as weights that are powers of t have heavier
    ones. Clusters are of voxels that share a face, of one sign, and weigh by their sum of ``|z|``.

    Parameters
    ----------
    observed : ndarray, shape (C, V)
        Under the observed labels.
    draws : iterable of ndarray, shape (L, C, V)
        Under others, some at a time; they are kept on disk while they are needed.
    """
    reference = observed.astype(float)  # sums of squares are of what maps differ from it
    total, square, n = np.zeros_like(reference), np.zeros_like(reference), 1
    with TemporaryFile() as kept:
        for block in draws:
            for one in block:
                away = one - reference
                total += away
                square += away**2
            np.ascontiguousarray(block, dtype=np.float32).tofile(kept)
            n += len(block)
        kept.seek(0)
        middle = total / n
        scale = _one_over(np.sqrt(np.maximum(square / n - middle**2, 0)))
        shift, factor = (reference + middle).astype(np.float32), scale.astype(np.float32)
        z = (observed.astype(np.float32) - shift) * factor
        size, varies = np.abs(z), scale > 0
        ordered = np.sort(size[varies])
        largest, heaviest = np.zeros(n - 1), np.zeros(n - 1)
        reached = np.zeros(len(ordered) + 1)
        for k in range(n - 1):
            drawn = np.fromfile(kept, np.float32, observed.size).reshape(observed.shape)
            drawn -= shift
            drawn *= factor
            heaviest[k] = _cluster_masses(drawn, grid, cluster_z).max()
            each = np.abs(drawn)[varies]
            largest[k] = each.max(initial=0)
            reached += np.bincount(np.searchsorted(ordered, each, "right"), minlength=len(reached))
    mass = _cluster_masses(z, grid, cluster_z)
    p_fdr = np.ones(z.shape, np.float32)
    if len(ordered):
        # a drawn value between the k-th and the next of those observed reaches the first k of them
        n_reached = np.cumsum(reached[::-1])[::-1][1:]
        p = (1 + n_reached) / (1 + (n - 1) * len(ordered))
        p_fdr[varies] = false_discovery_control(p)[np.searchsorted(ordered, size[varies])]
    allowed = int(ALPHA * n + 1e-9)  # maps, the observed one among them, that may reach a threshold
    return LabelTest(
        z=z,
        p_fwe=_p_values(size, largest),
        p_fdr=p_fdr,
        cluster_p=np.where(mass > 0, _p_values(mass, heaviest), 1).astype(np.float32),
        n_permutations=n - 1,
        threshold_fwe=float(np.sort(largest)[-allowed]) if allowed else np.inf,
        cluster_z=cluster_z,
    )


def thresholded(
    test: LabelTest, alpha: float = ALPHA, by: Literal["fwe", "cluster", "fdr"] = "fwe"
) -> FloatArray:
    """Keep z, (C, V), where it survives: by voxel, by cluster, or by false discovery rate."""
    p = {"fwe": test.p_fwe, "cluster": test.cluster_p, "fdr": test.p_fdr}[by]
    return np.where(p <= alpha, test.z, np.float32(0))


def _one_over(sd: NDArray[np.float64]) -> NDArray[np.float64]:
    """Invert SDs, (C, V), each at least a part of its contrast's median; 0 where none varies."""
    floor = [SD_FLOOR * np.median(row[row > 0]) if row.any() else np.inf for row in sd]
    return np.where(sd > 0, 1 / np.maximum(sd, np.array(floor)[:, None]), 0)


def _p_values(values: FloatArray, largest: NDArray[np.float64]) -> FloatArray:
    """Say of each value how many maps, its own among them, have one as large: the fraction."""
    ordered = np.sort(largest.astype(np.float32))
    n_reached = len(ordered) - np.searchsorted(ordered, values, "left")
    return ((1 + n_reached) / (1 + len(ordered))).astype(np.float32)


def _cluster_masses(z: FloatArray, grid: Grid, cluster_z: float) -> FloatArray:
    """Sum ``|z|`` over the cluster that each voxel lies in: (C, V), 0 outside clusters."""
    masses = np.zeros_like(z)
    for row, own in zip(z, masses, strict=True):
        for sign in (1, -1):
            inside = sign * row >= cluster_z
            if not inside.any():
                continue
            on_grid = np.zeros(grid.shape, dtype=bool)
            on_grid[grid.mask] = inside
            number = label(on_grid)[0][grid.mask]
            own[inside] = np.bincount(number, np.abs(row))[number[inside]]
    return masses
