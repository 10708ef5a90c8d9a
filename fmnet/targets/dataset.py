"""Say what a data set lacks for a target, before any scan is processed."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd

from fmnet.bold.findings import DatasetReport, Finding, Kind
from fmnet.data.bids import with_sessions
from fmnet.data.listing import NO_LABELS, Listing, MapTable
from fmnet.data.scans import Scan
from fmnet.data.tables import read_table_file, subject_key
from fmnet.errors import CohortError
from fmnet.targets.base import Target
from fmnet.targets.reading import SUPPLY, read_target


def check_outcomes(report: DatasetReport, target: Target) -> DatasetReport:
    """Add to the report on a data set what its tables hold for a target, and what they lack.

    Looked up are participants.tsv and ``sub-*_sessions.tsv`` in the folders checked and up to two
    above. A scan is what a study has of a person, or of each session.
    """
    roots = [root.resolve() for root in report.folders]
    folders = [folder for root in roots for folder in (root, *root.parents[:2])]
    tables = [folder / "participants.tsv" for folder in folders]
    path = next((one for one in tables if one.is_file()), None)
    if path is None:
        return report  # as is told already
    try:
        listing = _list_scans(report, path, folders)
        read, listing = read_target(target, listing)
    except CohortError as error:
        found = tuple(Finding(Kind.OUTCOME, fault) for fault in error.faults)
        return replace(report, findings=report.findings + found)
    missing = [fault for fault in listing.passed_over if fault.action == SUPPLY]
    found = tuple(Finding(Kind.OUTCOME, fault) for fault in (*listing.faults, *missing))
    faulty = {fault.participant_id for fault in listing.faults}
    strata = [scan.stratum for scan in listing.studied if scan.participant_id not in faulty]
    counts = ", ".join(f"{name} {count}" for name, count in sorted(Counter(strata).items()))
    said = f"target={read.kind}: {len(strata)} of {len(listing.scans)} scans can be studied"
    others = len(listing.passed_over) - len(missing)
    among = f"; {others} are of people who are not among those studied" if others else ""
    text = f"{said}{f' ({counts})' if counts else ''}{among}"
    return replace(report, findings=report.findings + found, target=text)


def _list_scans(report: DatasetReport, path: Path, folders: list[Path]) -> Listing:
    """List one scan for each session of the people who are in the table."""
    table = read_table_file(path, ("participant_id",))
    named = set(table["participant_id"].map(subject_key))
    scans: dict[str, Scan] = {}
    for run in report.preprocessed_runs or report.raw_runs:
        if subject_key(run.participant_id) in named:
            session = f"_ses-{run.session}" if run.session else ""
            name = f"{run.participant_id}{session}"
            scans[name] = Scan(name, run.participant_id, (), "")
    ids = [(scan.participant_id, name) for name, scan in scans.items()]
    rows = pd.DataFrame(ids, columns=["participant_id", "scan_id"])
    maps = with_sessions(MapTable(rows, ("BOLD",)), folders)
    held = ("n/a", table, NO_LABELS, tuple(maps.faults))
    return Listing(tuple(scans.values()), ("BOLD",), *held, of_scans=maps.of_scans)
