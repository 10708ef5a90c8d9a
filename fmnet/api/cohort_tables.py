"""Write down people and images that were given in Python as the tables that cohorts are read from.

From there on everything is as for a user's own tables: the same readers, checks and messages.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fmnet.api.images import ImageFile, arrange, listed, on_disk
from fmnet.data.bids import describe
from fmnet.data.image_table import FIXED
from fmnet.data.listing import UNSAID_CONTRAST
from fmnet.data.tables import read_table_file, say_some, subject_key, write_table
from fmnet.data.values import name_stat
from fmnet.errors import CohortError, Fault, InputError

#: Entities of names, and columns, that tell scans of one person apart.
OF_SCANS = ("ses", "session", "task", "acq", "dir", "run")
#: Column by which people are kept together in folds.
FAMILY = "family"
#: What a positive group is called where fmnet is at home, and its usual opposite.
USUAL_POSITIVE, USUAL_NEGATIVE = "FM", "HC"


def write_tables(
    images: Any,
    folder: Path,
    y: Any = None,
    participants: Any = None,
    groups: Any = None,
    label: str = "group",
    contrasts: Sequence[str] | None = None,
) -> dict[str, str]:
    """Write ``images.tsv``, ``participants.tsv`` and images that are in memory.

    Parameters
    ----------
    images : list or DataFrame
        One scan, or row, each; see `fmnet.api.images.listed`.
    folder : Path
        Where tables and images go.
    y, groups : array-like, optional
        Label, and whom people are kept together with, of each scan (row of a DataFrame).
    participants : DataFrame or path, optional
        One row per person.
    label : str
        Column that `y` goes into.
    contrasts : sequence of str, optional
        Names of the maps of a scan, where file names don't state them.

    Returns
    -------
    dict of str
        Paths: ``images`` and ``participants``; ``stat`` where all names state one.

    Raises
    ------
    InputError
        If they don't fit together.
    """
    people = _people(participants)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(images, pd.DataFrame):
        table, of_row = _from_frame(images, folder), np.arange(len(images))
    else:
        scans = on_disk(listed(images), folder)
        table, of_row = _from_files(scans, people, contrasts)
    n = int(of_row.max()) + 1
    for column, values in ((label, y), (FAMILY, groups)):
        if values is not None:
            table[column] = _aligned(column, values, n)[of_row]
    if FAMILY in table:
        _check_families(table, people, groups is not None)
    if people is None:
        people = _of_people(table, label)
        of_scans = [one for one in table if one in {*FIXED, label} or one not in people]
        table = table[of_scans]
    elif FAMILY in table:
        if FAMILY not in people:
            known = dict(zip(table["participant_id"].map(subject_key), table[FAMILY], strict=True))
            ids = people["participant_id"].astype(str).map(subject_key)
            people[FAMILY] = ids.map(known).fillna("")
        table = table.drop(columns=FAMILY)
    paths = {"images": folder / "images.tsv", "participants": folder / "participants.tsv"}
    write_table(table, paths["images"])
    write_table(people, paths["participants"])
    found = {name: str(path.absolute()) for name, path in paths.items()}
    stats = {name_stat(Path(path)) for path in table["path"]}
    return found | ({"stat": stats.pop()} if len(stats) == 1 and "" not in stats else {})


def choose_labels(values: Iterable[Any], positive: Any = None) -> tuple[str, str | None]:
    """Say which group is the positive one, and which it is held against; None where there is one.

    Without `positive` it is ``FM``, or else the last of two groups in the order of their names, of
    numbers the larger one, as in scikit-learn.
    """
    found = sorted({str(one) for one in values} - {"", "n/a", "nan", "None"})
    with suppress(ValueError):
        found = sorted(found, key=float)
    if positive is None:
        positive = USUAL_POSITIVE if USUAL_POSITIVE in found or not found else found[-1]
        if positive != USUAL_POSITIVE and len(found) > 2:
            raise InputError(
                Fault(
                    "positive",
                    f"{len(found)} groups: {', '.join(found[:9])}",
                    "two groups, or the name of the one that scores speak for",
                    "set positive, and settings={'cohort.negative': NAME}; for numbers, name a "
                    "target: settings={'target': 'severity', 'target.column': NAME}",
                )
            )
    is_usual = USUAL_NEGATIVE in found and len(found) > 2 and str(positive) != USUAL_NEGATIVE
    return str(positive), USUAL_NEGATIVE if is_usual else None


def _check_families(table: pd.DataFrame, people: pd.DataFrame | None, is_given: bool) -> None:
    """Refuse families that folds couldn't keep: several of one person, or stated twice."""
    if is_given and people is not None and FAMILY in people:
        found = f"groups, and a column '{FAMILY}' of participants"
        raise InputError(Fault("groups", found, "one of them", "leave the other out"))
    keys = table["participant_id"].astype(str).map(subject_key)
    n_families = table.groupby(keys)[FAMILY].nunique(dropna=False)
    if several := list(n_families.index[n_families > 1]):
        found = f"different ones for scans of {say_some(several)}"
        accepted, action = "one for all scans of a person", "give each person one"
        raise InputError(Fault("groups" if is_given else FAMILY, found, accepted, action))


def _people(participants: Any) -> pd.DataFrame | None:
    if participants is None:
        return None
    if isinstance(participants, str | Path):
        return read_table_file(Path(participants), ("participant_id",))
    if not isinstance(participants, pd.DataFrame) or "participant_id" not in participants:
        found = "no column participant_id"
        if not isinstance(participants, pd.DataFrame):
            found = type(participants).__name__
        accepted = "a DataFrame, or a path of a table, with participant_id and one row per person"
        raise InputError(Fault("participants", found, accepted, "add or rename the column"))
    return participants.copy()


def _from_frame(images: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Take over a table of images, one row each, with absolute paths."""
    lacks = [name for name in ("participant_id", "path") if name not in images]
    if lacks or images.empty:
        found = f"a DataFrame without {' and '.join(lacks) or 'rows'}"
        accepted, action = "participant_id and path, one row per image", "add or rename the column"
        raise InputError(Fault("images", found, accepted, action))
    files = on_disk([(one,) for one in images["path"]], folder)
    return images.assign(path=[str(file.path.absolute()) for (file,) in files]).reset_index(
        drop=True
    )


def _from_files(
    scans: Sequence[tuple[ImageFile, ...]],
    people: pd.DataFrame | None,
    contrasts: Sequence[str] | None,
) -> tuple[pd.DataFrame, Any]:
    """Tabulate scans that were listed; ids, contrasts and sessions come from names that state them.

    Returns
    -------
    tuple
        One row per map, and the number of each row's scan.
    """
    if contrasts is not None:
        scans = [arrange(files, contrasts, files[0].name) for files in scans]
    named = [
        [describe(Path(one.name), Path(one.name).parent.parts) for one in files] for files in scans
    ]
    ids = [next((name.participant_id for name in own if name), "") for own in named]
    if not all(ids):
        stated = [one for one in ids if one]
        if stated and people is None:
            found = f"{len(ids) - len(stated)} of {len(ids)} scans whose names don't say whose"
            accepted = "names with sub-NAME, for all scans or for none"
            action = "give a DataFrame with participant_id and path"
            raise InputError(Fault("images", found, accepted, action))
        if people is not None and len(people) == len(scans) and not stated:
            ids = [str(one) for one in people["participant_id"]]
        elif people is not None:
            found = f"{len(scans)} scans whose names don't say whose, and {len(people)} people"
            accepted = "names with sub-NAME, or one scan per row of participants, in their order"
            action = "give a DataFrame with participant_id and path"
            raise InputError(Fault("images", found, accepted, action))
        else:
            width = max(3, len(str(len(scans))))
            ids = [f"sub-{number:0{width}d}" for number in range(1, len(scans) + 1)]
    rows, of_row = [], []
    for number, (files, names) in enumerate(zip(scans, named, strict=True)):
        for place, (file, name) in enumerate(zip(files, names, strict=True)):
            entities = name.entities if name else {}
            stated_name = entities.get("contrast", "")
            contrast = contrasts[place] if contrasts is not None else stated_name
            row = {"participant_id": ids[number], "path": str(file.path.absolute())}
            row |= {"contrast": contrast, "space": entities.get("space", "")}
            rows.append(row | {one: entities[one] for one in OF_SCANS if one in entities})
            of_row.append(number)
    table = pd.DataFrame(rows).fillna("")
    if len(table) > len(scans) and (table["contrast"] == "").any():
        found = "several maps of a scan whose names don't say which contrast each is"
        accepted = "their names, in the order of the maps of each scan"
        action = "say contrasts=[NAME, ...], or name the files contrast-NAME"
        raise InputError(Fault("contrasts", found, accepted, action))
    if (table["contrast"] == "").all():
        table["contrast"] = UNSAID_CONTRAST
    empty = [one for one in table if (table[one] == "").all()]
    return table.drop(columns=empty), np.array(of_row)


def _aligned(name: str, values: Any, n: int) -> Any:
    """Write values as text, one per scan: (N,)."""
    found = [str(one) for one in np.asarray(values).ravel()]
    if len(found) != n:
        accepted = "one for each scan (each row of a DataFrame), in the same order"
        raise InputError(Fault(name, f"{len(found)} values for {n} scans", accepted, "align them"))
    return np.array(found, dtype=object)


def _of_people(table: pd.DataFrame, label: str) -> pd.DataFrame:
    """Take out of a table of images what is said of people: columns with one value for each."""
    others = [str(one) for one in table if one not in {*FIXED, *OF_SCANS, label}]
    by_person = table.groupby("participant_id", sort=False)
    constant = [one for one in others if (by_person[one].nunique(dropna=False) == 1).all()]
    if constant:
        return by_person[constant].first().reset_index()
    return table[["participant_id"]].drop_duplicates().reset_index(drop=True)


def labels_of(tables: Iterable[Path], label: str) -> list[str]:
    """Read the labels that the first table with such a column holds; none without one."""
    for path in tables:
        with suppress(CohortError):  # who reads the cohort says what is wrong with a table
            table = read_table_file(path, ("participant_id",))
            if label in table:
                return list(table[label])
    return []
