"""Whether a table of people and a data set's folders name the same people."""

from collections import Counter
from pathlib import Path

import pandas as pd

from fmnet.bold.findings import Finding, Kind
from fmnet.data.covariates import number_faults
from fmnet.data.tables import read_table_file, subject_key
from fmnet.errors import CohortError, Fault

TABLE = "participants.tsv"
#: Columns with more values than this tell people apart, not groups.
MAX_GROUPS = 5


def check_people(folders: tuple[Path, ...], people: tuple[str, ...]) -> tuple[str, list[Finding]]:
    """Compare the first participants.tsv of these folders with the people who have images.

    Returns
    -------
    description : str
        The table's columns and how many people are in each group; empty without a table.
    findings : list of Finding
        One per person and fault, and one per column with cells that can't be right.
    """
    places = [folder / TABLE for folder in folders]
    path = next((place for place in places if place.exists() or place.is_symlink()), None)
    accepted = "participant_id, the column to predict (group), age, sex and other covariates"
    if path is None:
        action = "make one; the data set's README may say where its people are described"
        fault = Fault(str(places[0]), "no such file", f"a table of {accepted}", action)
        return "", [Finding(Kind.NO_TABLE, fault)]
    try:
        table = read_table_file(path, ("participant_id",))
    except CohortError as error:
        return "", [Finding(Kind.NO_TABLE, fault) for fault in error.faults]
    odd = [Finding(Kind.NUMBERS, fault) for fault in number_faults(table)]
    return _describe(table), _compare(list(table["participant_id"]), people) + odd


def _describe(table: pd.DataFrame) -> str:
    columns: list[str] = []
    for name in table.columns:
        counts = Counter(value for value in table[name] if value)
        is_group = 1 < len(counts) <= MAX_GROUPS and name != "participant_id"
        groups = ", ".join(f"{value} {count}" for value, count in sorted(counts.items()))
        columns.append(f"{name} ({groups})" if is_group else str(name))
    return f"{len(table)} rows; {', '.join(columns)}"


def _compare(rows: list[str], people: tuple[str, ...]) -> list[Finding]:
    named = Counter(subject_key(person) for person in rows)
    there = {subject_key(person): person for person in people}
    findings = [
        _finding(Kind.NOT_IN_TABLE, person, "no row", "add the person's row")
        for key, person in there.items()
        if key not in named
    ]
    for key, count in named.items():
        person = there.get(key, f"sub-{key}")
        if key not in there:
            action = "fetch the person's images, or take the row out"
            findings.append(_finding(Kind.NO_IMAGES, person, "no folder of this person", action))
        if count > 1:
            action = "remove the rows that are wrong"
            findings.append(_finding(Kind.TWICE_IN_TABLE, person, f"{count} rows", action))
    return findings


def _finding(kind: Kind, person: str, found: str, action: str) -> Finding:
    return Finding(kind, Fault(person, found, f"one row in {TABLE} and images", action, person))
