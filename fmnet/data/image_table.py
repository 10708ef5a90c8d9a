"""Read a cohort from a table of paths: SPM, FSL, nilearn, anything that is NIfTI."""

from pathlib import Path

import pandas as pd

from fmnet.data.advice import SETTINGS, Advice
from fmnet.data.listing import Listing, MapTable, OnFault, build_listing
from fmnet.data.tables import read_table_file, subject_key
from fmnet.errors import CohortError, Fault


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
    nameless = table.index[(table["participant_id"] == "") | (table["path"] == "")]
    if len(nameless):
        lines = ", ".join(str(row + 2) for row in nameless)
        raise _fault(
            images,
            f"no participant_id or path in line {lines}",
            "both in every row",
            "fill them in or remove the rows",
        )
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
    names = sorted(set(rows["contrast"]))
    if absent := [name for name in contrasts or () if name not in names]:
        raise _fault(
            images,
            f"no map of contrast {', '.join(absent)}",
            ", ".join(names),
            advice.contrasts,
        )
    chosen = tuple(contrasts or names)
    kept = rows[rows["contrast"].isin(chosen)].reset_index(drop=True)
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
    return MapTable(kept, chosen, stat, faults=faults)


def _one_spelling(people: pd.Series) -> pd.Series:
    """Write each person as first written, so that ``sub-01`` and ``01`` stay one person."""
    keys = people.map(subject_key)
    return keys.map(people.groupby(keys).first())


def _scan_ids(table: pd.DataFrame) -> pd.Series:
    """Name each scan after its person and the columns that differ within a person."""
    fixed = {"participant_id", "contrast", "path", "space"}
    keys = [str(name) for name in table if name not in fixed]
    varying = [name for name in keys if table.groupby("participant_id")[name].nunique().max() > 1]
    ids = table["participant_id"].copy()
    for name in varying:
        ids += "_" + name + "-" + table[name].where(table[name] != "", "none")
    return ids


def _fault(path: Path, found: str, accepted: str, action: str) -> CohortError:
    return CohortError(Fault(str(path), found, accepted, action))
