"""Tables that name the regions of an atlas, in the forms that people have them in."""

import re
from pathlib import Path

from fmnet.data.tables import read_table_file, say_some
from fmnet.errors import ConfigError, Fault

NUMBER = re.compile(r"-?\d+(\.\d*)?")


def read_region_names(path: Path) -> dict[int, str]:
    """Read the numbers and names of an atlas's regions.

    Parameters
    ----------
    path : Path
        A ``.tsv`` or ``.csv`` table with columns ``index`` and ``name``; or text of another ending,
        whose lines begin with the number and then hold the name, with colours on either side.

    Raises
    ------
    CohortError, ConfigError
        If it can't be read, lacks a column, or an index is no whole number.
    """
    if path.suffix.lower() in {".tsv", ".csv"}:
        table = read_table_file(path, ("index", "name"))
        pairs = list(zip(table["index"], table["name"], strict=True))
    else:
        pairs = _pairs_of_text(path)
    wrong = [index for index, _ in pairs if not re.fullmatch(r"\d+(\.0*)?", index)]
    if wrong or not pairs:
        found = f"index {say_some(map(repr, wrong), 5)}" if wrong else "no names"
        raise ConfigError(Fault(str(path), found, "whole numbers from 0 on", "correct the table"))
    return {int(float(index)): name for index, name in pairs}


def _pairs_of_text(path: Path) -> list[tuple[str, str]]:
    """Split the lines of a lookup table: the number first, of the rest what is no number."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        found = f"a table that can't be read ({str(error).splitlines()[0]})"
        action = "correct the path or the file"
        raise ConfigError(Fault(str(path), found, "UTF-8 text", action)) from error
    pairs = []
    for line in lines:
        if line.strip() and not line.startswith("#"):
            index, *others = re.split(
                r"[\t,;]\s*" if re.search(r"[\t,;]", line) else r"\s+", line.strip()
            )
            pairs.append((index, " ".join(one for one in others if not NUMBER.fullmatch(one))))
    return pairs
