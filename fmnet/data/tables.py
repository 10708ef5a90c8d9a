"""Tab-separated tables as BIDS writes them: text columns, ``n/a`` for what is missing."""

import warnings
from pathlib import Path
from typing import TextIO

import pandas as pd

from fmnet.errors import CohortError, Fault

UNREADABLE = (
    OSError,
    UnicodeDecodeError,
    pd.errors.ParserError,
    pd.errors.EmptyDataError,
)
MISSING = ("n/a", "N/A", "NA", "nan", "NaN", "")


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
        All columns as stripped text; missing values are empty strings.

    Raises
    ------
    CohortError
        If the file is missing or unreadable, or a column is not there.
    """
    try:
        separator = "," if path.suffix.lower() == ".csv" else "\t"
        # utf-8-sig: tables saved by spreadsheets begin with a byte-order mark
        with warnings.catch_warnings():
            # index_col=False: else a tab at the end of each row shifts every column by one; what
            # it would cut off for being too long is an error
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                path,
                sep=separator,
                dtype=str,
                keep_default_na=False,
                index_col=False,
                encoding="utf-8-sig",
            )
    except FileNotFoundError as error:
        raise _fault(path, "no such file", "a tab-separated table") from error
    except pd.errors.ParserWarning as error:
        raise _fault(path, "rows with more fields than the header", "UTF-8 text, tabs") from error
    except UNREADABLE as error:
        reason = str(error).splitlines()[0]
        raise _fault(path, f"a table that can't be read ({reason})", "UTF-8 text, tabs") from error
    table.columns = table.columns.str.strip()
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise CohortError(
            Fault(
                str(path),
                f"columns {', '.join(map(repr, table.columns))}",
                f"a tab-separated table with the columns {', '.join(map(repr, columns))}",
                f"add or rename: {', '.join(map(repr, missing))}",
            )
        )
    stripped: pd.DataFrame = table.apply(lambda column: column.str.strip())
    return stripped.mask(stripped.isin(MISSING), "")


def write_table(table: pd.DataFrame, path: Path | TextIO, separator: str = "\t") -> None:
    """Write a table with tabs, ``n/a`` for what is missing and enough digits to read back."""
    table.replace("", "n/a").to_csv(
        path, sep=separator, index=False, na_rep="n/a", float_format="%.9g", lineterminator="\n"
    )


def subject_key(participant_id: str) -> str:
    """Reduce an id to what identifies the person, so that ``sub-01`` and ``01`` are the same."""
    return participant_id.removeprefix("sub-")


def _fault(path: Path, found: str, accepted: str) -> CohortError:
    return CohortError(Fault(str(path), found, accepted, "correct the path or the file"))
