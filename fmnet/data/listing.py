"""What a reader found on disk: scans, participants and faults, before any image is opened."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
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

    They are for a folder that isn't there (``root``); a choice of contrasts that is missing
    (``channels``) or names one that doesn't occur (``contrasts``); maps of several kinds, or none
    of the kind asked for (``stat, space, task, desc``); maps that aren't named the BIDS way
    (``naming``); runs of several tasks or sessions (``runs, sessions``); a sidecar of the raw data
    set that may help (``raw``); and files that differ in an entity that has no setting of its own
    (``entity``), with room for its ``name`` and a ``value``.
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


def check_label_column(label: str | None, taken: tuple[str, ...]) -> None:
    """Refuse a label column that means something else; None for no label is fine.

    Raises
    ------
    CohortError
        If it is one of those `taken`.
    """
    if label in taken:
        accepted = f"a column other than {', '.join(taken)}"
        action = "name the column that tells the groups apart, or copy it under another name"
        raise CohortError(Fault("cohort.label", f"'{label}'", accepted, action))


def check_has_label(columns: Iterable[str], label: str | None, source: Path) -> None:
    """Raise `CohortError` if a table of people lacks the label column, unless none is wanted."""
    names = [str(name) for name in columns]
    if label is not None and label not in names:
        found = f"columns {say_some(map(repr, names))}"
        accepted = f"a label column '{label}' (cohort.label)"
        action = f"set cohort.label to the column with the groups, or add or rename: '{label}'"
        raise CohortError(Fault(str(source), found, accepted, action))


@dataclass
class MapTable:
    """The maps that a reader found, one row per file.

    Columns of ``rows``: ``participant_id, scan_id, contrast, space, path`` and, where the label is
    a property of the map, ``label``; ``entities``, a dict, where they are read off file names.
    Columns of the user's table that make several scans of one subject are ``told_apart_by``.
    ``everyone`` names all subjects found, also those of whom no map was chosen; ``faults`` say why.
    ``columns`` are those of the user's table. ``of_scans`` is what is stated of each scan and not
    of the person: ``scan_id`` and text columns.
    """

    rows: pd.DataFrame
    contrasts: tuple[str, ...]
    stat: str = "n/a"
    origin: str = ""
    faults: list[Fault] = field(default_factory=list)
    told_apart_by: tuple[str, ...] = ()
    everyone: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    of_scans: pd.DataFrame | None = None


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
            accepted = "one map per subject (and session, run, task) and contrast"
            action = _repair(rows, maps.told_apart_by, is_double, advice)
            found = f"{found} (files: {paths})"
            faults.append(Fault(scan_id, found, accepted, action, participant_id))
            continue
        if len(spaces := sorted({str(row["space"]) for row in rows})) > 1:
            found = f"maps in several spaces: {', '.join(map(repr, spaces))}"
            action = "give all maps of the scan in the same space, or correct what is stated"
            faults.append(Fault(scan_id, found, "one space", action, participant_id))
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
        values: dict[str, list[str]] = {}
        for contrast in dict.fromkeys(row["contrast"] for row in rows):
            held = [row["entities"] for row in rows if row["contrast"] == contrast]
            for name in sorted({name for entities in held for name in entities}):
                if len(found := sorted({entities.get(name, "") for entities in held})) > 1:
                    values[name] = found
        if values:
            return "; ".join(
                f"{name} is {' or '.join(map(repr, found))}: {advice.choose(name, found[-1])}"
                for name, found in values.items()
            )
    action = (
        "remove the duplicate or name what tells the maps apart in a column or in the file name; "
        "supply or leave out a missing map"
    )
    if is_double or not told_apart_by:
        return action
    names = ", ".join(map(repr, told_apart_by))
    return f"{action}; columns that tell scans apart ({names}) need one value for all of its maps"


@dataclass(frozen=True, eq=False)
class Labels:
    """Which column tells the groups apart and which of its values is the positive class.

    All are empty where no two groups are told apart, but something else is predicted.
    """

    column: str
    positive: str
    negative: str

    @property
    def is_given(self) -> bool:
        """Whether two groups are told apart."""
        return bool(self.column)


#: Of a listing whose readers were asked for no groups.
NO_LABELS = Labels("", "", "")


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
        One row per subject, text columns, ``participant_id`` among them; may have no other.
    labels : Labels
        Which two groups are told apart, if any are.
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
    of_scans : DataFrame or None
        What is stated of each scan and not of the person: ``scan_id`` and text columns.
    outcome_columns : tuple of str
        Of the tables, which a target is read from; no covariates.
    passed_over : tuple of Fault
        Scans that aren't studied although nothing is wrong with them, by ``where``, and why.
    check : callable or None
        Names what those scans lack for the target that are left of the listing's.
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
    of_scans: pd.DataFrame | None = None
    outcome_columns: tuple[str, ...] = ()
    passed_over: tuple[Fault, ...] = ()
    check: Callable[[Sequence[Scan]], Sequence[Fault]] | None = None

    @property
    def studied(self) -> tuple[Scan, ...]:
        """The scans that aren't passed over."""
        over = {fault.where for fault in self.passed_over}
        return tuple(scan for scan in self.scans if scan.scan_id not in over)


def build_listing(
    maps: MapTable,
    participants: pd.DataFrame,
    column: str | None,
    positive: str | int | None,
    negative: str | int | None,
    on_fault: OnFault = "raise",
) -> Listing:
    """Put maps together to scans, give each its label, and collect all faults.

    `participants` has text columns, ``participant_id`` among them; `column` is the label's,
    `positive` and `negative` its two values; `negative` may be None where there are only two, and
    `column` where no groups are told apart.
    """
    scans, faults = group_scans(maps)
    is_named = participants["participant_id"] != ""
    if not is_named.all():
        lines = lines_of(participants, participants.index[~is_named])
        found = f"no participant_id in {say_lines(lines) if lines else 'some rows'}"
        accepted, action = "a participant_id in every row", "fill it in or remove the rows"
        faults.append(Fault(table_name(participants), found, accepted, action))
        participants = participants[is_named]
    table = participants.drop_duplicates("participant_id")
    faults += _subject_faults(maps, participants)
    named = set(table["participant_id"].map(subject_key))
    if column is None:
        faults = [*maps.faults, *faults, *number_faults(participants, is_of_all=False)]
        faults += _space_faults([one for one in scans if subject_key(one.participant_id) in named])
        held = (maps.contrasts, maps.stat, table, NO_LABELS, tuple(faults), maps.origin, on_fault)
        return Listing(tuple(scans), *held, of_scans=maps.of_scans)
    column = normal_text(column)
    faults += number_faults(participants, (column,), is_of_all=False)
    if "label" not in maps.rows:
        label_of = dict(zip(table["participant_id"].map(subject_key), table[column], strict=True))
        keys = [subject_key(scan.participant_id) for scan in scans]
        labelled = zip(scans, keys, strict=True)
        scans = [replace(scan, label=label_of.get(key, "")) for scan, key in labelled]
        known = [str(value) for value in table[column]]
    else:
        # of incomplete scans too: that they are is reported by itself
        known = [str(label) for label in maps.rows.drop_duplicates("scan_id")["label"]]
        faults += _contradictions(maps, table, column)
    positive = _as_written("" if positive is None else positive, known)
    negative = None if negative is None else _as_written(negative, known)
    labels, label_faults = _choose_labels(known, column, positive, negative)
    judged = [scan for scan in scans if subject_key(scan.participant_id) in named]
    faults += label_faults + _label_faults(judged, labels) + _space_faults(scans)
    faults = [*maps.faults, *faults]
    held = (maps.contrasts, maps.stat, table, labels, tuple(faults), maps.origin, on_fault)
    return Listing(tuple(scans), *held)


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
    keys = participants["participant_id"].map(subject_key)
    label_of = dict(zip(keys, participants[column], strict=True))
    faults = []
    for subject, labels in maps.rows.groupby("participant_id")["label"]:
        own = label_of.get(subject_key(str(subject)), "")
        stated = sorted(set(labels) - {""})
        if own and len(stated) == 1 and stated[0] != own:
            name = table_name(participants)
            found = f"label '{stated[0]}' in the table of maps and '{own}' in {name}"
            action = "correct one of them, or leave the person out"
            faults.append(Fault(str(subject), found, "one label", action, str(subject)))
    return faults


def _subject_faults(maps: MapTable, participants: pd.DataFrame) -> list[Fault]:
    """Name subjects with several rows, without a map or without a row."""
    keys = participants["participant_id"].map(subject_key)
    named = {subject_key(subject): str(subject) for subject in participants["participant_id"]}
    scanned = {subject_key(subject): str(subject) for subject in maps.rows["participant_id"]}
    told = {subject_key(fault.participant_id) for fault in maps.faults if fault.participant_id}
    like: dict[str, list[tuple[str, str]]] = defaultdict(list)  # but for capitals and zeros
    for key, subject in (named | scanned | named).items():  # as the table writes them, if it does
        like[key.lower().lstrip("0")].append((key, subject))

    def others(key: str) -> list[str]:
        return [one for other, one in like[key.lower().lstrip("0")] if other != key]

    def ask_same(key: str) -> str:
        names = " or ".join(map(repr, others(key)))
        return f"; is it {names}? capitals and zeros of ids matter" if names else ""

    faults, table, one_row = [], table_name(participants), "one row per person"
    for key, rows in keys.groupby(keys, sort=False):
        if len(rows) > 1:
            lines = lines_of(participants, rows.index)
            found = f"{len(rows)} rows in {table}{f' ({say_lines(lines)})' if lines else ''}"
            action, subject = "remove the rows that are wrong", named[str(key)]
            faults.append(Fault(subject, found, one_row, action, subject))
    for key in (key for key in named if key not in scanned and key not in told):
        accepted = f"at least one scan per person in {table}"
        action = f"fetch the person's maps, or leave the person out{ask_same(key)}"
        faults.append(Fault(named[key], "no map", accepted, action, named[key]))
    for key in (key for key in scanned if key not in named):
        found = f"maps but no row in {table}"
        action = f"add the person's row, or leave the person out{ask_same(key)}"
        faults.append(Fault(scanned[key], found, one_row, action, scanned[key]))
    for key in (key for key in scanned if key in named):
        alike, subject = others(key), scanned[key]
        if any(subject_key(one).lower() == key.lower() for one in alike):
            found = f"an id that differs from {', '.join(map(repr, alike))} in capitals alone"
            action = "write it in one way, or give two people ids that differ in more than capitals"
            accepted = "one spelling of each person's id"
            faults.append(Fault(subject, found, accepted, action, subject))
    return faults


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
    faults, action = [], "fill in or correct the label, or leave the person out"
    for scan in wrong:
        found = f"label '{scan.label}'" if scan.label else f"no label in column '{labels.column}'"
        faults.append(Fault(scan.scan_id, found, accepted_text, action, scan.participant_id))
    return faults


def _space_faults(scans: list[Scan]) -> list[Fault]:
    def faults_of(scans: list[Scan], accepted: str, action: str) -> list[Fault]:
        return [
            Fault(one.scan_id, f"space '{one.space}'", accepted, action, one.participant_id)
            for one in scans
        ]

    in_mni = [scan for scan in scans if scan.space in MNI_SPACES]
    others = [scan for scan in scans if scan.space not in MNI_SPACES]
    action = "give maps normalised to MNI152, or correct the space stated for them"
    faults = faults_of(others, ", ".join(MNI_SPACES), action)
    spaces = Counter(scan.space for scan in in_mni).most_common()
    action = "normalise all maps to the same template, or correct the space stated for them"
    if len(spaces) > 1 and spaces[0][1] == spaces[1][1]:  # nobody knows which are wrong
        found = ", ".join(f"'{space}' ({n})" for space, n in spaces)
        return [*faults, Fault("cohort", f"maps in several spaces: {found}", "one space", action)]
    differing = [scan for scan in in_mni if scan.space != spaces[0][0]]
    usual = f"'{spaces[0][0]}', as for {spaces[0][1]} other scans" if spaces else ""
    return faults + faults_of(differing, usual, action)
