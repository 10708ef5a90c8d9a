"""Open the lock-box of a finished run: score the people set aside, once."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from fmnet.data.cohort import FILE_SEPARATOR, Cohort, open_cohort
from fmnet.data.folds import Fold, build_inner_folds
from fmnet.data.listing import Labels, Listing
from fmnet.data.scans import Scan
from fmnet.data.store import ScanStore
from fmnet.data.tables import read_table_file, write_table
from fmnet.deploy.calibration import Calibration
from fmnet.deploy.preparation import Preparation, PreparationSettings, read_preparation
from fmnet.errors import Fault, RunError
from fmnet.networks.rebuild import TRUSTED, read_network
from fmnet.study.baselines.base import Baseline, FoldScores, score_fold
from fmnet.study.crossval import NETWORK, fold_rows
from fmnet.study.data import StudyData, load_study_data
from fmnet.study.metrics import add_units, study_metrics
from fmnet.study.report.words import BANNERS, model_lines
from fmnet.study.run_folder import OPENINGS, read_json, write_json
from fmnet.training.fit import predict_scores

#: Role of scans in cohort.tsv, as `fmnet.data.cohort.Cohort.table` writes it.
TRAIN, BOX = "yes", "lock-box"


def evaluate_lockbox(
    run_dir: str,
    baselines: dict[str, Baseline],
    store_dir: str,
    inner_splits: int = 3,
    again: bool = False,
    trusted_packages: list[str] | None = None,
) -> list[str]:
    """Score the people set aside by the final model and by baselines fitted on everybody else.

    Each opening is recorded in ``manifest.json`` before anything is scored.

    Parameters
    ----------
    run_dir : str
        A finished run with a lock-box.
    baselines : dict
        By name; fitted on the people that the final model was trained on.
    store_dir : str
        Where decoded scans are kept.
    inner_splits : int
        Inner folds for the baselines' choices.
    again : bool
        Whether a box that was opened before is opened once more.
    trusted_packages : list of str, optional
        Packages besides fmnet whose network builders may be run.

    Returns
    -------
    list of str
        The results in a few lines for the terminal.

    Raises
    ------
    RunError
        If there is no finished run, no lock-box, or it was opened before.
    """
    folder = Path(run_dir)
    table = _cohort_table(folder)
    network, _ = read_network(folder / "model", (*TRUSTED, *(trusted_packages or ())))
    preparation = read_preparation(folder / "model")
    data = _load(folder, table, preparation, store_dir)
    seed = int(read_json(folder / "manifest.json")["seed"])
    fold = _box_fold(
        data.cohort, set(table.loc[table["used"] == BOX, "scan_id"]), inner_splits, seed
    )
    opening = record_opening(folder, again)
    images = preparation.images(data.smoothed.values[data.smoothed.rows(fold.test)])
    score = predict_scores(network, images).astype(float)
    calibration = Calibration(**read_json(folder / "model" / "calibration.json"))
    scored = {NETWORK: FoldScores(score, calibration.probability(score))} | {
        name: score_fold(baseline, data.baseline_data, fold)
        for name, baseline in baselines.items()
        if not baseline.lacks(data.baseline_data)
    }
    predictions = pd.concat(
        [fold_rows(data.cohort, fold, name, scores) for name, scores in scored.items()]
    )
    named = add_units(predictions, data.cohort.unit_of)
    metrics: dict[str, Any] = study_metrics(named, seed) | {"opening": opening}
    write_table(predictions, folder / "lockbox.tsv")
    write_json(metrics, folder / "lockbox.json")
    head = " ".join([*_marks(folder), opening_line(opening, metrics)])
    return [head, *model_lines(metrics), str(folder)]


def record_opening(folder: Path, again: bool) -> dict[str, Any]:
    """Note in the manifest that the box is opened, and how often that has happened."""
    path = folder / "manifest.json"
    manifest = read_json(path)
    before = manifest.get(OPENINGS, [])
    if before and not again:
        raise RunError(
            Fault(
                str(folder),
                f"a lock-box that was opened on {before[-1]['date']}",
                "a lock-box that nobody has looked into",
                "set people aside anew in another run; again=true opens it and is recorded",
            )
        )
    date = datetime.now(UTC).isoformat(timespec="seconds")
    opening = {"date": date, "count": len(before) + 1}
    write_json(manifest | {OPENINGS: [*before, opening]}, path)
    return opening


def opening_line(opening: dict[str, Any], metrics: dict[str, Any]) -> str:
    """Say what was opened, and how often that has happened."""
    count = opening["count"]
    times = "for the first time" if count == 1 else f"{count} times by now"
    return (
        f"lock-box of {metrics['n_scans']} scans of {metrics['n_subjects']} people, "
        f"opened {times}, {opening['date']}; 95 % intervals over subjects:"
    )


def _marks(folder: Path) -> list[str]:
    """Say first what a run is if it is no study of people."""
    training = read_json(folder / "model" / "training.json")
    said = (BANNERS.get(training["origin"], ""), training.get("control", ""))
    return [text for text in said if text]


def _cohort_table(folder: Path) -> pd.DataFrame:
    if not (folder / "metrics.json").is_file():
        action = "name the folder that scripts/train.py printed last"
        raise RunError(Fault(str(folder), "no finished run", "a run folder with model/", action))
    table = read_table_file(folder / "cohort.tsv", ("scan_id", "participant_id", "label", "used"))
    if not (table["used"] == BOX).any():
        raise RunError(
            Fault(
                str(folder),
                "a run without a lock-box",
                "people set aside before training",
                "train with lockbox.fraction, lockbox.site or lockbox.subjects",
            )
        )
    return table[table["used"].isin([TRAIN, BOX])]


def _load(folder: Path, table: pd.DataFrame, preparation: Preparation, store_dir: str) -> StudyData:
    """Read everybody's scans again, onto the grid that the final model knows."""
    training = read_json(folder / "model" / "training.json")
    scans = tuple(
        Scan(
            row["scan_id"],
            row["participant_id"],
            tuple(map(Path, row["files"].split(FILE_SEPARATOR))),
            row["space"],
            row["label"],
        )
        for _, row in table.iterrows()
    )
    listing = Listing(
        scans,
        tuple(training["contrasts"]),
        training["stat"],
        read_table_file(folder / "participants.tsv", ("participant_id",)),
        Labels(training["label"], training["positive"], training["negative"]),
        origin=training["origin"],
    )
    store = ScanStore(Path(store_dir), preparation.grid, preparation.min_coverage)
    settings = PreparationSettings(fwhm_mm=preparation.fwhm_mm)
    return load_study_data(open_cohort(listing, store), settings)


def _box_fold(cohort: Cohort, box: set[str], inner_splits: int, seed: int) -> Fold:
    """Put everybody outside of the box into training, everybody inside into test."""
    outside = tuple(scan for scan in cohort.scans if scan.scan_id not in box)
    fold = build_inner_folds(replace(cohort, scans=outside), inner_splits, seed)
    inside = [scan.participant_id for scan in cohort.scans if scan.scan_id in box]
    return replace(fold, test=tuple(dict.fromkeys(inside)))
