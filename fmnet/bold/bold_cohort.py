"""Read a cohort of preprocessed BOLD runs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pandas as pd

from fmnet.bold.bids_files import PreprocessedRun
from fmnet.bold.derivatives import find_runs
from fmnet.bold.maps import parse_maps
from fmnet.bold.scan_maps import ScanMaps
from fmnet.bold.settings import CleaningSettings
from fmnet.data.bids import find_participants, tree_origin, with_sessions
from fmnet.data.listing import Listing, MapTable, OnFault, build_listing, check_label_column
from fmnet.data.tables import normal_text, read_table_file, subject_key
from fmnet.errors import CohortError

#: What the one row of each scan is called while subjects and labels are checked.
RUN = "BOLD run"


def read_bold(
    root: str | Path,
    raw: str | Path | None = None,
    participants: str | Path | None = None,
    task: str | None = None,
    sessions: Sequence[str] | None = None,
    space: str | None = None,
    label: str | None = "group",
    positive: str | int | None = "FM",
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
        Table of subjects; else ``participants.tsv`` in or above `root`, or in `raw`.
    task, sessions, space : optional
        Which runs; may be left out where there is one choice. A resolution is written as fMRIPrep
        does, ``MNI152NLin2009cAsym:res-2``.
    label, positive, negative
        Column to predict and its two values; `negative` may be None where there are only two, and
        `label` where no groups are told apart but a target is predicted, whose columns may also be
        in ``sub-*/sub-*_sessions.tsv``.
    cleaning : CleaningSettings
        How runs are cleaned.
    maps : sequence of str
        Maps that are computed from each scan, see `fmnet.bold.maps.parse_maps`: what a network of
        maps reads, and the linear models.
    on_fault : {"raise", "exclude"}
        Stop at faults, all of them in one report, or go on without the subjects concerned.
    entities : dict, optional
        Which images to read by further entities of their names, ``{rec: magnitude}``; ``n/a`` for
        those that don't state one.

    Raises
    ------
    CohortError
        If there is no such folder, no run, no participants table, or a map that fmnet doesn't know.
    """
    label = None if label is None else normal_text(label)
    check_label_column(label, ("participant_id",))
    recipes, cleaning = parse_maps(maps), cleaning or CleaningSettings()
    found = find_runs(root, task, sessions, space, raw, cleaning.needs_confounds, entities=entities)
    if not found.runs:
        raise CohortError(found.faults)
    if not participants and raw is not None:
        in_raw = Path(raw) / "participants.tsv"
        participants = in_raw if in_raw.exists() else None
    people = Path(participants or find_participants(Path(root)))
    meant = {} if label is None else {label: [str(positive), str(negative)]}
    table = read_table_file(people, ("participant_id", *meant), meant)
    # the runs of each subject and session together, in the order that they are named
    scans: dict[str, tuple[PreprocessedRun, ...]] = {}
    for run in found.runs:
        session = f"_ses-{run.session}" if run.session else ""
        name = f"{run.bold.participant_id}{session}_task-{run.task}"
        scans[name] = (*scans.get(name, ()), run)
    columns = ["participant_id", "scan_id", "contrast", "space", "path"]
    rows = [
        (runs[0].bold.participant_id, scan_id, RUN, runs[0].bold.space, runs[0].bold.path)
        for scan_id, runs in scans.items()
    ]
    listed = MapTable(
        pd.DataFrame(rows, columns=columns),
        (RUN,),
        "n/a",
        tree_origin(Path(root)),
        list(found.faults),
        everyone=found.everyone,
    )
    if label is None:
        above = Path(root).resolve().parents[:2]
        places = [Path(root), *([] if raw is None else [Path(raw)]), *above, people.parent]
        listed = with_sessions(listed, places)
    listing = build_listing(listed, table, label, positive, negative, on_fault)
    # subjects whose runs all have faults of their own have no scan; that goes without saying
    explained = {subject_key(f.participant_id) for f in found.faults if f.participant_id}
    known = set(found.faults)
    explained -= {subject_key(run.bold.participant_id) for run in found.runs}
    return replace(
        listing,
        faults=tuple(
            fault
            for fault in listing.faults
            if fault in known or subject_key(fault.participant_id) not in explained
        ),
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
