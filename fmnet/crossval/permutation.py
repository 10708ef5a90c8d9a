"""Permutation test of the whole pipeline: labels shuffled, folds and choices made anew."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from fmnet.crossval.fold_loop import Pipeline, score_folds
from fmnet.crossval.workers import map_units
from fmnet.data.cohort import Cohort
from fmnet.data.folds import Fold
from fmnet.earlier import EARLIER_NETWORK, rename_network
from fmnet.errors import CohortError, Fault, FoldsError
from fmnet.evaluation.comparison import study_aucs
from fmnet.runs.checkpoints import WHOLE, Shard
from fmnet.runs.run_folder import read_sealed, write_sealed
from fmnet.training.scan_set import ScanSet
from fmnet.types import NETWORK, Count, NonNegativeCount

#: Part of every seed, so that permutations share no random numbers with the study itself.
PERMUTATION = 2_000_000
#: Folder of permutations, in the run's and in that of the shards.
PERMUTATIONS = "permutations"
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
        Baselines that are permuted besides those that always are: the network, and every linear
        model that could be exported in its place.
    """

    n: NonNegativeCount = 0
    n_repeats: Count = 1
    models: Sequence[str] = ()


def run_permutations_together(
    given: tuple[Pipeline, ScanSet, int], indices: list[int]
) -> list[dict[str, float]]:
    """Run the pipeline on labels shuffled once for each index; AUC by model.

    What serves probabilities alone is left out: no AUC needs it.
    """
    pipeline, data, n_repeats = given
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

    Labels for which no folds can be made, as two subjects of a class at one site may be, are drawn
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
    found, accepted = f"no folds for {TRIES} random orders", "folds with both classes in each part"
    action = "use fewer folds (folds.n_splits), or more people per site"
    raise FoldsError(Fault("permutation", f"{found} of the labels", accepted, action))


def run_permutations(
    pipeline: Pipeline,
    data: ScanSet,
    plan: PermutationPlan,
    folder: Path,
    elsewhere: Path | None = None,
    shard: Shard = WHOLE,
) -> pd.DataFrame:
    """Run the permutations that `folder` doesn't hold yet; a killed run goes on where it was.

    `folder` gets one small file per permutation; `elsewhere` is another such folder, to which other
    processes or machines have written; only the permutations of `shard` are run here.

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
    quiet = pipeline.rerun(_permuted(pipeline, plan))
    earlier, folder = (folder / name for name in _folder_names(pipeline, plan))
    folder.mkdir(parents=True, exist_ok=True)
    for others in (earlier, *([elsewhere / folder.name] if elsewhere else [])):
        for path in others.glob("[0-9]*.json"):
            path.replace(folder / path.name)
    own = shard.own(range(plan.n))
    missing = [index for index in own if _read(folder, index) is None]
    folds = pipeline.build_folds(data.cohort)
    n_folds = sum(fold.repeat < plan.n_repeats for fold in folds)
    size = -(-pipeline.folds_together(folds) // n_folds)
    units = [missing[start : start + size] for start in range(0, len(missing), size)]
    given = (quiet, data, plan.n_repeats)
    bar = tqdm(total=len(own), initial=len(own) - len(missing), desc="permutations", unit="run")
    with bar:
        for indices, found in map_units(run_permutations_together, given, units, pipeline.n_jobs):
            for index, aucs in zip(indices, found, strict=True):
                write_sealed(aucs, folder / f"{index:05d}.json")
            bar.update(len(indices))
    return pd.DataFrame([_read(folder, index) for index in own])


def count_permutations(pipeline: Pipeline, plan: PermutationPlan, *folders: Path) -> int:
    """Count the permutations of a plan that are in one of these folders."""
    paths = [folder / name for folder in folders for name in _folder_names(pipeline, plan)]
    return sum(any(_read(path, index) is not None for path in paths) for index in range(plan.n))


def _permuted(pipeline: Pipeline, plan: PermutationPlan) -> list[str]:
    """Name the baselines that are permuted: those asked for, and all that can be exported."""
    models = pipeline.baselines.items()
    return [name for name, one in models if name in plan.models or one.is_exportable]


def _folder_names(pipeline: Pipeline, plan: PermutationPlan) -> list[str]:
    """Name the folder of permutations as earlier versions did, and as this one does."""
    models = "_".join(sorted(_permuted(pipeline, plan)))
    joint = "_" if models else ""
    return [
        f"repeats-{plan.n_repeats}_{network}{joint}{models}"
        for network in (EARLIER_NETWORK, NETWORK)
    ]


def _read(folder: Path, index: int) -> dict[str, Any] | None:
    """Read a permutation; None if it isn't done or is damaged. Older ones hold no hash."""
    aucs = read_sealed(folder / f"{index:05d}.json", needs_seal=False)
    return aucs if aucs is None or NETWORK in aucs else rename_network(aucs)


#: How many orders are drawn to see how many there are.
DRAWS = 100
#: Fewest orders of the labels that are worth a test at 5 %.
MIN_ORDERS = 20


def permute_labels(cohort: Cohort, rng: np.random.Generator) -> Cohort:
    """Shuffle labels as the null hypothesis allows.

    A participant with scans of both classes keeps them, in another order among the scans. All
    others exchange labels whole: within their site, and with families of the same size as a family.
    Within a family its members exchange labels too.
    """
    labels = [scan.label for scan in cohort.scans]
    rows_by_participant: dict[str, list[int]] = defaultdict(list)
    for row, participant in enumerate(cohort.participant_ids):
        rows_by_participant[participant].append(row)
    shuffled = list(labels)
    whole: dict[str, str] = {}
    for participant, rows in rows_by_participant.items():
        own = [labels[row] for row in rows]
        if len(set(own)) == 1:
            whole[participant] = own[0]
            continue
        for row, source in zip(rows, rng.permutation(len(rows)), strict=True):
            shuffled[row] = own[source]
    for participant, label in _exchange_labels(whole, cohort, rng).items():
        for row in rows_by_participant[participant]:
            shuffled[row] = label
    scans = tuple(
        replace(scan, label=label) for scan, label in zip(cohort.scans, shuffled, strict=True)
    )
    return replace(cohort, scans=scans)


def _exchange_labels(
    label_of: dict[str, str], cohort: Cohort, rng: np.random.Generator
) -> dict[str, str]:
    """Shuffle the labels of participants within site and family size, families as a whole."""
    site_of = dict(zip(cohort.participant_ids, cohort.covariate("site"), strict=True))
    unit_of = cohort.unit_of
    families: dict[str, list[str]] = defaultdict(list)
    for participant in label_of:
        families[unit_of[participant]].append(participant)
    blocks: dict[tuple[str, ...], list[list[str]]] = defaultdict(list)
    for members in families.values():
        blocks[tuple(site_of[participant] for participant in members)].append(members)
    exchanged: dict[str, str] = {}
    for block in blocks.values():
        for members, source in zip(block, rng.permutation(len(block)), strict=True):
            own = [label_of[participant] for participant in block[source]]
            order = rng.permutation(len(own)) if len(own) > 1 else [0]
            exchanged |= {
                participant: own[k] for participant, k in zip(members, order, strict=True)
            }
    return exchanged


def check_exchangeable(cohort: Cohort, seed: int) -> None:
    """Refuse a cohort whose labels can hardly be exchanged: no p-value could be small.

    Raises
    ------
    CohortError
        Saying how many orders there are.
    """
    rng = np.random.default_rng([seed, PERMUTATION])
    orders = {tuple(permute_labels(cohort, rng).labels.tolist()) for _ in range(DRAWS)}
    if len(orders) < MIN_ORDERS:
        raise CohortError(
            Fault(
                "permutation",
                f"labels that can be exchanged in {len(orders)} ways only",
                f"{MIN_ORDERS} or more, within sites, families and people",
                "have both classes at each site, or leave permutations out: permutation.n=0",
            )
        )
