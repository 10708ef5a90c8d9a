"""What cross-validation found, and the final model, to and from the run folder."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fmnet.bold.confounds import CleaningSettings
from fmnet.crossval.fold_loop import NETWORK
from fmnet.data.cohort import Cohort
from fmnet.data.folds import Fold, folds_table
from fmnet.data.tables import read_table_file
from fmnet.errors import Fault, RunError
from fmnet.inference.bold_contract import CONTRACT, BoldContract
from fmnet.inference.quality import Reference, fit_reference, temporal_sd
from fmnet.inference.series_preparation import AnyPreparation, SeriesPreparation
from fmnet.networks.backbones import ScoreNetwork
from fmnet.networks.closed_form import path_fractions
from fmnet.networks.rebuild import NetworkDescription
from fmnet.runs.run_files import as_json, read_json, write_run_files
from fmnet.runs.run_folder import (
    TrainingRecord,
    read_predictions,
    table_text,
    write_model,
)
from fmnet.training.calibration import ScoreScale, fit_calibration
from fmnet.training.scan_set import ScanSet

#: Columns of cohort.tsv that say what scores come from.
IDENTITY = ("scan_id", "label", "used", "source_sha256")


@dataclass(frozen=True, eq=False)
class Results:
    """All that a study found in cross-validation.

    Parameters
    ----------
    data : ScanSet
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

    data: ScanSet
    folds: list[Fold]
    predictions: pd.DataFrame
    n_epochs: list[int]
    lacking: dict[str, str]
    again: pd.DataFrame


@dataclass(frozen=True, eq=False)
class FinalModel:
    """A model that learned from everybody, as a network.

    Parameters
    ----------
    name, title : str
        In the out-of-fold table, and for people.
    network : ScoreNetwork
        In evaluation mode.
    description : NetworkDescription
        How it is built.
    preparation : Preparation or SeriesPreparation
        Fitted on the same people.
    n_epochs : int or None
        Length of training; None for a linear model.
    chosen_among : tuple of str
        Names of the models of which it is the best by out-of-fold AUC, its own included.
    c : float or None
        Of a linear model's penalty.
    screen : float or None
        Share of the voxels that a linear model keeps.
    scale : ScoreScale or None
        Of the scores it gives to people it has not seen; None if they are on the scale of the
        models of the folds.
    """

    name: str
    title: str
    network: ScoreNetwork
    description: NetworkDescription
    preparation: AnyPreparation
    n_epochs: int | None
    chosen_among: tuple[str, ...]
    c: float | None = None
    screen: float | None = None
    scale: ScoreScale | None = None


def read_results(folder: Path, data: ScanSet, folds: list[Fold]) -> Results:
    """Read what an earlier call wrote for the same configuration.

    Raises
    ------
    RunError
        If maps, labels or folds are no longer the same, or a score is missing.
    """
    metrics, seeds = read_json(folder / "crossvalidation.json"), folder / "seeds.tsv"
    predictions = read_predictions(folder / "predictions.tsv")
    _check_same_data(folder, data, folds)
    _check_complete(folder, predictions, data, folds)
    try:
        n_epochs, lacking = list(metrics["n_epochs"]), dict(metrics["lacking"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            Fault(
                str(folder / "crossvalidation.json"),
                f"no usable n_epochs and lacking ({error})",
                "the file as the run wrote it",
                "restore it from a copy, or set overwrite=true to run the study again",
            )
        ) from error
    again = read_predictions(seeds) if seeds.exists() else pd.DataFrame()
    return Results(data, folds, predictions, n_epochs, lacking, again)


def _check_same_data(folder: Path, data: ScanSet, folds: list[Fold]) -> None:
    """Raise `RunError` unless maps, labels and folds are those that the scores come from."""
    labels = data.cohort.listing.labels
    groups = {"label": (labels.positive, labels.negative)}  # one may be called NA
    people = read_table_file(folder / "cohort.tsv", IDENTITY, groups)
    changed = []
    if _rows(people) != _rows(data.cohort.table()):
        changed.append("maps or labels")
    if (folder / "folds.tsv").read_text("utf-8") != table_text(folds_table(folds)):
        changed.append("folds")
    if changed:
        raise RunError(
            Fault(
                str(folder),
                f"scores that come from other {' and '.join(changed)} than there are now",
                "the cohort that the run was started with",
                "start a run in another folder, or restore the files",
            )
        )


def _rows(people: pd.DataFrame) -> list[str]:
    return sorted("|".join(map(str, row)) for row in people[list(IDENTITY)].to_numpy())


def _check_complete(
    folder: Path, predictions: pd.DataFrame, data: ScanSet, folds: list[Fold]
) -> None:
    """Raise `RunError` unless every model has scored every test scan of every fold."""
    expected = sum(len(data.rows(fold.test)) for fold in folds)
    short = {
        str(name): len(rows) for name, rows in predictions.groupby("model") if len(rows) != expected
    }
    if short or NETWORK not in set(predictions["model"]):
        found = ", ".join(f"{n} scores of {name}" for name, n in short.items()) or "no network"
        raise RunError(
            Fault(
                str(folder / "predictions.tsv"),
                found,
                f"{expected} scores of each model",
                "set overwrite=true to run it again",
            )
        )


def write_record(
    results: Results, folder: Path, manifest: dict[str, Any], config_yaml: str
) -> None:
    """Write what cross-validation found; predictions come last and mark it as finished."""
    cohort = results.data.cohort
    files = {
        "config.yaml": config_yaml,
        "cohort.tsv": table_text(cohort.table()),
        "participants.tsv": table_text(cohort.listing.participants),
        "folds.tsv": table_text(folds_table(results.folds)),
        "manifest.json": as_json(manifest),
    }
    if (contract := _contract(cohort)) is not None:
        assert cohort.listing.made_by is not None
        files[CONTRACT] = as_json(asdict(contract) | {"raw": cohort.listing.made_by["raw"]})
    kept = {"n_epochs": results.n_epochs, "lacking": results.lacking}
    files["crossvalidation.json"] = as_json(kept)
    if len(results.again):
        files["seeds.tsv"] = table_text(results.again)
    write_run_files(folder, files | {"predictions.tsv": table_text(results.predictions)})


def write_final(
    results: Results,
    models: dict[str, Any],
    titles: dict[str, str],
    final: FinalModel,
    seed: int,
    control: str,
    folder: Path,
) -> None:
    """Write a final model with its calibration, which is fitted on its own out-of-fold scores.

    Parameters
    ----------
    results : Results
        Of cross-validation.
    models : dict
        Out-of-fold figures of each model.
    titles : dict
        Names of those models for people.
    final : FinalModel
        What is written.
    seed : int
        Of the study.
    control : str
        What makes it a negative control; empty for a study.
    folder : Path
        Where to.
    """
    cohort = results.data.cohort
    listing = cohort.listing
    # Scores of one model at a time, as the exported one gives: a mean over repeats is surer.
    unseen = results.predictions[results.predictions["model"] == final.name]
    calibration = fit_calibration(
        unseen["score"],
        unseen["label"],
        people=unseen["participant_id"],
        models=unseen.groupby(["repeat", "fold"]).ngroup(),
        scale=final.scale,
    )
    record = TrainingRecord(
        final.name,
        final.title,
        final.chosen_among,
        listing.labels.column,
        listing.labels.positive,
        listing.labels.negative,
        final.preparation.contrasts,
        listing.stat,
        cohort.scans[0].space,
        listing.origin,
        len(cohort.scans),
        len(set(cohort.participant_ids)),
        final.n_epochs,
        final.c,
        seed,
        models,
        control,
        path_fractions(final.network),
        titles,
        final.screen,
    )
    write_model(
        folder,
        final.network,
        final.description,
        final.preparation,
        calibration,
        _reference(results.data, final.preparation),
        _contract_of(cohort, final.preparation),
        record,
    )


def _reference(data: ScanSet, preparation: AnyPreparation) -> Reference:
    """Describe what the model was trained on: maps, or how much series vary."""
    motion = [mean for stored in data.cohort.stored for mean in stored.mean_fd_mm]
    values = data.values
    if isinstance(preparation, SeriesPreparation):
        values = np.stack([temporal_sd(series.values()) for series in data.series])
    return fit_reference(values, preparation.contrasts, motion)


def _contract(cohort: Cohort) -> BoldContract | None:
    """Say how runs become series and maps; None where maps are given as they are."""
    made_by = cohort.listing.made_by
    if made_by is None:
        return None
    cleaning = CleaningSettings(**made_by["cleaning"])
    return BoldContract(cleaning, tuple(made_by["maps"]), cohort.series[0].t_r)


def _contract_of(cohort: Cohort, preparation: AnyPreparation) -> BoldContract | None:
    """Say how runs become what the model reads, which may be the series themselves."""
    contract = _contract(cohort)
    if contract is None or not isinstance(preparation, SeriesPreparation):
        return contract
    return replace(contract, maps=())
