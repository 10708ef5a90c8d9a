"""Folds of a cohort: who is trained on, validated and tested; saved as a table."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd, lcm
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnet.data.cohort import Cohort
from fmnet.data.tables import read_table_file
from fmnet.errors import Fault, FoldsError
from fmnet.types import Count, Seed, Several

COLUMNS = ("repeat", "fold", "participant_id", "role", "inner_fold")
ROLES = ("train", "test")
#: Of many repeats over a large cohort.
MAX_FOLD_LINES = 5_000_000


@dataclass(frozen=True)
class Fold:
    """One split of the subjects into ``train`` and ``test``, by participant id.

    ``repeat`` and ``fold`` are counted from 0. ``validation`` has the training subjects once more,
    divided into inner folds: each is validation once.

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
        inner = [subject for part in self.validation for subject in part]
        shared = set(self.train) & set(self.test)
        counts = Counter(inner) if inner else Counter(set(self.train))
        misplaced = {subject for subject in {*self.train, *inner} if counts[subject] != 1}
        wrong = sorted(shared | misplaced | (set(inner) - set(self.train)))
        if wrong:
            where = f"repeat {self.repeat}, fold {self.fold}"
            found = "subjects on two sides, or not in one inner fold exactly: " + ", ".join(wrong)
            accepted = "each subject in train or in test, each training subject in one inner fold"
            raise FoldsError(Fault(where, found, accepted, "correct folds.tsv"))


def rows_of(subjects: tuple[str, ...], participant_ids: list[str]) -> NDArray[np.intp]:
    """Find the scans of these subjects: indices in order."""
    wanted = set(subjects)
    return np.array([row for row, subject in enumerate(participant_ids) if subject in wanted], int)


def build_folds(
    cohort: Cohort,
    n_splits: Several = 5,
    n_repeats: Count = 10,
    inner_splits: Several = 3,
    seed: Seed = 0,
) -> list[Fold]:
    """Repeated k-fold by subject, stratified by label or outcome and, where numbers allow, by site.

    All scans of a subject, and of a family where the participants table has a ``family`` column,
    stay together. Folds and inner folds of a repeat are rows and columns of one table: who shares
    an inner fold while one fold is tested does so while any other is. Labels can then be permuted
    within its cells, which leaves all folds as they are. The same seed gives the same folds.

    Raises
    ------
    FoldsError
        If there are fewer subjects than folds, of two groups in either.
    """
    _check_enough(cohort, n_splits, inner_splits)
    strata = _strata(cohort)
    folds = []
    for repeat in range(n_repeats):
        dealt = _deal(strata, [seed, repeat])
        rows, columns = _cells(len(dealt), n_splits, inner_splits)
        for fold in range(n_splits):
            others, test = rows != fold, dealt[rows == fold]
            inner = [dealt[others & (columns == k)] for k in range(inner_splits)]
            train = strata.drop(list(test))
            # for want of subjects
            if not all(_is_complete(cohort, strata, part) for part in inner):
                inner = _split(train, inner_splits, [seed, repeat])
            folds.append(_fold_of(cohort, repeat, fold, train.index, test, inner))
    check_folds(folds, cohort)
    return folds


def build_site_folds(cohort: Cohort, inner_splits: Several = 3, seed: Seed = 0) -> list[Fold]:
    """Leave one site out at a time: its subjects are tested by what all other sites teach.

    The participants table needs a column ``site``; inner folds are of the subjects of other sites.

    Raises
    ------
    FoldsError
        If there are fewer than two sites, somebody's site is not known, a site lacks a class, or a
        subject or family belongs to several sites.
    """
    sites, strata = cohort.covariate("site"), _strata(cohort)
    _check_sites(sites, strata, cohort)
    folds = []
    for number, site in enumerate(sorted(set(sites))):
        test = strata.index[strata["site"] == site]
        train = strata[strata["site"] != site]
        inner = _split(train, inner_splits, seed)
        folds.append(_fold_of(cohort, 0, number, train.index, test, inner))
    check_folds(folds, cohort)
    return folds


def build_inner_folds(cohort: Cohort, inner_splits: int, seed: int) -> Fold:
    """Build the fold of the final model: all subjects train, inner folds serve its choices."""
    _check_enough(cohort, None, inner_splits)
    strata = _strata(cohort)
    inner = _split(strata, inner_splits, seed)
    return _fold_of(cohort, 0, 0, strata.index, strata.index[:0], inner)


def fewest_units(cohort: Cohort) -> int:
    """Count the subjects, or families, of the smaller class: the most folds there can be.

    All of them, where no two groups are told apart.
    """
    units = np.array(_units(cohort))
    if not cohort.listing.labels.is_given:
        return len(set(units))
    return min(len(set(units[cohort.labels == label])) for label in (0, 1))


def check_folds(folds: list[Fold], cohort: Cohort) -> None:
    """Raise `FoldsError` unless each part of each fold holds both classes and whole families.

    Where no two groups are told apart, each part has to hold somebody.
    """
    kinds, ids = np.array(cohort.strata, dtype=object), cohort.participant_ids
    needed, what = (2, "both classes") if cohort.listing.labels.is_given else (1, "somebody")
    units = dict(zip(ids, _units(cohort), strict=True))
    faults = []
    for fold in folds:
        where = f"repeat {fold.repeat}, fold {fold.fold}"
        sides = [fold.test, *(fold.validation or [fold.train])]
        split = Counter(unit for side in sides for unit in {units[subject] for subject in side})
        faults += [
            Fault(where, f"{unit} on two sides", "families kept together", "correct folds.tsv")
            for unit in sorted(split)
            if split[unit] > 1
        ]
        parts = {"train": fold.train, "test": fold.test}
        parts |= {f"inner fold {k}": part for k, part in enumerate(fold.validation)}
        faults += [
            Fault(
                f"{where}, {name}",
                f"{len(part)} subjects, not {what}",
                f"{what} in every part",
                "choose fewer folds (folds.n_splits, folds.inner_splits)",
            )
            for name, part in parts.items()
            if len(set(kinds[rows_of(part, ids)])) < needed
        ]
    if faults:
        raise FoldsError(faults)


def _units(cohort: Cohort) -> list[str]:
    unit_of = cohort.unit_of
    return [unit_of[subject] for subject in cohort.participant_ids]


def _strata(cohort: Cohort) -> pd.DataFrame:
    """Tabulate stratum (``0``, ``1`` or ``0+1``) and site of each unit: subject or family."""
    columns = {"label": cohort.strata, "site": cohort.covariate("site")}
    frame = pd.DataFrame({"unit": _units(cohort), **columns})
    units = frame.groupby("unit", sort=True)
    joined = {name: units[name].agg(lambda held: "+".join(sorted(set(held)))) for name in columns}
    return pd.DataFrame(joined)


def _split(strata: pd.DataFrame, n_splits: int, seed: int | list[int]) -> list[pd.Index]:
    """Deal the units out like shuffled cards.

    Each fold gets its part of every class and site, one more or less, however small the strata.
    """
    dealt = _deal(strata, seed)
    return [dealt[fold::n_splits] for fold in range(n_splits)]


def _deal(strata: pd.DataFrame, seed: int | list[int]) -> pd.Index:
    """Shuffle the units, and put them in order label after label and site after site.

    Units with both labels lie between the two classes, so that each class is dealt in one go.
    """
    shuffled = strata.iloc[np.random.default_rng(seed).permutation(len(strata))]
    return shuffled.sort_values("site", kind="stable").sort_values("label", kind="stable").index


def _cells(n: int, n_rows: int, n_columns: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Deal `n` places to the cells of a table: row and column of each, cells in turn."""
    place = np.arange(n)
    column = place
    if gcd(n_rows, n_columns) > 1:  # otherwise rows and columns meet by themselves
        column = place + place // lcm(n_rows, n_columns)
    return place % n_rows, column % n_columns


def _is_complete(cohort: Cohort, strata: pd.DataFrame, units: pd.Index) -> bool:
    """Tell whether both classes are among units; of other targets, whether there is anybody."""
    if not cohort.listing.labels.is_given:
        return len(units) > 0
    return {"0", "1"} <= {label for joined in strata.loc[units, "label"] for label in joined}


def deal_units(strata: Sequence[str], units: Sequence[str], n: int, seed: int) -> NDArray[np.int64]:
    """Divide scans into n folds, stratified, scans of a unit together: each scan's fold, (N,).

    However rare a stratum, each fold gets its part, one more or less.
    """
    held: dict[str, set[str]] = {unit: set() for unit in sorted(set(units))}
    for unit, stratum in zip(units, strata, strict=True):
        held[unit].add(stratum)
    labels = ["+".join(sorted(kinds)) for kinds in held.values()]
    joined = pd.DataFrame({"label": labels, "site": ""}, index=list(held))
    fold_of = {unit: fold for fold, part in enumerate(_split(joined, n, seed)) for unit in part}
    return np.array([fold_of[unit] for unit in units], dtype=np.int64)


def _fold_of(
    cohort: Cohort, repeat: int, fold: int, train: pd.Index, test: pd.Index, inner: list[pd.Index]
) -> Fold:
    """Name the subjects of the units, or families, of a fold."""
    pairs = list(zip(_units(cohort), cohort.participant_ids, strict=True))
    sides = [
        tuple(sorted({subject for unit, subject in pairs if unit in wanted}))
        for wanted in map(set, (train, test, *inner))
    ]
    return Fold(repeat, fold, sides[0], sides[1], tuple(sides[2:]))


def _check_sites(sites: list[str], strata: pd.DataFrame, cohort: Cohort) -> None:
    """Raise `FoldsError` unless each site can be left out whole and tested by itself."""
    known = sorted(set(sites) - {""})
    faults = []
    if len(known) < 2 or "" in sites:
        found = f"{', '.join(known) or 'no site'}; {sites.count('')} scans without"
        action = "fill in the column in participants.tsv, or split otherwise (folds=repeated)"
        accepted = "two or more sites, one for everybody"
        faults.append(Fault("column 'site'", found, accepted, action))
    for unit in map(str, strata.index[~strata["site"].isin(set(sites))]):
        found = "sites " + str(strata.at[unit, "site"])
        action = "correct the column, or leave the person or family out"
        faults.append(Fault(unit, found, "one site", action))
    for site in known:
        own = cohort.labels[np.array(sites) == site]
        if cohort.listing.labels.is_given and len(set(own)) < 2:
            found, action = f"one class only in {len(own)} scans", "merge sites or leave it out"
            faults.append(Fault(f"site '{site}'", found, "both classes", action))
    if faults:
        raise FoldsError(faults)


def _check_enough(cohort: Cohort, n_splits: int | None, inner_splits: int) -> None:
    """Raise `FoldsError` if a class has too few units; no `n_splits`: nobody is tested."""
    asked = {"n_splits": n_splits, "inner_splits": inner_splits}
    faults = [
        Fault(f"folds.{name}", str(value), "2 or more", "ask for more folds")
        for name, value in asked.items()
        if value is not None and value < 2
    ]
    if faults:
        raise FoldsError(faults)
    needed, wanted = inner_splits, f"{inner_splits} inner folds"
    if n_splits is not None:
        # The largest test set takes its part of a class before the inner folds divide the rest.
        needed = max(n_splits, inner_splits + -(-inner_splits // (n_splits - 1)))
        wanted = f"{n_splits} folds with {wanted}"
    units = np.array(_units(cohort))
    action = "choose fewer folds (folds.n_splits, folds.inner_splits) or add subjects"
    if not cohort.listing.labels.is_given:
        if (count := len(set(units))) < needed:
            found = f"{count} subjects (or families) for {wanted}"
            raise FoldsError(Fault("cohort", found, f"at least {needed}", action))
        return
    for value, name in enumerate((cohort.listing.labels.negative, cohort.listing.labels.positive)):
        if (count := len(set(units[cohort.labels == value]))) < needed:
            found = f"{count} subjects (or families) for {wanted}"
            accepted = f"at least {needed} in each class"
            faults.append(Fault(f"class '{name}'", found, accepted, action))
    if faults:
        raise FoldsError(faults)


def folds_table(folds: list[Fold]) -> pd.DataFrame:
    """List folds with one row per repeat, fold and subject."""
    rows = []
    for fold in folds:
        inner = {subject: str(k) for k, part in enumerate(fold.validation) for subject in part}
        for role, subjects in zip(ROLES, (fold.train, fold.test), strict=True):
            rows += [
                (fold.repeat, fold.fold, subject, role, inner.get(subject, ""))
                for subject in subjects
            ]
    return pd.DataFrame(rows, columns=COLUMNS)


def read_folds(cohort: Cohort, path: str | Path) -> list[Fold]:
    """Read folds that an earlier run saved, for the same subjects.

    Raises
    ------
    FoldsError
        If the table names other subjects than the cohort has, or splits them wrongly.
    """
    table = read_table_file(Path(path), COLUMNS, max_lines=MAX_FOLD_LINES)
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
        sides = [tuple(rows.loc[rows["role"] == role, "participant_id"]) for role in ROLES]
        train = rows[rows["role"] == "train"]
        named = train[train["inner_fold"] != ""]
        inner = tuple(tuple(part) for _, part in named.groupby("inner_fold")["participant_id"])
        folds.append(Fold(count[repeat], int(number), sides[0], sides[1], inner))
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
    wrong = sorted(subject for subject in everybody if counts[subject] != 1)
    if not wrong:
        return []
    found = ", ".join(f"{counts[subject]} for {subject}" for subject in wrong)
    return [Fault(where, f"{what}s: {found}", f"one {what} per subject", "correct folds.tsv")]
