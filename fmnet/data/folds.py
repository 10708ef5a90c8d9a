"""Cross-validation folds: split by subject, stratified, saved as a table."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from fmnet.data.cohort import Cohort
from fmnet.data.tables import read_table_file
from fmnet.errors import Fault, FoldsError

ROLES = ("train", "test")


@dataclass(frozen=True)
class Fold:
    """One split of the subjects.

    Parameters
    ----------
    repeat, fold : int
        Counted from 0.
    train, test : tuple of str
        Participant ids; nobody is in both.
    validation : tuple of tuple of str
        The training subjects once more, divided into inner folds: each is validation once.

    Raises
    ------
    FoldsError
        If a subject stands on two sides.
    """

    repeat: int
    fold: int
    train: tuple[str, ...]
    test: tuple[str, ...]
    validation: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        inner = [person for part in self.validation for person in part]
        shared = set(self.train) & set(self.test)
        if shared or (inner and sorted(inner) != sorted(set(self.train))):
            raise FoldsError(
                Fault(
                    f"repeat {self.repeat}, fold {self.fold}",
                    f"subjects on two sides or in no inner fold: {', '.join(sorted(shared))}",
                    "each subject in train or in test, each training subject in one inner fold",
                    "correct folds.tsv",
                )
            )


def rows_of(subjects: tuple[str, ...], participant_ids: list[str]) -> NDArray[np.intp]:
    """Find the scans of these subjects: indices in order."""
    wanted = set(subjects)
    return np.array([row for row, person in enumerate(participant_ids) if person in wanted], int)


def build_folds(
    cohort: Cohort, n_splits: int = 5, n_repeats: int = 10, inner_splits: int = 3, seed: int = 0
) -> list[Fold]:
    """Repeated k-fold by subject, stratified by label and, where numbers allow, by site.

    Parameters
    ----------
    cohort : Cohort
        All scans of a subject, and of a family where the participants table has a ``family``
        column, stay together.
    n_splits, n_repeats, inner_splits : int
        Outer folds, times they are drawn anew, inner folds for every choice.
    seed : int
        Same seed, same folds.

    Raises
    ------
    FoldsError
        If a class has fewer subjects than folds.
    """
    strata = _strata(cohort, n_splits)
    _check_enough(cohort, n_splits, inner_splits)
    folds = []
    for repeat in range(n_repeats):
        for fold, test in enumerate(_split(strata, n_splits, seed + repeat)):
            train = strata.drop(list(test))
            inner = _split(train, inner_splits, seed + repeat)
            members = [_members(cohort, units) for units in (train.index, test, *inner)]
            folds.append(Fold(repeat, fold, members[0], members[1], tuple(members[2:])))
    check_folds(folds, cohort)
    return folds


def build_inner_folds(cohort: Cohort, inner_splits: int, seed: int) -> Fold:
    """Build the fold of the final model: all subjects train, inner folds serve its choices."""
    strata = _strata(cohort, inner_splits)
    inner = [_members(cohort, units) for units in _split(strata, inner_splits, seed)]
    return Fold(0, 0, _members(cohort, strata.index), (), tuple(inner))


def check_folds(folds: list[Fold], cohort: Cohort) -> None:
    """Raise `FoldsError` unless each part of each fold holds both classes."""
    labels, people = cohort.labels, cohort.participant_ids
    faults = []
    for fold in folds:
        parts = {"train": fold.train, "test": fold.test}
        parts |= {f"inner fold {k}": part for k, part in enumerate(fold.validation)}
        faults += [
            Fault(
                f"repeat {fold.repeat}, fold {fold.fold}, {name}",
                f"{len(part)} subjects, not both classes",
                "both classes in every part",
                "choose fewer folds (folds.n_splits, folds.inner_splits)",
            )
            for name, part in parts.items()
            if len(set(labels[rows_of(part, people)])) < 2
        ]
    if faults:
        raise FoldsError(faults)


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
    table = read_table_file(Path(path), ("repeat", "fold", "participant_id", "role", "inner_fold"))
    here, there = set(cohort.participant_ids), set(table["participant_id"])
    if here != there:
        only = f"only here: {sorted(here - there)}, only in the table: {sorted(there - here)}"
        raise FoldsError(
            Fault(str(path), f"other subjects ({only})", "the same", "use this cohort's folds")
        )
    folds = []
    for key, rows in table.groupby(["repeat", "fold"], sort=False):
        repeat, number = map(str, key)
        people = {role: tuple(rows.loc[rows["role"] == role, "participant_id"]) for role in ROLES}
        train = rows[rows["role"] == "train"]
        inner = tuple(tuple(part) for _, part in train.groupby("inner_fold")["participant_id"])
        folds.append(Fold(int(repeat), int(number), people["train"], people["test"], inner))
    check_folds(folds, cohort)
    return folds


def _units(cohort: Cohort) -> list[str]:
    families = cohort.covariate("family")
    return [
        f"family-{family}" if family else person
        for family, person in zip(families, cohort.participant_ids, strict=True)
    ]


def _strata(cohort: Cohort, n_splits: int) -> pd.Series:
    """Stratum of each unit (subject or family): its labels, with its site if that leaves enough."""
    frame = pd.DataFrame(
        {
            "unit": _units(cohort),
            "label": cohort.labels.astype(str),
            "site": cohort.covariate("site"),
        }
    )
    by_unit = frame.groupby("unit", sort=True).agg(_join_distinct)
    with_site = by_unit["label"] + "@" + by_unit["site"]
    return with_site if with_site.value_counts().min() >= n_splits else by_unit["label"]


def _join_distinct(values: pd.Series) -> str:
    return "+".join(sorted(set(values)))


def _split(strata: pd.Series, n_splits: int, seed: int) -> list[pd.Index]:
    splitter = StratifiedKFold(n_splits, shuffle=True, random_state=seed)
    return [
        strata.index[held_out] for _, held_out in splitter.split(strata, strata.astype("category"))
    ]


def _members(cohort: Cohort, units: pd.Index) -> tuple[str, ...]:
    wanted = set(units)
    pairs = zip(_units(cohort), cohort.participant_ids, strict=True)
    return tuple(sorted({person for unit, person in pairs if unit in wanted}))


def _check_enough(cohort: Cohort, n_splits: int, inner_splits: int) -> None:
    units = np.array(_units(cohort))
    for value, name in enumerate((cohort.listing.labels.negative, cohort.listing.labels.positive)):
        count = len(set(units[cohort.labels == value]))
        needed = max(n_splits, inner_splits + -(-inner_splits // max(n_splits - 1, 1)))
        if count < needed:
            raise FoldsError(
                Fault(
                    f"class '{name}'",
                    f"{count} subjects for {n_splits} folds with {inner_splits} inner folds",
                    f"at least {needed} subjects in each class",
                    "choose fewer folds (folds.n_splits, folds.inner_splits) or add subjects",
                )
            )
