"""Read a cohort of preprocessed BOLD runs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from fmnet.bold.bids_files import PreprocessedRun
from fmnet.bold.derivatives import RunListing, find_runs
from fmnet.bold.maps import parse_maps
from fmnet.bold.scan_maps import ScanMaps
from fmnet.bold.settings import CleaningSettings
from fmnet.data.bids import find_participants, tree_origin
from fmnet.data.listing import Listing, MapTable, OnFault, build_listing, check_label_column
from fmnet.data.tables import normal_text, read_table_file, subject_key
from fmnet.errors import CohortError, Fault

#: What the one row of each scan is called while people and labels are checked.
RUN = "BOLD run"


def read_bold(
    root: str | Path,
    raw: str | Path | None = None,
    participants: str | Path | None = None,
    task: str | None = None,
    sessions: Sequence[str] | None = None,
    space: str | None = None,
    label: str = "group",
    positive: str | int = "FM",
    negative: str | int | None = "HC",
    cleaning: CleaningSettings | None = None,
    maps: Sequence[str] = ("alff", "falff", "reho"),
    on_fault: OnFault = "raise",
    entities: Mapping[str, str | int] | None = None,
) -> Listing:
    """List the runs of an fMRIPrep folder; all runs of a subject and session are one scan.

    Parameters
    ----------
    root : Path
        Derivatives that fMRIPrep wrote.
    raw : Path, optional
        The BIDS data set that they come from, where events and participants.tsv may lie.
    participants : Path, optional
        Table of people; else ``participants.tsv`` in or above `root`, or in `raw`.
    task, sessions, space : optional
        Which runs; may be left out where there is one choice. A resolution is written as fMRIPrep
        does, ``MNI152NLin2009cAsym:res-2``.
    label, positive, negative
        Column to predict and its two values; `negative` may be None where there are only two.
    cleaning : CleaningSettings
        How runs are cleaned.
    maps : sequence of str
        Maps that are computed from each scan, see `fmnet.bold.maps.parse_maps`: what a network of
        maps reads, and the linear models.
    on_fault : {"raise", "exclude"}
        Stop at faults, all of them in one report, or go on without the people concerned.
    entities : dict, optional
        Which images to read by further entities of their names, ``{rec: magnitude}``; ``n/a`` for
        those that don't state one.

    Raises
    ------
    CohortError
        If there is no such folder, no run, no participants table, or a map that fmnet doesn't know.
    """
    label = normal_text(label)
    check_label_column(label, ("participant_id",))
    recipes, cleaning = parse_maps(maps), cleaning or CleaningSettings()
    found = find_runs(
        root,
        task,
        sessions,
        space,
        raw,
        needs_confounds=cleaning.needs_confounds,
        entities=entities,
    )
    if not found.runs:
        raise CohortError(found.faults)
    table = read_table_file(
        Path(participants) if participants else _find_participants(Path(root), raw),
        ("participant_id", label),
        {label: [str(positive), str(negative)]},
    )
    scans = _group(found.runs)
    rows = pd.DataFrame([_row(name, runs) for name, runs in scans.items()])
    faults = list(found.faults)
    listed = MapTable(rows, (RUN,), "n/a", tree_origin(Path(root)), faults, everyone=found.everyone)
    listing = build_listing(listed, table, label, positive, negative, on_fault)
    return replace(
        listing,
        faults=_said_once(listing.faults, found),
        scans=tuple(
            replace(scan, files=tuple(run.bold.path for run in scans[scan.scan_id]), is_series=True)
            for scan in listing.scans
        ),
        contrasts=tuple(recipe.name for recipe in recipes),
        recipe=partial(ScanMaps, cleaning=cleaning, maps=tuple(maps), runs=scans),
        made_by={
            "cleaning": asdict(cleaning),
            "maps": list(maps),
            "raw": None if raw is None else str(Path(raw).absolute()),
        },
    )


def _group(runs: Sequence[PreprocessedRun]) -> dict[str, tuple[PreprocessedRun, ...]]:
    """Put the runs of each subject and session together, in the order that they are named."""
    scans: dict[str, tuple[PreprocessedRun, ...]] = {}
    for run in runs:
        session = f"_ses-{run.session}" if run.session else ""
        name = f"{run.bold.participant_id}{session}_task-{run.task}"
        scans[name] = (*scans.get(name, ()), run)
    return scans


def _said_once(faults: Sequence[Fault], found: RunListing) -> tuple[Fault, ...]:
    """Drop the fault of having no scan for subjects whose runs all have faults of their own."""
    said = {subject_key(fault.participant_id) for fault in found.faults if fault.participant_id}
    read = {subject_key(run.bold.participant_id) for run in found.runs}
    known = set(found.faults)
    return tuple(
        fault
        for fault in faults
        if fault in known or subject_key(fault.participant_id) not in said - read
    )


def _row(scan_id: str, runs: tuple[PreprocessedRun, ...]) -> dict[str, Any]:
    first = runs[0].bold
    return {
        "participant_id": first.participant_id,
        "scan_id": scan_id,
        "contrast": RUN,
        "space": first.space,
        "path": first.path,
    }


def _find_participants(root: Path, raw: str | Path | None) -> Path:
    beside = Path(raw) / "participants.tsv" if raw is not None else None
    return beside if beside is not None and beside.exists() else find_participants(root)
