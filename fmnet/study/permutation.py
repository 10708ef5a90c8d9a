"""Permutation test of the whole pipeline: labels shuffled, folds and choices made anew."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from fmnet.errors import Fault, FoldsError
from fmnet.limits import Count, NonNegativeCount
from fmnet.study.crossval import (
    NETWORK,
    Pipeline,
    crossvalidate_baselines,
    crossvalidate_network,
)
from fmnet.study.data import StudyData
from fmnet.study.exchange import PERMUTATION, check_exchangeable, permute_labels
from fmnet.study.metrics import count_pairs
from fmnet.study.run_folder import check_one_process, read_json, write_json
from fmnet.study.workers import start_worker

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
        Baselines that are permuted beside the network.
    n_jobs : int
        Processes.
    """

    n: NonNegativeCount = 0
    n_repeats: Count = 1
    models: Sequence[str] = ("linear_svm", "logistic_ridge")
    n_jobs: Count = 1


def run_permutation(
    pipeline: Pipeline, data: StudyData, index: int, n_repeats: int
) -> dict[str, float]:
    """Shuffle labels and run the whole pipeline on them; AUC by model.

    Labels for which no folds can be made, as two people of one class at one site may be, are drawn
    again: the same condition holds for the labels observed.
    """
    rng = np.random.default_rng([pipeline.seed, PERMUTATION, index + 1])
    for _ in range(TRIES):
        cohort = permute_labels(data.cohort, rng)
        try:
            folds = [fold for fold in pipeline.build_folds(cohort) if fold.repeat < n_repeats]
            break
        except FoldsError:
            continue
    else:
        raise FoldsError(_no_folds())
    permuted = data.relabelled(cohort)
    scored, _ = crossvalidate_network(pipeline, permuted, folds, title="")
    others, _ = crossvalidate_baselines(pipeline, permuted, folds, has_bars=False)
    return study_aucs(pd.concat([scored, others]), n_repeats)


def study_aucs(predictions: pd.DataFrame, n_repeats: int) -> dict[str, float]:
    """AUC of each model over the first repeats, pairs within test folds."""
    rows = predictions[predictions["repeat"] < n_repeats]
    return {str(name): _auc(table) for name, table in rows.groupby("model")}


def _auc(table: pd.DataFrame) -> float:
    pairs = count_pairs(table)
    return pairs.auc(np.ones(len(pairs.units)))


def run_permutations(
    pipeline: Pipeline, data: StudyData, plan: PermutationPlan, folder: Path
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

    Returns
    -------
    DataFrame
        AUC under the null: one row per permutation, one column per model.

    Raises
    ------
    ConfigError
        In a distributed training, whose processes can't share them.
    FoldsError
        If random labels hardly ever allow folds.
    """
    check_one_process("permutation.n")
    check_exchangeable(data.cohort, pipeline.seed)
    kept = {name: one for name, one in pipeline.baselines.items() if name in plan.models}
    folder = folder / f"repeats-{plan.n_repeats}_{'_'.join([NETWORK, *sorted(kept)])}"
    folder.mkdir(parents=True, exist_ok=True)
    trainable = replace(pipeline.trainable, build_loggers=())
    quiet = replace(pipeline, trainable=trainable, baselines=kept)
    missing = [index for index in range(plan.n) if not _path(folder, index).exists()]
    bar = tqdm(total=plan.n, initial=plan.n - len(missing), desc="permutations", unit="run")
    with bar:
        for index, aucs in _run_all(quiet, data, missing, plan):
            write_json(aucs, _path(folder, index))
            bar.update()
    return pd.DataFrame([read_json(_path(folder, index)) for index in range(plan.n)])


def summarise_permutations(
    null: pd.DataFrame, predictions: pd.DataFrame, plan: PermutationPlan
) -> dict[str, Any]:
    """Compare the AUC observed with its null: ``p = (b + 1) / (m + 1)``.

    References
    ----------
    Phipson, B., & Smyth, G. K. (2010). Permutation p-values should never be zero.
    """
    observed = study_aucs(predictions, plan.n_repeats)
    models = {
        name: {
            "observed": auc,
            "p": (int((~(null[name] < auc - 1e-9)).sum()) + 1) / (len(null) + 1),
            "null": null[name].tolist(),
        }
        for name, auc in observed.items()
        if name in null
    }
    return {"n": len(null), "n_repeats": plan.n_repeats, "models": models}


def _run_all(
    pipeline: Pipeline, data: StudyData, indices: list[int], plan: PermutationPlan
) -> Iterator[tuple[int, dict[str, float]]]:
    if plan.n_jobs == 1 or len(indices) < 2:
        for index in indices:
            yield index, run_permutation(pipeline, data, index, plan.n_repeats)
        return
    threads = max(1, (os.cpu_count() or 1) // plan.n_jobs)
    arguments = (pipeline, data, plan.n_repeats, threads)
    # Forked workers would share torch's threads and hang.
    context = get_context("spawn")
    with ProcessPoolExecutor(plan.n_jobs, context, _Worker.start, arguments) as pool:
        futures = {pool.submit(_Worker.work, index): index for index in indices}
        for future in as_completed(futures):
            yield futures[future], future.result()


class _Worker:
    """What a process keeps from one permutation to the next."""

    arguments: tuple[Pipeline, StudyData, int]

    @classmethod
    def start(cls, pipeline: Pipeline, data: StudyData, n_repeats: int, threads: int) -> None:
        start_worker(threads)
        cls.arguments = pipeline, data, n_repeats

    @classmethod
    def work(cls, index: int) -> dict[str, float]:
        pipeline, data, n_repeats = cls.arguments
        return run_permutation(pipeline, data, index, n_repeats)


def _path(folder: Path, index: int) -> Path:
    return folder / f"{index:05d}.json"


def _no_folds() -> Fault:
    return Fault(
        "permutation",
        f"no folds for {TRIES} random orders of the labels",
        "folds with both classes in each part",
        "use fewer folds (folds.n_splits), or more people per site",
    )
