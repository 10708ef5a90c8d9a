"""Permutation test of the whole pipeline: labels shuffled, folds and choices made anew."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from fmnet.baselines.base import Baseline
from fmnet.baselines.linear import VoxelModel
from fmnet.crossval.exchangeability import PERMUTATION, check_exchangeable, permute_labels
from fmnet.crossval.fold_loop import NETWORK, Pipeline, score_folds
from fmnet.crossval.workers import map_units
from fmnet.data.folds import Fold
from fmnet.earlier import EARLIER_NETWORK, rename_network
from fmnet.errors import Fault, FoldsError
from fmnet.evaluation.comparison import study_aucs
from fmnet.runs.checkpoints import WHOLE, Shard
from fmnet.runs.run_folder import read_sealed, write_sealed
from fmnet.training.scan_set import ScanSet
from fmnet.types import Count, NonNegativeCount

#: How often labels are drawn again where folds can't be made for them.
TRIES = 100


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
        Baselines that are permuted beside those that always are: the network, and every linear
        model that could be exported in its place.
    """

    n: NonNegativeCount = 0
    n_repeats: Count = 1
    models: Sequence[str] = ()


def run_permutations_together(
    pipeline: Pipeline, data: ScanSet, indices: list[int], n_repeats: int
) -> list[dict[str, float]]:
    """Shuffle labels, once for each index, and run the whole pipeline on them; AUC by model.

    What serves probabilities alone is left out: no AUC needs it.
    """
    pipeline = replace(pipeline, is_calibrated=False)
    permuted = [_permute(pipeline, data, index, n_repeats) for index in indices]
    work = [(relabelled, fold) for relabelled, folds in permuted for fold in folds]
    scored = iter(score_folds(pipeline, work))
    tables = [pd.concat([next(scored).rows for _ in folds]) for _, folds in permuted]
    return [study_aucs(table, n_repeats) for table in tables]


def _permute(
    pipeline: Pipeline, data: ScanSet, index: int, n_repeats: int
) -> tuple[ScanSet, list[Fold]]:
    """Shuffle labels and make folds for them.

    Labels for which no folds can be made, as two people of one class at one site may be, are drawn
    again: the same condition holds for the labels observed.
    """
    rng = np.random.default_rng([pipeline.seed, PERMUTATION, index + 1])
    for _ in range(TRIES):
        cohort = permute_labels(data.cohort, rng)
        try:
            folds = pipeline.build_folds(cohort)
        except FoldsError:
            continue
        return data.relabel(cohort), [fold for fold in folds if fold.repeat < n_repeats]
    raise FoldsError(_no_folds())


def run_permutations(
    pipeline: Pipeline,
    data: ScanSet,
    plan: PermutationPlan,
    folder: Path,
    given: Path | None = None,
    shard: Shard = WHOLE,
) -> pd.DataFrame:
    """Run the permutations that `folder` doesn't hold yet; a killed run goes on where it was.

    Parameters
    ----------
    pipeline, data
        What was run on the labels observed; loggers are left out.
    plan : PermutationPlan
        How much.
    folder : Path
        One small file per permutation.
    given : Path, optional
        Another such folder, to which other processes or machines have written.
    shard : Shard
        Which of them are run here.

    Returns
    -------
    DataFrame
        AUC under the null: one row per permutation of this shard, one column per model.

    Raises
    ------
    FoldsError
        If random labels hardly ever allow folds.
    """
    check_exchangeable(data.cohort, pipeline.seed)
    kept = _permuted(pipeline, plan)
    quiet = replace(pipeline.without_loggers(), baselines=kept)
    earlier, folder = (folder / _folder_name(plan, kept, of) for of in (EARLIER_NETWORK, NETWORK))
    folder.mkdir(parents=True, exist_ok=True)
    _adopt(earlier, folder)
    if given is not None:
        _adopt(given / folder.name, folder)
    own = shard.own(range(plan.n))
    missing = [index for index in own if _read(folder, index) is None]
    bar = tqdm(total=len(own), initial=len(own) - len(missing), desc="permutations", unit="run")
    with bar:
        for indices, found in _run_all(quiet, data, missing, plan):
            for index, aucs in zip(indices, found, strict=True):
                write_sealed(aucs, _path(folder, index))
            bar.update(len(indices))
    return pd.DataFrame([_read(folder, index) for index in own])


def count_permutations(pipeline: Pipeline, plan: PermutationPlan, *folders: Path) -> int:
    """Count the permutations of a plan that are in one of these folders."""
    kept = _permuted(pipeline, plan)
    names = [_folder_name(plan, kept, network) for network in (NETWORK, EARLIER_NETWORK)]
    given = [folder / name for folder in folders for name in names]
    found = ((_read(folder, index) for folder in given) for index in range(plan.n))
    return sum(any(aucs is not None for aucs in places) for places in found)


def _run_all(
    pipeline: Pipeline, data: ScanSet, indices: list[int], plan: PermutationPlan
) -> Iterator[tuple[list[int], list[dict[str, float]]]]:
    folds = pipeline.build_folds(data.cohort)
    n_folds = sum(fold.repeat < plan.n_repeats for fold in folds)
    size = -(-pipeline.folds_together(folds) // n_folds)
    units = [indices[start : start + size] for start in range(0, len(indices), size)]
    shared = (pipeline, data, plan.n_repeats)
    return map_units(_run_unit, shared, units, pipeline.n_jobs)


def _run_unit(shared: tuple[Pipeline, ScanSet, int], indices: list[int]) -> list[dict[str, float]]:
    pipeline, data, n_repeats = shared
    return run_permutations_together(pipeline, data, indices, n_repeats)


def _adopt(given: Path, folder: Path) -> None:
    """Move in the permutations that others have run."""
    for path in given.glob("[0-9]*.json"):
        path.replace(folder / path.name)


def _permuted(pipeline: Pipeline, plan: PermutationPlan) -> dict[str, Baseline]:
    """Pick the baselines that are permuted: those asked for, and all that can be exported."""
    return {
        name: one
        for name, one in pipeline.baselines.items()
        if name in plan.models or isinstance(one, VoxelModel)
    }


def _folder_name(plan: PermutationPlan, models: Iterable[str], network: str = NETWORK) -> str:
    return f"repeats-{plan.n_repeats}_{'_'.join([network, *sorted(models)])}"


def _read(folder: Path, index: int) -> dict[str, Any] | None:
    """Read a permutation; None if it isn't done or is damaged. Older ones hold no hash."""
    aucs = read_sealed(_path(folder, index), needs_seal=False)
    return aucs if aucs is None or NETWORK in aucs else rename_network(aucs)


def _path(folder: Path, index: int) -> Path:
    return folder / f"{index:05d}.json"


def _no_folds() -> Fault:
    return Fault(
        "permutation",
        f"no folds for {TRIES} random orders of the labels",
        "folds with both classes in each part",
        "use fewer folds (folds.n_splits), or more people per site",
    )
