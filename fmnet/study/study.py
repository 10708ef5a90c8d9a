"""One study from a listing to a run folder."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
from fmnet.limits import Seed
from fmnet.networks.backbones import NetworkBuilder
from fmnet.networks.rebuild import describe_builder
from fmnet.study.baselines.base import Baseline
from fmnet.study.crossval import (
    NETWORK,
    crossvalidate_baselines,
    crossvalidate_network,
    fold_seed,
    mean_scores,
    smooth_cohort,
    train_with_progress,
)
from fmnet.study.metrics import study_metrics
from fmnet.study.report import summary_lines, write_report
from fmnet.study.run_folder import (
    TrainingRecord,
    check_run_folder,
    create_run_folder,
    is_writer,
    manifest,
    write_json,
    write_model,
)
from fmnet.training.datamodule import Augmentation
from fmnet.training.fit import LoggerBuilder, Trainable
from fmnet.training.fold import SmoothedCohort, TrainedFold
from fmnet.training.recipe import Recipe
from fmnet.training.trainer import TrainerBuilder

#: Index of the final training among the seeds; no repeat has this number.
FINAL = 1_000_000


@dataclass(frozen=True, eq=False)
class Results:
    """All that a study found, before it is written.

    Parameters
    ----------
    cohort : Cohort
        Who was in it.
    folds : list of Fold
        How they were split.
    predictions : DataFrame
        Out-of-fold scores of every model.
    metrics : dict
        Figures computed from them.
    """

    cohort: Cohort
    folds: list[Fold]
    predictions: pd.DataFrame
    metrics: dict[str, Any]


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
    seed: Seed,
    run_dir: str,
    store_dir: str,
    overwrite: bool,
    config_yaml: str = "",
) -> list[str]:
    """Cross-validate, train the final model, write the run folder.

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
    seed : int
        Everything random derives from it.
    run_dir, store_dir : str
        Where results and decoded scans go.
    overwrite : bool
        Whether a finished run in `run_dir` may be replaced.
    config_yaml : str
        The configuration as text, kept with the results.

    Returns
    -------
    list of str
        The results in a few lines for the terminal.
    """
    started, folder = datetime.now(UTC), Path(run_dir)
    if is_writer():
        check_run_folder(folder, overwrite)
    opened = open_cohort(
        cohort, ScanStore(Path(store_dir), preparation.build_grid(), preparation.min_coverage)
    )
    splits = folds(opened)
    if is_writer():
        create_run_folder(folder)
    trainable = Trainable(
        network, task, trainer, lambda chosen: augmentation(seed=chosen),
        tuple(logger.values()), folder / "logs",
    )  # fmt: skip
    smoothed = smooth_cohort(opened, preparation)
    predictions, epochs = crossvalidate_network(trainable, opened, smoothed, splits, seed)
    others, lacking = crossvalidate_baselines(baselines, opened, splits)
    predictions = pd.concat([predictions, others])
    metrics = study_metrics(predictions, seed) | {"n_epochs": epochs, "lacking": lacking}
    results = Results(opened, splits, predictions, metrics)
    final = train_final(trainable, opened, smoothed, splits, seed)
    if is_writer():
        write_results(results, folder, seed, started, config_yaml)
        write_final(results, final, trainable, folder / "model", seed)
    return [*summary_lines(metrics, cohort), str(folder)]


def train_final(
    trainable: Trainable, cohort: Cohort, smoothed: SmoothedCohort, folds: list[Fold], seed: int
) -> TrainedFold:
    """Train on all subjects, with as many inner folds as the outer folds had."""
    fold = build_inner_folds(cohort, len(folds[0].validation), seed)
    chosen = fold_seed(seed, FINAL)
    return train_with_progress(trainable, smoothed, fold, chosen, "final", "final model")


def write_results(
    results: Results, folder: Path, seed: int, started: datetime, config_yaml: str
) -> None:
    """Write everything but the model; predictions come last and mark the run as finished."""
    hashes = [digest for stored in results.cohort.stored for digest in stored.source_sha256]
    (folder / "config.yaml").write_text(config_yaml, "utf-8")
    write_table(results.cohort.table(), folder / "cohort.tsv")
    write_table(folds_table(results.folds), folder / "folds.tsv")
    write_json(results.metrics, folder / "metrics.json")
    write_json(manifest(seed, hashes, started), folder / "manifest.json")
    write_report(results.metrics, results.predictions, results.cohort, folder)
    write_table(results.predictions, folder / "predictions.tsv")


def write_final(
    results: Results, final: TrainedFold, trainable: Trainable, folder: Path, seed: int
) -> None:
    """Write the final model with its calibration, which is fitted on out-of-fold scores."""
    cohort, listing = results.cohort, results.cohort.listing
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
        seed,
        results.metrics["models"],
    )
    write_model(
        folder,
        final.network,
        describe_builder(trainable.build_network, final.preparation.input_shape),
        final.preparation,
        fit_calibration(unseen["score"], unseen["label"]),
        fit_reference(cohort.values(), listing.contrasts),
        record,
    )
