"""Read a cohort from a table of paths: SPM, FSL, nilearn, anything that is NIfTI."""

import os
import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from unicodedata import normalize

import pandas as pd

from fmnet.data.bids import tree_origin
from fmnet.data.listing import (
    SETTINGS,
    UNSAID_CONTRAST,
    Advice,
    Listing,
    MapTable,
    OnFault,
    build_listing,
    check_has_label,
    check_label_column,
    choose_contrasts,
)
from fmnet.data.tables import (
    lines_of,
    normal_text,
    read_table_file,
    say_lines,
    say_some,
    subject_key,
)
from fmnet.errors import CohortError, Fault

SUPPLY = "supply the person's maps, or leave the person out"
#: Columns with a meaning of their own; all others tell scans of a person apart.
FIXED = ("participant_id", "contrast", "path", "space")
#: How SPM names a volume of a file: ``con_0001.nii,1``.
VOLUME = re.compile(r"(?P<file>.+\.(?:nii|nii\.gz|img|img\.gz|hdr)),(?P<volume>\d+)", re.IGNORECASE)
#: How far above a map its data set may begin: sub-*/ses-*/func/.
MAX_ABOVE = 4
#: Longest name and path that Linux opens, in bytes.
MAX_NAME, MAX_PATH = 255, 4095


def read_image_table(
    images: str | Path,
    participants: str | Path | None = None,
    contrasts: list[str] | None = None,
    stat: str = "n/a",
    space: str = "MNI152",
    label: str | None = "group",
    positive: str | int | None = "FM",
    negative: str | int | None = None,
    on_fault: OnFault = "raise",
) -> Listing:
    """List the maps named in a table.

    Rows that agree in everything but ``contrast`` and ``path`` are one scan, their contrasts its
    channels. Any further column (session, run, task) tells scans of the same subject apart.

    Parameters
    ----------
    images : Path
        Table with ``participant_id`` and ``path`` (relative to the table), optionally
        ``contrast``, ``space`` and the label column.
    participants : Path, optional
        Table of participants; may be left out when `images` has the label column.
    contrasts : list of str, optional
        Channels, in this order; all contrasts of the table, sorted, if left out.
    stat, space : str
        What the values are, and the space of maps whose row does not say it.
    label, positive, negative
        Column to predict and its two values; `negative` may be None where there are only two, and
        `label` where no groups are told apart but a target is predicted.
    on_fault : {"raise", "exclude"}
        Stop at faults, all of them in one report, or go on without the people concerned.

    Raises
    ------
    CohortError
        If a table is missing or lacks a column, or a contrast does not occur.
    """
    label = None if label is None else normal_text(label)
    check_label_column(label, FIXED)
    images = Path(images)
    named = [str(value) for value in (positive, negative) if value is not None]
    maps = find_table_maps(images, contrasts, stat, space, label, named)
    if participants is not None:
        meant = {} if label is None else {label: named}
        subjects = read_table_file(Path(participants), ("participant_id",), meant)
        if "label" not in maps.rows:
            check_has_label(subjects.columns, label, Path(participants))
    elif "label" in maps.rows or label is None:
        subjects = maps.rows[["participant_id"]].drop_duplicates()
    else:
        found = f"no label column '{label}' among {say_some(map(repr, maps.columns))}"
        accepted = "a label column here or in a participants table"
        action = "set cohort.label to a column, or cohort.participants to a table that has it"
        raise _fault(images, found, accepted, action)
    return build_listing(maps, subjects, label, positive, negative, on_fault)


def find_table_maps(
    images: Path,
    contrasts: list[str] | None = None,
    stat: str = "n/a",
    space: str = "MNI152",
    label: str | None = None,
    groups: Sequence[str] = (),
    advice: Advice = SETTINGS,
) -> MapTable:
    """Read the table of paths and tell scans and contrasts apart; see `read_image_table`.

    Maps of a table without a column ``contrast`` are taken for the one that is wanted. `groups` are
    labels, also those that read like a missing value.

    Raises
    ------
    CohortError
        If the table is missing or lacks a column or values, or a contrast does not occur.
    """
    meant = {"contrast": contrasts or [], **({label: groups} if label else {})}
    table = read_table_file(images, ("participant_id", "path"), meant)
    if table.empty:
        raise _fault(images, "no row", "one row per map", "list the maps")
    faults = []
    for name in (name for name in ("participant_id", "path", "contrast") if name in table):
        if len(empty := table.index[table[name] == ""]):
            found = f"no {name} in {say_lines(lines_of(table, empty))}"
            accepted = f"a {name} in every row"
            faults.append(Fault(str(images), found, accepted, "fill it in or remove the rows"))
    if faults:
        raise CohortError(faults)
    keys = table["participant_id"].map(subject_key)  # so that ``sub-01`` and ``01`` are one subject
    table["participant_id"] = keys.map(table["participant_id"].groupby(keys).first())
    columns = tuple(map(str, table.columns))
    if "contrast" not in table:
        is_said = contrasts is not None and len(contrasts) == 1
        table["contrast"] = contrasts[0] if contrasts and is_said else UNSAID_CONTRAST
    stated = table["space"] if "space" in table else pd.Series("", index=table.index)
    varying = _varying(table)
    scan_ids = table["participant_id"].copy()
    for name in varying:
        scan_ids += "_" + name + "-" + table[name].where(table[name] != "", "none")
    rows = pd.DataFrame(
        {
            "participant_id": table["participant_id"],
            "scan_id": scan_ids,
            "contrast": table["contrast"],
            "space": stated.where(stated != "", space),
            "path": [_locate(images.parent, path) for path in table["path"]],
        }
    )
    if label is not None and label in table:
        rows["label"] = table[label]
    faults = _path_faults(rows)
    chosen = choose_contrasts(contrasts, sorted(set(rows["contrast"])), images, advice)
    is_kept = rows["contrast"].isin(chosen)
    _check_columns(table[is_kept], images)
    kept = rows[is_kept].reset_index(drop=True)
    without = sorted(set(rows["participant_id"]) - set(kept["participant_id"]))
    found = "no map of any contrast asked for"
    faults += [Fault(one, found, ", ".join(chosen), SUPPLY, one) for one in without]
    # a scan with a path that is of no use is no scan
    useless = {fault.where for fault in faults}
    kept = kept[~kept["scan_id"].isin(useless)].reset_index(drop=True)
    of_scans = table[[name for name in columns if name not in FIXED]].assign(scan_id=scan_ids)
    return MapTable(
        kept,
        chosen,
        stat,
        _origin(kept["path"]),
        faults=faults,
        told_apart_by=tuple(varying),
        columns=columns,
        of_scans=of_scans.drop_duplicates("scan_id"),
    )


def _locate(folder: Path, path: str) -> str:
    """Put a path of a table below its folder, as it is written here.

    SPM's ``con_0001.nii,1`` is the file's first volume, which is the whole of a 3-D file; a table
    from Windows writes folders with backslashes, one from a Mac may take accents apart.
    """
    match = VOLUME.fullmatch(path)
    first = match["file"] if match and match["volume"] == "1" else path
    forms = (form(first) for form in (str, partial(normalize, "NFC"), partial(normalize, "NFD")))
    spellings = [written for form in forms for written in (form, form.replace("\\", "/"))]
    # names on the disk are UTF-8 also where the locale (C) is not
    spellings += [os.fsdecode(one.encode("utf-8", "surrogateescape")) for one in spellings]
    written = [os.path.join(folder, spelling) for spelling in dict.fromkeys((path, *spellings))]
    there = next((spelling for spelling in written if os.path.lexists(spelling)), None)
    return str(Path(there or os.path.join(folder, first)))


def _origin(paths: Iterable[str]) -> str:
    """Tell maps of fmnet's own making, ``synthetic``, by the data sets that they lie in."""
    folders = {folder for path in paths for folder in Path(path).parents[:MAX_ABOVE]}
    return next(filter(None, map(tree_origin, sorted(folders))), "")


def _path_faults(rows: pd.DataFrame) -> list[Fault]:
    """Name paths that can't be a map's, whatever is on the disk."""
    faults = []
    columns = (rows[name] for name in ("participant_id", "scan_id", "path"))
    for subject, scan_id, path in zip(*columns, strict=True):
        raw = path.encode("utf-8", "surrogateescape")
        longest = max(map(len, raw.split(b"/")))
        if longest > MAX_NAME or len(raw) > MAX_PATH:
            size = f"a name of {longest}" if longest > MAX_NAME else f"a path of {len(raw)}"
            found = f"{size} bytes ({path[:60]}...)"
            accepted = f"names of up to {MAX_NAME} bytes, paths of up to {MAX_PATH}"
        elif (match := VOLUME.fullmatch(path)) and not os.path.lexists(path):
            found = f"volume {match['volume']} of a file ({path})"
            accepted = "a 3-D map: the file, or SPM's ',1' behind its name"
        elif re.search(r"(^|/)[A-Za-z]:\\", path):
            found = f"a path of another machine, under Windows ({path})"
            accepted = "a path as it is here, for instance relative to the table"
        else:
            continue
        faults.append(Fault(scan_id, found, accepted, "correct the table", subject))
    return faults


def _check_columns(table: pd.DataFrame, images: Path) -> None:
    """Refuse a column that differs wherever the contrast does, since no scan would be whole."""
    if table.groupby("participant_id")["contrast"].nunique().max() < 2:
        return
    for name in _varying(table):
        if table.groupby(["participant_id", name])["contrast"].nunique().max() == 1:
            found = f"a column '{name}' that differs between the maps of each scan"
            action = f"remove '{name}' from the table, or give it one value per scan"
            raise _fault(images, found, "columns with one value for all maps of a scan", action)


def _varying(table: pd.DataFrame) -> list[str]:
    """Name the columns that differ within a person, and so tell scans apart."""
    names = [str(name) for name in table if name not in FIXED]
    ids = table["participant_id"]
    row_of = dict(zip(ids[::-1], range(len(ids))[::-1], strict=True))
    first = ids.map(row_of).to_numpy(dtype=int)
    values = {name: table[name].to_numpy(dtype=object) for name in names}
    return [name for name in names if (values[name] != values[name][first]).any()]


def _fault(path: Path, found: str, accepted: str, action: str) -> CohortError:
    return CohortError(Fault(str(path), found, accepted, action))
