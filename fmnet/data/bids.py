"""Find statistic maps in a BIDS-derivatives tree (fMRIPrep, fitlins, nilearn and SPM exports)."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import pandas as pd

from fmnet.data.advice import ANY, SETTINGS, UNSAID, Advice
from fmnet.data.bids_tree import BidsName, BidsTree, read_tree
from fmnet.data.image_files import SUFFIXES
from fmnet.data.listing import Listing, OnFault, build_listing
from fmnet.data.map_selection import (
    UNSAID_CONTRAST,
    check_has_label,
    check_label_column,
    choose_contrasts,
)
from fmnet.data.scans import MapTable
from fmnet.data.self_hashed import read_json
from fmnet.data.statistic import same_stat
from fmnet.data.tables import normal_text, read_table_file, say_some, subject_key
from fmnet.errors import CohortError, Fault, VolumeError

SYNTHETIC_MARK = "fmnet synthetic cohort"
#: What maps are called, after their entities.
STATMAP = "statmap"
ACCEPTED = "sub-*/func/sub-*_contrast-<name>_stat-<z|t|effect>_statmap.nii.gz"
#: Entities that tell one scan of a person from another, in the order of their ids.
SCAN_ENTITIES = ("ses", "task", "acq", "dir", "run")
#: Those of them that the maps of a higher level lack: one map over all runs, or all sessions.
SUMMED_OVER = ("ses", "task", "dir", "run")
#: Entities of which a study reads one value throughout, unless told otherwise.
LEVEL_ENTITIES = ("node", "level", "model")
#: Entities that say in which form a map is, and so whether two people's can be compared.
FORM_ENTITIES = ("res", "den", "desc", "rec", "echo", "part", "hemi", "fwhm", "smooth")
#: How many files of somebody are named in a message.
MAX_NAMED = 5


def read_bids(
    root: str | Path,
    contrasts: list[str] | None = None,
    stat: str | None = None,
    space: str | None = None,
    task: str | None = None,
    desc: str | None = None,
    participants: str | Path | None = None,
    label: str = "group",
    positive: str | int = "FM",
    negative: str | int | None = "HC",
    on_fault: OnFault = "raise",
    entities: Mapping[str, str | int] | None = None,
) -> Listing:
    """List the statistic maps of a BIDS-derivatives tree.

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
        Table of people; else ``participants.tsv`` in `root` or up to two folders above.
    label, positive, negative
        Column to predict and its two values; `negative` may be None where there are only two.
    on_fault : {"raise", "exclude"}
        Stop at faults, all of them in one report, or go on without the people concerned.
    entities : dict, optional
        Which maps to read by further entities of names or folders,
        ``{node: subjectLevel, res: 2}``; ``n/a`` for those that don't state one, ``any`` for all.

    Returns
    -------
    Listing
        Everything found, and every fault.

    Raises
    ------
    CohortError
        If there is no tree, no map or no participants table to begin with.
    """
    label = normal_text(label)
    check_label_column(label, ("participant_id",))
    root = Path(root)
    maps = find_maps(root, contrasts, stat, space, task, desc, entities=entities)
    table = Path(participants) if participants else find_participants(root)
    meant = {label: [str(positive), str(negative)]}
    people = read_table_file(table, ("participant_id",), meant)
    check_has_label(people.columns, label, table)
    return build_listing(maps, people, label, positive, negative, on_fault)


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
    check_folder(root, advice)
    tree = read_tree(root)
    wanted = {"space": space, "task": task, "desc": desc} | dict(entities or {})
    maps = choose_maps(tree, contrasts, stat, wanted, advice)
    _check_one_form(maps.rows, root, wanted, advice)
    present = maps.rows["participant_id"]
    accepted = f"{', '.join(maps.contrasts)} ({maps.stat}): {ACCEPTED}"
    maps.faults += absent_faults(tree.people, present, "no map", accepted, maps.faults)
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
    """Choose among the maps of a tree.

    Parameters
    ----------
    tree : BidsTree
        The folder, searched.
    contrasts, stat
        What is wanted; where None, all contrasts if there is one, and z if it is there.
    entities : dict
        What else names have to state; None for an entity of which nothing is asked, ``any`` for
        one that may differ from map to map.
    advice : Advice
        How faults name the settings.
    preferred_space : str, optional
        Of a map that is there in several spaces, the one in this is taken.
    is_unsaid_accepted : bool
        Whether a map whose name states no contrast or statistic is taken for the one wanted, if
        nobody has another that states it.

    Raises
    ------
    CohortError
        If there is no map, or a choice to make.
    """
    root = tree.root
    maps = [image for image in tree.images if image.suffix == STATMAP and image.participant_id]
    faults = [*tree.faults, *(_misplaced(image) for image in maps if _is_misplaced(image))]
    maps = [image for image in maps if not _is_misplaced(image)]
    if not maps:
        raise CohortError([no_maps(tree, advice), *faults])
    rows = pd.DataFrame([_describe(image) for image in maps])
    everyone = tuple(tree.people)
    for name, value in entities.items():
        if value is not None and value != ANY:
            rows = _keep(rows, name.lower(), str(value), root, advice)
    stat = stat or _default_stat(rows, root, advice)
    rows = _keep(_say_stat(rows, stat) if is_unsaid_accepted else rows, "stat", stat, root, advice)
    names = sorted(set(rows["contrast"]))
    if contrasts is not None and len(contrasts) == 1 and is_unsaid_accepted:
        rows = rows.assign(contrast=rows["contrast"].replace(UNSAID_CONTRAST, contrasts[0]))
        names = sorted(set(rows["contrast"]))
    if contrasts is None and len(names) > 1:
        raise _fault(
            root,
            f"contrasts {', '.join(names)}",
            "one contrast, or a choice",
            advice.channels,
        )
    chosen = choose_contrasts(contrasts, names, root, advice)
    rows = rows[rows["contrast"].isin(chosen)]
    rows = _prefer(rows, preferred_space)
    _check_one_space(rows, root, advice)
    _check_one_level(rows, root, advice)
    mixed = _mixed_faults(rows, advice)
    rows = rows[~rows["participant_id"].isin([fault.participant_id for fault in mixed])]
    _check_summed_alike(rows, root, entities, advice)
    return MapTable(
        rows.reset_index(drop=True),
        chosen,
        stat,
        tree_origin(root),
        [*faults, *mixed],
        everyone=everyone,
    )


def absent_faults(
    people: Mapping[str, Collection[str]],
    present: Iterable[str],
    found: str,
    accepted: str,
    told: Iterable[Fault] = (),
    action: str = "supply the person's maps, or leave the person out",
) -> list[Fault]:
    """Name everyone who has no image that was chosen, and what images each has instead.

    Parameters
    ----------
    people : dict
        The names of everyone's images.
    present : iterable of str
        Those who have one that was chosen.
    found, accepted, action : str
        Of the faults.
    told : iterable of Fault
        Those of somebody else need no further one.
    """
    known = {subject_key(person) for person in present}
    known |= {subject_key(fault.participant_id) for fault in told if fault.participant_id}
    return [
        Fault(person, f"{found}{say_instead(names)}", accepted, action, person)
        for person, names in people.items()
        if subject_key(person) not in known
    ]


def say_instead(names: Collection[str]) -> str:
    """Name images that there are instead, to follow what there is none of; empty if none."""
    listed = sorted(names)
    more = f" and {len(listed) - MAX_NAMED} more" if len(listed) > MAX_NAMED else ""
    return f", but {', '.join(listed[:MAX_NAMED])}{more}" if listed else ""


def check_folder(root: Path, advice: Advice) -> None:
    """Raise `CohortError` if there is no such folder, or it may not be looked into."""
    accepted = "a BIDS-derivatives folder"
    try:
        is_folder = root.is_dir()
    except OSError as error:
        found = error.strerror or str(error)
        action = f"{advice.root}, or the permissions of the folders above it"
        raise _fault(root, found, accepted, action) from error
    if not is_folder:
        raise _fault(root, "no such folder", accepted, advice.root)


def _is_misplaced(image: BidsName) -> bool:
    sub = image.entities["sub"]
    return bool(image.folder_sub) and subject_key(sub) != subject_key(image.folder_sub)


def _misplaced(image: BidsName) -> Fault:
    return Fault(
        str(image.path),
        f"a map named {image.participant_id} in the folder of sub-{image.folder_sub}",
        "maps in their own person's folder",
        "find out whose map it is, and correct its name or its place",
        f"sub-{image.folder_sub}",
    )


def _describe(image: BidsName) -> dict[str, object]:
    """Read a map's entities from its name; repeated scans of a person get ids of their own."""
    entities = image.entities
    parts = [f"{key}-{entities[key]}" for key in ("sub", *SCAN_ENTITIES) if key in entities]
    return {
        "participant_id": image.participant_id,
        "scan_id": "_".join(parts),
        "contrast": entities.get("contrast", UNSAID_CONTRAST),
        "stat": entities.get("stat", UNSAID),
        "space": entities.get("space", "MNI152"),
        "path": str(image.path),
        "entities": entities,
    }


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


def _say_stat(rows: pd.DataFrame, wanted: str) -> pd.DataFrame:
    """Take maps that state no statistic for the one wanted, unless their scan has it stated."""
    is_stated = rows["stat"].map(lambda stat: same_stat(stat, wanted))
    has_stated = is_stated.groupby([rows["scan_id"], rows["contrast"]]).transform("any")
    return rows.assign(stat=rows["stat"].mask(~has_stated & (rows["stat"] == UNSAID), wanted))


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
    """Name people of whom there are maps of single runs or sessions and maps over all of them."""
    faults = []
    for person, own in rows.groupby("participant_id"):
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
            faults.append(Fault(str(person), found, "one level", action, str(person)))
            break
    return faults


def _check_summed_alike(
    rows: pd.DataFrame, root: Path, entities: Mapping[str, object], advice: Advice
) -> None:
    """Refuse maps of single runs of some people beside maps over all runs of others."""
    for entity in SUMMED_OVER:
        if entities.get(entity) == ANY:
            continue
        values = _values(rows, entity)
        maps = [rows["participant_id"], rows["contrast"]]
        n_parts = values.where(values != "").groupby(maps).transform("nunique")
        if (n_parts > 1).any() and (values == "").any():
            over, of_one = (rows[chosen] for chosen in (values == "", values != ""))
            found = (
                f"maps of several levels: without {entity} of {_say_people(over)}, and several "
                f"with {entity} of {_say_people(of_one)}"
            )
            action = (
                f"{advice.choose(entity, UNSAID)}, which reads those without; if all are of one "
                f"level, {advice.choose_any(entity)}"
            )
            raise _fault(root, found, "one level", action)


def _check_one_form(
    rows: pd.DataFrame, root: Path, entities: Mapping[str, object], advice: Advice
) -> None:
    """Refuse people whose maps are in one form beside people whose maps are in another."""
    faults = []
    for entity in FORM_ENTITIES:
        values = _values(rows, entity)
        if entities.get(entity) == ANY or values.nunique() < 2:
            continue
        # those with maps of several forms have a fault of their own
        is_one = values.groupby(rows["participant_id"]).transform("nunique") == 1
        if values[is_one].nunique() > 1:
            found = ", ".join(
                f"'{value or UNSAID}' of {_say_people(own)}"
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


def _say_people(rows: pd.DataFrame) -> str:
    return say_some(sorted(set(rows["participant_id"])), MAX_NAMED)


def _prefer(rows: pd.DataFrame, space: str | None) -> pd.DataFrame:
    """Of each map that is there in several spaces, this one among them, keep this one."""
    wanted = rows["space"] == space
    has_wanted = wanted.groupby([rows["scan_id"], rows["contrast"]]).transform("any")
    return rows[wanted | ~has_wanted]


def _check_one_space(rows: pd.DataFrame, root: Path, advice: Advice) -> None:
    """Refuse a tree that holds the same map in several spaces, of which none was chosen."""
    if (rows.groupby(["scan_id", "contrast"])["space"].nunique() > 1).any():
        found = ", ".join(f"'{space}' ({n})" for space, n in sorted(Counter(rows["space"]).items()))
        raise _fault(root, f"the same maps in several spaces: {found}", "one space", advice.space)


def _default_stat(rows: pd.DataFrame, root: Path, advice: Advice) -> str:
    stats = sorted(set(rows["stat"]))
    if len(stats) > 1 and "z" not in stats:
        raise _fault(root, f"statistics {', '.join(stats)}", "one", advice.stat)
    return "z" if "z" in stats else stats[0]


def find_participants(root: Path) -> Path:
    """Find ``participants.tsv`` in a tree or up to two folders above; raise `CohortError`."""
    places = [folder / "participants.tsv" for folder in (root, *root.resolve().parents[:2])]
    for place in places:
        if place.exists() or place.is_symlink():
            return place
    looked = ", ".join(str(place) for place in places)
    raise _fault(
        root,
        f"no participants.tsv (looked for {looked})",
        "a table with participant_id and the label column",
        "put it there or name it: cohort.participants=FILE",
    )


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
