"""What is wrong with the events of a task run, as far as the file itself tells."""

from pathlib import Path

import pandas as pd

from fmnet.bold.findings import Finding, Kind
from fmnet.data.numbers import read_together
from fmnet.data.tables import read_table_file
from fmnet.errors import CohortError, Fault

ACCEPTED = "onset and duration in seconds, within the run, and a trial_type"


def is_rest(task: str) -> bool:
    """Tell tasks that need no events: BIDS wants their names to begin with ``rest``."""
    return task.lower().startswith("rest")


def check_events(
    path: Path, person: str, length_s: float | None
) -> tuple[frozenset[str], list[Finding]]:
    """Check a run's events.

    Parameters
    ----------
    path : Path
        ``events.tsv``.
    person : str
        Whose run it is.
    length_s : float or None
        Of the run; None if it isn't known.

    Returns
    -------
    conditions : frozenset of str
        The values of trial_type.
    findings : list of Finding
        All that is odd.
    """
    try:
        table = read_table_file(path, ("onset", "duration", "trial_type"))
    except CohortError as error:
        return frozenset(), [
            Finding(Kind.EVENTS, Fault(str(path), fault.found, ACCEPTED, fault.action, person))
            for fault in error.faults
        ]
    conditions = frozenset(str(value) for value in table["trial_type"] if value)
    return conditions, [_finding(path, odd, person) for odd in _oddities(table, length_s)]


def differing_conditions(found: dict[Path, tuple[str, frozenset[str]]]) -> list[Finding]:
    """Tell runs of one task whose conditions are others than in most of its runs.

    Parameters
    ----------
    found : dict
        Person and conditions by events file.
    """
    sets = [conditions for _, conditions in found.values() if conditions]
    if not sets:
        return []
    usual = max(sorted(set(sets), key=sorted), key=sets.count)
    return [
        _finding(path, _difference(conditions, usual), person)
        for path, (person, conditions) in found.items()
        if conditions and conditions != usual
    ]


def _difference(conditions: frozenset[str], usual: frozenset[str]) -> str:
    words = [
        f"{word} {', '.join(repr(name) for name in sorted(names))}"
        for word, names in (("without", usual - conditions), ("only here", conditions - usual))
        if names
    ]
    return f"other conditions than in most runs of the task: {'; '.join(words)}"


def _oddities(table: pd.DataFrame, length_s: float | None) -> list[str]:
    table = table[table["trial_type"] != ""]  # the others are no conditions: responses, cues
    if table.empty:
        return ["no event with a trial_type"]
    odd = []
    numbers = {
        name: pd.Series(found.values, table.index)
        for name, found in read_together(table, ("onset", "duration")).items()
    }
    for name, values in numbers.items():
        if lost := int(values.isna().sum()):
            odd.append(f"{_count(lost)} without a number as {name}")
    if short := int((numbers["duration"] < 0).sum()):
        odd.append(f"{_count(short)} of negative duration")
    if early := int((numbers["onset"] < 0).sum()):
        odd.append(f"{_count(early)} before the run begins")
    last = numbers["onset"].max()
    if length_s is not None and last >= length_s:
        late = int((numbers["onset"] >= length_s).sum())
        odd.append(f"{_count(late)} after the end of the run ({last:g} s, it lasts {length_s:g} s)")
    return odd


def _count(n: int) -> str:
    return f"{n} event{'' if n == 1 else 's'}"


def _finding(path: Path, found: str, person: str) -> Finding:
    action = "correct the file, or leave the person out of analyses of this task"
    return Finding(Kind.EVENTS, Fault(str(path), found, ACCEPTED, action, person))
