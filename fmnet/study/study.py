"""One study from a listing to a run folder."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fmnet.data.cohort import Cohort, open_cohort
from fmnet.data.folds import Fold, build_inner_folds
from fmnet.data.listing import Listing
from fmnet.data.store import ScanStore
from fmnet.data.template import build_grid
from fmnet.deploy.preparation import PreparationSettings
from fmnet.limits import Count, Seed
from fmnet.networks.backbones import NetworkBuilder
from fmnet.study.analysis import analyse_predictions, power_of
from fmnet.study.audit.audit import AuditPlan, run_audit
from fmnet.study.baselines.base import Baseline
from fmnet.study.claim import claim_run_folder, replacing
from fmnet.study.crossval import (
    NETWORK,
    Pipeline,
    crossvalidate_baselines,
    crossvalidate_network,
    crossvalidate_seeds,
    fold_seed,
    train_with_progress,
)
from fmnet.study.data import StudyData, load_study_data
from fmnet.study.exchange import PERMUTATION, permute_labels
from fmnet.study.findings import all_findings
from fmnet.study.leaks import check_leaks
from fmnet.study.lockbox import LockBox, set_aside
from fmnet.study.metrics import add_units
from fmnet.study.permutation import PermutationPlan, run_permutations, summarise_permutations
from fmnet.study.record import Results, read_results, write_final, write_record
from fmnet.study.report.page import write_report
from fmnet.study.report.words import NAMES, control, summary_lines
from fmnet.study.run_folder import (
    as_written,
    is_writer,
    manifest,
    note_resumption,
    parse_settings,
    read_probes,
    write_json,
)
from fmnet.study.sensitivity.curve import Precision
from fmnet.study.sensitivity.learning_curve import LearningCurvePlan, run_learning_curve
from fmnet.study.sensitivity.reruns import SensitivityPlan, run_reruns
from fmnet.study.verdict import best_rival, verdict
from fmnet.training.datamodule import Augmentation
from fmnet.training.fit import LoggerBuilder, Trainable
from fmnet.training.fold import TrainedFold
from fmnet.training.recipe import Recipe
from fmnet.training.trainer import TrainerBuilder, check_trainer

#: Index of the final training among the seeds; no repeat has this number.
FINAL = 1_000_000


def run_study(
    cohort: Listing,
    preparation: PreparationSettings,
    folds: Callable[[Cohort], list[Fold]],
    network: NetworkBuilder,
    task: Recipe,
    augmentation: Callable[..., Augmentation | None],
    trainer: TrainerBuilder,
    baselines: dict[str, Baseline],
    logger: dict[str, LoggerBuilder],
    permutation: PermutationPlan,
    sensitivity: SensitivityPlan,
    learning_curve: LearningCurvePlan,
    lockbox: LockBox,
    audit: AuditPlan,
    shuffle_labels: bool,
    n_seeds: Count,
    seed: Seed,
    run_dir: str,
    store_dir: str,
    overwrite: bool,
    resume: bool,
    config_yaml: str = "",
) -> list[str]:
    """Cross-validate, train the final model, permute, write the run folder.

    Parameters
    ----------
    cohort : Listing
        From one of the readers.
    preparation : PreparationSettings
        How scans become the network's input.
    folds : callable
        Cohort to folds.
    network : callable
        Input shape to a fresh network.
    task : Recipe
        Optimiser and budget.
    augmentation, trainer : callable
        See `fmnet.training.fit.Trainable`.
    baselines, logger : dict
        By name.
    permutation : PermutationPlan
        How often the whole pipeline is repeated on shuffled labels.
    sensitivity : SensitivityPlan
        Which reruns with one thing changed are made.
    learning_curve : LearningCurvePlan
        From how few people the models are made to learn as well.
    lockbox : LockBox
        Who is set aside before anything else.
    audit : AuditPlan
        Which covariates could be confounds.
    shuffle_labels : bool
        Negative control: study labels that were shuffled once.
    n_seeds : int
        How often the network is trained on the folds of the first repeat, under other seeds.
    seed : int
        Everything random derives from it.
    run_dir, store_dir : str
        Where results and decoded scans go.
    overwrite : bool
        Whether a finished run in `run_dir` may be replaced.
    resume : bool
        Whether a finished run of the same configuration is gone on with, for instance with
        permutations; an unfinished one is in any case.
    config_yaml : str
        The configuration as text, kept with the results.

    Returns
    -------
    list of str
        The results in a few lines for the terminal.
    """
    started, folder = datetime.now(UTC), Path(run_dir)
    check_trainer(trainer)
    settings = parse_settings(config_yaml)
    is_resumed = claim_run_folder(folder, config_yaml, overwrite, resume)
    grid = build_grid(preparation.voxel_size_mm, preparation.mask)
    store = ScanStore(Path(store_dir), grid, preparation.min_coverage)
    opened = set_aside(open_cohort(cohort, store), lockbox, seed)
    if shuffle_labels:
        opened = permute_labels(opened, np.random.default_rng([seed, PERMUTATION]))
    trainable = Trainable(
        network, task, trainer, augmentation, tuple(logger.values()), folder / "logs"
    )
    pipeline = Pipeline(trainable, baselines, folds, seed)
    splits = folds(opened)
    data = load_study_data(opened, preparation)
    if is_resumed:
        results = read_results(folder, data, splits)
    else:
        network((len(cohort.contrasts), *store.grid.shape))  # too small a grid shows here
        check_leaks(usable_baselines(pipeline, data), data, splits[0], seed)
        with replacing(folder) if is_writer() else nullcontext():
            results = crossvalidate(pipeline, data, splits, n_seeds)
            if is_writer():
                record = manifest(seed, _hashes(opened), started)
                write_record(results, folder, record, config_yaml)
    named = add_units(results.predictions, opened.unit_of)
    metrics = figures(results, named, seed)
    if not (folder / "model" / "training.json").exists():
        final = train_final(pipeline, data, splits)
        if is_writer():
            write_final(results, metrics, final, pipeline, control(settings), folder / "model")
    plans = (permutation, sensitivity, learning_curve)
    before = read_probes(folder) if is_resumed else {}
    metrics |= probe(plans, pipeline, results, metrics, before, folder)
    network_figures = metrics["models"][NETWORK]
    metrics["audit"] = run_audit(audit, opened, results.predictions, NETWORK, network_figures, seed)
    metrics["findings"] = all_findings(metrics)
    metrics["verdict"] = verdict(metrics, NAMES)
    if is_writer():
        if is_resumed:
            note_resumption(folder, started)
        write_report(metrics, results.predictions, opened, settings, folder)
        write_json(metrics, folder / "metrics.json")  # last: it marks the run as finished
    return [*summary_lines(metrics, cohort, settings), str(folder)]


def usable_baselines(pipeline: Pipeline, data: StudyData) -> dict[str, Baseline]:
    """Pick the baselines that the cohort has what they need for."""
    return {n: one for n, one in pipeline.baselines.items() if not one.lacks(data.baseline_data)}


def probe(
    plans: tuple[PermutationPlan, SensitivityPlan, LearningCurvePlan],
    pipeline: Pipeline,
    results: Results,
    metrics: dict[str, Any],
    before: dict[str, Any],
    folder: Path,
) -> dict[str, Any]:
    """Train again as the plans ask: under shuffled labels, with one thing changed, on fewer people.

    What `folder` holds already is not run again, and what an earlier call found, `before`, stays.
    """
    permutation, sensitivity, learning_curve = plans
    data, predictions = results.data, results.predictions
    reruns = run_reruns(sensitivity, pipeline, data, folder / "sensitivity")
    found = before | {"sensitivity": before.get("sensitivity", {}) | reruns}
    if permutation.n:
        null = run_permutations(pipeline, data, permutation, folder / "permutations")
        found["permutation"] = summarise_permutations(null, predictions, permutation)
    found["power"] = power_of(predictions, metrics | found)
    if learning_curve.shares:
        precision = Precision(
            metrics["n_subjects"],
            found["power"].get("inflation") or 1.0,
            found["power"].get("difference"),
        )
        found["learning_curve"] = run_learning_curve(
            learning_curve,
            pipeline,
            data,
            results.folds,
            predictions,
            best_rival(metrics["models"]),
            precision,
            folder / "learning_curve",
        )
    return found


def crossvalidate(pipeline: Pipeline, data: StudyData, folds: list[Fold], n_seeds: int) -> Results:
    """Score everybody out of fold, by the network and by each baseline; predictions as written."""
    predictions, epochs = crossvalidate_network(pipeline, data, folds)
    others, lacking = crossvalidate_baselines(pipeline, data, folds)
    predictions = as_written(pd.concat([predictions, others], ignore_index=True))
    again = crossvalidate_seeds(pipeline, data, folds, n_seeds)
    return Results(data, folds, predictions, epochs, lacking, again)


def figures(results: Results, predictions: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Compute what is said about the models from the out-of-fold table."""
    return analyse_predictions(predictions, results.again, seed) | {
        "n_epochs": results.n_epochs,
        "lacking": results.lacking,
    }


def train_final(pipeline: Pipeline, data: StudyData, folds: list[Fold]) -> TrainedFold:
    """Train on all subjects, with as many inner folds as the outer folds had."""
    fold = build_inner_folds(data.cohort, len(folds[0].validation), pipeline.seed)
    seed = fold_seed(pipeline.seed, FINAL)
    return train_with_progress(
        pipeline.trainable, data.smoothed, fold, seed, "final", "final model"
    )


def _hashes(cohort: Cohort) -> list[str]:
    return [digest for stored in cohort.stored for digest in stored.source_sha256]
