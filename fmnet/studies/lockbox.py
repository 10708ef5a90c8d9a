"""Set subjects aside before anything is looked at, and score them once at the end."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fmnet.baselines.base import Baseline, FoldScores, score_fold
from fmnet.bold.maps import parse_maps
from fmnet.bold.scan_maps import ScanMaps
from fmnet.crossval.fold_loop import fold_rows
from fmnet.data.cohort import Cohort, open_cohort
from fmnet.data.folds import build_inner_folds
from fmnet.data.listing import Labels, Listing
from fmnet.data.scans import FILE_SEPARATOR, Scan
from fmnet.data.store import ArrayStore
from fmnet.data.tables import read_table_file, subject_key
from fmnet.errors import CohortError, Fault, RunError
from fmnet.evaluation.evaluate import study_metrics
from fmnet.evaluation.metrics import add_units
from fmnet.export.run_scans import read_raw
from fmnet.inference.bold import describe_run
from fmnet.inference.bold_contract import read_contract
from fmnet.inference.calibration import Calibration, read_calibration
from fmnet.inference.preparation import Preparation, read_preparation
from fmnet.networks.backbones import ScoreNetwork
from fmnet.networks.rebuild import TRUSTED, read_network
from fmnet.report.sentences import BANNERS
from fmnet.report.terminal import model_lines
from fmnet.runs.final_models import LINEAR_FOLDER, NETWORK_FOLDER, RECORD, read_record
from fmnet.runs.lock import holding
from fmnet.runs.record import OPENINGS, table_text
from fmnet.runs.run_folder import as_json, check_run_files, read_json, write_run_files
from fmnet.training.fit import score_scans
from fmnet.training.scan_set import MapScans, Rows, ScanSet
from fmnet.types import PartialShare

#: Part of the seed that participants are drawn with.
LOCKBOX = 3_000_000


@dataclass(frozen=True)
class LockBox:
    """Who is set aside; the three ways add up.

    Parameters
    ----------
    subjects : list of str
        Participant ids.
    site : str, optional
        All subjects of this site.
    fraction : float
        Fraction of each class, drawn at random.
    """

    subjects: Sequence[str] = ()
    site: str | None = None
    fraction: PartialShare = 0.0


def set_aside(cohort: Cohort, lockbox: LockBox, seed: int) -> Cohort:
    """Move participants from the scans in use to ``cohort.set_aside``.

    Raises
    ------
    CohortError
        If somebody named is not there, or a class has nobody left inside or outside of the box.
    """
    chosen = _named(cohort, lockbox) | _drawn(cohort, lockbox.fraction, seed)
    # relatives in training would give the subjects chosen away
    keys, families = [*map(subject_key, cohort.participant_ids)], cohort.covariate("family")
    pairs = list(zip(keys, families, strict=True))
    inside_families = {family for key, family in pairs if family and key in chosen}
    inside = [key in chosen or family in inside_families for key, family in pairs]
    if not any(inside):
        return cohort
    scans = list(zip(cohort.scans, cohort.stored, inside, strict=True))
    for where, wanted in (("in the lock-box", True), ("outside the lock-box", False)):
        if len({scan.label for scan, _, is_in in scans if is_in is wanted}) < 2:
            raise CohortError(
                Fault("lockbox", f"one class only {where}", "both classes", "set others aside")
            )
    return replace(
        cohort,
        scans=tuple(scan for scan, _, is_in in scans if not is_in),
        stored=tuple(stored for _, stored, is_in in scans if not is_in),
        set_aside=tuple(scan for scan, _, is_in in scans if is_in),
    )


def _named(cohort: Cohort, lockbox: LockBox) -> set[str]:
    participants = set(map(subject_key, cohort.participant_ids))
    named, sites = set(map(subject_key, lockbox.subjects)), cohort.covariate("site")
    if lockbox.site is not None and lockbox.site not in sites:
        found = f"no site '{lockbox.site}'"
        accepted = ", ".join(sorted(set(sites) - {""})) or "a column 'site' in participants.tsv"
        raise CohortError(Fault("lockbox.site", found, accepted, "correct lockbox.site"))
    if absent := sorted(named - participants):
        raise CohortError(
            Fault(
                "lockbox.subjects",
                f"nobody called {', '.join(absent)}",
                "participant ids of the cohort",
                "correct lockbox.subjects",
            )
        )
    of_site = {
        subject_key(participant)
        for participant, site in zip(cohort.participant_ids, sites, strict=True)
        if lockbox.site is not None and site == lockbox.site
    }
    return named | of_site


def _drawn(cohort: Cohort, fraction: float, seed: int) -> set[str]:
    """Draw a fraction of each class; whoever has scans of both counts for the first."""
    if not fraction:
        return set()
    rng = np.random.default_rng([seed, LOCKBOX])
    label_of: dict[str, str] = {}
    for scan in cohort.scans:
        label_of.setdefault(subject_key(scan.participant_id), scan.label)
    drawn: set[str] = set()
    for label in sorted(set(label_of.values())):
        participants = sorted(participant for participant, own in label_of.items() if own == label)
        drawn |= set(
            rng.choice(participants, max(1, round(fraction * len(participants))), replace=False)
        )
    return drawn


#: Role of scans in cohort.tsv, as `fmnet.data.cohort.Cohort.table` writes it.
TRAIN, BOX = "yes", "lock-box"
#: Files of a run that are read again.
READ = ("manifest.json", "cohort.tsv", "participants.tsv", "bold.json",
        NETWORK_FOLDER, LINEAR_FOLDER)  # fmt: skip


def evaluate_lockbox(
    run_dir: str,
    baselines: dict[str, Baseline],
    store_dir: str,
    inner_splits: int = 3,
    again: bool = False,
    trusted_packages: list[str] | None = None,
) -> list[str]:
    """Score the subjects set aside by the final models and by baselines fitted on all others.

    Each opening is recorded in ``manifest.json`` before anything is scored.

    Parameters
    ----------
    run_dir : str
        A finished run with a lock-box.
    baselines : dict
        By name; fitted on those that the final models were trained on, which take the place
        of baselines of the same name.
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
    unknown = check_run_files(folder, READ)
    table = _cohort_table(folder)
    finals = read_finals(folder, (*TRUSTED, *(trusted_packages or ())))
    scans = _load(folder, table, finals[0].preparation, store_dir)
    seed = int(read_json(folder / "manifest.json").get("seed", 0))
    # the subjects inside are tested, all others train
    box = set(table.loc[table["used"] == BOX, "scan_id"])
    others = tuple(scan for scan in scans.cohort.scans if scan.scan_id not in box)
    inside = [scan.participant_id for scan in scans.cohort.scans if scan.scan_id in box]
    fold = build_inner_folds(replace(scans.cohort, scans=others), inner_splits, seed)
    fold = replace(fold, test=tuple(dict.fromkeys(inside)))
    opening = record_opening(folder, again)
    scored = {final.name: final.scores(scans, scans.rows(fold.test)) for final in finals}
    scored |= {
        name: score_fold(baseline, scans, fold)
        for name, baseline in baselines.items()
        if name not in scored and not baseline.lacks(scans)
    }
    predictions = pd.concat(
        [fold_rows(scans.cohort, fold, name, scores) for name, scores in scored.items()]
    )
    named = add_units(predictions, scans.cohort.unit_of)
    titles = {name: baselines[name].describe(name)[1] for name in scored if name in baselines}
    titles |= {final.name: final.title for final in finals}
    metrics: dict[str, Any] = study_metrics(named, seed) | {"opening": opening, "titles": titles}
    with holding(folder, is_shared=False):
        files = {"lockbox.tsv": table_text(predictions), "lockbox.json": as_json(metrics)}
        write_run_files(folder, files)
    # said first of what is no study of participants
    record = read_record(folder / NETWORK_FOLDER)
    marks = (BANNERS.get(record["origin"], ""), record.get("control", ""))
    times = "for the first time" if opening["count"] == 1 else f"{opening['count']} times by now"
    said = (
        f"lock-box of {metrics['n_scans']} scans of {metrics['n_subjects']} people, "
        f"opened {times}, {opening['date']}; 95 % intervals over subjects:"
    )
    head = " ".join([*filter(None, marks), said])
    return [head, *model_lines(metrics), *([unknown] if unknown else []), str(folder)]


@dataclass(frozen=True, eq=False)
class ReadFinal:
    """A final model as a run folder holds it."""

    name: str
    title: str
    network: ScoreNetwork
    preparation: Preparation
    calibration: Calibration

    def scores(self, scans: ScanSet, rows: Rows) -> FoldScores:
        """Score these scans."""
        score = score_scans(self.network, scans.prepared_by(self.preparation), rows).astype(float)
        return FoldScores(score, self.calibration.probability(score))


def read_finals(folder: Path, trusted: tuple[str, ...]) -> list[ReadFinal]:
    """Read the final network and, where there is one, the final linear model."""
    finals = []
    for name in (NETWORK_FOLDER, LINEAR_FOLDER):
        if name == NETWORK_FOLDER or (folder / name / RECORD).exists():
            record, (network, _) = read_record(folder / name), read_network(folder / name, trusted)
            final = ReadFinal(
                name=record["model"],
                title=record["title"],
                network=network,
                preparation=read_preparation(folder / name),
                calibration=read_calibration(folder / name / "calibration.json"),
            )
            finals.append(final)
    return finals


def record_opening(folder: Path, again: bool) -> dict[str, Any]:
    """Note in the manifest that the box is opened, and how often that has happened."""
    with holding(folder, is_shared=False):
        check_run_files(folder, ["manifest.json"])
        manifest = read_json(folder / "manifest.json")
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
        opened = manifest | {OPENINGS: [*before, opening]}
        write_run_files(folder, {"manifest.json": as_json(opened)})
    return opening


def _cohort_table(folder: Path) -> pd.DataFrame:
    if not (folder / "metrics.json").is_file():
        action = "name the folder that fmnet train printed last"
        found = "no finished run" if folder.is_dir() else "no such folder"
        raise RunError(Fault(str(folder), found, "a run folder with model/", action))
    training = read_record(folder / NETWORK_FOLDER)
    if "positive" not in training:
        found, accepted = "a run with a target, which sets nobody aside", "a run of two groups"
        action = "see its figures out of fold (report.html), or score other people: fmnet-predict"
        raise RunError(Fault(str(folder), found, accepted, action))
    groups = {"label": (training["positive"], training["negative"])}  # one may be called NA
    columns = ("scan_id", "participant_id", "label", "used")
    table = read_table_file(folder / "cohort.tsv", columns, groups)
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


def _load(folder: Path, table: pd.DataFrame, preparation: Preparation, store_dir: str) -> ScanSet:
    """Read all scans again, onto the grid that the final model knows."""
    training, contract = read_record(folder / NETWORK_FOLDER), read_contract(folder)
    scans = tuple(
        Scan(
            row["scan_id"],
            row["participant_id"],
            tuple(map(Path, row["files"].split(FILE_SEPARATOR))),
            row["space"],
            row["label"],
            contract is not None,
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
    if contract is not None:  # scans are cleaned, and maps computed from them, as for training
        raw = read_raw(folder)
        runs = {
            scan.scan_id: tuple(describe_run(file, scan.space, raw=raw) for file in scan.files)
            for scan in scans
        }
        names = tuple(recipe.name for recipe in parse_maps(contract.maps))
        build = partial(ScanMaps, cleaning=contract.cleaning, maps=contract.maps, runs=runs)
        listing = replace(listing, contrasts=names, recipe=build)
    recipe = listing.recipe(preparation.grid, preparation.min_coverage)
    cohort = open_cohort(listing, ArrayStore(Path(store_dir), recipe))
    return MapScans(cohort, cohort.values(), series=cohort.series)
