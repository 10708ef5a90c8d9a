"""What a reader found on disk: scans, people and faults, before any image is opened."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd

from fmnet.data.covariates import number_faults
from fmnet.data.grid import Grid
from fmnet.data.maps import MapsOnGrid, StoredScan
from fmnet.data.scans import MapTable, Scan, group_scans
from fmnet.data.store import Recipe
from fmnet.data.tables import lines_of, normal_text, say_lines, subject_key, table_name
from fmnet.data.volume import MNI_SPACES
from fmnet.errors import Fault

#: What to do about people with faults: stop, or go on without them.
OnFault = Literal["raise", "exclude"]
#: A grid and the smallest fraction of it that must be covered, to how scans are put on it.
RecipeBuilder = Callable[[Grid, float], Recipe[Scan, StoredScan]]


@dataclass(frozen=True, eq=False)
class Labels:
    """Which column tells the groups apart and which of its values is the positive class."""

    column: str
    positive: str
    negative: str


@dataclass(frozen=True, eq=False)
class Listing:
    """Scans found by a reader, with everything that is wrong so far.

    Parameters
    ----------
    scans : tuple of Scan
        All complete scans, also those of people with faults.
    contrasts : tuple of str
        Name of each channel.
    stat : str
        What the voxel values are (``z``, ``t``, ``effect``, ...), their unit; ``n/a`` if not said.
    participants : DataFrame
        One row per person, text columns, ``participant_id`` among them; may have no other.
    labels : Labels
        What is predicted.
    faults : tuple of Fault
        Everything found so far; none is raised here so that all come in one report.
    origin : str
        ``synthetic`` for cohorts that fmnet made, else empty.
    on_fault : {"raise", "exclude"}
        Stop at faults, all of them in one report, or go on without the people concerned.
    recipe : callable
        See `RecipeBuilder`.
    made_by : dict or None
        How maps are computed from BOLD runs, in plain values; None if the scans are maps.
    """

    scans: tuple[Scan, ...]
    contrasts: tuple[str, ...]
    stat: str
    participants: pd.DataFrame
    labels: Labels
    faults: tuple[Fault, ...] = ()
    origin: str = ""
    on_fault: OnFault = "raise"
    recipe: RecipeBuilder = MapsOnGrid
    made_by: Mapping[str, Any] | None = None


def build_listing(
    maps: MapTable,
    participants: pd.DataFrame,
    column: str,
    positive: str | int,
    negative: str | int | None,
    on_fault: OnFault = "raise",
) -> Listing:
    """Put maps together to scans, give each its label, and collect all faults.

    Parameters
    ----------
    maps : MapTable
        One row per file.
    participants : DataFrame
        Text columns, ``participant_id`` among them.
    column, positive, negative
        Label column and its two values; `negative` may be None where there are only two.
    on_fault : {"raise", "exclude"}
        What opening the listing will do about people with faults.
    """
    column = normal_text(column)
    scans, faults = group_scans(maps)
    participants, unnamed = _named(participants)
    table = participants.drop_duplicates("participant_id")
    faults += unnamed + _person_faults(maps, participants)
    faults += number_faults(participants, (column,), is_of_all=False)
    if "label" not in maps.rows:
        by_person = dict(zip(table["participant_id"].map(subject_key), table[column], strict=True))
        scans = [
            replace(scan, label=by_person.get(subject_key(scan.participant_id), ""))
            for scan in scans
        ]
        known = [str(value) for value in table[column]]
    else:
        # of incomplete scans too: that they are is reported by itself
        known = [str(label) for label in maps.rows.drop_duplicates("scan_id")["label"]]
        faults += _contradictions(maps, table, column)
    positive = _as_written(positive, known)
    negative = None if negative is None else _as_written(negative, known)
    labels, label_faults = _choose_labels(known, column, positive, negative)
    named = {subject_key(person) for person in table["participant_id"]}
    judged = [scan for scan in scans if subject_key(scan.participant_id) in named]
    faults += label_faults + _label_faults(judged, labels) + _space_faults(scans)
    return Listing(
        tuple(scans),
        maps.contrasts,
        maps.stat,
        table,
        labels,
        (*maps.faults, *faults),
        maps.origin,
        on_fault,
    )


def _as_written(label: str | int, known: list[str]) -> str:
    """Write a label as the table does: 1 may be ``1.0`` there, and true ``TRUE``."""
    text = normal_text(str(label))
    alike = sorted({value for value in known if _plainest(value) == _plainest(text)})
    return alike[0] if text not in known and len(alike) == 1 else text


def _plainest(label: str) -> str:
    if label.casefold() in {"true", "false"}:
        return label.casefold()
    return re.sub(r"\.0*$", "", label) if re.fullmatch(r"-?\d+\.0*", label) else label


def _contradictions(maps: MapTable, participants: pd.DataFrame, column: str) -> list[Fault]:
    """Name people whose maps have another label than they have themselves."""
    if column not in participants:
        return []
    label_of = dict(
        zip(participants["participant_id"].map(subject_key), participants[column], strict=True)
    )
    faults = []
    for person, labels in maps.rows.groupby("participant_id")["label"]:
        own = label_of.get(subject_key(str(person)), "")
        stated = sorted(set(labels) - {""})
        if own and len(stated) == 1 and stated[0] != own:
            name = table_name(participants)
            found = f"label '{stated[0]}' in the table of maps and '{own}' in {name}"
            action = "correct one of them, or leave the person out"
            faults.append(Fault(str(person), found, "one label", action, str(person)))
    return faults


def _named(participants: pd.DataFrame) -> tuple[pd.DataFrame, list[Fault]]:
    """Leave out rows that name nobody, with a fault."""
    is_named = participants["participant_id"] != ""
    if is_named.all():
        return participants, []
    lines = lines_of(participants, participants.index[~is_named])
    fault = Fault(
        table_name(participants),
        f"no participant_id in {say_lines(lines) if lines else 'some rows'}",
        "a participant_id in every row",
        "fill it in or remove the rows",
    )
    return participants[is_named], [fault]


def _person_faults(maps: MapTable, participants: pd.DataFrame) -> list[Fault]:
    """People named twice in the table, people without a map, maps without a person."""
    rows_of: dict[str, list[Any]] = {}
    for row, person in participants["participant_id"].items():
        rows_of.setdefault(subject_key(person), []).append(row)
    named = {subject_key(person): str(person) for person in participants["participant_id"]}
    faults = [
        Fault(
            named[key],
            f"{len(rows)} rows in {table_name(participants)}{_places(participants, rows)}",
            "one row per person",
            "remove the rows that are wrong",
            named[key],
        )
        for key, rows in rows_of.items()
        if len(rows) > 1
    ]
    scanned = {subject_key(person): str(person) for person in maps.rows["participant_id"]}
    like = _alike([*named.items(), *((key, scanned[key]) for key in scanned if key not in named)])
    told = {subject_key(fault.participant_id) for fault in maps.faults if fault.participant_id}
    faults += [
        Fault(
            named[key],
            "no map",
            f"at least one scan per person in {table_name(participants)}",
            f"fetch the person's maps, or leave the person out{_ask_same(like, key)}",
            named[key],
        )
        for key in named
        if key not in scanned and key not in told
    ]
    faults += [
        Fault(
            person,
            f"maps but no row in {table_name(participants)}",
            "one row per person",
            f"add the person's row, or leave the person out{_ask_same(like, key)}",
            person,
        )
        for key, person in scanned.items()
        if key not in named
    ]
    return faults + [
        Fault(
            person,
            f"an id that differs from {', '.join(map(repr, like[key]))} in capitals alone",
            "one spelling of each person's id",
            "write it in one way, or give two people ids that differ in more than capitals",
            person,
        )
        for key, person in scanned.items()
        if key in named and any(subject_key(one).lower() == key.lower() for one in like[key])
    ]


def _alike(people: list[tuple[str, str]]) -> dict[str, list[str]]:
    """Find for each key the people with an id that differs in capitals or zeros alone."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for key, person in people:
        groups.setdefault(key.lower().lstrip("0"), []).append((key, person))
    return {
        key: [other for own, other in same if own != key]
        for same in groups.values()
        for key, _ in same
    }


def _ask_same(like: dict[str, list[str]], key: str) -> str:
    """Ask whether somebody is the same person as others of almost the same id."""
    if not like[key]:
        return ""
    return f"; is it {' or '.join(map(repr, like[key]))}? capitals and zeros of ids matter"


def _places(participants: pd.DataFrame, rows: list[Any]) -> str:
    lines = lines_of(participants, rows)
    return f" ({say_lines(lines)})" if lines else ""


def _choose_labels(
    known: list[str], column: str, positive: str, negative: str | None
) -> tuple[Labels, list[Fault]]:
    counts = Counter(value for value in known if value)
    found = ", ".join(f"'{value}' ({n})" for value, n in sorted(counts.items())) or "no value"
    others = sorted(value for value in counts if value != positive)
    if negative is None and len(others) == 1 and positive in counts:
        return Labels(column, positive, others[0]), []
    labels = Labels(column, positive, negative or "")
    where = f"label column '{column}'"
    if positive == negative:
        action = "correct cohort.positive or cohort.negative"
        return labels, [Fault(where, f"'{positive}' for both classes", "two values", action)]
    if positive not in counts or (negative is not None and negative not in counts):
        missing = positive if positive not in counts else negative
        action = f"'{missing}' doesn't occur: correct cohort.positive or cohort.negative"
        return labels, [Fault(where, found, "both classes present", action)]
    if negative is None and not others:
        action = "add people of a second group; there is nothing to tell apart in one class"
        return labels, [Fault(where, f"one class only: {found}", "two classes", action)]
    if negative is None:
        action = f"say which of them is compared with '{positive}': cohort.negative=VALUE"
        return labels, [Fault(where, found, "two classes", action)]
    return labels, []


def _label_faults(scans: list[Scan], labels: Labels) -> list[Fault]:
    accepted = [value for value in (labels.positive, labels.negative) if value]
    if len(accepted) < 2:
        accepted_text = f"a value in column '{labels.column}'"
        wrong = [scan for scan in scans if not scan.label]
    else:
        accepted_text = " or ".join(f"'{value}'" for value in accepted)
        wrong = [scan for scan in scans if scan.label not in accepted]
        if len(wrong) == len(scans):  # it is the choice of labels that is wrong, which is told
            wrong = [scan for scan in scans if not scan.label]
    return [
        Fault(
            scan.scan_id,
            f"label '{scan.label}'" if scan.label else f"no label in column '{labels.column}'",
            accepted_text,
            "fill in or correct the label, or leave the person out",
            scan.participant_id,
        )
        for scan in wrong
    ]


def _space_faults(scans: list[Scan]) -> list[Fault]:
    faults = [
        Fault(
            scan.scan_id,
            f"space '{scan.space}'",
            ", ".join(MNI_SPACES),
            "give maps normalised to MNI152, or correct the space stated for them",
            scan.participant_id,
        )
        for scan in scans
        if scan.space not in MNI_SPACES
    ]
    spaces = Counter(scan.space for scan in scans if scan.space in MNI_SPACES).most_common()
    action = "normalise all maps to the same template, or correct the space stated for them"
    if len(spaces) > 1 and spaces[0][1] == spaces[1][1]:  # nobody knows which are wrong
        found = ", ".join(f"'{space}' ({n})" for space, n in spaces)
        return [*faults, Fault("cohort", f"maps in several spaces: {found}", "one space", action)]
    return faults + [
        Fault(
            scan.scan_id,
            f"space '{scan.space}'",
            f"'{spaces[0][0]}', as for {spaces[0][1]} other scans",
            action,
            scan.participant_id,
        )
        for scan in scans
        if scan.space in MNI_SPACES and scan.space != spaces[0][0]
    ]
