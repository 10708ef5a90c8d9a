"""What a reader found on disk: scans, participants and faults, before any image is opened."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from fmnet.data.covariates import number_faults
from fmnet.data.grid import Grid
from fmnet.data.scans import MapsOnGrid, Scan, StoredScan
from fmnet.data.store import Recipe
from fmnet.data.tables import lines_of, normal_text, say_lines, say_some, subject_key, table_name
from fmnet.data.volume import MNI_SPACES
from fmnet.errors import CohortError, Fault

#: What stands for a value that a name doesn't state.
UNSAID = "n/a"
#: What stands for any value: maps are read whatever they state.
ANY = "any"
#: The contrast of maps whose contrast nobody states.
UNSAID_CONTRAST = "map"
#: What to do about people with faults: stop, or go on without them.
OnFault = Literal["raise", "exclude"]
#: A grid and the smallest fraction of it that must be covered, to how scans are put on it.
RecipeBuilder = Callable[[Grid, float], Recipe[Scan, StoredScan]]


@dataclass(frozen=True)
class Advice:
    """The last part of a reader's messages; by default in the words of training's settings.

    Parameters
    ----------
    root : str
        Where the folder isn't there.
    channels, contrasts : str
        Where a choice of contrasts is missing, or names one that doesn't occur.
    stat, space, task, desc : str
        Where maps of several kinds are found, or none of the kind asked for.
    naming : str
        Where no map is named the BIDS way.
    runs, sessions : str
        Where runs of several tasks or sessions are found, or none of those asked for.
    raw : str
        Where a sidecar in the raw data set may help.
    entity : str
        Where files differ in an entity that has no setting of its own; with places for the
        entity's ``name`` and a ``value``.
    """

    root: str = "correct cohort.root"
    channels: str = "say which become channels: cohort.contrasts=[...]"
    contrasts: str = "choose among the contrasts that are there (cohort.contrasts)"
    stat: str = "choose one with cohort.stat"
    space: str = "say which to read: cohort.space=NAME"
    task: str = "choose among them (cohort.task)"
    desc: str = "choose one with cohort.desc='NAME'"
    naming: str = "rename the maps the BIDS way, or list them in a table and use cohort=table"
    runs: str = "say which task to read: cohort.task=NAME"
    sessions: str = "say which to read: cohort.sessions=[NAME,...]"
    raw: str = "name the raw data set whose sidecars state it: cohort.raw=FOLDER"
    entity: str = "choose with 'cohort.entities={{{name}: {value}}}'"

    def choose(self, entity: str, value: str) -> str:
        """Say how maps are chosen by an entity of their names."""
        own = {"stat": self.stat, "space": self.space, "task": self.task, "desc": self.desc}
        return own.get(entity) or self.entity.format(name=entity, value=value or UNSAID)

    def choose_any(self, entity: str) -> str:
        """Say how maps are read whatever their names say of an entity."""
        return self.entity.format(name=entity, value=ANY)


#: For the readers of cohorts.
SETTINGS = Advice()


def choose_contrasts(
    asked: list[str] | None, names: list[str], source: Path, advice: Advice
) -> tuple[str, ...]:
    """Check the contrasts asked for; all of them, sorted as found, if none was.

    Raises
    ------
    CohortError
        If one is asked for twice or does not occur.
    """
    asked = None if asked is None else [normal_text(name) for name in asked]
    if twice := [name for name, count in Counter(asked or ()).items() if count > 1]:
        found = f"contrast {', '.join(twice)} asked for more than once"
        raise CohortError(Fault(str(source), found, "each contrast once", advice.contrasts))
    if absent := [name for name in asked or () if name not in names]:
        found = f"no map of contrast {', '.join(absent)}"
        raise CohortError(Fault(str(source), found, ", ".join(names), advice.contrasts))
    return tuple(asked or names)


def check_label_column(label: str, taken: tuple[str, ...]) -> None:
    """Refuse a label column that means something else.

    Raises
    ------
    CohortError
        If it is one of those `taken`.
    """
    if label in taken:
        accepted = f"a column other than {', '.join(taken)}"
        action = "name the column that tells the groups apart, or copy it under another name"
        raise CohortError(Fault("cohort.label", f"'{label}'", accepted, action))


def check_has_label(columns: Iterable[str], label: str, source: Path) -> None:
    """Raise `CohortError` if a table of people lacks the label column."""
    names = [str(name) for name in columns]
    if label not in names:
        found = f"columns {say_some(map(repr, names))}"
        accepted = f"a label column '{label}' (cohort.label)"
        action = f"set cohort.label to the column with the groups, or add or rename: '{label}'"
        raise CohortError(Fault(str(source), found, accepted, action))


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
