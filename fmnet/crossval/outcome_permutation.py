"""Permutation test of studies of any target: outcomes exchanged, every choice made anew.

Which orders are equally likely under the null hypothesis is told in `fmnet.crossval.exchange`: of
people within sites, families whole, with folds that move along; or of those who are in the same
test folds and inner folds, which leaves folds as they are. What an order exchanges is up to the
target (`fmnet.targets.base.Target.exchanged`): all that is known of people, or their arm alone. Its
null model is fitted again to the training people of each fold.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnet.baselines.base import Model
from fmnet.crossval.exchange import (
    DRAWS,
    MIN_ORDERS,
    MIN_WITHIN_CELLS,
    cells_of,
    moved,
)
from fmnet.crossval.fold_loop import Pipeline, TrainedNetwork, score_columns
from fmnet.crossval.permutation import PERMUTATION, TOGETHER, PermutationPlan, run_missing
from fmnet.data.folds import Fold
from fmnet.data.outcomes import Numbers, Outcomes
from fmnet.errors import CohortError, Fault
from fmnet.progress.show import step
from fmnet.runs.checkpoints import WHOLE, Shard
from fmnet.targets.base import Target
from fmnet.training.scan_set import Rows, ScanSet
from fmnet.types import NETWORK

#: Largest fraction of the outcomes' variance within sites that may lie between cells, where it
#: can't be permuted: that is what cells of three people have by chance. The test is as valid, and
#: loses power as if an effect were smaller by this fraction. More than for two groups, whose folds
#: are stratified by all there is.
MAX_FIXED = 1 / 3
#: Part of the seeds of orders that are drawn to be counted.
COUNTED = 100


@dataclass(frozen=True, eq=False)
class Reordering:
    """An order of the people of N scans.

    Parameters
    ----------
    order : ndarray of int, shape (N,)
        Whose outcome each scan is given, by the number of the scan.
    place_of : dict
        In whose place each participant stands; it moves folds along.
    """

    order: Rows
    place_of: dict[str, str]


@dataclass(frozen=True, eq=False)
class Places:
    """Who can take whose place under the null hypothesis, see `find_places`.

    Parameters
    ----------
    blocks : list of tuple
        The kinds of places in a family (or of a single person's), and the families that are alike.
    rows : dict
        Scans of each participant, by number.
    varies : dict
        Whether a participant's scans have different outcomes.
    """

    blocks: Sequence[tuple[tuple[Hashable, ...], Sequence[Sequence[str]]]]
    rows: Mapping[str, Sequence[int]]
    varies: Mapping[str, bool]

    def draw(self, rng: np.random.Generator) -> Reordering:
        """Draw an order that is as likely as the observed one under the null hypothesis."""
        order = np.empty(sum(map(len, self.rows.values())), np.intp)
        place_of: dict[str, str] = {}
        for kinds, families in self.blocks:
            for members, source in zip(families, rng.permutation(len(families)), strict=True):
                places = families[source]
                for kind in dict.fromkeys(kinds):
                    alike = [k for k, own in enumerate(kinds) if own == kind]
                    taken = rng.permutation(alike) if len(alike) > 1 else alike
                    pairs = zip(alike, taken, strict=True)
                    place_of |= {members[k]: places[other] for k, other in pairs}
        for person, place in place_of.items():
            theirs = self.rows[place]
            order[self.rows[person]] = rng.permutation(theirs) if self.varies[place] else theirs[0]
        return Reordering(order, place_of)


def find_places(
    target: Target, outcomes: Outcomes, cell_of: Mapping[str, Hashable] | None = None
) -> Places:
    """Find who can take whose place under the null hypothesis.

    People take each other's places within their site and block, see
    `fmnet.targets.base.Target.exchange_blocks`, and with families of the same size as a family;
    members of a family do as well. With `cell_of`, only people of the same cell do. Those
    whose scans have different outcomes take places of people with as many scans only, and their
    scans are put in another order too.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for row, person in enumerate(outcomes.participants):
        rows[person].append(row)
    table = outcomes.table().fillna(np.inf).to_numpy()
    varies = {one: bool((table[own] != table[own[0]]).any()) for one, own in rows.items()}
    cells, kept = cell_of or {}, _kept(target, outcomes)
    kind_of: dict[str, Hashable] = {
        one: (*kept[own[0]], cells.get(one), len(own) if varies[one] else 0)
        for one, own in rows.items()
    }
    families: dict[str, list[str]] = defaultdict(list)
    for one, own in rows.items():
        families[outcomes.units[own[0]]].append(one)
    blocks: dict[tuple[Hashable, ...], list[list[str]]] = defaultdict(list)
    for members in families.values():
        members.sort(key=lambda one: repr(kind_of[one]))
        blocks[tuple(kind_of[one] for one in members)].append(members)
    return Places(list(blocks.items()), rows, varies)


def find_outcome_cells(
    data: ScanSet, folds: Sequence[Fold], seed: int
) -> dict[str, Hashable] | None:
    """Find the cells of people who are in the same test folds and in the same inner folds.

    None where outcomes vary too little within them, as with few people at each of many sites, or in
    folds of several repeats; folds must move along with outcomes then. Scans have no say in it.
    """
    assert data.target is not None
    cell_of, kept = cells_of(data.participant_ids, folds), _kept(data.target, data.outcomes)
    moved_along = _moved(data, seed)
    free = _spread(moved_along, kept)
    cells = [(*own, cell_of[one]) for own, one in zip(kept, data.participant_ids, strict=True)]
    left = _spread(moved_along, cells)
    if not (free > 0).any() or 1 - float((left / free)[free > 0].mean()) > MAX_FIXED:
        return None
    return cell_of if _count_orders(data, seed, cell_of) >= MIN_WITHIN_CELLS else None


def _kept(target: Target, outcomes: Outcomes) -> list[tuple[str, str]]:
    """Name site and block of each scan, (N,), which no order changes."""
    return list(zip(outcomes.sites, target.exchange_blocks(outcomes), strict=True))


def _moved(data: ScanSet, seed: int) -> Outcomes:
    """Keep of the outcomes what an order hands on, as the arm alone: the rest needs no freedom."""
    assert data.target is not None
    outcomes, rng = data.outcomes, np.random.default_rng([seed, COUNTED])
    order = find_places(data.target, outcomes).draw(rng).order
    given = data.target.exchanged(outcomes, order)
    handed = {
        role: own
        for role, own in outcomes.values.items()
        if np.array_equal(given[role], own[order], equal_nan=True)
        and not np.array_equal(given[role], own, equal_nan=True)
    }
    return replace(outcomes, values=handed) if handed else outcomes


def _spread(outcomes: Outcomes, groups: Sequence[Hashable]) -> Numbers:
    """Sum squared deviations of each role's ranks from the mean of the group, (R,)."""
    ranks = outcomes.table().rank()
    codes = pd.factorize(pd.Series(list(groups), dtype=object))[0]
    deviation = ranks - ranks.groupby(codes).transform("mean")
    return np.asarray((deviation**2).sum(axis=0), dtype=float)


def _count_orders(data: ScanSet, seed: int, cell_of: Mapping[str, Hashable] | None) -> int:
    assert data.target is not None
    places = find_places(data.target, data.outcomes, cell_of)
    rng, found = np.random.default_rng([seed, COUNTED]), set()
    for _ in range(DRAWS):
        given = data.target.exchanged(data.outcomes, places.draw(rng).order)
        found.add(np.stack([*given.values.values()]).tobytes())
    return len(found)


def check_outcomes_exchangeable(data: ScanSet, seed: int) -> None:
    """Refuse a cohort whose outcomes can hardly be exchanged: no p-value could be small.

    Raises
    ------
    CohortError
        Saying how many orders there are.
    """
    n_orders = _count_orders(data, seed, None)
    if n_orders < MIN_ORDERS:
        found = f"outcomes that can be exchanged in {n_orders} ways only"
        accepted = f"{MIN_ORDERS} or more, within sites, families and people"
        action = "add people to each site, or leave permutations out: permutation.n=0"
        raise CohortError(Fault("permutation", found, accepted, action))


def run_outcome_permutations(
    pipeline: Pipeline,
    data: ScanSet,
    plan: PermutationPlan,
    folder: Path,
    elsewhere: Path | None = None,
    shard: Shard = WHOLE,
    observed: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Run the permutations that `folder` doesn't hold yet; a killed run goes on where it was.

    As `fmnet.crossval.permutation.run_permutations`, with the target's statistic for the AUC;
    `observed` are those of `observed_statistics`.

    Returns
    -------
    DataFrame
        Statistics under the null: one row per permutation, in order, one column per model.

    Raises
    ------
    CohortError
        If outcomes can hardly be exchanged.
    """
    check_outcomes_exchangeable(data, pipeline.seed)
    folds = [one for one in pipeline.build_folds(data.cohort) if one.repeat < plan.n_repeats]
    size = TOGETHER
    if pipeline.trainable.longest > 0 or find_outcome_cells(data, folds, pipeline.seed) is None:
        size = -(-pipeline.folds_together(folds) // len(folds))
    held = (folder, elsewhere, shard, observed)
    return run_missing(run_outcomes_together, size, pipeline, data, plan, *held)


def run_outcomes_together(
    given: tuple[Pipeline, ScanSet, int], indices: list[int]
) -> list[dict[str, float]]:
    """Run the pipeline on outcomes exchanged once for each index; the statistic by model."""
    pipeline, data, n_repeats = given
    assert data.target is not None
    folds = [fold for fold in pipeline.build_folds(data.cohort) if fold.repeat < n_repeats]
    cells = find_outcome_cells(data, folds, pipeline.seed)
    all_places = find_places(data.target, data.outcomes, cells)
    generators = (np.random.default_rng([pipeline.seed, PERMUTATION, k + 1]) for k in indices)
    drawn = [all_places.draw(rng) for rng in generators]
    orders = [data.target.exchanged(data.outcomes, one.order) for one in drawn]
    places = [one.place_of if cells is None else None for one in drawn]
    models: dict[str, Model] = {NETWORK: TrainedNetwork(pipeline.trainable, pipeline.seed)}
    models |= pipeline.usable(data)
    found = {}
    with step("models", len(models), covers=len(indices)) as advance:
        for name, model in models.items():
            found[name] = permuted_statistics(model, data, folds, orders, places)
            advance()
    return [{name: own[k] for name, own in found.items()} for k in range(len(indices))]


def permuted_statistics(
    model: Model,
    data: ScanSet,
    folds: Sequence[Fold],
    orders: Sequence[Outcomes],
    places: Sequence[Mapping[str, str] | None],
) -> list[float]:
    """Learn all folds under each of L outcomes, and compute the target's statistic.

    Where people stand in others' places, folds move along; where they don't, what needs no outcomes
    is computed once for all. The mean over repeats is taken.
    """
    assert data.target is not None
    scores: list[list[tuple[int, int, Rows, Numbers]]] = [[] for _ in orders]
    if all(own is None for own in places):
        for fold in folds:
            test = data.rows(fold.test)
            each = model.scores_of_responses(data, fold, orders)
            for held, own in zip(scores, each, strict=True):
                held.append((fold.repeat, fold.fold, test, own))
    else:
        for held, own_outcomes, place_of in zip(scores, orders, places, strict=True):
            relabelled = data.with_outcomes(own_outcomes)
            work = [(relabelled, moved(fold, place_of or {})) for fold in folds]
            for (_, fold), one in zip(
                work, model.score_folds(work, is_calibrated=False), strict=True
            ):
                held.append((fold.repeat, fold.fold, data.rows(fold.test), one.score))
    return [_statistic(data.target, own, held) for own, held in zip(orders, scores, strict=True)]


def observed_statistics(
    data: ScanSet, predictions: pd.DataFrame, n_repeats: int
) -> dict[str, float]:
    """Compute the target's statistic of each model over the first repeats of a table."""
    assert data.target is not None
    row_of = {scan.scan_id: row for row, scan in enumerate(data.cohort.scans)}
    columns, found = list(score_columns(data.target)), {}
    chosen = predictions[predictions["repeat"] < n_repeats]
    for name, own in chosen.groupby("model", sort=False):
        held = []
        for _, part in own.groupby(["repeat", "fold"]):
            place = part[["repeat", "fold"]].iloc[0]
            rows = np.array([row_of[scan] for scan in part["scan_id"]])
            scores = part[columns].to_numpy(float)
            held.append((int(place["repeat"]), int(place["fold"]), rows, scores))
        found[str(name)] = _statistic(data.target, data.outcomes, held)
    return found


def _statistic(
    target: Target, outcomes: Outcomes, scored: Sequence[tuple[int, int, Rows, Numbers]]
) -> float:
    """Compute the statistic of repeats, mean over them, from repeat, fold, rows and scores."""
    found = []
    for repeat in sorted({one[0] for one in scored}):
        parts = [one for one in scored if one[0] == repeat]
        rows = np.concatenate([one[2] for one in parts])
        fold = np.concatenate([np.full(len(one[2]), one[1]) for one in parts])
        scores, order = np.concatenate([one[3] for one in parts]), np.argsort(rows)
        placed: NDArray[np.intp] = rows[order]
        statistic = target.statistic(scores[order], outcomes.take(placed), fold[order])
        found.append(float(statistic))
    return float(np.mean(found))
