"""Whether a signature comes out again from other people: agreement of halves of a cohort.

*Halves.* A cohort is dealt into blocks of units (families, or else people) that are alike in group
and site. Half of the blocks against the other half is one split; in each half the model is learnt
with the blocks as its inner folds, and the maps of both halves are compared. The figure is the mean
over several splits.

*Why its permutation test is exact.* Blocks are made from labels, sites, families and a seed; no
scan has a say. Under the null hypothesis scans of people of a site tell nothing of their labels, so
given all of these any order of people within blocks and sites could as well have been the one
observed (`fmnet.crossval.exchange`). Such an order leaves every block, hence every half and every
inner fold of every split, the same set of people with the same number of both labels. So the mean
over splits is one and the same function of scans and labels before and after, the n figures under
random orders and the one observed are exchangeable, and ``p = (1 + #{null >= observed}) / (1 + n)``
is at most a with a probability of at most a. That needs each labeling to be the same in all splits,
which share people; it doesn't need splits, halves or folds to be independent. And as sets don't
change, a model computes once for all labelings whatever needs no labels.

Where blocks and sites leave labels too little to vary, blocks move along with labels: orders are
then those of all people within sites, under which the same holds, at the cost of a fit for each.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnet.baselines.base import Model
from fmnet.crossval.exchange import Exchange, check_exchangeable, exchange, find_cells
from fmnet.crossval.fold_loop import TrainedNetwork
from fmnet.data.cohort import Cohort
from fmnet.data.folds import Fold, build_inner_folds, fewest_units
from fmnet.errors import CohortError, Fault
from fmnet.evaluation.comparison import p_value
from fmnet.signature.map_agreement import Floats, compare_maps, standard_weights
from fmnet.signature.spatial_null import spatial_p
from fmnet.training.scan_set import ScanSet

#: Parts of the seeds of splits, and of orders of the labels.
SPLITS, ORDERS = 7_000_000, 8_000_000
#: How many blocks there may be, the first that numbers allow.
BLOCKS = (8, 4)
#: Largest fraction of the labels' variance within sites that may lie between blocks. Permuted
#: labels then resemble those observed by as much, and null maps of both halves have in common what
#: there is to find by the square of it.
MAX_FIXED = 0.25
#: Labelings that a model learns together.
TOGETHER = 100
#: Pairs of maps that are compared at once.
COMPARED = 20
#: Random fields for a spatial null.
N_FIELDS = 1000


@dataclass(frozen=True, eq=False)
class Halving:
    """Ways to halve a cohort, and orders of its labels for a permutation test of what comes of it.

    Parameters
    ----------
    splits : tuple of (Fold, Fold)
        Of each way the two halves: a fold trains on one, in blocks as inner folds, and leaves the
        other.
    orders : tuple of Exchange
        The labels observed, then random orders of them.
    is_moving : bool
        Whether blocks move along with labels.
    n_blocks, n_ways : int
        How many blocks, and how many ways to halve them there are.
    """

    splits: tuple[tuple[Fold, Fold], ...]
    orders: tuple[Exchange, ...]
    is_moving: bool
    n_blocks: int
    n_ways: int


def deal_blocks(cohort: Cohort, seed: int, n_blocks: int = 8) -> list[tuple[str, ...]]:
    """Deal people, families kept together, into blocks alike in group and site.

    Returns
    -------
    list of tuple of str
        Participant ids, block by block.

    Raises
    ------
    FoldsError
        If a class has fewer units than there are blocks.
    """
    return list(build_inner_folds(cohort, n_blocks, seed).validation)


def halve(cohort: Cohort, seed: int, n_splits: int, n_permutations: int) -> Halving:
    """Halve a cohort in up to `n_splits` ways, and permute its labels as all of them allow.

    Raises
    ------
    CohortError
        If people are too few for blocks of both classes, or labels can hardly be exchanged.
    """
    fewest = fewest_units(cohort)
    allowed = [n for n in BLOCKS if fewest >= n]
    if not allowed:
        found = f"{fewest} people (or families) in the smaller group"
        raise CohortError(Fault("halves", found, f"{BLOCKS[-1]} or more", "halve a larger cohort"))
    for n_blocks in allowed:
        blocks = deal_blocks(cohort, seed, n_blocks)
        ways = [chosen for chosen in combinations(range(n_blocks), n_blocks // 2) if 0 in chosen]
        drawn = np.random.default_rng([seed, SPLITS]).permutation(len(ways))[:n_splits]
        splits = [_split(blocks, ways[way], number) for number, way in enumerate(drawn)]
        cells = find_cells(cohort, splits[0], seed, MAX_FIXED)
        if cells is not None:
            break
    else:
        if n_permutations:
            check_exchangeable(cohort, seed)
        splits = splits[:1]
    observed = Exchange(cohort.labels, {one: one for one in cohort.participant_ids})
    generators = [np.random.default_rng([seed, ORDERS, k]) for k in range(n_permutations)]
    orders = (observed, *(exchange(cohort, one, cells) for one in generators))
    return Halving(tuple(splits), orders, cells is None, n_blocks, len(ways))


def _split(
    blocks: list[tuple[str, ...]], chosen: tuple[int, ...], number: int
) -> tuple[Fold, Fold]:
    parts = [
        tuple(block for k, block in enumerate(blocks) if (k in chosen) == is_first)
        for is_first in (True, False)
    ]
    one, other = (tuple(sorted(person for block in part for person in block)) for part in parts)
    return Fold(number, 0, one, other, parts[0]), Fold(number, 1, other, one, parts[1])


def agreement_of_halves(
    model: Model,
    data: ScanSet,
    seed: int,
    n_splits: int = 5,
    n_permutations: int = 59,
    regions: NDArray[np.integer[Any]] | None = None,
    n_trained: int = 0,
) -> dict[str, Any]:
    """Learn a model on disjoint halves of a cohort and measure how far their maps agree.

    What is compared are standard weights, see `standard_weights`, each half's by its own scans.

    Parameters
    ----------
    model : Model
        One that gives weights of labelings.
    data : ScanSet
        N scans.
    seed : int
        Of blocks, splits and permutations.
    n_splits : int
        Ways of halving, at most 35 of 8 blocks; one where blocks move along with labels or the
        model is trained by gradients. Five find about as much as all of them.
    n_permutations : int
        The smallest p-value is one over this and one.
    regions : ndarray of int, shape (X, Y, Z), optional
        Regions on the grid, 0 for none.
    n_trained : int
        Permutations of a model that is trained by gradients, two trainings each. 0 for a spatial
        null instead: random fields as smooth as the map of one half. They don't know what scans
        and model give to maps of any labels, and so find null cohorts to agree too often.

    Returns
    -------
    dict
        For each measure of `compare_maps` ``observed``, the mean over splits, its ``null`` (list)
        and ``p``; ``per_split`` of ``voxel_r``; ``n_splits`` of ``n_ways``, ``n_blocks``,
        ``n_permutations``, ``n_per_half`` (fewest and most people); ``null_from``: "labels" or
        "spatial", then for ``voxel_r`` alone; ``maps``, ndarray (2, C, V), standard weights of the
        first split. Or only a ``reason`` why there is no such figure.
    """
    if isinstance(model, TrainedNetwork) and model.trainable.longest > 0:
        n_splits, n_permutations = 1, n_trained
    try:
        halving = halve(data.cohort, seed, n_splits, n_permutations)
    except CohortError as error:
        return {"reason": "; ".join(f"{one.found}, not {one.accepted}" for one in error.faults)}
    return compare_halves(model, data, halving, regions, seed)


def compare_halves(
    model: Model,
    data: ScanSet,
    halving: Halving,
    regions: NDArray[np.integer[Any]] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Learn a model on the halves of a halved cohort and compare, see `agreement_of_halves`.

    Where only the labels observed are among the orders, beside random fields.
    """
    places = None if regions is None else np.asarray(regions)[data.grid.mask]
    splits, first = [], None
    for split in halving.splits:
        parts = []
        for start in range(0, len(halving.orders), TOGETHER):
            orders = halving.orders[start : start + TOGETHER]
            one, other = (_maps(model, data, fold, orders, halving.is_moving) for fold in split)
            if one is None or other is None:
                return {"reason": "the model has no weight for each voxel"}
            first = np.stack([one[0], other[0]]) if first is None else first
            rows = [slice(k, k + COMPARED) for k in range(0, len(orders), COMPARED)]
            parts += [compare_maps(one[some], other[some], places) for some in rows]
        splits.append({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    assert first is not None
    n_permutations = len(halving.orders) - 1
    sizes = [len(fold.train) for split in halving.splits for fold in split]
    result: dict[str, Any] = {
        "n_splits": len(splits),
        "n_ways": halving.n_ways,
        "n_blocks": halving.n_blocks,
        "n_permutations": n_permutations,
        "n_per_half": [min(sizes), max(sizes)],
        "null_from": "labels" if n_permutations else "spatial",
        "per_split": [float(one["voxel_r"][0]) for one in splits],
        "maps": first,
    }
    for name in splits[0]:
        mean = np.mean([one[name] for one in splits], axis=0)  # (1 + n_permutations,)
        p = p_value(mean[1:], mean[0]) if n_permutations else None
        result[name] = {"observed": float(mean[0]), "null": mean[1:].tolist(), "p": p}
    if not n_permutations:
        result["voxel_r"] |= _spatial_null(first, data, seed)
    return result


def _maps(
    model: Model, data: ScanSet, fold: Fold, orders: tuple[Exchange, ...], is_moving: bool
) -> Floats | None:
    """Learn a half under some orders of the labels: standard weights, (L, C, V)."""
    if is_moving:
        each = [_maps(model, data, one.moved(fold), (one,), False) for one in orders]
        known = [maps for maps in each if maps is not None]
        return np.concatenate(known) if known else None
    weights = model.weights_of_labelings(data, fold, np.stack([one.labels for one in orders]))
    if weights is None:
        return None
    return standard_weights(weights, data.values[data.rows(fold.train)])


def _spatial_null(halves: Floats, data: ScanSet, seed: int) -> dict[str, Any]:
    """Compare the maps of both halves, (2, C, V), with random fields, contrast by contrast.

    The null of the contrast that agrees best beside its own, and its p times their number.
    """
    tests = [
        spatial_p(one, other, data.grid, N_FIELDS, seed) for one, other in zip(*halves, strict=True)
    ]
    p, null = min((p_value(one.null, one.r), one.null.tolist()) for one in tests)
    return {"p": min(1.0, p * len(tests)), "null": null}
