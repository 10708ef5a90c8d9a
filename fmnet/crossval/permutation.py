"""Permutation test of the whole pipeline: labels exchanged, every choice made anew."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fmnet.baselines.base import Model
from fmnet.crossval.exchange import Exchange, check_exchangeable, exchange, find_cells
from fmnet.crossval.fold_loop import Pipeline, TrainedNetwork, score_folds
from fmnet.crossval.workers import map_units
from fmnet.data.cohort import relabel
from fmnet.data.folds import Fold
from fmnet.evaluation.comparison import count_reached, pooled_aucs, study_aucs
from fmnet.progress.show import step
from fmnet.runs.checkpoints import WHOLE, Shard
from fmnet.runs.run_folder import read_sealed, write_sealed
from fmnet.training.scan_set import ScanSet
from fmnet.types import NETWORK, Count, NonNegativeCount

#: Part of every seed, so that permutations share no random numbers with the study itself.
PERMUTATION = 2_000_000
#: Folder of permutations, in the run's and in that of the shards.
PERMUTATIONS = "permutations"
#: Permutations that share what needs no labels; so many are lost at most where a run is killed.
TOGETHER = 200
#: Permutations after which it is first asked whether to stop, then twice as many each time.
FIRST = 20


@dataclass(frozen=True)
class PermutationPlan:
    """How much to permute.

    Parameters
    ----------
    n : int
        Permutations; 0 for none. The smallest p-value is ``1 / (n + 1)``.
    n_repeats : int
        Repeats of the folds in each; the observed AUC that they are compared with uses the same.
    models : list of str
        Baselines that are permuted besides those that always are: the network, and every linear
        model that could be exported in its place.
    stop_after : int
        Stop before `n` once so many permutations have reached the AUC observed, for every model
        and for the largest AUC of all: few more wouldn't make a large p-value small. 0 to run all.
        See `fmnet.evaluation.comparison.p_value`.
    """

    n: NonNegativeCount = 0
    n_repeats: Count = 1
    models: Sequence[str] = ()
    stop_after: NonNegativeCount = 0


def run_permutations_together(
    given: tuple[Pipeline, ScanSet, int], indices: list[int]
) -> list[dict[str, float]]:
    """Run the pipeline on labels shuffled once for each index; AUC by model.

    Every choice is made anew. What serves probabilities alone is left out: no AUC needs it. Where
    labels are shuffled within the cells of the folds, what needs no labels is computed once.
    """
    pipeline, data, n_repeats = given
    pipeline = replace(pipeline, is_calibrated=False)
    folds = [fold for fold in pipeline.build_folds(data.cohort) if fold.repeat < n_repeats]
    cells = find_cells(data.cohort, folds, pipeline.seed)
    orders = [
        exchange(data.cohort, np.random.default_rng([pipeline.seed, PERMUTATION, k + 1]), cells)
        for k in indices
    ]
    if cells is None or pipeline.trainable.longest > 0:  # gradients share nothing
        return _score_one_by_one(pipeline, data, folds, orders)
    labelings = np.stack([order.labels for order in orders])
    labels = [labelings[:, data.rows(fold.test)] for fold in folds]
    network: Model = TrainedNetwork(pipeline.trainable, pipeline.seed)
    aucs = {}
    models = {NETWORK: network, **pipeline.usable(data)}
    with step("models", len(models) * len(folds), covers=len(indices)) as advance:
        for name, model in models.items():
            scores = []
            for fold in folds:
                scores.append(model.scores_of_labelings(data, fold, labelings))
                advance()
            aucs[name] = pooled_aucs(scores, labels)
    return [{name: float(own[k]) for name, own in aucs.items()} for k in range(len(indices))]


def _score_one_by_one(
    pipeline: Pipeline, data: ScanSet, folds: list[Fold], orders: list[Exchange]
) -> list[dict[str, float]]:
    """Score orders one by one, with folds that moved along with labels where they do."""
    work = []
    for order in orders:
        relabelled = data.relabel(relabel(data.cohort, order.labels))
        work += [(relabelled, order.moved(fold)) for fold in folds]  # (labelings x folds)
    scored = score_folds(pipeline, work, "models", covers=len(orders))
    tables = [
        pd.concat([one.rows for one in scored[start : start + len(folds)]])
        for start in range(0, len(scored), len(folds))
    ]
    return [study_aucs(table, len(folds)) for table in tables]


def run_permutations(
    pipeline: Pipeline,
    data: ScanSet,
    plan: PermutationPlan,
    folder: Path,
    elsewhere: Path | None = None,
    shard: Shard = WHOLE,
    observed: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Run the permutations that `folder` doesn't hold yet; a killed run goes on where it was.

    `folder` gets one small file per permutation; `elsewhere` is another such folder, to which other
    processes or machines have written; only the permutations of `shard` are run here. With
    `observed`, the AUC of each model under the labels observed, it stops as the plan says; shards,
    which don't see each other's, run all of theirs.

    Returns
    -------
    DataFrame
        AUC under the null: one row per permutation of this shard, in order, one column per model.

    Raises
    ------
    CohortError
        If labels can hardly be exchanged.
    """
    check_exchangeable(data.cohort, pipeline.seed)
    size = _together(pipeline, data, plan)
    held = (folder, elsewhere, shard, observed)
    return run_missing(run_permutations_together, size, pipeline, data, plan, *held)


def run_missing(
    run_together: Callable[[tuple[Pipeline, ScanSet, int], list[int]], list[dict[str, float]]],
    size: int,
    pipeline: Pipeline,
    data: ScanSet,
    plan: PermutationPlan,
    folder: Path,
    elsewhere: Path | None = None,
    shard: Shard = WHOLE,
    observed: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Run permutations of any scheme that `folder` doesn't hold yet, see `run_permutations`.

    `run_together` runs those of some indices; `size` of them are worth running at once.
    """
    names = permuted_models(pipeline, plan)
    quiet = pipeline.rerun(names)
    folder = folder / _folder_name(pipeline, plan)
    folder.mkdir(parents=True, exist_ok=True)
    if elsewhere:
        for path in (elsewhere / folder.name).glob("[0-9]*.json"):
            path.replace(folder / path.name)
    own = list(shard.own(range(plan.n)))
    found = {index: aucs for index in own if (aucs := _read(folder, index)) is not None}
    is_stopped = partial(_is_enough, observed or {}, plan.stop_after)
    waves = [own]
    if plan.stop_after and observed:
        waves = _growing(own, size, pipeline.n_jobs)
    given = (quiet, data, plan.n_repeats)
    with step("permutations", len(own), done=len(found)) as advance:
        for wave in waves:
            missing = [index for index in wave if index not in found]
            each = min(size, -(-len(missing) // pipeline.n_jobs)) or 1
            units = [missing[start : start + each] for start in range(0, len(missing), each)]
            work = map_units(run_together, given, units, pipeline.n_jobs)
            for indices, run in work:
                for index, one in zip(indices, run, strict=True):
                    write_sealed(one, folder / f"{index:05d}.json")
                    found[index] = one
                advance(len(indices))
            if is_stopped([found[index] for index in own if index <= wave[-1]]):
                own = [index for index in own if index <= wave[-1]]
                break
    return pd.DataFrame([found[index] for index in own])


def _together(pipeline: Pipeline, data: ScanSet, plan: PermutationPlan) -> int:
    """Count the permutations that are worth running at once."""
    folds = [one for one in pipeline.build_folds(data.cohort) if one.repeat < plan.n_repeats]
    if find_cells(data.cohort, folds, pipeline.seed) and pipeline.trainable.longest == 0:
        return TOGETHER
    return -(-pipeline.folds_together(folds) // len(folds))


def _growing(own: list[int], size: int, n_jobs: int) -> list[list[int]]:
    """Cut permutations into parts, the first ones small."""
    waves, start, n = [], 0, min(FIRST, size)
    while start < len(own):
        waves.append(own[start : start + n * n_jobs])
        start, n = start + n * n_jobs, min(2 * n, size)
    return waves


def _is_enough(
    observed: Mapping[str, float], stop_after: int, found: Sequence[Mapping[str, float]]
) -> bool:
    """Tell whether every model, and the largest AUC of all, was reached often enough."""
    if not stop_after or not found:
        return False
    names = [name for name in found[0] if name in observed]
    pairs = [([one[name] for one in found], observed[name]) for name in names]
    largest = [max(one[name] for name in names) for one in found]
    pairs.append((largest, max(observed[name] for name in names)))
    return all(count_reached(null, auc) >= stop_after for null, auc in pairs)


def count_permutations(pipeline: Pipeline, plan: PermutationPlan, *folders: Path) -> int:
    """Count the permutations of a plan that are in one of these folders."""
    paths = [folder / _folder_name(pipeline, plan) for folder in folders]
    return sum(any(_read(path, index) is not None for path in paths) for index in range(plan.n))


def count_earlier(*folders: Path) -> int:
    """Count permutations of versions that made folds anew for each order of the labels.

    They are of another scheme: mixed with those of this one they would be of none.
    """
    return sum(len(list(folder.glob("repeats-*/[0-9]*.json"))) for folder in folders)


def permuted_models(pipeline: Pipeline, plan: PermutationPlan) -> list[str]:
    """Name the baselines that are permuted: those asked for, and all that can be exported."""
    models = pipeline.baselines.items()
    return [name for name, one in models if name in plan.models or one.is_exportable]


def _folder_name(pipeline: Pipeline, plan: PermutationPlan) -> str:
    """Name the folder of permutations after what their figures depend on, the scheme among it."""
    models = "_".join([NETWORK, *sorted(permuted_models(pipeline, plan))])
    return f"exchanged_repeats-{plan.n_repeats}_{models}"


def _read(folder: Path, index: int) -> dict[str, Any] | None:
    """Read a permutation; None if it isn't done or is damaged."""
    return read_sealed(folder / f"{index:05d}.json")
