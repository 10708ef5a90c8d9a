"""Columns of the participants table that matter to every study, and cells that can't be right."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fmnet.data.numbers import (
    ACCEPTED_NUMBERS,
    Numbers,
    Values,
    read_numbers,
    say_cells,
    sentinels,
)
from fmnet.data.tables import table_name
from fmnet.errors import Fault

#: What columns of head motion are called; other words in a name don't matter with ``fd``.
_DISPLACEMENT = re.compile(r"framewise?displacement")
_CORES = (
    "motion", "movement", "movements", "displacement", "scrubbed", "rmsd",
    "translation", "translations", "rotation", "rotations",
)  # fmt: skip
#: Of motion too, with one of the other words beside it.
_PARTS = ("rms", "trans", "rot")
_BESIDE = (
    "mean", "avg", "average", "median", "max", "maximum", "min", "sd", "std", "total", "sum",
    "head", "rel", "relative", "abs", "absolute", "mm", "deg", "run", "rest", "task", "func",
    "bold", "fmri", "scan", "mri", "power", "jenkinson", "jenk", "fsl", "spm", "afni", "volumes",
    "frames", "num", "number", "share", "fraction", "percent", "perc", "pct", "outlier", "outliers",
    "param", "params", "parameter", "parameters", "index", "score", "value", "fd", "x", "y", "z",
    "n", "of", "in",
)  # fmt: skip
_WORD = re.compile("|".join(sorted((*_CORES, *_PARTS, *_BESIDE), key=len, reverse=True)))
#: Of motion to either side, which may be negative.
_SIDED = {"translation", "translations", "rotation", "rotations", "trans", "rot", "x", "y", "z"}
#: Of somebody else's age, of age at something else than the scan, or in groups.
_OTHER_AGES = {
    "onset", "diagnosis", "diagnosed", "dx", "group", "groups", "range", "band", "bin", "category",
    "class", "first", "start", "started", "began", "begin", "symptom", "symptoms", "pain", "fm",
    "illness", "disease", "menarche", "menopause", "pregnancy", "injury", "trauma", "surgery",
    "mother", "father", "maternal", "paternal", "parent", "parental", "partner", "child",
    "children", "school", "quit", "stopped", "death", "gap", "predicted", "brain", "bone",
    "matched", "match", "equivalent",
}  # fmt: skip
#: No person in a scanner is older.
MAX_AGE = 120
#: How much younger than 99 everybody else is where 99 is no age.
FAR_YEARS = 15
_SITES = {"site", "scanner", "centre", "center"}
_OTHERS = _SITES | {
    "sex", "gender", "medication", "medications",
    "medicated", "meds", "drug", "drugs", "opioid", "opioids", "antidepressant", "antidepressants",
    "bmi", "education", "handedness", "ethnicity", "race", "smoking",
}  # fmt: skip
#: Whose maps are moved and scaled more to fit a template, and hold more or less of each tissue.
_HEAD_SIZES = {
    "tiv", "icv", "etiv", "eticv", "tbv", "tcv", "headsize", "headcircumference", "brainvolume",
    "brainsize",
}  # fmt: skip
_EXTENTS = {"size", "volume", "vol", "circumference", "circ", "perimeter"}
#: Words that end as a date does.
_NO_DATES = {"update", "candidate", "mandate"}
#: Columns that name, remark or date something, whatever they hold.
_NAMES = {
    "id", "ids", "code", "name", "initials", "date", "birthdate", "dob", "comment",
    "comments", "note", "notes", "remark", "remarks", "site", "scanner", "session", "family",
    "filename", "path", "zip",
}  # fmt: skip


def is_motion(name: str) -> bool:
    """Tell whether a column says how much people moved: ``mean_fd``, ``FD_Power``, ``motion``."""
    words = _words(name)
    whole = "".join(words)
    if "fd" in words or _DISPLACEMENT.search(whole):
        return True
    found = [part for word in words if not word.isdigit() for part in _WORD.findall(word)]
    if "".join(found) != "".join(word for word in words if not word.isdigit()):
        return False
    known = set(found)
    is_part = len(found) > 1 and bool(known & {*_PARTS, "fd"})
    return is_part or bool(known & set(_CORES))


def is_age(name: str) -> bool:
    """Tell whether a column holds people's age."""
    words = set(_words(name))
    return "age" in words and not words & _OTHER_AGES


def is_head_size(name: str) -> bool:
    """Tell whether a column holds the size of people's heads: ``TIV``, ``eTIV``, ``head_size``."""
    words = set(_words(name))
    is_extent = bool(words & {"head", "brain"}) and bool(words & _EXTENTS)
    return bool(words & _HEAD_SIZES) or is_extent or "intracranial" in "".join(_words(name))


def is_date(name: str) -> bool:
    """Tell whether a column's name says that it holds dates: ``scan_date``, ``acq_time``."""
    words = _words(name)
    is_stated = any(
        word.endswith(("date", "dates", "datetime")) and word not in _NO_DATES for word in words
    )
    return is_stated or words[-2:] in (["acq", "time"], ["acquisition", "time"])


def is_name(name: str) -> bool:
    """Tell whether a column names people or remarks on them: ``redcap_id``, ``comments``."""
    return bool(set(_words(name)) & (_NAMES - _SITES)) and not is_date(name)


def is_usual_confound(name: str) -> bool:
    """Tell columns that can explain a result in any study.

    Motion, age, head size, sex, site, medication and their like.
    """
    is_listed = bool(set(_words(name)) & _OTHERS)
    return is_motion(name) or is_age(name) or is_head_size(name) or is_listed


def find_columns(wanted: Sequence[str], present: Iterable[str]) -> list[str]:
    """Find columns by name, whatever their case and punctuation.

    A name of head motion stands for all columns of head motion if none of those named is there.
    """
    names = list(present)
    found = dict.fromkeys(name for one in wanted for name in names if _is_same(one, name))
    if any(map(is_motion, wanted)) and not any(map(is_motion, found)):
        found |= dict.fromkeys(name for name in names if is_motion(name))
    return list(found)


def _is_same(one: str, other: str) -> bool:
    return one == other or "".join(_words(one)) == "".join(_words(other)) != ""


def covariate_numbers(texts: Iterable[Any], name: str) -> Numbers:
    """Read a column by `fmnet.data.numbers.read_numbers`.

    ``None`` is a missing age; of other columns, a dose for instance, it may be a value.
    """
    if is_motion(name) or is_age(name):
        texts = ["" if str(text).strip().casefold() == "none" else text for text in texts]
    return read_numbers(texts)


def missing_codes(values: Values, name: str) -> list[float]:
    """Find numbers of a column that stand for a missing value, by `fmnet.data.numbers.sentinels`.

    Nobody has moved by less than 0, or is younger than 0 or older than `MAX_AGE`; 99 years are a
    code where all others are far younger. Sites have any number that isn't negative.
    """
    words, known = set(_words(name)), values[np.isfinite(values)]
    is_old = is_age(name)
    if not is_old and not is_motion(name):
        codes = [] if words & (_NAMES - _SITES) else sentinels(values)
        return [code for code in codes if code < 0] if words & _SITES else codes
    codes = sentinels(values, is_positive=is_old or not words & _SIDED, has_no_zero=is_old)
    each = np.unique(known)
    if len(each) == 1 and (each[0] < 0 or (each[0] >= 99 and set(f"{each[0]:g}") == {"9"})):
        codes = [float(each[0])]  # nobody's was measured
    rest = known[(known <= MAX_AGE) & (known != 99)] if is_old else known[:0]
    if len(rest) * 2 > len(known):
        old = [float(age) for age in each if age > MAX_AGE]
        codes = sorted({*codes, *old, *([99.0] if rest.max() < 99 - FAR_YEARS else [])})
    return [code for code in codes if code in each]


def number_faults(
    table: pd.DataFrame, not_these: Iterable[str] = (), is_of_all: bool = True
) -> list[Fault]:
    """Find cells in columns of numbers that are none, or that stand for a missing value.

    Parameters
    ----------
    table : DataFrame
        The participants table, as text.
    not_these : iterable of str
        Columns that may hold anything, the label for instance.
    is_of_all : bool
        Look at all columns; else only at those without which nobody knows what a result is about,
        head motion and age, and for a site that is none.

    Returns
    -------
    list of Fault
        One for each column and kind. Leaving people out cures none: it is the table that is wrong.
    """
    skipped = {"participant_id", "family", *not_these}
    faults = []
    for name in map(str, table.columns):
        is_needed = is_motion(name) or is_age(name)
        if name in skipped:
            continue
        if is_needed or (is_of_all and not set(_words(name)) & _NAMES):
            faults += _column_faults(table, name, is_needed)
        elif set(_words(name)) & _SITES:
            values = read_numbers(table[name]).values
            faults += _code_faults(table, name, values)
    return faults


def _column_faults(table: pd.DataFrame, name: str, is_needed: bool) -> list[Fault]:
    found = covariate_numbers(table[name], name)
    n_known = (found.is_number | found.is_wrong).sum()
    is_like = (found.is_number | found.is_almost).sum() * 2 > n_known
    if not found.is_mostly_numbers and not (is_needed and is_like):
        return []
    where, faults = table_name(table), []
    if found.is_wrong.any():
        action = "correct these cells, or write n/a; a column of texts has no numbers"
        told = f"no numbers in {say_cells(table, name, found.is_wrong)}"
        faults.append(Fault(where, told, ACCEPTED_NUMBERS, action))
    return faults + _code_faults(table, name, found.values)


def _code_faults(table: pd.DataFrame, name: str, values: Values) -> list[Fault]:
    if not (codes := missing_codes(values, name)):
        return []
    told = f"what looks like a missing value in {say_cells(table, name, np.isin(values, codes))}"
    action = "write n/a for values that are missing, or correct them"
    return [Fault(table_name(table), told, "measured values; n/a if missing", action)]


def _words(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return re.findall(r"[^\W\d_]+|\d+", spaced.casefold())
