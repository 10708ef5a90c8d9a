"""Covariates and scores with one row per person."""

import numpy as np
import pandas as pd

from fmnet.data.cohort import Cohort
from fmnet.data.covariates import covariate_numbers, is_date, missing_codes
from fmnet.data.numbers import MOSTLY, read_dates
from fmnet.data.tables import subject_key

#: A text column with more different values than this is taken for names or remarks.
MAX_CATEGORIES = 12
#: Why a column is not looked at that can't explain anything either.
CONSTANT = "the same for everybody"
#: How it ends what is said of a column that is looked at without some of its cells.
AS_MISSING = "taken as missing"
OPEN_DATES = "dates that can be read day first or month first; write them as 2021-03-04"
#: Why no column is looked at where people can't differ by their group.
OF_BOTH = "there are people with scans of both groups"
#: Columns that are no covariates, and what they are for.
_NO_COVARIATES = {
    "participant_id": "names the people",
    "family": "says who is kept together by folds and permutations",
}
#: How a covariate of that name is called here, where the class has it.
TAKEN = {"label": "label (column)"}


def people_table(cohort: Cohort) -> pd.DataFrame:
    """Tabulate label and covariates of the people in use.

    Columns that say nothing are left out, see `passed_over`. People with scans of both classes have
    no label of their own, and no table.

    Returns
    -------
    DataFrame
        Index: participant id; ``label`` (0 or 1) and one column per covariate: float where it holds
        numbers, else text; missing is NaN or None.
    """
    labels = pd.DataFrame({"person": cohort.participant_ids, "label": cohort.labels})
    per_person = labels.groupby("person", sort=False)["label"]
    if (per_person.nunique() > 1).any():
        return pd.DataFrame({"label": pd.Series(dtype=int)})
    people = per_person.first()
    found = {"label": people.to_numpy()}
    for name, text in _columns(cohort):
        column, _ = covariate(text, name)
        if column is not None:
            found[TAKEN.get(name, name)] = column.to_numpy()
    return pd.DataFrame(found, index=people.index)


def passed_over(cohort: Cohort) -> list[str]:
    """Say what is not looked at in the participants table, or only in part, and why.

    Every column of the table is there that is not in `people_table`.
    """
    others = _NO_COVARIATES | {cohort.listing.labels.column: "the groups themselves"}
    said = [f"{name}: {others[name]}" for name in map(str, _table(cohort)) if name in others]
    return [*(f"{name}: {why}" for name, why in reasons_of(cohort).items()), *said]


def reasons_of(cohort: Cohort) -> dict[str, str]:
    """Say by column why it is not looked at, or only in part; see `passed_over`."""
    labels = pd.DataFrame({"person": cohort.participant_ids, "label": cohort.labels})
    if (labels.groupby("person")["label"].nunique() > 1).any():
        return {name: OF_BOTH for name, _ in _columns(cohort)}
    return {name: why for name, text in _columns(cohort) if (why := covariate(text, name)[1])}


def covariate(text: pd.Series, name: str) -> tuple[pd.Series | None, str]:
    """Read a text column as numbers or categories; None if it says nothing.

    Returns
    -------
    tuple
        The column, and what is to be said about it; empty if nothing.
    """
    known = text.astype(object).where(text.notna() & (text != ""), None)
    numbers, note = as_numbers(text, name)
    if numbers is not None:
        return (numbers, note) if numbers.nunique() > 1 else (None, CONSTANT)
    n_levels = known.nunique(dropna=True)
    if n_levels < 2:
        return None, CONSTANT if n_levels else "not known for anybody"
    if n_levels > MAX_CATEGORIES:
        dates = read_dates(text)
        is_open = dates is not None and dates.is_open
        return None, OPEN_DATES if is_open else f"text with {n_levels} different values"
    return known, ""


def as_numbers(text: pd.Series, name: str) -> tuple[pd.Series | None, str]:
    """Read a text column as numbers, missing as NaN; None if it isn't one of numbers or dates.

    Dates are days since the first one of the column.

    Returns
    -------
    tuple
        The column, and what is to be said about cells that are no numbers or stand for a missing
        value; empty if there is none.
    """
    dates = read_dates(text, has_plain=is_date(name))
    if dates is not None and not dates.is_open:
        lost = int(dates.is_wrong.sum())
        note = f"{lost} values that are no dates, {AS_MISSING}" if lost else ""
        return pd.Series(dates.days, text.index, name=text.name), note
    found = covariate_numbers(text, name)
    n_numbers, lost = int(found.is_number.sum()), int(found.is_wrong.sum())
    if not n_numbers or n_numbers < MOSTLY * (n_numbers + lost):
        return None, ""
    notes = [f"{lost} values that are no numbers"] if lost else []
    values = found.values
    if codes := missing_codes(values, name):
        is_code = np.isin(values, codes)
        listed = ", ".join(f"{code:g}" for code in codes)
        notes.append(f"{is_code.sum()} values that look like codes for missing ones ({listed})")
        values = np.where(is_code, np.nan, values)
    note = f"{' and '.join(notes)}, {AS_MISSING}" if notes else ""
    return pd.Series(values, text.index, name=text.name), note


def _table(cohort: Cohort) -> pd.DataFrame:
    """Take the rows of the participants table of the people in use, in their order."""
    people = dict.fromkeys(map(subject_key, cohort.participant_ids))
    table = cohort.listing.participants
    return table.set_index(table["participant_id"].map(subject_key)).reindex(list(people))


def _columns(cohort: Cohort) -> list[tuple[str, pd.Series]]:
    rows = _table(cohort)
    others = rows.columns.drop([*_NO_COVARIATES, cohort.listing.labels.column], errors="ignore")
    return [(str(name), rows[name]) for name in others]


def person_scores(predictions: pd.DataFrame, model: str) -> pd.Series:
    """Standardise a model's scores within each test fold and average them by person."""
    rows = predictions[predictions["model"] == model]
    folds = rows.groupby(["repeat", "fold"])["score"]
    spread = folds.transform("std").replace(0, np.nan)
    standard = ((rows["score"] - folds.transform("mean")) / spread).fillna(0.0)
    means: pd.Series = standard.groupby(rows["participant_id"]).mean()
    return means
