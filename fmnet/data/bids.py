"""Read a BIDS derivatives tree of maps: names, entities, and which maps make up a cohort."""

import os
import re
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from fmnet.data.files import read_json
from fmnet.data.image_files import SUFFIXES
from fmnet.data.listing import (
    ANY,
    SETTINGS,
    UNSAID,
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
from fmnet.data.tables import normal_text, read_table_file, say_some, subject_key
from fmnet.data.values import same_stat
from fmnet.errors import CohortError, Fault, VolumeError

#: Images that fmnet doesn't read, named where somebody has no others.
OTHER_FORMATS = (".gii", ".mgz", ".mgh", ".brik", ".brik.gz", ".mnc", ".nii.bz2", ".nii.zst")
#: Folders below one another, links within links, and folders and links met once more by another
#: way, which no data set has and a tree of links without end does.
MAX_DEPTH, MAX_LINKS, MAX_AGAIN = 64, 4, 5_000
#: Where BIDS keeps what a data set was made from: its subjects are none of this one.
SOURCES = "sourcedata"
#: The name of a folder that states entities: ``sub-01``, ``sub-01_ses-1``, ``node-runLevel``.
FOLDER = re.compile(r"[A-Za-z]+-[^_.]+(_[A-Za-z]+-[^_.]+)*")
READABLE = "a folder that can be searched"
SYNTHETIC_MARK = "fmnet synthetic cohort"
#: What maps are called, after their entities.
STATMAP = "statmap"
ACCEPTED = "sub-*/func/sub-*_contrast-<name>_stat-<z|t|effect>_statmap.nii.gz"
#: Entities that tell one scan of a subject from another, in the order of their ids.
SCAN_ENTITIES = ("ses", "task", "acq", "dir", "run")
#: Those of them that the maps of a higher level lack: one map over all runs, or all sessions.
SUMMED_OVER = ("ses", "task", "dir", "run")
#: Entities of which a study reads one value throughout, unless told otherwise.
LEVEL_ENTITIES = ("node", "level", "model")
#: Entities that say in which form a map is, and so whether those of two subjects can be compared.
FORM_ENTITIES = ("res", "den", "desc", "rec", "echo", "part", "hemi", "fwhm", "smooth")
#: How many files of somebody are named in a message.
MAX_NAMED = 5


@dataclass(frozen=True)
class BidsName:
    """An image as its name, and the folders that it lies in, describe it.

    Of a pair, ``path`` is that of its ``.img``. Keys of ``entities`` are in small letters, in the
    order of the name, then of the folders; a name wins over a folder. ``suffix`` and ``extension``
    (``statmap``, ``.nii.gz``) are in small letters. ``folder_sub`` says in whose folder it lies,
    without ``sub-``; empty if in nobody's.
    """

    path: Path
    entities: dict[str, str]
    suffix: str
    extension: str
    folder_sub: str = ""

    @property
    def participant_id(self) -> str:
        """Whose it is, with ``sub-``; empty if nobody's."""
        sub = self.entities.get("sub", "")
        return f"sub-{sub}" if sub else ""


@dataclass(frozen=True)
class BidsTree:
    """What a search of a folder found.

    ``images`` are all that fmnet can read, by their names, also those that belong to nobody;
    ``others`` are of formats that it can't read. ``folders`` are all subjects with a folder of
    their own, with ``sub-``, sorted; ``faults`` name folders that could not be searched.
    """

    root: Path
    images: tuple[BidsName, ...]
    others: tuple[BidsName, ...]
    folders: tuple[str, ...]
    faults: tuple[Fault, ...]

    @cached_property
    def subjects(self) -> dict[str, tuple[str, ...]]:
        """Everyone with a folder or an image, sorted, and the names of the images."""
        found: dict[str, list[str]] = {subject: [] for subject in self.folders}
        for image in (*self.images, *self.others):
            if image.participant_id:
                found.setdefault(image.participant_id, []).append(image.path.name)
        return {subject: tuple(names) for subject, names in sorted(found.items())}


def read_tree(root: Path, only_subjects: bool = False) -> BidsTree:
    """Search a folder and all folders in it, also linked ones, for images; open none of them.

    What begins with a dot is passed over: tools keep unfinished copies there. With `only_subjects`,
    only `root` itself and the folders ``sub-*`` in it are searched.
    """
    images: list[BidsName] = []
    others: list[BidsName] = []
    faults: list[Fault] = []
    top = os.path.basename(os.path.realpath(root))
    subjects = {_subject_of((top,))}
    known: set[tuple[str, str, str]] = set()
    for folder, names, files in _walk(root, only_subjects, faults):
        is_source = SOURCES in folder.parts
        if not is_source:
            subjects |= {
                _subject_of((*folder.parts, name)) for name in names if "sub" in _entities(name)
            }
        there = {path.lower() for path in files}
        for path in files:
            partner = re.sub(r"\.hdr(\.gz)?$", r".img\1", path.lower())
            if partner != path.lower() and partner in there:
                continue  # the header of a pair
            image = describe(Path(path), (top, *folder.parts))
            if image is None or (is_source and image.suffix != "statmap"):
                continue
            identity = (folder.real, image.path.name, image.participant_id)
            if identity not in known:  # or else the same file by way of a link
                (images if image.extension in SUFFIXES else others).append(image)
            known.add(identity)
    return BidsTree(
        root,
        tuple(sorted(images, key=lambda name: str(name.path))),
        tuple(sorted(others, key=lambda name: str(name.path))),
        tuple(sorted(subjects - {""})),
        tuple(faults),
    )


class _Folder(NamedTuple):
    """A folder by name and in truth, its names below root, and where links on the way lie."""

    path: str
    real: str
    parts: tuple[str, ...]
    links: tuple[str, ...]


def _walk(
    root: Path, only_subjects: bool, faults: list[Fault]
) -> Iterator[tuple[_Folder, list[str], list[str]]]:
    """Go through all folders; give each with all names in it, and its files."""
    seen: set[str] = set()
    n_again = 0
    waiting = deque([_Folder(str(root), os.path.realpath(root), (), ())])
    while waiting:
        folder = waiting.pop()
        is_again = folder.real in seen
        seen.add(folder.real)
        try:
            with os.scandir(folder.path) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            faults.append(_unsearched(folder, error.strerror or str(error)))
            continue
        n_again += is_again * (1 + sum(entry.is_symlink() for entry in entries))
        if n_again > MAX_AGAIN:
            found = f"links that lead to the same folders more than {MAX_AGAIN:,} times"
            action = "remove the links that lead in circles, or name a folder further down"
            faults[:] = [Fault(str(root), found, READABLE, action)]
            return
        files = []
        entries = [entry for entry in entries if not entry.name.startswith(".")]
        for entry in entries:
            inside = _enter(folder, entry)
            if inside is None:
                files.append(entry.path)
            elif entry.is_symlink() and any(
                f"{link}{os.sep}".startswith(inside.real.rstrip(os.sep) + os.sep)
                for link in inside.links
            ):
                pass  # it leads in a circle: what it leads to is being searched
            elif len(inside.parts) > MAX_DEPTH or len(inside.links) > MAX_LINKS:
                found = f"folders more than {MAX_DEPTH} deep, or {MAX_LINKS} links in one another"
                faults.append(_unsearched(inside, found))
            elif not only_subjects or folder.parts or "sub" in _entities(entry.name):
                # links last, so that a file is known by its own folder
                (waiting.appendleft if entry.is_symlink() else waiting.append)(inside)
        yield folder, [entry.name for entry in entries], files


def _enter(folder: _Folder, entry: os.DirEntry[str]) -> _Folder | None:
    """Name the folder that an entry is or leads to; None of files."""
    try:
        if not entry.is_dir():
            return None
    except OSError:  # a link to itself
        return None
    parts = (*folder.parts, entry.name)
    if not entry.is_symlink():
        return _Folder(entry.path, os.path.join(folder.real, entry.name), parts, folder.links)
    return _Folder(entry.path, os.path.realpath(entry.path), parts, (*folder.links, folder.real))


def describe(path: Path, folders: Iterable[str] = ()) -> BidsName | None:
    """Read what an image's name says, and the names of the folders it lies in; None of others."""
    lower = path.name.lower()
    endings = [end for end in (*SUFFIXES, *OTHER_FORMATS) if lower.endswith(end)]
    if not endings:
        return None
    extension = max(endings, key=len)
    *parts, suffix = path.name[: -len(extension)].split("_")
    entities = read_entities(parts)
    of_folders: dict[str, str] = {}
    for folder in folders:
        of_folders |= _entities(folder)
    folder_sub = of_folders.get("sub", "")
    return BidsName(path, {**of_folders, **entities}, suffix.lower(), extension, folder_sub)


def read_entities(parts: Iterable[str]) -> dict[str, str]:
    """Read the entities of a name that was split at its underscores, ``sub-01`` and so on."""
    pairs = (part.partition("-") for part in parts)
    return {
        key.lower(): normal_text(value) for key, _, value in pairs if key and normal_text(value)
    }


def _entities(folder: str) -> dict[str, str]:
    """Read the entities that a folder's name states; none of an ordinary name."""
    return read_entities(folder.split("_")) if FOLDER.fullmatch(folder) else {}


def _subject_of(parts: Iterable[str]) -> str:
    """Name whose folder a place lies in; empty if in nobody's."""
    named = [found["sub"] for part in parts if "sub" in (found := _entities(part))]
    return f"sub-{named[-1]}" if named else ""


def _unsearched(folder: _Folder, reason: str) -> Fault:
    found = f"a folder that can't be searched ({reason})"
    action = "ask its owner for permission, repair it, or move it out of the data set"
    return Fault(folder.path, found, READABLE, action, _subject_of(folder.parts))


def read_bids(
    root: str | Path,
    contrasts: list[str] | None = None,
    stat: str | None = None,
    space: str | None = None,
    task: str | None = None,
    desc: str | None = None,
    participants: str | Path | None = None,
    label: str | None = "group",
    positive: str | int | None = "FM",
    negative: str | int | None = "HC",
    on_fault: OnFault = "raise",
    entities: Mapping[str, str | int] | None = None,
) -> Listing:
    """List the statistic maps of a BIDS-derivatives tree, with every fault.

    Parameters
    ----------
    root : Path
        The derivatives folder; files are ``sub-*/[ses-*/][func/]*_contrast-<c>_stat-<s>_statmap``
        with any ending of images, ``.nii``, ``.nii.gz`` or the pair ``.img`` and ``.hdr``.
    contrasts : list of str, optional
        Contrasts that become the channels, in this order; may be left out where there is only one.
    stat, space, task, desc : str, optional
        Which maps to read where there are several kinds; `stat` defaults to ``z`` if present.
    participants : Path, optional
        Table of participants; else ``participants.tsv`` in `root` or up to two folders above.
    label, positive, negative
        Column to predict and its two values; `negative` may be None where there are only two, and
        `label` where no groups are told apart but a target is predicted, whose columns may also be
        in ``sub-*/sub-*_sessions.tsv``.
    on_fault : {"raise", "exclude"}
        Stop at faults, all of them in one report, or go on without the people concerned.
    entities : dict, optional
        Which maps to read by further entities of names or folders,
        ``{node: subjectLevel, res: 2}``; ``n/a`` for those that don't state one, ``any`` for all.

    Raises
    ------
    CohortError
        If there is no tree, no map or no participants table to begin with.
    """
    label = None if label is None else normal_text(label)
    check_label_column(label, ("participant_id",))
    root = Path(root)
    maps = find_maps(root, contrasts, stat, space, task, desc, entities=entities)
    table = Path(participants) if participants else find_participants(root)
    meant = {} if label is None else {label: [str(positive), str(negative)]}
    subjects = read_table_file(table, ("participant_id",), meant)
    check_has_label(subjects.columns, label, table)
    if label is None:
        maps = with_sessions(maps, [root, *root.resolve().parents[:2], table.parent])
    return build_listing(maps, subjects, label, positive, negative, on_fault)


def find_maps(
    root: Path,
    contrasts: list[str] | None = None,
    stat: str | None = None,
    space: str | None = None,
    task: str | None = None,
    desc: str | None = None,
    entities: Mapping[str, str | int] | None = None,
    advice: Advice = SETTINGS,
) -> MapTable:
    """Find the maps of a BIDS-derivatives tree and choose contrasts and statistic.

    Everyone with a folder or an image but without a map that was chosen has a fault.
    """
    _check_folder(root, advice)
    tree = read_tree(root)
    wanted = {"space": space, "task": task, "desc": desc} | dict(entities or {})
    maps = choose_maps(tree, contrasts, stat, wanted, advice)
    _check_one_form(maps.rows, root, wanted, advice)
    present = maps.rows["participant_id"]
    accepted = f"{', '.join(maps.contrasts)} ({maps.stat}): {ACCEPTED}"
    maps.faults += absent_faults(tree.subjects, present, "no map", accepted, maps.faults)
    return maps


def choose_maps(
    tree: BidsTree,
    contrasts: list[str] | None,
    stat: str | None,
    entities: Mapping[str, str | int | None],
    advice: Advice,
    preferred_space: str | None = None,
    is_unsaid_accepted: bool = False,
) -> MapTable:
    """Choose among the maps of a tree; raise `CohortError` if there is none, or a choice to make.

    Parameters
    ----------
    contrasts, stat
        What is wanted; where None, all contrasts if there is one, and z if it is there.
    entities : dict
        What else names have to state; None for an entity of which nothing is asked, ``any`` for
        one that may differ from map to map.
    preferred_space : str, optional
        Of a map that is there in several spaces, the one in this is taken.
    is_unsaid_accepted : bool
        Whether a map whose name states no contrast or statistic is taken for the one wanted, if
        nobody has another that states it.
    """
    root = tree.root
    rows, faults = _list_maps(tree)
    if rows.empty:
        raise CohortError([no_maps(tree, advice), *faults])
    for name, value in entities.items():
        if value is not None and value != ANY:
            rows = _keep(rows, name.lower(), str(value), root, advice)
    stat = stat or _default_stat(rows, root, advice)
    if is_unsaid_accepted:  # taken for the one wanted, unless their scan has it stated
        is_stated = rows["stat"].map(lambda said: same_stat(said, stat))
        has_stated = is_stated.groupby([rows["scan_id"], rows["contrast"]]).transform("any")
        said_or_wanted = rows["stat"].mask(~has_stated & (rows["stat"] == UNSAID), stat)
        rows = rows.assign(stat=said_or_wanted)
    rows = _keep(rows, "stat", stat, root, advice)
    names = sorted(set(rows["contrast"]))
    if contrasts is not None and len(contrasts) == 1 and is_unsaid_accepted:
        rows = rows.assign(contrast=rows["contrast"].replace(UNSAID_CONTRAST, contrasts[0]))
        names = sorted(set(rows["contrast"]))
    if contrasts is None and len(names) > 1:
        found = f"contrasts {', '.join(names)}"
        raise _fault(root, found, "one contrast, or a choice", advice.channels)
    chosen = choose_contrasts(contrasts, names, root, advice)
    rows = rows[rows["contrast"].isin(chosen)]
    is_preferred = rows["space"] == preferred_space
    has_preferred = is_preferred.groupby([rows["scan_id"], rows["contrast"]]).transform("any")
    rows = rows[is_preferred | ~has_preferred]
    if (rows.groupby(["scan_id", "contrast"])["space"].nunique() > 1).any():
        found = ", ".join(f"'{name}' ({n})" for name, n in sorted(Counter(rows["space"]).items()))
        raise _fault(root, f"the same maps in several spaces: {found}", "one space", advice.space)
    _check_one_level(rows, root, advice)
    mixed = _mixed_faults(rows, advice)
    rows = rows[~rows["participant_id"].isin([fault.participant_id for fault in mixed])]
    _check_summed_alike(rows, root, entities, advice)
    rows, faults = rows.reset_index(drop=True), [*faults, *mixed]
    return MapTable(rows, chosen, stat, tree_origin(root), faults, everyone=tuple(tree.subjects))


def absent_faults(
    subjects: Mapping[str, Collection[str]],
    present: Iterable[str],
    found: str,
    accepted: str,
    told: Iterable[Fault] = (),
    action: str = "supply the person's maps, or leave the person out",
) -> list[Fault]:
    """Name all subjects without an image that was chosen, and what images each has instead.

    `subjects` holds the names of everyone's images, `present` those who have one that was chosen;
    whom a fault in `told` is about needs no further one.
    """
    known = {subject_key(subject) for subject in present}
    known |= {subject_key(fault.participant_id) for fault in told if fault.participant_id}
    return [
        Fault(subject, f"{found}{say_instead(names)}", accepted, action, subject)
        for subject, names in subjects.items()
        if subject_key(subject) not in known
    ]


def say_instead(names: Collection[str]) -> str:
    """Name images that there are instead, to follow what there is none of; empty if none."""
    listed = sorted(names)
    more = f" and {len(listed) - MAX_NAMED} more" if len(listed) > MAX_NAMED else ""
    return f", but {', '.join(listed[:MAX_NAMED])}{more}" if listed else ""


def _check_folder(root: Path, advice: Advice) -> None:
    accepted = "a BIDS-derivatives folder"
    try:
        is_folder = root.is_dir()
    except OSError as error:
        found = error.strerror or str(error)
        action = f"{advice.root}, or the permissions of the folders above it"
        raise _fault(root, found, accepted, action) from error
    if not is_folder:
        raise _fault(root, "no such folder", accepted, advice.root)


def _list_maps(tree: BidsTree) -> tuple[pd.DataFrame, list[Fault]]:
    """List maps with their entities; repeated scans of a subject get ids of their own."""
    rows, faults = [], list(tree.faults)
    for image in tree.images:
        subject, entities = image.participant_id, image.entities
        if image.suffix != STATMAP or not subject:
            continue
        if image.folder_sub and subject_key(entities["sub"]) != subject_key(image.folder_sub):
            owner = f"sub-{image.folder_sub}"
            found = f"a map named {subject} in the folder of {owner}"
            action = "find out whose map it is, and correct its name or its place"
            accepted = "maps in their own person's folder"
            faults.append(Fault(str(image.path), found, accepted, action, owner))
            continue
        parts = [f"{key}-{entities[key]}" for key in ("sub", *SCAN_ENTITIES) if key in entities]
        rows.append(
            {
                "participant_id": subject,
                "scan_id": "_".join(parts),
                "contrast": entities.get("contrast", UNSAID_CONTRAST),
                "stat": entities.get("stat", UNSAID),
                "space": entities.get("space", "MNI152"),
                "path": str(image.path),
                "entities": entities,
            }
        )
    return pd.DataFrame(rows), faults


def _values(rows: pd.DataFrame, entity: str) -> pd.Series:
    """Read an entity off each map's name; empty where it isn't stated."""
    if entity in {"contrast", "stat", "space"}:
        return rows[entity]
    return rows["entities"].map(lambda entities: entities.get(entity, ""))


def _keep(rows: pd.DataFrame, entity: str, wanted: str, root: Path, advice: Advice) -> pd.DataFrame:
    """Keep the maps that state a value, or none of an entity if so wanted."""
    wanted = normal_text(wanted.removeprefix(f"{entity}-"))
    values = _values(rows, entity)
    is_it = same_stat if entity == "stat" else is_same
    kept = rows[values.map(lambda value: is_it(value, wanted)).astype(bool)]
    if kept.empty:
        found = ", ".join(f"{value or UNSAID} ({n})" for value, n in Counter(values).items())
        found_nothing = f"no map with {entity} '{wanted}'"
        usual = Counter(values).most_common(1)[0][0]
        raise _fault(root, found_nothing, found, advice.choose(entity, usual))
    return kept


def is_same(value: str, wanted: str) -> bool:
    """Compare an entity with what is wanted; ``01`` of a name is 1 in a settings file."""
    if value.isdecimal() and wanted.isdecimal():
        return int(value) == int(wanted)
    return value.lower() == wanted.lower() or (not value and wanted == UNSAID)


def _check_one_level(rows: pd.DataFrame, root: Path, advice: Advice) -> None:
    """Refuse a tree with maps of several levels or models, of which none was chosen."""
    faults = []
    for entity in LEVEL_ENTITIES:
        values = _values(rows, entity)
        if values.nunique() > 1:
            found = ", ".join(
                f"'{value or UNSAID}' ({len(own)} maps, as {Path(own.iloc[0]).name})"
                for value, own in rows["path"].groupby(values)
            )
            last = max(values)
            action = advice.choose(entity, last)
            faults.append(Fault(str(root), f"maps of several {entity}s: {found}", "one", action))
    if faults:
        raise CohortError(faults)


def _mixed_faults(rows: pd.DataFrame, advice: Advice) -> list[Fault]:
    """Name subjects of whom there are maps of single runs or sessions and maps over all of them."""
    faults = []
    for subject, own in rows.groupby("participant_id"):
        for entity in SUMMED_OVER:
            values = _values(own, entity)
            per_contrast = (values == "").groupby(own["contrast"])
            if not (per_contrast.transform("any") & ~per_contrast.transform("all")).any():
                continue
            over = [Path(path).name for path in own["path"][values == ""]]
            of_one = [Path(path).name for path in own["path"][values != ""]]
            stated = f"{entity} {', '.join(sorted(set(values) - {''}))}"
            found = (
                f"maps of several levels: without {entity} ({', '.join(over[:MAX_NAMED])}) and "
                f"with {stated} ({', '.join(of_one[:MAX_NAMED])})"
            )
            action = f"{advice.choose(entity, UNSAID)}, which reads those without"
            faults.append(Fault(str(subject), found, "one level", action, str(subject)))
            break
    return faults


def _check_summed_alike(
    rows: pd.DataFrame, root: Path, entities: Mapping[str, object], advice: Advice
) -> None:
    """Refuse maps of single runs of some subjects next to maps over all runs of others."""
    for entity in SUMMED_OVER:
        if entities.get(entity) == ANY:
            continue
        values = _values(rows, entity)
        maps = [rows["participant_id"], rows["contrast"]]
        n_parts = values.where(values != "").groupby(maps).transform("nunique")
        if (n_parts > 1).any() and (values == "").any():
            over, of_one = (rows[chosen] for chosen in (values == "", values != ""))
            found = (
                f"maps of several levels: without {entity} of {_say_subjects(over)}, and several "
                f"with {entity} of {_say_subjects(of_one)}"
            )
            action = (
                f"{advice.choose(entity, UNSAID)}, which reads those without; if all are of one "
                f"level, {advice.choose_any(entity)}"
            )
            raise _fault(root, found, "one level", action)


def _check_one_form(
    rows: pd.DataFrame, root: Path, entities: Mapping[str, object], advice: Advice
) -> None:
    """Refuse subjects whose maps are in one form next to those with maps in another."""
    faults = []
    for entity in FORM_ENTITIES:
        values = _values(rows, entity)
        if entities.get(entity) == ANY or values.nunique() < 2:
            continue
        # those with maps of several forms have a fault of their own
        is_one = values.groupby(rows["participant_id"]).transform("nunique") == 1
        if values[is_one].nunique() > 1:
            found = ", ".join(
                f"'{value or UNSAID}' of {_say_subjects(own)}"
                for value, own in rows[is_one].groupby(values[is_one])
            )
            usual = Counter(values).most_common(1)[0][0]
            action = (
                f"{advice.choose(entity, usual)}; if all can be compared, "
                f"{advice.choose_any(entity)}"
            )
            faults.append(
                Fault(str(root), f"{entity} that differs between people: {found}", "one", action)
            )
    if faults:
        raise CohortError(faults)


def _say_subjects(rows: pd.DataFrame) -> str:
    return say_some(sorted(set(rows["participant_id"])), MAX_NAMED)


def _default_stat(rows: pd.DataFrame, root: Path, advice: Advice) -> str:
    stats = sorted(set(rows["stat"]))
    if len(stats) > 1 and "z" not in stats:
        raise _fault(root, f"statistics {', '.join(stats)}", "one", advice.stat)
    return "z" if "z" in stats else stats[0]


def find_participants(root: Path) -> Path:
    """Find ``participants.tsv`` in a tree or up to two folders above; raise `CohortError`."""
    tables = [folder / "participants.tsv" for folder in (root, *root.resolve().parents[:2])]
    for table in tables:
        if table.exists() or table.is_symlink():
            return table
    looked = ", ".join(map(str, tables))
    raise _fault(
        root,
        f"no participants.tsv (looked for {looked})",
        "a table with participant_id and the label column",
        "put it there or name it: cohort.participants=FILE",
    )


def with_sessions(maps: MapTable, folders: Sequence[Path]) -> MapTable:
    """Add what ``sub-*/sub-*_sessions.tsv`` in any of some data sets says of each scan's session.

    A table that can't be read is a fault of its person.
    """
    rows, faults = list[dict[str, str]](), list(maps.faults)
    for subject, of_subject in maps.rows.groupby("participant_id", sort=True):
        name = f"{subject}/{subject}_sessions.tsv"
        path = next((folder / name for folder in folders if (folder / name).exists()), None)
        if path is None:
            continue
        try:
            table = read_table_file(path, ("session_id",))
        except CohortError as error:
            faults += [replace(fault, participant_id=str(subject)) for fault in error.faults]
            continue
        keys = [re.sub("^ses-", "", text) for text in table["session_id"]]
        for key in sorted({key for key in keys if keys.count(key) > 1}):
            found, accepted = f"several rows of session '{key}'", "one row per session"
            faults.append(Fault(str(path), found, accepted, "remove all but one", str(subject)))
        held = dict(zip(keys, table.drop(columns="session_id").to_dict("records"), strict=True))
        for scan_id in dict.fromkeys(map(str, of_subject["scan_id"])):
            if (session := re.search(r"_ses-([^_]+)", scan_id)) and session[1] in held:
                cells = {str(column): str(cell) for column, cell in held[session[1]].items()}
                rows.append({**cells, "scan_id": scan_id})
    found_rows = pd.DataFrame(rows).fillna("") if rows else None
    return replace(maps, faults=faults, of_scans=found_rows)


def tree_origin(root: Path) -> str:
    """Tell a tree of fmnet's own making, ``synthetic``, from others, an empty text."""
    description = root / "dataset_description.json"
    try:
        name = read_json(description).get("Name", "")
    except VolumeError:
        return ""
    return "synthetic" if name == SYNTHETIC_MARK else ""


def no_maps(tree: BidsTree, advice: Advice) -> Fault:
    """Describe a tree without maps: what there is instead, and what to do about it."""
    others = [image for image in (*tree.images, *tree.others) if image.participant_id]
    found = f"no '*_statmap.nii.gz' among {len(others)} images"
    if any(image.suffix in {"bold", "t1w"} for image in others):
        action = (
            "this is raw or preprocessed data: run a first-level model (nilearn, fitlins, SPM, "
            "FSL) and give its maps"
        )
    else:
        action = advice.naming
        found += say_instead([image.path.name for image in others])
    paths = [image.path for image in others]
    if paths and all(path.is_symlink() and not path.exists() for path in paths):
        found += ", all of them DataLad pointers without content"
        action += "; fetch contents with 'datalad get'"
    return Fault(str(tree.root), found, f"{ACCEPTED} (or {', '.join(SUFFIXES)})", action)


def _fault(root: Path, found: str, accepted: str, action: str) -> CohortError:
    return CohortError(Fault(str(root), found, accepted, action))
