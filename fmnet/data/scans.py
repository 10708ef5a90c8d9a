"""Maps that belong together: one scan is one map per contrast."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from fmnet.data.advice import SETTINGS, Advice
from fmnet.data.tables import say_some
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
    a property of the map, ``label``; ``entities``, a dict, where they are read off file names.
    Columns of the user's table that make several scans of one person are ``told_apart_by``.
    ``everyone`` names all people found, also those of whom no map was chosen; ``faults`` say why.
    ``columns`` are those of the user's table.
    """

    rows: pd.DataFrame
    contrasts: tuple[str, ...]
    stat: str = "n/a"
    origin: str = ""
    faults: list[Fault] = field(default_factory=list)
    told_apart_by: tuple[str, ...] = ()
    everyone: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


def group_scans(maps: MapTable, advice: Advice = SETTINGS) -> tuple[list[Scan], list[Fault]]:
    """Put the maps of each scan together; scans with too few or too many maps are faults."""
    scans: list[Scan] = []
    faults: list[Fault] = []
    # in plain lists: cohorts of 100,000 scans would take pandas minutes
    rows_of: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in maps.rows.to_dict("records"):
        rows_of[str(row["scan_id"])].append({str(name): value for name, value in row.items()})
    for scan_id, rows in sorted(rows_of.items()):
        participant_id = str(rows[0]["participant_id"])
        counts = Counter(row["contrast"] for row in rows)
        if wrong := [name for name in maps.contrasts if counts[name] != 1]:
            found = ", ".join(f"{counts[name]} of '{name}'" for name in wrong)
            paths = say_some(str(row["path"]) for row in rows)
            is_double = max(counts[name] for name in wrong) > 1
            faults.append(
                Fault(
                    scan_id,
                    f"{found} (files: {paths})",
                    "one map per subject (and session, run, task) and contrast",
                    _repair(rows, maps.told_apart_by, is_double, advice),
                    participant_id,
                )
            )
            continue
        if len(spaces := sorted({str(row["space"]) for row in rows})) > 1:
            faults.append(
                Fault(
                    scan_id,
                    f"maps in several spaces: {', '.join(map(repr, spaces))}",
                    "one space",
                    "give all maps of the scan in the same space, or correct what is stated",
                    participant_id,
                )
            )
            continue
        path_of = {row["contrast"]: str(row["path"]) for row in rows}
        files = tuple(Path(path_of[name]) for name in maps.contrasts)
        label = str(rows[0].get("label", ""))
        scans.append(Scan(scan_id, participant_id, files, spaces[0], label))
    return scans, faults


def _repair(
    rows: list[dict[str, Any]], told_apart_by: tuple[str, ...], is_double: bool, advice: Advice
) -> str:
    """Say what makes a scan whole."""
    if is_double and "entities" in rows[0]:
        held: dict[str, list[dict[str, str]]] = defaultdict(list)
        for row in rows:
            held[row["contrast"]].append(row["entities"])
        choices = dict(choice for doubled in held.values() for choice in _differing(doubled))
        said = [
            f"{entity} is {' or '.join(map(repr, values))}: {advice.choose(entity, values[-1])}"
            for entity, values in choices.items()
        ]
        if said:
            return "; ".join(said)
    action = (
        "remove the duplicate or name what tells the maps apart in a column or in the file name; "
        "supply or leave out a missing map"
    )
    if is_double or not told_apart_by:
        return action
    names = ", ".join(map(repr, told_apart_by))
    return f"{action}; columns that tell scans apart ({names}) need one value for all of its maps"


def _differing(held: list[dict[str, str]]) -> list[tuple[str, list[str]]]:
    """Name the entities in which maps differ, each with its values."""
    names = sorted({name for entities in held for name in entities})
    values = {name: sorted({entities.get(name, "") for entities in held}) for name in names}
    return [(name, found) for name, found in values.items() if len(found) > 1]
