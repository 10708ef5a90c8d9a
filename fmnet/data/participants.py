"""The participants table as `fmnet.evaluation` reads it: one row per person, each column typed."""

from dataclasses import asdict

import numpy as np
import pandas as pd

from fmnet.data.cohort import Cohort
from fmnet.data.covariates import (
    MOSTLY,
    covariate_numbers,
    is_age,
    is_date,
    is_head_size,
    is_motion,
    is_name,
    is_usual_confound,
    missing_codes,
    read_dates,
)
from fmnet.data.tables import subject_key
from fmnet.evaluation.audit import CovariateKind, Participants, Unread

#: A text column with more different values than this is taken for names or remarks.
MAX_CATEGORIES = 12
CONSTANT = Unread("constant", "the same for everybody")
BOTH_GROUPS = Unread("both groups", "there are people with scans of both groups")
OPEN_DATES = Unread(
    "other", "dates that can be read day first or month first; write them as 2021-03-04"
)
#: Columns that are no covariates, and what they are for.
_NO_COVARIATES = {
    "participant_id": "names the people",
    "family": "says who is kept together by folds and permutations",
}
#: How a covariate of that name is called here, where the class has it.
TAKEN = {"label": "label (column)"}
#: Head motion that the cleaning of BOLD itself states, which is about volumes left out alone.
SCRUBBED = "share_scrubbed"


def read_participants(cohort: Cohort) -> Participants:
    """Read the columns of the participants table as numbers or categories.

    People with scans of both classes have no label of their own, and no table.
    """
    labels = pd.DataFrame({"subject": cohort.participant_ids, "label": cohort.labels})
    per_subject = labels.groupby("subject", sort=False)["label"]
    is_paired = bool((per_subject.nunique() > 1).any())
    listed = cohort.listing.participants
    rows = listed.set_index(listed["participant_id"].map(subject_key))
    rows = rows.reindex(list(dict.fromkeys(map(subject_key, cohort.participant_ids))))
    others = _NO_COVARIATES | {cohort.listing.labels.column: "the groups themselves"}
    others |= dict.fromkeys(cohort.listing.outcome_columns, "what is predicted")
    label_of = per_subject.first()
    found, unread = {"label": label_of.to_numpy()}, {}
    for name in map(str, rows.columns.drop(list(others), errors="ignore")):
        column, why = (None, BOTH_GROUPS) if is_paired else _covariate(rows[name], name)
        if column is not None:
            found[TAKEN.get(name, name)] = column.to_numpy()
        if why is not None:
            unread[name] = why
    table = pd.DataFrame(found, index=label_of.index)
    if is_paired:
        table = pd.DataFrame({"label": pd.Series(dtype=int)})
    kinds = {name: covariate_kind(name) for name in [*found, *unread]}
    is_read = {*map(str, table.columns), *(n for n, why in unread.items() if why != CONSTANT)}
    is_stated = any(kinds[name] == "motion" for name in is_read - {SCRUBBED})
    left = [f"{name}: {why}" for name, why in unread.items()]
    left += [f"{name}: {others[name]}" for name in map(str, rows.columns) if name in others]
    needs_motion = bool(cohort.series) and not table.empty and not is_stated
    alike = [asdict(group) for group in cohort.alike]
    return Participants(table, kinds, unread, left, alike, needs_motion)


def covariate_kind(name: str) -> CovariateKind:
    """Tell by its name what a column of the participants table is."""
    tests: dict[CovariateKind, bool] = {
        "motion": is_motion(name),
        "age": is_age(name),
        "head size": is_head_size(name),
        "usual": is_usual_confound(name),
        "name": is_name(name),
    }
    return next((kind for kind, is_one in tests.items() if is_one), "other")


def _covariate(text: pd.Series, name: str) -> tuple[pd.Series | None, Unread | None]:
    """Read a text column as numbers or categories; None if it says nothing, and why not."""
    known = text.astype(object).where(text.notna() & (text != ""), None)
    numbers, note = as_numbers(text, name)
    if numbers is not None:
        why = Unread("cells", note) if note else None
        return (numbers, why) if numbers.nunique() > 1 else (None, CONSTANT)
    n_levels = known.nunique(dropna=True)
    if n_levels < 2:
        return None, CONSTANT if n_levels else Unread("other", "not known for anybody")
    if n_levels > MAX_CATEGORIES:
        dates = read_dates(text)
        is_open = dates is not None and dates.is_open
        many = Unread("other", f"text with {n_levels} different values")
        return None, OPEN_DATES if is_open else many
    return known, None


def as_numbers(text: pd.Series, name: str) -> tuple[pd.Series | None, str]:
    """Read a text column as numbers, missing as NaN; None if it isn't one of numbers or dates.

    Dates are days since the first one of the column. Returned too is which cells are no numbers or
    stand for a missing value and were taken as missing; empty if there are none.
    """
    dates = read_dates(text, has_plain=is_date(name))
    if dates is not None and not dates.is_open:
        lost = int(dates.is_wrong.sum())
        note = f"{lost} values that are no dates" if lost else ""
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
    return pd.Series(values, text.index, name=text.name), " and ".join(notes)
