"""One study from a listing to a run folder."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fmnet.data.cohort import Cohort, open_cohort
from fmnet.data.folds import Fold, build_inner_folds
from fmnet.data.folds_file import folds_table
from fmnet.data.listing import Listing
from fmnet.data.store import ScanStore
from fmnet.data.tables import write_table
from fmnet.deploy.calibration import fit_calibration
from fmnet.deploy.preparation import PreparationSettings
from fmnet.deploy.quality import fit_reference
from fmnet.limits import Count, Seed
from fmnet.networks.backbones import NetworkBuilder
from fmnet.networks.rebuild import describe_builder
from fmnet.study.analysis import analyse_predictions
from fmnet.study.audit.audit import AuditPlan, run_audit
from fmnet.study.baselines.base import Baseline
from fmnet.study.crossval import (
    NETWORK,
    Pipeline,
    StudyData,
    crossvalidate_baselines,
    crossvalidate_network,
    crossvalidate_seeds,
    fold_seed,
    load_study_data,
    mean_scores,
    train_with_progress,
)
from fmnet.study.lockbox import LockBox, set_aside
from fmnet.study.permutation import (
    PERMUTATION,
    PermutationPlan,
    permute_labels,
    run_permutations,
    summarise_permutations,
)
from fmnet.study.report.page import write_report
from fmnet.study.report.words import NAMES, summary_lines
from fmnet.study.run_folder import (
    TrainingRecord,
    as_written,
    check_run_folder,
    check_same_run,
    create_run_folder,
    is_writer,
    manifest,
    parse_settings,
    read_json,
    read_predictions,
    write_json,
    write_model,
)
from fmnet.study.verdict import verdict
from fmnet.training.datamodule import Augmentation
from fmnet.training.fit import LoggerBuilder, Trainable
from fmnet.training.fold import TrainedFold
from fmnet.training.recipe import Recipe
from fmnet.training.trainer import TrainerBuilder

#: Index of the final training among the seeds; no repeat has this number.
FINAL = 1_000_000


@dataclass(frozen=True, eq=False)
class Results:
    """All that a study found in cross-validation.

    Parameters
    ----------
    data : StudyData
        Who was in it.
    folds : list of Fold
        How they were split.
    predictions : DataFrame
        Out-of-fold scores of every model.
    n_epochs : list of int
        Length of training that each fold chose.
    lacking : dict
        What the cohort lacks for the baselines that were passed over.
    again : DataFrame
        The first repeat once more under other seeds; may be empty.
    """

    data: StudyData
    folds: list[Fold]
    predictions: pd.DataFrame
    n_epochs: list[int]
    lacking: dict[str, str]
    again: pd.DataFrame


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
        Whether a run of the same configuration is gone on with, for instance with permutations.
    config_yaml : str
        The configuration as text, kept with the results.

    Returns
    -------
    list of str
        The results in a few lines for the terminal.
    """
    started, folder = datetime.now(UTC), Path(run_dir)
    settings = parse_settings(config_yaml)
    is_resumed = resume and (folder / "predictions.tsv").exists()
    if is_resumed:
        check_same_run(folder, config_yaml)
    elif is_writer():
        check_run_folder(folder, overwrite)
    store = ScanStore(Path(store_dir), preparation.build_grid(), preparation.min_coverage)
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
        results = crossvalidate(pipeline, data, splits, n_seeds, folder)
        if is_writer():
            write_record(results, folder, manifest(seed, _hashes(opened), started), config_yaml)
    metrics = figures(results, seed)
    if not (folder / "model" / "training.json").exists():
        final = train_final(pipeline, data, splits)
        if is_writer():
            write_final(results, metrics, final, pipeline, folder / "model")
    if permutation.n:
        null = run_permutations(pipeline, data, permutation, folder / "permutations")
        metrics["permutation"] = summarise_permutations(null, results.predictions, permutation)
    network_figures = metrics["models"][NETWORK]
    metrics["audit"] = run_audit(audit, opened, results.predictions, NETWORK, network_figures, seed)
    metrics["verdict"] = verdict(metrics, NAMES)
    if is_writer():
        write_json(metrics, folder / "metrics.json")
        write_report(metrics, results.predictions, opened, settings, folder)
    return [*summary_lines(metrics, cohort, settings), str(folder)]


def crossvalidate(
    pipeline: Pipeline, data: StudyData, folds: list[Fold], n_seeds: int, folder: Path
) -> Results:
    """Score everybody out of fold, by the network and by each baseline; predictions as written."""
    if is_writer():
        create_run_folder(folder)
    predictions, epochs = crossvalidate_network(pipeline, data, folds)
    others, lacking = crossvalidate_baselines(pipeline, data, folds)
    predictions = as_written(pd.concat([predictions, others], ignore_index=True))
    again = crossvalidate_seeds(pipeline, data, folds, n_seeds)
    return Results(data, folds, predictions, epochs, lacking, again)


def figures(results: Results, seed: int) -> dict[str, Any]:
    """Compute what is said about the models from the out-of-fold table."""
    return analyse_predictions(results.predictions, results.again, seed) | {
        "n_epochs": results.n_epochs,
        "lacking": results.lacking,
    }


def read_results(folder: Path, data: StudyData, folds: list[Fold]) -> Results:
    """Read what an earlier call wrote for the same configuration."""
    metrics, seeds = read_json(folder / "crossvalidation.json"), folder / "seeds.tsv"
    return Results(
        data,
        folds,
        read_predictions(folder / "predictions.tsv"),
        metrics["n_epochs"],
        metrics["lacking"],
        read_predictions(seeds) if seeds.exists() else pd.DataFrame(),
    )


def train_final(pipeline: Pipeline, data: StudyData, folds: list[Fold]) -> TrainedFold:
    """Train on all subjects, with as many inner folds as the outer folds had."""
    fold = build_inner_folds(data.cohort, len(folds[0].validation), pipeline.seed)
    seed = fold_seed(pipeline.seed, FINAL)
    return train_with_progress(
        pipeline.trainable, data.smoothed, fold, seed, "final", "final model"
    )


def _hashes(cohort: Cohort) -> list[str]:
    return [digest for stored in cohort.stored for digest in stored.source_sha256]


def write_record(
    results: Results, folder: Path, manifest: dict[str, Any], config_yaml: str
) -> None:
    """Write what cross-validation found; predictions come last and mark it as finished."""
    cohort = results.data.cohort
    (folder / "config.yaml").write_text(config_yaml, "utf-8")
    write_table(cohort.table(), folder / "cohort.tsv")
    write_table(cohort.listing.participants, folder / "participants.tsv")
    write_table(folds_table(results.folds), folder / "folds.tsv")
    write_json(manifest, folder / "manifest.json")
    kept = {"n_epochs": results.n_epochs, "lacking": results.lacking}
    write_json(kept, folder / "crossvalidation.json")
    if len(results.again):
        write_table(results.again, folder / "seeds.tsv")
    write_table(results.predictions, folder / "predictions.tsv")


def write_final(
    results: Results, metrics: dict[str, Any], final: TrainedFold, pipeline: Pipeline, folder: Path
) -> None:
    """Write the final model with its calibration, which is fitted on out-of-fold scores."""
    cohort = results.data.cohort
    listing = cohort.listing
    unseen = mean_scores(results.predictions, NETWORK)
    record = TrainingRecord(
        listing.labels.column,
        listing.labels.positive,
        listing.labels.negative,
        listing.contrasts,
        listing.stat,
        cohort.scans[0].space,
        listing.origin,
        len(cohort.scans),
        len(set(cohort.participant_ids)),
        final.n_epochs,
        pipeline.seed,
        metrics["models"],
    )
    write_model(
        folder,
        final.network,
        describe_builder(pipeline.trainable.build_network, final.preparation.input_shape),
        final.preparation,
        fit_calibration(unseen["score"], unseen["label"]),
        fit_reference(results.data.baseline_data.values, listing.contrasts),
        record,
    )
