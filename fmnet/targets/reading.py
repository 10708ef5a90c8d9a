"""Read what a target predicts from the tables of a data set: an outcome for each scan."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
import pandas as pd

from fmnet.data.covariates import missing_codes, read_numbers
from fmnet.data.listing import NO_LABELS, Listing
from fmnet.data.outcomes import Numbers, Outcomes
from fmnet.data.scans import Scan
from fmnet.data.tables import normal_text, say_some, subject_key, table_name
from fmnet.errors import CohortError, Fault
from fmnet.targets.base import Target

Kind = TypeVar("Kind", bound=Target)
#: Roles of columns that outcomes are adjusted for, and that stay covariates.
COVARIATE = "covariate_"
NOT_STUDIED = "nothing, unless the person is to be studied"
SUPPLY = "fill it in if it is known; the study goes on without the scan"


def read_target(target: Kind, listing: Listing) -> tuple[Kind, Listing]:
    """Give every scan of a listing its outcome.

    A column is looked up scan by scan in the table of maps, or in ``sub-*_sessions.tsv``, and if it
    is in none of them in the table of participants. Scans of which too little is known, or of
    people who aren't among those studied, are passed over and named; values that can't be read are
    faults, like all others of the listing.

    Parameters
    ----------
    target : Target
        As configured.
    listing : Listing
        From one of the readers.

    Returns
    -------
    tuple
        The target with nothing left open, and the listing with outcomes and strata.

    Raises
    ------
    CohortError
        If no table has a column that the target names, or two roles share one.
    """
    if doubled := _doubled(target):
        raise CohortError(doubled)
    texts = _look_up(target, listing)
    is_among, passed_over, faults = _choose(target, texts)
    rows = texts[is_among].reset_index(drop=True)
    read, values, own = target.read(rows)
    faults += own
    if is_among.any():
        faults += _code_faults(rows, list(target.columns.values()), own)
    outcomes = _outcomes(rows, values, listing)
    listing = replace(
        listing,
        labels=NO_LABELS,
        faults=(*listing.faults, *faults),
        outcome_columns=tuple(
            dict.fromkeys(
                column for role, column in target.columns.items() if not role.startswith(COVARIATE)
            )
        ),
        passed_over=tuple(passed_over),
    )
    if any(not fault.participant_id for fault in faults):
        return read, listing  # what can't be read as a whole has neither gaps nor strata
    faulty = {subject_key(fault.participant_id) for fault in listing.faults}
    is_faulty = rows["participant_id"].map(lambda one: subject_key(one) in faulty).to_numpy(bool)
    is_known = read.is_known(outcomes)
    passed_over += [
        _unknown(target, rows.iloc[row]) for row in np.flatnonzero(~is_known & ~is_faulty)
    ]
    studied = np.flatnonzero(is_known & ~is_faulty)
    strata = dict(zip(rows["scan_id"][studied], read.strata(outcomes.take(studied)), strict=True))
    held = pd.DataFrame(values).to_numpy(float)
    outcome_of = {
        scan_id: tuple(zip(values, map(float, row), strict=True))
        for scan_id, row in zip(rows["scan_id"], held, strict=True)
    }
    scans = tuple(
        replace(
            scan,
            outcome=outcome_of.get(scan.scan_id, ()),
            stratum=strata.get(scan.scan_id, ""),
        )
        for scan in listing.scans
    )
    listing = replace(listing, scans=scans, passed_over=tuple(passed_over))
    check = partial(_lacks, read, replace(listing, scans=()))
    lacking = check([scan for scan in scans if scan.scan_id in strata])
    return read, replace(listing, faults=(*listing.faults, *lacking), check=check)


def _look_up(target: Target, listing: Listing) -> pd.DataFrame:
    """Tabulate the texts of all columns, scan by scan; raise `CohortError` if one is nowhere."""
    of_people = listing.participants.drop_duplicates("participant_id")
    of_scans = listing.of_scans if listing.of_scans is not None else pd.DataFrame({"scan_id": []})
    keys = of_people["participant_id"].map(subject_key)
    scan_keys = [subject_key(scan.participant_id) for scan in listing.scans]
    ids = [scan.scan_id for scan in listing.scans]
    texts = pd.DataFrame(
        {"participant_id": [scan.participant_id for scan in listing.scans], "scan_id": ids}
    )
    roles = {column: f"'{role}'" for role, column in target.columns.items()}
    there = [*map(str, of_people.columns), *map(str, of_scans.columns.drop("scan_id"))]
    faults = []
    for column in dict.fromkeys([*target.columns.values(), *target.restrictions]):
        name = normal_text(column)
        if name in of_scans:
            held, wanted = dict(zip(of_scans["scan_id"], of_scans[name], strict=True)), ids
        elif name in of_people:
            held, wanted = dict(zip(keys, of_people[name], strict=True)), scan_keys
        else:
            found = f"columns {say_some(map(repr, dict.fromkeys(there)))}"
            accepted = f"a column '{column}' ({roles.get(column, 'among')} of target.{target.kind})"
            action = f"name the column that has it (target), or add or rename: '{column}'"
            faults.append(Fault(table_name(listing.participants), found, accepted, action))
            continue
        texts[column] = [str(held.get(key, "")) for key in wanted]
    if faults:
        raise CohortError(faults)
    return texts


def _choose(
    target: Target, texts: pd.DataFrame
) -> tuple["pd.Series[bool]", list[Fault], list[Fault]]:
    """Tell which scans are of people studied, why others aren't, and what is wrong about that."""
    is_among = pd.Series(True, index=texts.index)
    passed_over, faults = list[Fault](), list[Fault]()
    for column, values in target.restrictions.items():
        wanted, where = [normal_text(str(value)) for value in values], f"target.among.{column}"
        accepted = f"{' or '.join(map(repr, wanted))} ({where})"
        present = sorted(set(texts[column]) - {""})
        if absent := [value for value in wanted if value not in present]:
            found, action = f"{', '.join(map(repr, absent))} of nobody", f"correct {where}"
            faults.append(Fault(where, found, say_some(map(repr, present)) or "n/a", action))
        for row in texts.index[is_among & ~texts[column].isin(wanted)]:
            cell, subject = (str(texts.at[row, name]) for name in (column, "participant_id"))
            found = f"'{cell}' in column '{column}'" if cell else f"nothing in column '{column}'"
            passed_over.append(
                Fault(str(texts.at[row, "scan_id"]), found, accepted, NOT_STUDIED, subject)
            )
        is_among &= texts[column].isin(wanted)
    return is_among, passed_over, faults


def _code_faults(rows: pd.DataFrame, columns: Sequence[str], told: list[Fault]) -> list[Fault]:
    """Find numbers that stand for a missing value, as -999, of people without other faults."""
    known = {fault.participant_id for fault in told}
    faults = []
    for column in dict.fromkeys(columns):
        found = read_numbers(rows[column])
        codes = missing_codes(found.values, column) if found.is_mostly_numbers else []
        for row in np.flatnonzero(np.isin(found.values, codes)):
            subject = str(rows.at[row, "participant_id"])
            if subject in known:
                continue
            told_as = f"'{rows[column][row]}' in column '{column}', far from all others"
            action = "write n/a for values that are missing, or correct them"
            accepted = "measured values; n/a if missing"
            faults.append(Fault(str(rows.at[row, "scan_id"]), told_as, accepted, action, subject))
    return faults


def _unknown(target: Target, row: "pd.Series[str]") -> Fault:
    """Say of whom too little is known."""
    empty = {column: role for role, column in target.columns.items() if not row[column]}
    named = ", ".join(f"'{column}' ({role})" for column, role in empty.items())
    cells = ", ".join(f"'{row[column]}' in column '{column}'" for column in target.columns.values())
    found = f"nothing in column {named}" if empty else f"{cells}, which isn't studied"
    accepted = f"what target.{target.kind} needs" if empty else f"what target.{target.kind} names"
    action = SUPPLY if empty else NOT_STUDIED
    return Fault(str(row["scan_id"]), found, accepted, action, str(row["participant_id"]))


def _doubled(target: Target) -> list[Fault]:
    """Find columns that two roles of a target read: what is adjusted for itself is gone."""
    if target.kind == "several":
        return []
    roles: dict[str, list[str]] = {}
    for role, column in target.columns.items():
        roles.setdefault(normal_text(column), []).append(f"'{role}'")
    return [
        Fault(
            f"target.{target.kind}",
            f"column '{column}' for {' and '.join(own)}",
            "another column for each",
            "name the columns as the table does, or set what there is no column for to null",
        )
        for column, own in roles.items()
        if len(own) > 1
    ]


def _outcomes(rows: pd.DataFrame, values: dict[str, Numbers], listing: Listing) -> Outcomes:
    """Put numbers together with whose and where they are."""
    table = listing.participants
    keys = table["participant_id"].map(subject_key)
    subjects = list(map(str, rows["participant_id"]))

    def look_up(column: str) -> list[str]:
        held = dict(zip(keys, table[column], strict=True)) if column in table else {}
        return [str(held.get(subject_key(subject), "")) for subject in subjects]

    families = zip(subjects, look_up("family"), strict=True)
    units = tuple(f"family-{family}" if family else subject for subject, family in families)
    return Outcomes(values, tuple(subjects), units, tuple(look_up("site")))


def _lacks(target: Target, listing: Listing, scans: Sequence[Scan]) -> list[Fault]:
    """Name what these scans lack for the target."""
    if not scans:
        action = "fill in what is missing, or correct the columns that the target names"
        return [Fault("cohort", "nobody whose outcome is known", "people to study", action)]
    names = ("participant_id", "scan_id")
    rows = pd.DataFrame([(scan.participant_id, scan.scan_id) for scan in scans], columns=names)
    roles = [role for role, _ in scans[0].outcome]
    held = np.array([[value for _, value in scan.outcome] for scan in scans], dtype=float)
    values = {role: held[:, k] for k, role in enumerate(roles)}
    return target.check(_outcomes(rows, values, listing))
