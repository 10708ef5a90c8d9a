"""Maps that belong together: one scan is one map per contrast."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from fmnet.data.advice import SETTINGS, Advice
from fmnet.errors import Fault

#: Between the files of one scan in cohort.tsv; unlike a comma, hardly ever part of a name.
FILE_SEPARATOR = " | "


@dataclass(frozen=True)
class Scan:
    """One subject's input: one map per contrast, or BOLD runs that maps are computed from.

    Parameters
    ----------
    scan_id, participant_id : str
        The scan's own name, and whose it is; a person may have several scans.
    files : tuple of Path
        One map per channel, in the listing's order of contrasts; or the runs.
    space : str
        The space that the maps are said to be in.
    label : str
        Value of the label column; empty if missing.
    is_series : bool
        Whether the files are BOLD runs.
    """

    scan_id: str
    participant_id: str
    files: tuple[Path, ...]
    space: str
    label: str = ""
    is_series: bool = False

    def source(self, channel: int) -> str:
        """Name the file that a channel comes from, or all runs that it is computed from."""
        if self.is_series:
            return FILE_SEPARATOR.join(map(str, self.files))
        return str(self.files[channel])


@dataclass
class MapTable:
    """The maps that a reader found, one row per file.

    Columns of ``rows``: ``participant_id, scan_id, contrast, space, path`` and, where the label is
    a property of the map, ``label``; ``desc`` where the file names say which version it is. Columns
    of the user's table that make several scans of one person are ``told_apart_by``. ``everyone``
    names all people found, also those of whom no map was chosen.
    """

    rows: pd.DataFrame
    contrasts: tuple[str, ...]
    stat: str = "n/a"
    origin: str = ""
    faults: list[Fault] = field(default_factory=list)
    told_apart_by: tuple[str, ...] = ()
    everyone: tuple[str, ...] = ()


def group_scans(maps: MapTable, advice: Advice = SETTINGS) -> tuple[list[Scan], list[Fault]]:
    """Put the maps of each scan together; scans with too few or too many maps are faults."""
    scans: list[Scan] = []
    faults: list[Fault] = []
    for scan_id, rows in maps.rows.groupby("scan_id", sort=True):
        participant_id = str(rows["participant_id"].iloc[0])
        counts = Counter(rows["contrast"])
        if wrong := [name for name in maps.contrasts if counts[name] != 1]:
            found = ", ".join(f"{counts[name]} of '{name}'" for name in wrong)
            paths = ", ".join(str(path) for path in rows["path"])
            is_double = max(counts[name] for name in wrong) > 1
            faults.append(
                Fault(
                    str(scan_id),
                    f"{found} (files: {paths})",
                    "one map per subject (and session, run, task) and contrast",
                    _repair(rows, maps.told_apart_by, is_double, advice),
                    participant_id,
                )
            )
            continue
        if len(spaces := sorted(set(rows["space"]))) > 1:
            faults.append(
                Fault(
                    str(scan_id),
                    f"maps in several spaces: {', '.join(map(repr, spaces))}",
                    "one space",
                    "give all maps of the scan in the same space, or correct what is stated",
                    participant_id,
                )
            )
            continue
        by_contrast = rows.set_index("contrast")
        files = tuple(Path(str(by_contrast.at[name, "path"])) for name in maps.contrasts)
        label = str(rows["label"].iloc[0]) if "label" in rows else ""
        space = str(rows["space"].iloc[0])
        scans.append(Scan(str(scan_id), participant_id, files, space, label))
    return scans, faults


def _repair(
    rows: pd.DataFrame, told_apart_by: tuple[str, ...], is_double: bool, advice: Advice
) -> str:
    """Say what makes a scan whole."""
    if is_double and "desc" in rows and rows["desc"].nunique() > 1:
        names = " or ".join(f"'{name}'" for name in sorted(set(rows["desc"])))
        return f"desc is {names}: {advice.desc}"
    action = (
        "remove the duplicate or name what tells the maps apart in a column or in the file name; "
        "supply or leave out a missing map"
    )
    if is_double or not told_apart_by:
        return action
    names = ", ".join(map(repr, told_apart_by))
    return f"{action}; columns that tell scans apart ({names}) need one value for all of its maps"
