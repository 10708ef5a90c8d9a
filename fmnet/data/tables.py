"""Tab-separated tables as BIDS writes them: text columns, ``n/a`` for what is missing."""

import csv
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from fmnet.errors import CohortError, Fault, printable

UNREADABLE = (OSError, UnicodeDecodeError, csv.Error)
MISSING = ("n/a", "N/A", "NA", "nan", "NaN", "")
#: What separates columns, and its name in messages.
SEPARATORS = {"\t": "tab", ",": "comma", ";": "semicolon"}
#: What formulas of spreadsheets begin with, also in full width.
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
#: A line of the file, counted from 1, and its fields.
Row = tuple[int, list[str]]


def read_table_file(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a .tsv or .csv file as text.

    Parameters
    ----------
    path : Path
        The table; ``.csv`` is read with commas, everything else with tabs.
    columns : tuple of str
        Columns that must be there.

    Returns
    -------
    DataFrame
        All columns as stripped text; missing values are empty strings. `table_name` and `lines_of`
        tell where its rows come from.

    Raises
    ------
    CohortError
        If the file is missing or unreadable, a column is not there or there twice, or a row is
        longer than the header.
    """
    separator = "," if path.suffix.lower() == ".csv" else "\t"
    kind = f"{SEPARATORS[separator]}-separated"
    try:
        rows = _read_rows(path, separator)
    except FileNotFoundError as error:
        raise _fault(path, "no such file", f"a {kind} table") from error
    except UNREADABLE as error:
        found = f"a table that can't be read ({str(error).splitlines()[0]})"
        raise _fault(path, found, f"UTF-8 text, {kind}") from error
    if not rows:
        raise _fault(path, "an empty file", f"a {kind} table with a header")
    header = _header(rows[0][1])
    _check_header(path, header, columns, separator)
    body = [(line, _fit(cells, len(header))) for line, cells in rows[1:]]
    if long := [line for line, cells in body if len(cells) > len(header)]:
        found = f"rows with more fields than the header in {say_lines(long)}"
        raise _fault(path, found, f"UTF-8 text, {kind}")
    table = pd.DataFrame([cells for _, cells in body], columns=header, dtype=str)
    table.attrs |= {"name": path.name, "lines": [line for line, _ in body]}
    return table.mask(table.isin(MISSING), "")


def write_table(
    table: pd.DataFrame,
    path: Path | TextIO,
    separator: str = "\t",
    header: bool = True,
    for_people: bool = False,
) -> None:
    """Write a table with tabs, ``n/a`` for what is missing and enough digits to read back.

    Parameters
    ----------
    table : DataFrame
        What is written.
    path : Path or file
        Where to.
    separator : str
        Between columns.
    header : bool
        Whether the columns' names are written first.
    for_people : bool
        Whether it goes to terminals and spreadsheets, and is not read back by fmnet: signs that
        steer a terminal are spelt out, and text that a spreadsheet would compute begins with ``'``.
    """
    change = inert if for_people else encodable
    table = table.copy()
    for place, kind in enumerate(table.dtypes):
        if not pd.api.types.is_numeric_dtype(kind):
            cells = [
                change(cell) if isinstance(cell, str) else cell for cell in table.iloc[:, place]
            ]
            table.isetitem(place, pd.Series(cells, index=table.index, dtype=object))
    table.replace("", "n/a").to_csv(
        path,
        sep=separator,
        header=header,
        index=False,
        na_rep="n/a",
        float_format="%.9g",
        lineterminator="\n",
    )


def encodable(cell: str) -> str:
    r"""Spell out what UTF-8 can't hold: the bytes of a file name that are none, as ``\udcfc``."""
    return cell if cell.isascii() else cell.encode("utf-8", "backslashreplace").decode("utf-8")


def inert(cell: str) -> str:
    """Make of a text one that neither a terminal obeys nor a spreadsheet computes.

    What begins like a formula begins with ``'``, unless it is a number.
    """
    if cell.lstrip().startswith(FORMULA) and not _is_number(cell):
        cell = f"'{cell}"
    return printable(cell)


def subject_key(participant_id: str) -> str:
    """Reduce an id to what identifies the person, so that ``sub-01`` and ``01`` are the same."""
    return participant_id.removeprefix("sub-")


def table_name(table: pd.DataFrame) -> str:
    """Name the file that a table was read from."""
    return str(table.attrs.get("name", "participants.tsv"))


def lines_of(table: pd.DataFrame, rows: Iterable[Any]) -> list[int]:
    """Find the lines, counted from 1, of rows by index; none if the table is from no file."""
    lines = table.attrs.get("lines")
    return [lines[row] for row in rows] if lines else []


def say_lines(lines: list[int]) -> str:
    """Write ``line 2`` or ``lines 2, 3``."""
    return f"line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines))}"


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _read_rows(path: Path, separator: str) -> list[Row]:
    """Read the rows that hold anything, stripped."""
    # utf-8-sig: tables saved by spreadsheets begin with a byte-order mark
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, delimiter=separator, skipinitialspace=True, strict=True)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    return [(line, cells) for line, cells in rows if any(cells)]


def _header(cells: list[str]) -> list[str]:
    """Name the columns; a separator at the end of the header begins no column."""
    names = _fit(cells, max(number for number, name in enumerate(cells, 1) if name))
    return [name or f"Unnamed: {number}" for number, name in enumerate(names)]


def _fit(cells: list[str], width: int) -> list[str]:
    """Fill a short row with missing values; cut empty fields off a long one."""
    while len(cells) > width and not cells[-1]:
        cells = cells[:-1]
    return cells + [""] * (width - len(cells))


def _check_header(path: Path, header: list[str], columns: tuple[str, ...], separator: str) -> None:
    accepted = f"a {SEPARATORS[separator]}-separated table"
    if twice := [name for name, count in Counter(header).items() if count > 1]:
        found = f"several columns {', '.join(map(repr, twice))}"
        action = "rename or remove all but one"
        raise CohortError(Fault(str(path), found, f"{accepted}, each name once", action))
    missing = [name for name in columns if name not in header]
    if not missing:
        return
    found = f"columns {', '.join(map(repr, header))}"
    action = f"add or rename: {', '.join(map(repr, missing))}"
    others = [other for other in SEPARATORS if other != separator and other in header[0]]
    if len(header) == 1 and others:
        found += f", probably separated by {SEPARATORS[others[0]]}s"
        action = (
            f"save it with {SEPARATORS[separator]}s; .csv is read with commas, others with tabs"
        )
    wanted = f"{accepted} with the columns {', '.join(map(repr, columns))}"
    raise CohortError(Fault(str(path), found, wanted, action))


def _fault(path: Path, found: str, accepted: str) -> CohortError:
    return CohortError(Fault(str(path), found, accepted, "correct the path or the file"))
