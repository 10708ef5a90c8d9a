"""Tab-separated tables as BIDS writes them: text columns, ``n/a`` for what is missing."""

import csv
import io
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from fmnet.errors import CohortError, Fault, printable

# where pyarrow is installed, pandas would keep text in its arrays, which hold UTF-8 alone; names of
# files may be any bytes
pd.set_option("mode.string_storage", "python")

MISSING = ("n/a", "N/A", "NA", "nan", "NaN", "")
#: What separates columns, and its name in messages.
SEPARATORS = {"\t": "tab", ",": "comma", ";": "semicolon"}
#: What formulas of spreadsheets begin with, also in full width.
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
#: Bounds of a table, far above cohorts (some 100,000 people) and fMRIPrep's confounds (some 2,000
#: columns), which a file of another kind exceeds before it takes all time and memory.
MAX_BYTES, MAX_LINE = 2**26, 2**21
MAX_LINES, MAX_COLUMNS, MAX_CELLS = 100_000, 10_000, 5_000_000
#: How many names or lines are listed before the rest is only counted.
MAX_LISTED = 30
#: Columns of file names, which are what they are on the disk, byte by byte.
PATHS = ("path", "files")
#: A line of the file, counted from 1, and its fields.
Row = tuple[int, list[str]]


class _Lines(list[int]):
    """Lines of a table's rows; shared by its copies, where pandas would copy each of them."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Lines":
        return self


def read_table_file(
    path: Path,
    columns: tuple[str, ...],
    values: Mapping[str, Collection[str]] | None = None,
    max_lines: int = MAX_LINES,
) -> pd.DataFrame:
    """Read a .tsv or .csv file as text.

    ``.csv`` is read with commas, everything else with tabs. All columns become stripped text;
    missing values are empty strings, but for those in `values`, by column, which count although
    they read like missing ones: a group that is called ``NA``, say. Names of columns, ids and
    labels are written one way, see `normal_text`; file names (`PATHS`) stay as they are.
    `table_name` and `lines_of` tell where rows come from.

    Raises
    ------
    CohortError
        If the file is missing, unreadable or longer than `max_lines`, one of `columns` is not
        there or there twice, or a row is longer than the header.
    """
    separator = "," if path.suffix.lower() == ".csv" else "\t"
    kind = f"{SEPARATORS[separator]}-separated"
    content, is_utf_8 = _read_content(path, kind)
    try:
        rows = _split_rows(path, content, separator, max_lines)
    except csv.Error as error:
        found = f"a table that can't be read ({str(error).splitlines()[0]})"
        raise _fault(path, found, f"UTF-8 text, {kind}") from error
    if not rows:
        raise _fault(path, "an empty file", f"a {kind} table with a header")
    header = _header(rows[0][1])
    if not all(map(_is_utf_8, header)):
        raise _other_encoding(path, content, f"UTF-8 text, {kind}")
    _check_header(path, header, columns, separator)
    body = [(line, _fit(cells, len(header))) for line, cells in rows[1:]]
    if long := [line for line, cells in body if len(cells) > len(header)]:
        found = f"rows with more fields than the header in {say_lines(long)}"
        raise _fault(path, found, f"UTF-8 text, {kind}")
    table = pd.DataFrame([cells for _, cells in body], columns=header, dtype=str)
    if not content.isascii():
        for name in table.columns.difference(list(PATHS), sort=False):
            if not is_utf_8 and not table[name].map(_is_utf_8).all():
                raise _other_encoding(path, content, f"UTF-8 text, {kind}")
            table[name] = table[name].map(normal_text)
    missing = table.isin(MISSING)
    for name, held in (values or {}).items():
        if name in table:
            missing[name] &= ~table[name].isin([value for value in held if value])
    table = table.mask(missing, "")
    table.attrs |= {"name": path.name, "lines": _Lines(line for line, _ in body)}
    return table


def write_table(
    table: pd.DataFrame,
    path: Path | TextIO,
    separator: str = "\t",
    header: bool = True,
    for_people: bool = False,
) -> None:
    """Write a table with tabs, ``n/a`` for what is missing and enough digits to read back.

    With `for_people` it goes to terminals and spreadsheets, and is not read back by fmnet: signs
    that steer a terminal are spelt out, and text that a spreadsheet would compute begins with
    ``'``.
    """
    change = inert if for_people else encodable
    table = table.copy()
    for at, kind in enumerate(table.dtypes):
        if not pd.api.types.is_numeric_dtype(kind):
            cells = [change(one) if isinstance(one, str) else one for one in table.iloc[:, at]]
            table.isetitem(at, np.array(cells, dtype=object))
    how: dict[str, Any] = {
        "index": False,
        "na_rep": "n/a",
        "float_format": "%.9g",
        "lineterminator": "\n",
    }
    table.replace("", "n/a").to_csv(path, sep=separator, header=header, **how)


def write_row(cells: Iterable[Any], file: TextIO, separator: str = "\t") -> None:
    """Write one more row of a table for people, as `write_table` does, in a hundredth of the time.

    Cells are texts, numbers, or None for what is missing.
    """
    said = []
    for cell in cells:
        if cell is None or cell == "" or cell != cell:  # the last is NaN
            said.append("n/a")
        elif isinstance(cell, str):
            said.append(inert(cell))
        else:
            said.append(f"{cell:.9g}" if isinstance(cell, float) else str(cell))
    csv.writer(file, delimiter=separator, lineterminator="\n").writerow(said)


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


def normal_text(text: str) -> str:
    """Write a name in one way: composed (NFC), without invisible signs, no blanks around.

    Two spellings that look alike on a screen (``ü`` in one or two characters, a zero-width or
    unbreakable blank, a soft hyphen, a byte-order mark) become one text.
    """
    if text.isascii():
        return text.strip()
    visible = "".join(
        " " if unicodedata.category(sign) == "Zs" else sign
        for sign in text
        if unicodedata.category(sign) != "Cf"
    )
    return unicodedata.normalize("NFC", visible).strip()


def subject_key(participant_id: str) -> str:
    """Reduce an id to what identifies the person, so that ``sub-01`` and ``01`` are the same."""
    name = normal_text(participant_id)
    return name[4:].strip() if name[:4].lower() == "sub-" else name


def table_name(table: pd.DataFrame) -> str:
    """Name the file that a table was read from."""
    return str(table.attrs.get("name", "participants.tsv"))


def lines_of(table: pd.DataFrame, rows: Iterable[Any]) -> list[int]:
    """Find the lines, counted from 1, of rows by index; none if the table is from no file."""
    lines = table.attrs.get("lines")
    return [lines[row] for row in rows] if lines else []


def say_lines(lines: list[int]) -> str:
    """Write ``line 2`` or ``lines 2, 3``."""
    return f"line{'s' if len(lines) > 1 else ''} {say_some(map(str, lines))}"


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def say_some(names: Iterable[str], most: int = MAX_LISTED) -> str:
    """List names, of many the first and how many more there are."""
    names = list(names)
    more = len(names) - most
    listed = ", ".join(names[:most])
    return f"{listed} and {more} more" if more > 0 else listed


def _read_content(path: Path, kind: str) -> tuple[bytes, bool]:
    """Read a file whole if it is one and of a bounded size; tell whether it is all UTF-8."""
    accepted = f"UTF-8 text, {kind}"
    try:
        status = os.stat(path)
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            # a pipe or a device would be waited for, perhaps for ever
            raise _fault(path, "a pipe, socket or device", f"a {kind} table in a regular file")
        if status.st_size > MAX_BYTES:
            found = f"a file of {status.st_size / 2**20:,.0f} MiB"
            raise _fault(path, found, f"a {kind} table of up to {MAX_BYTES // 2**20} MiB")
        # files of the kernel say that they are empty, and are waited for
        content = path.read_bytes() if status.st_size else b""
    except FileNotFoundError as error:
        raise _fault(path, "no such file", f"a {kind} table") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _fault(path, f"a table that can't be read ({reason})", accepted) from error
    is_utf_16 = content[:2] in {b"\xff\xfe", b"\xfe\xff"}
    if not is_utf_16 and (position := content.find(b"\0")) >= 0:
        found = f"a NUL character in line {_line_at(content, position)}: a damaged or binary file"
        raise _fault(path, f"{found}, or UTF-16", accepted)
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        if is_utf_16:
            raise _other_encoding(path, content, accepted) from error
        return content, False
    return content, True


def _other_encoding(path: Path, content: bytes, accepted: str) -> CohortError:
    what, position = "UTF-16", 0
    if content[:2] not in {b"\xff\xfe", b"\xfe\xff"}:
        try:
            content.decode("utf-8")
        except UnicodeDecodeError as error:
            position = error.start
        what = f"byte 0x{content[position]:02x} in line {_line_at(content, position)}"
    found = f"a table in another encoding than UTF-8 ({what})"
    action = "save it once more as UTF-8 (spreadsheets: 'CSV UTF-8', or as text with tabs)"
    return CohortError(Fault(str(path), found, accepted, action))


def _is_utf_8(text: str) -> bool:
    """Tell a text from one with bytes of another encoding, which Python reads as surrogates."""
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


def _line_at(content: bytes, position: int) -> int:
    return content.count(b"\n", 0, position) + 1


def _split_rows(path: Path, content: bytes, separator: str, max_lines: int) -> list[Row]:
    """Split the rows that hold anything into stripped fields."""
    # utf-8-sig: tables saved by spreadsheets begin with a byte-order mark
    file = io.TextIOWrapper(
        io.BytesIO(content), encoding="utf-8-sig", errors="surrogateescape", newline=""
    )
    lines = iter(partial(file.readline, MAX_LINE), "")
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    rows: list[Row] = []
    n_cells = 0
    for cells in reader:
        stripped = [cell.strip() for cell in cells]
        n_cells += len(stripped)
        if len(stripped) > MAX_COLUMNS or n_cells > MAX_CELLS or reader.line_num > max_lines:
            found = f"more than {MAX_CELLS:,} fields"
            if len(stripped) > MAX_COLUMNS:
                found = f"more than {MAX_COLUMNS:,} columns in line {reader.line_num}"
            elif reader.line_num > max_lines:
                found = f"more than {max_lines:,} lines"
            accepted = f"a table of up to {MAX_COLUMNS:,} columns and {max_lines:,} lines"
            raise _fault(path, found, f"{accepted}, {MAX_CELLS:,} fields in all")
        if any(stripped):
            rows.append((reader.line_num, stripped))
    return rows


def _header(cells: list[str]) -> list[str]:
    """Name the columns; a separator at the end of the header begins no column."""
    names = _fit(cells, max(number for number, name in enumerate(cells, 1) if name))
    return [normal_text(name) or f"Unnamed: {number}" for number, name in enumerate(names)]


def _fit(cells: list[str], width: int) -> list[str]:
    """Fill a short row with missing values; cut empty fields off a long one."""
    end = len(cells)
    while end > width and not cells[end - 1]:
        end -= 1
    return cells[:end] + [""] * (width - end)


def _check_header(path: Path, header: list[str], columns: tuple[str, ...], separator: str) -> None:
    accepted = f"a {SEPARATORS[separator]}-separated table"
    if twice := [name for name, count in Counter(header).items() if count > 1]:
        found = f"several columns {say_some(map(repr, twice))}"
        action = "rename or remove all but one"
        raise CohortError(Fault(str(path), found, f"{accepted}, each name once", action))
    missing = [name for name in columns if normal_text(name) not in header]
    if not missing:
        return
    found = f"columns {say_some(map(repr, header))}"
    action = f"add or rename: {', '.join(map(repr, missing))}"
    others = [other for other in SEPARATORS if other != separator and other in header[0]]
    if len(header) == 1 and others:
        found += f", probably separated by {SEPARATORS[others[0]]}s"
        by = SEPARATORS[separator]
        action = f"save it with {by}s; .csv is read with commas, others with tabs"
    wanted = f"{accepted} with the columns {', '.join(map(repr, columns))}"
    raise CohortError(Fault(str(path), found, wanted, action))


def _fault(path: Path, found: str, accepted: str) -> CohortError:
    return CohortError(Fault(str(path), found, accepted, "correct the path or the file"))
