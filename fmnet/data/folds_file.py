"""Folds as a table: what a run saves, and another run may take up."""

from collections import Counter
from pathlib import Path

import pandas as pd

from fmnet.data.cohort import Cohort
from fmnet.data.folds import Fold, check_folds
from fmnet.data.tables import read_table_file
from fmnet.errors import Fault, FoldsError

ROLES = ("train", "test")
#: Of many repeats over a large cohort.
MAX_FOLD_LINES = 5_000_000


def folds_table(folds: list[Fold]) -> pd.DataFrame:
    """List folds with one row per repeat, fold and subject."""
    rows = []
    for fold in folds:
        inner = {person: str(k) for k, part in enumerate(fold.validation) for person in part}
        for role, people in zip(ROLES, (fold.train, fold.test), strict=True):
            rows += [
                {
                    "repeat": fold.repeat,
                    "fold": fold.fold,
                    "participant_id": person,
                    "role": role,
                    "inner_fold": inner.get(person, ""),
                }
                for person in people
            ]
    return pd.DataFrame(rows)


def read_folds(cohort: Cohort, path: str | Path) -> list[Fold]:
    """Read folds that an earlier run saved, for the same subjects.

    Raises
    ------
    FoldsError
        If the table names other subjects than the cohort has, or splits them wrongly.
    """
    columns = ("repeat", "fold", "participant_id", "role", "inner_fold")
    table = read_table_file(Path(path), columns, max_lines=MAX_FOLD_LINES)
    here, there = set(cohort.participant_ids), set(table["participant_id"])
    if here != there:
        only = f"only here: {sorted(here - there)}, only in the table: {sorted(there - here)}"
        raise FoldsError(
            Fault(str(path), f"other subjects ({only})", "the same", "use this cohort's folds")
        )
    _check_table(table, path)
    folds = []
    # counted from 0, as everything after counts them
    count = {name: k for k, name in enumerate(sorted(set(table["repeat"]), key=int))}
    for key, rows in table.groupby(["repeat", "fold"], sort=False):
        repeat, number = map(str, key)
        people = {role: tuple(rows.loc[rows["role"] == role, "participant_id"]) for role in ROLES}
        train = rows[rows["role"] == "train"]
        named = train[train["inner_fold"] != ""]
        inner = tuple(tuple(part) for _, part in named.groupby("inner_fold")["participant_id"])
        folds.append(Fold(count[repeat], int(number), people["train"], people["test"], inner))
    check_folds(folds, cohort)
    return folds


def _check_table(table: pd.DataFrame, path: str | Path) -> None:
    """Raise `FoldsError` unless each fold holds everybody once and each repeat tests all once."""
    faults = []
    numbers = table["repeat"].str.isdecimal() & table["fold"].str.isdecimal()
    for row in table.index[~(numbers & table["role"].isin(ROLES))]:
        cells = {name: str(table.at[row, name]) for name in table.columns}
        found = ", ".join(f"{name} '{cells[name]}'" for name in ("repeat", "fold", "role"))
        where = f"{path}, {cells['participant_id']}"
        accepted = f"whole numbers and one of the roles {', '.join(ROLES)}"
        faults.append(Fault(where, found, accepted, "correct the row"))
    everybody = set(table["participant_id"])
    for key, rows in table.groupby(["repeat", "fold"], sort=False):
        repeat, fold = map(str, key)
        where = f"{path}, repeat {repeat}, fold {fold}"
        faults += _not_once(where, rows, everybody, "row")
        if not faults and rows.loc[rows["role"] == "train", "inner_fold"].nunique() < 2:
            accepted = "two or more inner folds of the training subjects"
            faults.append(Fault(where, "fewer than 2 inner folds", accepted, "fill in inner_fold"))
    for name, rows in table[table["role"] == "test"].groupby("repeat", sort=False):
        faults += _not_once(f"{path}, repeat {name}", rows, everybody, "test role")
    if faults:
        raise FoldsError(faults)


def _not_once(where: str, rows: pd.DataFrame, everybody: set[str], what: str) -> list[Fault]:
    counts = Counter(rows["participant_id"])
    wrong = sorted(person for person in everybody if counts[person] != 1)
    if not wrong:
        return []
    found = ", ".join(f"{counts[person]} for {person}" for person in wrong)
    return [Fault(where, f"{what}s: {found}", f"one {what} per subject", "correct folds.tsv")]
