"""Events of a task run: when which condition began and how long it lasted."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from fmnet.bold.formula import condition_name
from fmnet.bold.open_run import OpenRun
from fmnet.data.numbers import Numbers, read_together, sentinels
from fmnet.data.tables import lines_of, read_table_file, say_lines
from fmnet.errors import CohortError, VolumeError

COLUMNS = ("onset", "duration", "trial_type")
ACCEPTED = "a BIDS events.tsv with onset, duration (both in s) and trial_type"


def read_events(run: OpenRun) -> pd.DataFrame:
    """Read a run's events.

    Parameters
    ----------
    run : OpenRun
        Whose ``events.tsv`` is read.

    Returns
    -------
    DataFrame
        ``onset, duration, trial_type``; trial types as `condition_name` writes them; rows without
        one are left out.

    Raises
    ------
    VolumeError
        If there is no file, it can't be read, times are no times, two trial types have the same
        name in formulas, or no event lies within the run.
    """
    path = run.source.run.events
    if path is None:
        action = "put it beside the run or in the raw data set, or ask for maps that need no events"
        raise run.refusal("no events", ACCEPTED, action)
    try:
        table = read_table_file(path, COLUMNS)
    except CohortError as error:
        raise VolumeError(
            fault
            for one in error.faults
            for fault in run.refusal(one.found, one.accepted, one.action, path).faults
        ) from error
    table = table[table["trial_type"] != ""]
    read = read_together(table, COLUMNS[:2])
    events = pd.DataFrame({name: _seconds(run, table, name, read[name]) for name in read})
    events["trial_type"] = table["trial_type"].map(condition_name)
    _check_names(run, table["trial_type"])
    _check_times(run, events)
    return events


def _seconds(run: OpenRun, table: pd.DataFrame, column: str, found: Numbers) -> pd.Series:
    """Take a column as times; refuse what is none, or stands for one that nobody knows."""
    wrong = ~found.is_number
    if column == "duration":
        wrong |= found.values < 0
    codes = [code for code in sentinels(found.values) if not 0 <= code <= _length(run)]
    wrong |= np.isin(found.values, codes)
    if wrong.any():
        first = ", ".join(f"'{text}'" for text in table.loc[wrong, column].unique()[:3])
        lines = say_lines(lines_of(table, table.index[wrong])[:5])
        told = f"{column} {first} in {lines}"
        action = "correct the table, or write n/a as the trial_type of what is no event"
        raise run.refusal(told, ACCEPTED, action, run.source.run.events)
    return pd.Series(found.values, table.index)


def _length(run: OpenRun) -> float:
    return run.source.stored.n_volumes * run.source.t_r


def _check_names(run: OpenRun, trial_types: Iterable[str]) -> None:
    by_name: dict[str, set[str]] = {}
    for trial_type in trial_types:
        by_name.setdefault(condition_name(trial_type), set()).add(trial_type)
    if same := [sorted(group) for group in by_name.values() if len(group) > 1]:
        found = "; ".join(" and ".join(map(repr, group)) for group in same)
        accepted = "trial types that differ in more than spaces and punctuation"
        raise run.refusal(found, accepted, "rename them", run.source.run.events)


def _check_times(run: OpenRun, events: pd.DataFrame) -> None:
    length = _length(run)
    if not ((events["onset"] < length) & (events["onset"] + events["duration"] >= 0)).any():
        times = f"from {events['onset'].min():g} s on" if len(events) else "none"
        raise run.refusal(
            f"no event within the {length:g} s of the run ({times})",
            ACCEPTED,
            "check that the file belongs to this run and that its times are in seconds",
            run.source.run.events,
        )
