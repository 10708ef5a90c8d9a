"""One study from a listing to a run folder."""

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from pytorch_lightning.callbacks import Callback
from torch.nn import Module

from fmnet.baselines.base import Baseline
from fmnet.crossval.fold_loop import Pipeline, crossvalidate, crossvalidate_seeds
from fmnet.crossval.further_networks import FurtherNetwork, check_networks, plan_networks
from fmnet.crossval.leaks import check_leaks
from fmnet.crossval.permutation import PermutationPlan
from fmnet.crossval.reruns import LearningCurvePlan, SensitivityPlan
from fmnet.crossval.shards import (
    CHECKPOINTS,
    check_one_process,
    checkpoints_of,
    done_before,
    work_on_shard,
)
from fmnet.data.cohort import Cohort, open_cohort
from fmnet.data.folds import Fold
from fmnet.data.listing import Listing
from fmnet.data.store import ArrayStore
from fmnet.data.template import build_grid
from fmnet.errors import Fault, RunError
from fmnet.evaluation.audit import AuditPlan
from fmnet.inference.bundle_files import CHECKSUMS
from fmnet.inference.preparation import PreparationSettings
from fmnet.networks.backbones import NetworkBuilder
from fmnet.progress.show import step, studying
from fmnet.runs.checkpoints import FoldCheckpoints, Shard
from fmnet.runs.derivative_files import derivative_files
from fmnet.runs.lock import claim_run_folder, holding, replacing, settle
from fmnet.runs.record import (
    Results,
    as_written,
    manifest,
    note_resumption,
    parse_settings,
    read_results,
    write_record,
)
from fmnet.runs.run_folder import UNKNOWN, as_json, read_json, write_run_files
from fmnet.signature.study_signature import SignaturePlan, check_plan
from fmnet.studies.groups import StudyOfGroups
from fmnet.studies.lockbox import LockBox
from fmnet.studies.target import StudyOfTarget, read_study
from fmnet.targets.base import Target
from fmnet.training.augmentation import BatchTransform, check_augmentation
from fmnet.training.compute import Compute, count_processes, plan_compute
from fmnet.training.fit import Trainable
from fmnet.training.loggers import LoggerBuilder, check_loggers
from fmnet.training.module import OptimizerBuilder, SchedulerBuilder
from fmnet.training.processes import agreed, end_with_starter, is_first, joined
from fmnet.training.scan_set import ScanSet, read_scans
from fmnet.training.trackers import log_study
from fmnet.training.trainer import TrainerBuilder, asked, check_training
from fmnet.types import NETWORK, Count, Seed, Several


def run_study(
    cohort: Listing,
    preparation: PreparationSettings,
    folds: Callable[[Cohort], list[Fold]],
    network: NetworkBuilder,
    optimizer: OptimizerBuilder,
    augmentation: BatchTransform | None,
    trainer: TrainerBuilder,
    callbacks: dict[str, Callback],
    batch_size: Several,
    baselines: dict[str, Baseline],
    logger: dict[str, LoggerBuilder],
    permutation: PermutationPlan,
    sensitivity: SensitivityPlan,
    learning_curve: LearningCurvePlan,
    lockbox: LockBox,
    audit: AuditPlan,
    compute: Compute,
    shard: Shard,
    shuffle_labels: bool,
    n_seeds: Count,
    seed: Seed,
    run_dir: str,
    store_dir: str,
    overwrite: bool,
    resume: bool,
    loss: Module | None = None,
    scheduler: SchedulerBuilder | None = None,
    models: dict[str, FurtherNetwork] | None = None,
    signature: SignaturePlan | None = None,
    target: Target | None = None,
    config_yaml: str = "",
) -> list[str]:
    """Cross-validate, fit the final models, permute, write the run folder.

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
    optimizer : callable
        See `fmnet.training.module.OptimizerBuilder`.
    augmentation : BatchTransform or None
        Changes training images.
    trainer : callable
        See `fmnet.training.trainer.TrainerBuilder`; its ``max_epochs`` is the longest training
        considered, by default none for a network fitted without gradient steps and 20 for others.
    callbacks : dict
        Of Lightning, by name; each training gets copies.
    batch_size : int
        Scans per step, of all devices together.
    baselines, logger : dict
        By name.
    permutation : PermutationPlan
        How often the whole pipeline is repeated on shuffled labels.
    sensitivity : SensitivityPlan
        Which reruns with one thing changed are made.
    learning_curve : LearningCurvePlan
        From how few participants the models are made to learn as well.
    lockbox : LockBox
        Who is set aside before anything else.
    audit : AuditPlan
        Which covariates could be confounds.
    compute : Compute
        How many trainings run at once, and how.
    shard : Shard
        Which part of the folds and permutations is computed; results come from a run of the whole
        thing, which takes over what the shards have done.
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
    loss : Module, optional
        In place of the head's own.
    scheduler : callable, optional
        See `fmnet.training.module.SchedulerBuilder`.
    models : dict, optional
        Further networks by name, which stand in the same folds; one that is built as `network` is
        isn't trained twice.
    signature : SignaturePlan, optional
        How the regions that carry the exported model are looked for; without it they aren't.
    target : Target, optional
        What is predicted; without it, which of two groups somebody belongs to.
    config_yaml : str
        The configuration as text, kept with the results.

    Returns
    -------
    list of str
        The results in a few lines for the terminal.
    """
    started, folder, settings = datetime.now(UTC), Path(run_dir), parse_settings(config_yaml)
    plans = (permutation, sensitivity, learning_curve)
    # what can be refused is refused before any scan is opened
    end_with_starter()
    built = check_training(trainer, optimizer, scheduler, tuple(callbacks.values()))
    check_one_process(built.world_size, plans, shard, compute, batch_size)
    grid = build_grid(preparation.voxel_size_mm, preparation.mask)
    shape = (len(cohort.contrasts), *grid.shape)
    study: StudyOfGroups | StudyOfTarget = StudyOfGroups(plans, signature, audit, lockbox)
    if target is not None:
        study, cohort = read_study(target, cohort, plans, lockbox, n_seeds)
    network, models = study.networks(network, models or {})
    check_augmentation(augmentation, shape)
    if signature is not None:
        check_plan(signature, grid)
    asked_for = Trainable(
        build_network=network,
        build_trainer=trainer,
        max_epochs=asked(trainer).get("max_epochs"),
        build_optimizer=optimizer,
        build_scheduler=scheduler,
        loss=loss,
        callbacks=tuple(callbacks.values()),
        batch_size=batch_size,
        augmentation=augmentation,
        build_loggers=tuple(logger.values()),
        log_dir=folder / "logs",
    )
    networks = check_networks(models, asked_for, baselines, compute, shape)
    claim = partial(claim_run_folder, folder, config_yaml, overwrite, resume or not shard.is_whole)
    leads = built.global_rank == 0
    is_resumed = leads and claim()
    check_loggers(tuple(logger.values()))

    n_jobs = count_processes(compute, built)
    store = ArrayStore(Path(store_dir), cohort.recipe(grid, preparation.min_coverage))
    everybody = open_cohort(cohort, store, n_jobs)
    networks.check_people(everybody.hashes, shape)
    opened = study.opened(everybody, seed, shuffle_labels)
    read = read_scans(opened, preparation, study.target)
    scans, splits = read.for_network(network), folds(opened)
    study.check_trainings(scans, splits)
    trainable = plan_compute(networks.own, compute, scans)
    further = plan_networks(models, networks, compute, scans, seed)
    pipeline = Pipeline(trainable, {**further, **baselines}, folds, seed, n_jobs)
    checkpoints = checkpoints_of(folder, config_yaml, opened, splits)
    if leads and not is_resumed:
        alone = trainable if built.world_size == 1 else None
        check_leaks(pipeline.usable(scans), scans, splits[0], seed, alone)

    with ExitStack() as stack:
        stack.enter_context(joined(built))
        agreed(lambda: stack.enter_context(holding(folder, is_shared=not shard.is_whole)))
        if not shard.is_whole:
            work = (pipeline, scans, splits, n_seeds, permutation, checkpoints, agreed(claim))
            return [*work_on_shard(shard, *work), str(folder)]
        agreed(partial(settle, folder))
        is_resumed = agreed(claim)
        costs = work_of_stages(pipeline, splits, n_seeds, plans, signature)
        stack.enter_context(studying(costs, shown=is_first()))
        said = networks.said()
        said += done_before(pipeline, permutation, splits, checkpoints, folder, is_resumed)
        if is_resumed:
            said += [] if (folder / CHECKSUMS).exists() else [UNKNOWN]
            results = read_results(folder, scans, splits)
        else:
            results = run_crossvalidation(
                pipeline, scans, splits, n_seeds, checkpoints, folder, started, config_yaml
            )
        facts = study.complete(pipeline, results, checkpoints, settings, folder, is_resumed)
        if not is_first():
            return []
        if is_resumed:
            note_resumption(folder, started)
        finish(facts, results, settings, folder, study.write_report)
        names = ("figure.png", "brain.png", "report.html", "config.yaml", "metrics.json")
        files = [path for path in (folder / name for name in names) if path.exists()]
        loggers, log_dir = trainable.build_loggers, trainable.log_dir
        said += log_study(loggers, log_dir, tracked(facts), settings, files)
    return [*study.summary_lines(facts, cohort, settings), *said, str(folder)]


def work_of_stages(
    pipeline: Pipeline,
    folds: list[Fold],
    n_seeds: int,
    plans: tuple[PermutationPlan, SensitivityPlan, LearningCurvePlan],
    signature: SignaturePlan | None,
) -> dict[str, float]:
    """Estimate how much work each stage of a study is, in folds of its cross-validation.

    Stages have the names of their steps in `fmnet.progress`. The weights are roughly what a study
    of 24 people took on two CPU cores; the time that is left is told from what a stage itself
    takes as soon as it goes on.
    """
    permutation, sensitivity, curve = plans
    each = len(folds) / (1 + folds[-1].repeat)  # folds of a repeat
    n_reruns = sensitivity.leave_site_out + sensitivity.harmonise_sites + len(sensitivity.match)
    is_trained = pipeline.trainable.longest > 0
    of_signature = 0.0
    if signature is not None:
        halves = signature.n_permutations_of_halves * signature.n_halves
        trained = signature.n_halves * (1 + signature.n_trained_permutations)
        of_signature = trained if is_trained else 0.05 * (signature.n_permutations + halves)
    few = 0.5 * each  # where not all models are asked
    return {
        "folds": len(folds),
        "further seeds": few * (n_seeds - 1),
        "final model": 1.0,
        "reruns": few * n_reruns * sensitivity.n_repeats,
        "permutations": few * permutation.n * permutation.n_repeats * (1 if is_trained else 0.05),
        "learning curve": few * len(curve.fractions) * curve.n_repeats,
        "signature": of_signature,
        "report": 4.0,
    }


def run_crossvalidation(
    models: Pipeline,
    scans: ScanSet,
    folds: list[Fold],
    n_seeds: int,
    checkpoints: FoldCheckpoints,
    folder: Path,
    started: datetime,
    config_yaml: str,
) -> Results:
    """Score all subjects out of fold, by the network and by each baseline, and write the record.

    Predictions are as written, so that a run gone on with has the same figures.
    """
    is_earlier = (folder / "predictions.tsv").exists()
    kept = ("logs",) if checkpoints.folder.exists() and not is_earlier else ()
    with replacing(folder, kept) if is_first() else nullcontext(folder) as draft:
        table, epochs = crossvalidate(models, scans, folds, "folds", checkpoints)
        again = crossvalidate_seeds(models, scans, folds, n_seeds, checkpoints)
        lacking = models.lacking(scans)
        n_epochs, written = epochs.pop(NETWORK), as_written(table)
        results = Results(scans, folds, written, n_epochs, lacking, again, epochs)
        if is_first():
            record = manifest(models.seed, scans.cohort.hashes, started)
            write_record(results, draft, record, config_yaml)
    return results


def tracked(metrics: dict[str, Any]) -> dict[str, float]:
    """Pick the figures that trackers are given: ``auc/network``, ``auc_low/network``, ..."""
    found = {name: float(metrics[name]) for name in ("n_scans", "n_subjects")}
    for model, figures in metrics["models"].items():
        for name, value in figures.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                found[f"{name}/{model}"] = float(value)
            elif name.endswith("_ci") and value is not None:
                low, high = map(float, value)
                stem = name.removesuffix("_ci")
                found |= {f"{stem}_low/{model}": low, f"{stem}_high/{model}": high}
    for model, figures in metrics.get("permutation", {}).get("models", {}).items():
        found[f"p/{model}"] = float(figures["p"])
    for name in ("auc_corrected", "p"):
        if name in metrics["exported"]:
            found[f"{name}/exported"] = float(metrics["exported"][name])
    return found


def finish(
    metrics: dict[str, Any],
    results: Results,
    settings: dict[str, Any],
    folder: Path,
    write: Callable[[dict[str, Any], pd.DataFrame, Cohort, dict[str, Any], Path], None],
) -> None:
    """Write the report by `write`, what BIDS asks for, and the figures, which mark the end."""
    failed: Exception | None = None
    try:
        with step("report", 1, "page") as advance:
            write(metrics, results.predictions, results.data.cohort, settings, folder)
            advance()
    except Exception as error:  # noqa: BLE001 (a page that fails must not cost the results)
        failed = error
    record = read_json(folder / "manifest.json")
    described = derivative_files(results.data.cohort, record, folder)
    # the figures last: they mark the run as finished
    write_run_files(folder, described | {"metrics.json": as_json(metrics)})
    FoldCheckpoints(folder / CHECKPOINTS).remove()
    if failed is not None:
        raise RunError(
            Fault(
                str(folder / "report.html"),
                f"an error while it was written ({type(failed).__name__}: {failed})",
                "a report beside metrics.json, which holds all results and is whole",
                "report this; the same command with resume=true writes the page again",
            )
        ) from failed
