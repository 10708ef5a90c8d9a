"""Columns of participant tables as numbers and as covariates; missing values stay missing."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnet.data.tables import lines_of, say_lines, table_name
from fmnet.errors import Fault

Values = NDArray[np.float64]

#: A column with at least this fraction of numbers is one of numbers.
MOSTLY = 0.8
#: What programs write where a number is missing, in small letters.
MISSING_NUMBERS = frozenset(
    ("", "n/a", "na", "n.a.", "nan", "-nan", "#n/a", "#nv", "<na>", "nat", "null", ".", "-", "--")
)
ACCEPTED_NUMBERS = "numbers with a decimal point (or a comma in the whole column), n/a if missing"
#: How many cells, and lines of each, a message names.
N_CELLS, N_LINES = 4, 5

_DIGITS = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_NUMBER = re.compile(rf"[+-]?{_DIGITS}", re.ASCII)
_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+", re.ASCII)
#: Digits in groups, with any separators: probably a number, but nobody knows which.
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:[ ,.']\d{3})+(?:[.,]\d+)?", re.ASCII)
_WITH_UNIT = re.compile(rf"([+-]?(?:{_DIGITS}|\d*,\d+))\s*([^\W\d_][^\W_]*|%)")
#: A number with something before or behind it.
_ALMOST = re.compile(rf"[<>≤≥~≈=]*\s*[+-]?(?:{_DIGITS}|\d*,\d+)\s*(?:[^\W\d_]+|%|\?|\*|\+)?")
_MINUS = dict.fromkeys(map(ord, "\u2212\u2012\u2013\u2014\ufe63\uff0d"), "-")
_WIDE = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
#: What is written for missing values: nines, eights or sevens alone, -1, limits of types.
_CODES = np.array(
    [
        *(
            float(f"{d * n}e-{k}")
            for d in "789"
            for n in range(1, 10)
            for k in range(min(3, max(1, n - 1)))
        ),
        *(1.0, 32767.0, 32768.0, 65535.0, 2147483647.0, 2147483648.0, 4294967295.0),
    ]
)
#: Larger ones are no measurements, whatever their digits.
_HUGE = 1e9
_ISO_DATE = re.compile(
    r"(\d{4})([-/])(\d{2})\2(\d{2})"
    r"([T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?",
    re.ASCII,
)
_PLAIN_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})", re.ASCII)
#: Day or month first.
_LOCAL_DATE = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})", re.ASCII)
#: Dates that programs write where none is known; and how far from all others they then are.
_NO_DATES = ((1, 1, 1), (1899, 12, 30), (1900, 1, 1), (1970, 1, 1), (9999, 12, 31))
_FAR_DAYS = 5 * 365
#: What columns of head motion are called; other words in a name don't matter with ``fd``.
_DISPLACEMENT = re.compile(r"framewise?displacement")
_CORES = (
    "motion", "movement", "movements", "displacement", "scrubbed", "rmsd",
    "translation", "translations", "rotation", "rotations",
)  # fmt: skip
#: Of motion too, with one of the other words next to it.
_MORE_CORES = ("rms", "trans", "rot")
_FILLERS = (
    "mean", "avg", "average", "median", "max", "maximum", "min", "sd", "std", "total", "sum",
    "head", "rel", "relative", "abs", "absolute", "mm", "deg", "run", "rest", "task", "func",
    "bold", "fmri", "scan", "mri", "power", "jenkinson", "jenk", "fsl", "spm", "afni", "volumes",
    "frames", "num", "number", "share", "fraction", "percent", "perc", "pct", "outlier", "outliers",
    "param", "params", "parameter", "parameters", "index", "score", "value", "fd", "x", "y", "z",
    "n", "of", "in",
)  # fmt: skip
_WORD = re.compile("|".join(sorted((*_CORES, *_MORE_CORES, *_FILLERS), key=len, reverse=True)))
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
_NO_DATE_WORDS = {"update", "candidate", "mandate"}
#: Columns that name, remark or date something, whatever they hold.
_NAMES = {
    "id", "ids", "code", "name", "initials", "date", "birthdate", "dob", "comment",
    "comments", "note", "notes", "remark", "remarks", "site", "scanner", "session", "family",
    "filename", "path", "zip",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Numbers:
    """A column of N cells as numbers.

    ``values`` are NaN where nothing is stated, and where a cell is no number. ``is_wrong``: cells
    that state something, but no finite number; of them, ``is_almost``: those that hold a number
    with something else, as ``0.21 mm`` and ``<5`` do, or one that can be read in two ways, as
    ``1,234``; ``is_grouped``: those that can be read in two ways.
    """

    values: Values
    is_wrong: NDArray[np.bool_]
    is_almost: NDArray[np.bool_]
    is_grouped: NDArray[np.bool_]

    @property
    def is_number(self) -> NDArray[np.bool_]:
        """Where a number was read."""
        return np.isfinite(self.values)

    @property
    def is_mostly_numbers(self) -> bool:
        """Tell whether the column is one of numbers, with a few other cells perhaps."""
        n_known = int((self.is_number | self.is_wrong).sum())
        return bool(n_known) and int((self.is_number | self.is_grouped).sum()) >= MOSTLY * n_known


def read_numbers(texts: Iterable[Any], has_commas: bool = False) -> Numbers:
    """Read a column of texts as numbers, each cell and all of them together.

    Read are decimal points; decimal commas, if no cell of the column has a point and some comma
    can't separate thousands, or if `has_commas` says that other columns of the file have decimal
    commas; one unit or per-cent sign, the same in all cells; any minus sign, spaces around, digits
    of any script. None and NaN are missing. Left to the caller are cells that aren't like that.
    """
    cells = [text if isinstance(text, str) else _as_text(text) for text in texts]
    if all(not cell or _NUMBER.fullmatch(cell) for cell in cells):  # as in nearly all columns
        quick = np.array([float(cell) if cell else np.nan for cell in cells], dtype=np.float64)
        if not np.isinf(quick).any():
            nothing = np.zeros(len(cells), dtype=bool)
            return Numbers(quick, nothing, nothing, nothing)
    # a cell means the same wherever it stands in the column
    rows, each = pd.factorize(np.array(cells, dtype=object))
    cells = [_plain(cell) for cell in each]
    is_known = np.array([cell.casefold() not in MISSING_NUMBERS for cell in cells], dtype=bool)
    cells = [cell if known else "" for cell, known in zip(cells, is_known, strict=True)]
    cells = _with_points(_without_unit(cells), has_commas)
    numbers = [float(cell) if _NUMBER.fullmatch(cell) else np.nan for cell in cells]
    values = np.where(np.isfinite(numbers), numbers, np.nan)
    is_wrong = is_known & np.isnan(values)
    grouped = [wrong and _is_grouped(cell) for cell, wrong in zip(cells, is_wrong, strict=True)]
    almost = [
        wrong and bool(_ALMOST.fullmatch(cell) or cell.lstrip("+-").casefold().startswith("inf"))
        for cell, wrong in zip(cells, is_wrong, strict=True)
    ]
    is_grouped = np.array(grouped, dtype=bool)
    is_almost = np.array(almost, dtype=bool) | is_grouped
    return Numbers(values[rows], is_wrong[rows], is_almost[rows], is_grouped[rows])


@dataclass(frozen=True, eq=False)
class Dates:
    """A column of N cells as dates.

    ``days`` count from the first date of the column, with the time of day as a fraction; NaN where
    none is stated, and where a cell is no date. ``is_wrong``: cells that state something, but no
    date, or one that stands for a missing one. ``is_open``: whether the column holds dates that can
    be read day first or month first; none is read then.
    """

    days: Values
    is_wrong: NDArray[np.bool_]
    is_open: bool = False


def read_dates(texts: Iterable[Any], has_plain: bool = False) -> Dates | None:
    """Read a column of texts as dates; None if it isn't mostly one of dates.

    Read are ISO dates, with a time of day and its zone if they have one; and dates with the year
    at the end, where only one order of day and month makes dates of all cells of the column. With
    `has_plain`, eight digits are a date, YYYYMMDD.
    """
    cells = [_plain(_as_text(text)) for text in texts]
    is_known = np.array([cell.casefold() not in {*MISSING_NUMBERS, "none"} for cell in cells])
    n_known = int(is_known.sum())
    readings = []
    for is_day_first in (True, False):
        found = [
            _date(cell, has_plain, is_day_first) if known else None
            for cell, known in zip(cells, is_known, strict=True)
        ]
        readings.append(np.array([np.nan if one is None else _days(one) for one in found]))
    one, other = readings
    counts = [int(np.isfinite(days).sum()) for days in readings]
    if not n_known or max(counts) < MOSTLY * n_known:
        return None
    if counts[0] == counts[1] and not np.array_equal(one, other, equal_nan=True):
        return Dates(np.full(len(cells), np.nan), np.zeros(len(cells), dtype=bool), is_open=True)
    days = one if counts[0] >= counts[1] else other
    placeholders = [_days(datetime(*date, tzinfo=UTC)) for date in _NO_DATES]
    is_placeholder = np.isin(np.floor(days), placeholders)
    rest = days[np.isfinite(days) & ~is_placeholder]
    if len(rest):
        is_far = (days < rest.min() - _FAR_DAYS) | (days > rest.max() + _FAR_DAYS)
        days = np.where(is_placeholder & is_far, np.nan, days)
    return Dates(days - np.nanmin(days), is_known & np.isnan(days))


def _date(cell: str, has_plain: bool, is_day_first: bool) -> datetime | None:
    if _ISO_DATE.fullmatch(cell):
        text = cell.replace("/", "-")
    elif has_plain and (match := _PLAIN_DATE.fullmatch(cell)):
        text = "-".join(match.groups())
    elif match := _LOCAL_DATE.fullmatch(cell):
        day, month = (match[1], match[3]) if is_day_first else (match[3], match[1])
        text = f"{match[4]}-{int(month):02}-{int(day):02}"
    else:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:  # no such day
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _days(date: datetime) -> float:
    offset = date.utcoffset()
    seconds = date.hour * 3600 + date.minute * 60 + date.second + date.microsecond / 1e6
    return date.toordinal() + (seconds - (offset.total_seconds() if offset else 0)) / 86400


def _as_text(value: Any) -> str:
    return "" if pd.isna(value) else str(value)


def _plain(text: str) -> str:
    """Write digits, signs and spaces of any script as a keyboard does; drop what isn't seen."""
    if text.isascii():
        return text.strip()
    text = text.translate(_WIDE).translate(_MINUS).replace("\u066b", ".")
    kinds = [(letter, unicodedata.category(letter)) for letter in text]
    return "".join(
        str(unicodedata.decimal(letter)) if kind == "Nd" else " " if kind == "Zs" else letter
        for letter, kind in kinds
        if kind != "Cf"
    ).strip()


def _without_unit(cells: list[str]) -> list[str]:
    """Take a unit off that stands in each cell."""
    found = [_WITH_UNIT.fullmatch(cell) for cell in cells if cell]
    units = {match[2] if match else "" for match in found}
    if len(units) != 1 or units == {""}:
        return cells
    numbers = iter([match[1] for match in found if match])
    return [next(numbers) if cell else "" for cell in cells]


def _with_points(cells: list[str], has_commas: bool) -> list[str]:
    """Put points for commas where these can be nothing but decimal commas."""
    commas = [cell for cell in cells if "," in cell and _is_grouped(cell)]
    has_points = any("." in cell and _NUMBER.fullmatch(cell) for cell in cells)
    are_decimal = all(_COMMA.fullmatch(cell) for cell in commas)
    is_open = not has_commas and all(_THOUSANDS.fullmatch(cell) for cell in commas)
    if not are_decimal or has_points or is_open:
        return cells
    return [cell.replace(",", ".") if _COMMA.fullmatch(cell) else cell for cell in cells]


def _is_grouped(cell: str) -> bool:
    return bool(_COMMA.fullmatch(cell) or _GROUPED.fullmatch(cell))


def read_together(table: pd.DataFrame, columns: Iterable[str]) -> dict[str, Numbers]:
    """Read columns that one program wrote: if commas are decimal in one, they are in all."""
    found = {name: read_numbers(table[name]) for name in columns}
    is_in = {
        mark: {name: table[name].str.contains(mark, regex=False).to_numpy(bool) for name in found}
        for mark in ",."
    }
    has_commas = any((is_in[","][name] & one.is_number).any() for name, one in found.items())
    if not has_commas or any(is_point.any() for is_point in is_in["."].values()):
        return found
    return {name: read_numbers(table[name], has_commas=True) for name in found}


def plain_texts(texts: Iterable[Any], found: Numbers) -> list[str]:
    """Write a column as any program reads it; cells that are so stay as they are."""
    pairs = [(str(text), value) for text, value in zip(texts, found.values, strict=True)]
    numbers = ["n/a" if np.isnan(value) else repr(float(value)) for _, value in pairs]
    plain = zip(pairs, numbers, strict=True)
    return [text if _NUMBER.fullmatch(text) else number for (text, _), number in plain]


def sentinels(values: Values, is_positive: bool = False, has_no_zero: bool = False) -> list[float]:
    """Find numbers that stand for a missing value, ascending: -9999, 999, -1 and their like.

    Such a number is far outside all others, or the only one below 0. Columns of codes (1, 2), and
    scales on which 99 is possible, have none. With `is_positive`, what was measured can't be below
    0: then no value may be, unless so many are that the column must have been standardised. With
    `has_no_zero`, it can't be 0 either.
    """
    known = values[np.isfinite(values)]
    each = np.unique(known)
    impossible = each[(each < 0) | (has_no_zero & (each == 0))] if is_positive else each[:0]
    if np.isin(known, impossible).sum() > len(known) / 4:
        impossible = each[:0]
    is_code = (np.isin(np.abs(each), _CODES) & ((each < 0) | (each >= 10))) | (
        np.abs(each) >= _HUGE
    )
    rest = each[~is_code & ~np.isin(each, impossible)]
    codes = [code for code in each[is_code] if _stands_out(float(code), rest)]
    return [float(value) for value in np.union1d(impossible, codes)]


def _stands_out(code: float, rest: Values) -> bool:
    """Tell whether a code can't be one of the other values."""
    is_small = abs(code) < 100
    if not len(rest):
        return code < 0 and not is_small
    low, high = float(rest[0]), float(rest[-1])
    span = (high - low) or max(abs(high), 1.0)
    reach = (5 if is_small else 2) * span
    if code > high:
        return code > high + reach
    if code >= min(low, 0):  # a value like others
        return False
    if code > -10 and low >= 0:  # such a change of a score is possible
        return (low > 0 and len(rest) >= 3) or (len(rest) >= 8 and high >= 10) or code < low - reach
    return low >= 0 or code < low - reach


def say_cells(table: pd.DataFrame, column: str, is_meant: NDArray[np.bool_]) -> str:
    """Name a column and some of its cells, with their lines: ``column 'age': '<18' in line 7``."""
    rows = table.index[is_meant]
    texts = table.loc[rows, column].map(lambda text: "" if pd.isna(text) else str(text))
    each = list(dict.fromkeys(texts))
    told = [
        f"{repr(text[:40]) if text else 'nothing'}{_say_rows(table, rows[texts == text])}"
        for text in each[:N_CELLS]
    ]
    more = f" and {len(each) - N_CELLS} other texts" if len(each) > N_CELLS else ""
    return f"column '{column}': {', '.join(told)}{more}"


def _say_rows(table: pd.DataFrame, rows: "pd.Index[int]") -> str:
    """Say in which lines, or for whom where the table is from no file."""
    more = f" and {len(rows) - N_LINES} more" if len(rows) > N_LINES else ""
    if lines := lines_of(table, rows[:N_LINES]):
        return f" in {say_lines(lines)}{more}"
    if "participant_id" in table:
        return f" for {', '.join(table.loc[rows[:N_LINES], 'participant_id'].map(str))}{more}"
    return f" in row {', '.join(str(row + 1) for row in rows[:N_LINES])}{more}"


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
    is_part = len(found) > 1 and bool(known & {*_MORE_CORES, "fd"})
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
        word.endswith(("date", "dates", "datetime")) and word not in _NO_DATE_WORDS
        for word in words
    )
    return is_stated or words[-2:] in (["acq", "time"], ["acquisition", "time"])


def is_name(name: str) -> bool:
    """Tell whether a column names people or remarks on them: ``redcap_id``, ``comments``."""
    return bool(set(_words(name)) & (_NAMES - _SITES)) and not is_date(name)


def is_usual_confound(name: str) -> bool:
    """Tell what can explain a result in any study: motion, age, head size, sex, site, drugs."""
    is_listed = bool(set(_words(name)) & _OTHERS)
    return is_motion(name) or is_age(name) or is_head_size(name) or is_listed


def find_columns(wanted: Sequence[str], present: Iterable[str]) -> list[str]:
    """Find columns by name, whatever their case and punctuation.

    A name of head motion stands for all columns of head motion if none of those named is there.
    """
    names = list(present)
    plain = {name: "".join(_words(name)) or name for name in (*names, *wanted)}
    found = dict.fromkeys(name for one in wanted for name in names if plain[one] == plain[name])
    if any(map(is_motion, wanted)) and not any(map(is_motion, found)):
        found |= dict.fromkeys(name for name in names if is_motion(name))
    return list(found)


def covariate_numbers(texts: Iterable[Any], name: str) -> Numbers:
    """Read a column by `read_numbers`; ``None`` is a missing age, elsewhere maybe a value."""
    if is_motion(name) or is_age(name):
        texts = ["" if str(text).strip().casefold() == "none" else text for text in texts]
    return read_numbers(texts)


def missing_codes(values: Values, name: str) -> list[float]:
    """Find numbers of a column that stand for a missing value, see `sentinels`.

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

    There is one fault for each column and kind; leaving people out cures none: it is the table that
    is wrong. Columns `not_these` may hold anything, the label for instance. Unless `is_of_all`,
    only those are looked at without which nobody knows what a result is about, head motion and age,
    and for a site that is none.
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
