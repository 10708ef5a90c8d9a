"""The final models of a study, fitted on all subjects: the network and a linear model."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fmnet.baselines.base import unseen_scale
from fmnet.baselines.linear import VoxelModel
from fmnet.crossval.fold_loop import Pipeline, fold_seed, train_with_progress
from fmnet.data.folds import Fold, build_inner_folds, fewest_units
from fmnet.evaluation.comparison import chosen_auc, p_value, summarise_choice
from fmnet.inference.feature_gate import FeatureGate
from fmnet.inference.links import Link
from fmnet.inference.preparation import fit_preparation
from fmnet.networks.backbones import ScoreNetwork, build_linear, linear_network
from fmnet.networks.rebuild import describe_builder
from fmnet.runs.final_models import (
    LINEAR_FOLDER,
    NETWORK_FOLDER,
    RECORD,
    FinalModel,
    choose,
    write_final,
)
from fmnet.runs.record import Results
from fmnet.runs.run_folder import list_damaged
from fmnet.training.feature_gates import LeftOut
from fmnet.training.fit import FoldTask, is_closed_form
from fmnet.training.processes import agreed, is_first
from fmnet.training.scan_set import ScanSet
from fmnet.types import NETWORK

#: Index of the final training among the seeds; no repeat has this number.
FINAL = 1_000_000
#: Folds in which it is seen on what scale a final linear model scores, and how far new people lie.
N_FOLDS = 10


def complete_finals(
    pipeline: Pipeline, results: Results, models: dict[str, Any], control: str, folder: Path
) -> None:
    """Fit and write the final models that a run folder lacks, or holds damaged.

    `models` are the out-of-fold figures of each model; `control` says what makes the study a
    negative control, or is empty.
    """
    data, seed = results.data, pipeline.seed
    _, titles = pipeline.describe(results.n_epochs)
    fold = final_fold(results, seed)

    def is_there(name: str) -> bool:
        return (folder / name / RECORD).exists() and not list_damaged(folder, [name])

    if not agreed(lambda: is_there(NETWORK_FOLDER)):
        task, left_out = FoldTask(data, fold, fold_seed(seed, FINAL), "final"), LeftOut(data)
        # what no gradient and no series shapes is the same whoever is left out
        may_be_shaped = data.reads_series or pipeline.trainable.longest > 0
        watch = left_out.add if may_be_shaped else None
        (trained,) = train_with_progress(pipeline.trainable, [task], "final model", on_inner=watch)
        shape = trained.preparation.input_shape
        is_filter = is_closed_form(trained.network) and trained.n_epochs == 0
        is_unshaped = is_filter and not data.reads_series
        if is_first():
            final = FinalModel(
                name=NETWORK,
                title=pipeline.describe([trained.n_epochs])[1][NETWORK],
                network=trained.network,
                description=describe_builder(pipeline.trainable.build_network, shape),
                preparation=trained.preparation,
                n_epochs=trained.n_epochs,
                chosen_among=(NETWORK,),
                link=trained.calibration if isinstance(trained.calibration, Link) else None,
                feature_gate=(
                    fit_gate(trained.network, data)
                    if is_unshaped
                    else left_out.fit(trained.network, trained.scans)
                ),
            )
            write_final(results, models, titles, final, seed, control, folder / NETWORK_FOLDER)
    linear = exportable_linear(pipeline, data) if data.target is None else {}
    if linear and is_first() and not is_there(LINEAR_FOLDER):
        name = best_of(linear, models)
        final = fit_linear(name, linear[name], data, fold, titles[name], tuple(linear))
        write_final(results, models, titles, final, seed, control, folder / LINEAR_FOLDER)


def final_fold(results: Results, seed: int) -> Fold:
    """Build the fold of the final models: everybody, with as many inner folds as the others had."""
    return build_inner_folds(results.data.cohort, len(results.folds[0].validation), seed)


def fit_linear(
    name: str,
    model: VoxelModel,
    scans: ScanSet,
    fold: Fold,
    title: str = "",
    among: tuple[str, ...] = (),
    needs_scale: bool = True,
) -> FinalModel:
    """Fit a linear model on the subjects of a fold, all settings chosen on its inner folds.

    With `needs_scale` it is fitted some times more, to see on what scale it scores new people, and
    how far they lie from the subjects.
    """
    train = scans.rows(fold.train)
    fwhm_mm, setting = choice = model.choose(scans, fold)
    weight, bias = model.weights(scans, train, choice)
    settings = replace(scans.settings, fwhm_mm=fwhm_mm)
    smoothed = scans.smoothed(fwhm_mm)[train]
    preparation = fit_preparation(smoothed, scans.grid, scans.contrasts, settings)
    network = linear_network(scans.grid.unmask(weight), bias)
    description = describe_builder(build_linear, preparation.input_shape)
    scale = gate = None
    if needs_scale:  # the folds chose other settings, which score on other scales
        scale = unseen_scale(model, scans, nearly_all(scans), choice)
        gate = fit_gate(network, scans.with_smoothing(fwhm_mm))
    chosen: dict[str, Any] = {model.setting_name: setting}
    return FinalModel(
        name=name,
        title=title or name,
        network=network,
        description=description,
        preparation=preparation,
        n_epochs=None,
        chosen_among=among or (name,),
        scale=scale,
        feature_gate=gate,
        **chosen,
    )


def nearly_all(scans: ScanSet) -> Fold:
    """Build the folds that few people are left out of at a time."""
    return build_inner_folds(scans.cohort, min(N_FOLDS, fewest_units(scans.cohort)), 0)


def fit_gate(network: ScoreNetwork, scans: ScanSet) -> FeatureGate | None:
    """Fit the gate of features that no label has shaped, and nobody but by the preparation.

    `scans` are not fitted. None for scores of changes within people, which no single scan has.
    """
    if scans.target is not None and scans.target.is_within:
        return None
    left_out = LeftOut(scans)
    left_out.add_folds(network, nearly_all(scans))
    return left_out.fit(network, scans.fit(np.arange(len(scans.participant_ids))))


def exportable_linear(pipeline: Pipeline, data: ScanSet) -> dict[str, VoxelModel]:
    """Pick the baselines that can be exported, being weights of voxels."""
    usable: dict[str, Any] = pipeline.usable(data)
    return {name: one for name, one in usable.items() if one.is_exportable}


def best_of(names: Iterable[str], models: dict[str, Any]) -> str:
    """Name the model with the largest out-of-fold AUC; a tie goes to the first named."""
    return max(names, key=lambda name: float(models[name]["auc"]))


def export_choice(
    pipeline: Pipeline,
    data: ScanSet,
    predictions: pd.DataFrame,
    models: dict[str, Any],
    titles: dict[str, str],
) -> dict[str, Any]:
    """Say which final model will be exported, and what its AUC is worth after that choice.

    Returns
    -------
    dict
        ``model``, its name; ``why``, for the end of a sentence; ``among``, which models could be;
        ``auc_corrected`` and ``auc_corrected_ci``, see `fmnet.evaluation.comparison.chosen_auc`;
        ``if_asked``: the same, without ``why``, where export is asked for the ``network`` or for
        the ``linear`` model, the best of fewer.
    """
    linear = list(exportable_linear(pipeline, data))

    def chosen(name: str, among: list[str]) -> dict[str, Any]:
        # of equals the network is the last to be taken, as `choose` has it
        simplest_first = sorted(among, key=lambda one: one == NETWORK)
        corrected = chosen_auc(predictions, simplest_first, models[name], pipeline.seed)
        return {"model": name, "among": among} | corrected

    asked = {NETWORK: chosen(NETWORK, [NETWORK])}
    if linear:
        asked["linear"] = chosen(best_of(linear, models), linear)
    names = {key: one["model"] for key, one in asked.items()}
    finals = {key: (titles[name], float(models[name]["auc"])) for key, name in names.items()}
    best, why = choose(finals[NETWORK], finals.get("linear"))
    found = chosen(names[best], [NETWORK, *linear])
    return found | {"why": why, "if_asked": asked}


def judge_choice(metrics: dict[str, Any]) -> None:
    """Add p-values of the choice to the figures of a study, if its permutations allow it.

    ``permutation.chosen`` holds the largest AUC of all models that could be exported, see
    `fmnet.evaluation.comparison.summarise_choice`; ``exported.p``, and ``p`` of each part of its
    ``if_asked``, where the AUC of that model lies among the largest of those it was chosen among;
    ``exported.not_permuted`` names those that permutations of an earlier version left out.
    """
    exported, permutation = metrics["exported"], metrics.get("permutation")
    if permutation is None:
        return
    permutation.pop("chosen", None)
    tested, h = permutation["models"], permutation.get("stop_after", 0)
    for one in (exported, *exported["if_asked"].values()):
        if (chosen := summarise_choice(tested, one["among"], h)) is not None:
            one["p"] = p_value(chosen["null"], float(tested[one["model"]]["observed"]), h)
            if one is exported:
                permutation["chosen"] = chosen
    exported["not_permuted"] = [name for name in exported["among"] if name not in tested]
