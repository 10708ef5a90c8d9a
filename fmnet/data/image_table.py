"""Read a cohort from a table of paths: SPM, FSL, nilearn, anything that is NIfTI."""

from pathlib import Path

import pandas as pd

from fmnet.data.advice import SETTINGS, Advice
from fmnet.data.choices import check_label_column, choose_contrasts
from fmnet.data.listing import Listing, OnFault, build_listing
from fmnet.data.scans import MapTable
from fmnet.data.tables import lines_of, read_table_file, say_lines, subject_key
from fmnet.errors import CohortError, Fault

#: Columns with a meaning of their own; all others tell scans of a person apart.
FIXED = ("participant_id", "contrast", "path", "space")


def read_image_table(
    images: str | Path,
    participants: str | Path | None = None,
    contrasts: list[str] | None = None,
    stat: str = "n/a",
    space: str = "MNI152",
    label: str = "group",
    positive: str | int = "FM",
    negative: str | int | None = None,
    on_fault: OnFault = "raise",
) -> Listing:
    """List the maps named in a table.

    Rows that agree in everything but ``contrast`` and ``path`` are one scan, their contrasts its
    channels. Any further column (session, run, task) tells scans of the same person apart.

    Parameters
    ----------
    images : Path
        Table with ``participant_id`` and ``path`` (relative to the table), optionally
        ``contrast``, ``space`` and the label column.
    participants : Path, optional
        Table of people; may be left out when `images` has the label column.
    contrasts : list of str, optional
        Channels, in this order; all contrasts of the table, sorted, if left out.
    stat, space : str
        What the values are, and the space of maps whose row does not say it.
    label, positive, negative
        Column to predict and its two values; `negative` may be None where there are only two.
    on_fault : {"raise", "exclude"}
        Stop at faults, all of them in one report, or go on without the people concerned.

    Raises
    ------
    CohortError
        If a table is missing or lacks a column, or a contrast does not occur.
    """
    check_label_column(label, FIXED)
    images = Path(images)
    maps = find_table_maps(images, contrasts, stat, space, label)
    if participants is not None:
        columns = ("participant_id",) if "label" in maps.rows else ("participant_id", label)
        people = read_table_file(Path(participants), columns)
    elif "label" in maps.rows:
        people = maps.rows[["participant_id"]].drop_duplicates()
    else:
        found = ", ".join(repr(name) for name in maps.rows.columns)
        raise _fault(
            images,
            f"no label column '{label}' among {found}",
            "a label column here or in a participants table",
            "set cohort.label to a column, or cohort.participants to a table that has it",
        )
    return build_listing(maps, people, label, positive, negative, on_fault)


def find_table_maps(
    images: Path,
    contrasts: list[str] | None = None,
    stat: str = "n/a",
    space: str = "MNI152",
    label: str | None = None,
    advice: Advice = SETTINGS,
) -> MapTable:
    """Read the table of paths and tell scans and contrasts apart."""
    table = read_table_file(images, ("participant_id", "path"))
    if table.empty:
        raise _fault(images, "no row", "one row per map", "list the maps")
    _check_filled(table, images)
    table["participant_id"] = _one_spelling(table["participant_id"])
    if "contrast" not in table:
        table["contrast"] = "map"
    stated = table["space"] if "space" in table else pd.Series("", index=table.index)
    rows = pd.DataFrame(
        {
            "participant_id": table["participant_id"],
            "scan_id": _scan_ids(table),
            "contrast": table["contrast"],
            "space": stated.where(stated != "", space),
            "path": [str(images.parent / path) for path in table["path"]],
        }
    )
    if label is not None and label in table:
        rows["label"] = table[label]
    chosen = choose_contrasts(contrasts, sorted(set(rows["contrast"])), images, advice)
    is_kept = rows["contrast"].isin(chosen)
    _check_columns(table[is_kept], images)
    kept = rows[is_kept].reset_index(drop=True)
    without = sorted(set(rows["participant_id"]) - set(kept["participant_id"]))
    faults = [
        Fault(
            person,
            "no map of any contrast asked for",
            ", ".join(chosen),
            "supply the person's maps, or leave the person out",
            person,
        )
        for person in without
    ]
    return MapTable(kept, chosen, stat, faults=faults, told_apart_by=tuple(_varying(table)))


def _check_filled(table: pd.DataFrame, images: Path) -> None:
    """Refuse rows without person, path or, where there is such a column, contrast."""
    needed = [name for name in ("participant_id", "path", "contrast") if name in table]
    empty = {name: table.index[table[name] == ""] for name in needed}
    faults = [
        Fault(
            str(images),
            f"no {name} in {say_lines(lines_of(table, rows))}",
            f"a {name} in every row",
            "fill it in or remove the rows",
        )
        for name, rows in empty.items()
        if len(rows)
    ]
    if faults:
        raise CohortError(faults)


def _check_columns(table: pd.DataFrame, images: Path) -> None:
    """Refuse a column that differs wherever the contrast does, since no scan would be whole."""
    if table.groupby("participant_id")["contrast"].nunique().max() < 2:
        return
    for name in _varying(table):
        if table.groupby(["participant_id", name])["contrast"].nunique().max() == 1:
            raise _fault(
                images,
                f"a column '{name}' that differs between the maps of each scan",
                "columns with one value for all maps of a scan",
                f"remove '{name}' from the table, or give it one value per scan",
            )


def _varying(table: pd.DataFrame) -> list[str]:
    """Name the columns that differ within a person, and so tell scans apart."""
    people = table.groupby("participant_id")
    names = [str(name) for name in table if name not in FIXED]
    return [name for name in names if people[name].nunique().max() > 1]


def _one_spelling(people: pd.Series) -> pd.Series:
    """Write each person as first written, so that ``sub-01`` and ``01`` stay one person."""
    keys = people.map(subject_key)
    return keys.map(people.groupby(keys).first())


def _scan_ids(table: pd.DataFrame) -> pd.Series:
    """Name each scan after its person and the columns that differ within a person."""
    ids = table["participant_id"].copy()
    for name in _varying(table):
        ids += "_" + name + "-" + table[name].where(table[name] != "", "none")
    return ids


def _fault(path: Path, found: str, accepted: str, action: str) -> CohortError:
    return CohortError(Fault(str(path), found, accepted, action))
