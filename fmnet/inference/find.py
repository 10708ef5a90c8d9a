"""Find the scans, maps or BOLD runs, that an argument of ``fmnet-predict`` names."""

import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from fmnet.bold.bids_files import PreprocessedRun, bold_of, find_raw
from fmnet.bold.derivatives import is_usable, keep_entities, list_runs
from fmnet.bold.findings import Kind
from fmnet.data.bids import STATMAP, absent_faults, choose_maps, no_maps, read_tree
from fmnet.data.image_table import find_table_maps
from fmnet.data.listing import Advice, MapTable, group_scans
from fmnet.data.tables import read_table_file, subject_key
from fmnet.data.values import UNSAID_STAT
from fmnet.data.volume import check_space
from fmnet.errors import CohortError, Fault, FmnetError, VolumeError
from fmnet.inference.bold import NOTHING, NewBoldScan, Stated, contract_of, describe_run
from fmnet.inference.bold_contract import BoldContract
from fmnet.inference.bundle import Bundle
from fmnet.inference.predict import (
    UNSAID_CONTRASTS,
    UNSAID_SPACE,
    NewScan,
    Prediction,
    check_stat,
    failed,
    image_ending,
    run_instead_of_maps,
    stated,
)

#: How names of time series end.
RUNS = ("_bold.nii", "_bold.nii.gz")
TABLES = {".tsv", ".csv"}
ACCEPTED = (
    "a map (.nii, .nii.gz, .img), maps joined by commas, a table (.tsv, .csv) or a "
    "BIDS-derivatives folder"
)
SUPPLY = "supply the person's maps"
#: Names a data set's participants.
PARTICIPANTS = "participants.tsv"
Found = tuple[list[NewScan], list[Fault]]


#: The readers' advice, worded as it helps who calls ``fmnet-predict``.
RUN_ADVICE = Advice(
    root="correct the path",
    space="say which to read: --space NAME",
    task="give runs of the task that the signature was trained on",
    runs="name the runs that are meant one by one",
    sessions="name the runs that are meant one by one",
    raw="name the runs one by one and state it with --t-r",
    entity="say which to read: --entity {name}={value}",
)
RUN_ACCEPTED = (
    "a preprocessed run (.nii, .nii.gz), runs joined by commas, or a folder that fMRIPrep wrote"
)


def find_new_scans(
    source: str, bundle: Bundle, space: str = "", entities: Mapping[str, str] | None = None
) -> tuple[list[NewScan], list[Prediction]]:
    """Find the scans that an argument names, and say in predictions which can't be scored.

    `source` is a map; several maps of one scan joined by commas; a table (.tsv, .csv) of
    ``participant_id, contrast, path``; or a BIDS-derivatives folder, of which `entities` choose
    maps. Maps whose names state their contrasts may come in any order, others in the bundle's.
    `space` is the maps', whatever their names say; empty to believe the names. Predictions, with
    status ``error``, are also for everyone in a folder of whom there is no map, and where the
    argument itself is of no use.
    """
    try:
        # os.path and not pathlib, which raises where a folder above may not be entered
        if os.path.isdir(source):
            found, faults = _from_folder(Path(source), bundle, space, entities or {})
        elif Path(source).suffix.lower() in TABLES:
            found, faults = _from_table(Path(source), bundle, space)
        else:
            files = split_names(source, ACCEPTED)
            files = in_order(files, bundle.preparation.contrasts, source)
            found, faults = [NewScan(source, files, space)], []
    except FmnetError as error:
        return [], [failed(source, error.faults)]
    except OSError as error:
        fault = Fault(source, f"{error.strerror or error}", "readable maps", "check permissions")
        return [], [failed(source, [fault])]
    scans, errors = [], [failed(fault.where, [fault]) for fault in faults]
    for scan in found:
        try:
            if any(file.name.lower().endswith(RUNS) for file in scan.files):
                raise VolumeError(run_instead_of_maps(bundle, scan.name))
            check_stat(scan.files, bundle.metadata["input"]["stat"], scan.name)
            known = scan.space or stated_space(scan.files, scan.name)
            scans.append(replace(scan, space=known))
        except VolumeError as error:
            errors.append(failed(scan.name, error.faults))
    return scans, errors


def _from_table(table: Path, bundle: Bundle, space: str) -> Found:
    contrasts = bundle.preparation.contrasts
    maps = find_table_maps(table, _asked(bundle), space=space, advice=_advice(bundle))
    scans, faults = _from_maps(maps, bundle)
    agreeing = []
    for scan in scans:
        try:
            if "contrast" in maps.columns:
                check_contrasts(scan.files, contrasts, scan.name)
            else:
                in_order(scan.files, contrasts, scan.name)
            agreeing.append(scan)
        except VolumeError as error:
            faults += error.faults
    return agreeing, faults


def _asked(bundle: Bundle) -> list[str] | None:
    """Name the contrasts that are needed; None where the signature doesn't know its own."""
    contrasts = bundle.preparation.contrasts
    return None if contrasts == UNSAID_CONTRASTS else list(contrasts)


def _from_folder(folder: Path, bundle: Bundle, space: str, entities: Mapping[str, str]) -> Found:
    check_readable(folder)
    wanted = bundle.metadata["input"]
    tree = read_tree(folder)
    subjects, faults = with_table(folder, tree.subjects)
    in_space = f" in space '{space}'" if space else ""
    needed = f"{', '.join(wanted['contrasts'])} ({wanted['stat']})"
    lacks = (f"no map that is needed{in_space}", needed)
    if subjects and not any(image.suffix == STATMAP for image in tree.images):
        action = no_maps(tree, _advice(bundle)).action
        faults += tree.faults
        return [], faults + absent_faults(subjects, (), *lacks, told=faults, action=action)
    asked, stat = _asked(bundle), None if wanted["stat"] == UNSAID_STAT else wanted["stat"]
    preferred = space or wanted["space"]
    maps = choose_maps(tree, asked, stat, entities, _advice(bundle), preferred, True)
    if space:  # chooses where names state it, and overrules them where none does
        chosen = maps.rows["space"] == space
        maps.rows = maps.rows[chosen] if chosen.any() else maps.rows.assign(space=space)
    scans, wrong = _from_maps(maps, bundle)
    faults += wrong
    present = maps.rows["participant_id"]
    return scans, faults + absent_faults(subjects, present, *lacks, told=faults, action=SUPPLY)


def with_table(
    folder: Path, subjects: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, tuple[str, ...]], list[Fault]]:
    """Add those whom a folder's own participants.tsv names; a table of no use is a fault."""
    table = folder / PARTICIPANTS
    if not os.path.lexists(table):
        return dict(subjects), []
    try:
        named = read_table_file(table, ("participant_id",))["participant_id"]
    except CohortError as error:
        return dict(subjects), list(error.faults)
    known = {subject_key(subject) for subject in subjects}
    others = {subject: () for subject in named if subject and subject_key(subject) not in known}
    return {**subjects, **others}, []


def check_readable(folder: Path) -> None:
    """Raise `VolumeError` for a folder in which a search would find nothing and not say why."""
    if not os.access(folder, os.R_OK | os.X_OK):
        found, action = "a folder that this account may not read", "ask its owner for permission"
        raise VolumeError(Fault(str(folder), found, "a readable folder", action))


def _from_maps(maps: MapTable, bundle: Bundle) -> Found:
    scans, faults = group_scans(maps, _advice(bundle))
    is_said = maps.rows["path"].map(lambda _: "contrast" in maps.columns)
    if "entities" in maps.rows:
        is_said = maps.rows["entities"].map(lambda entities: "contrast" in entities)
    said = set(maps.rows["path"][is_said.astype(bool)])
    found = [
        NewScan(scan.scan_id, scan.files, scan.space, said.issuperset(map(str, scan.files)))
        for scan in scans
    ]
    return found, [*maps.faults, *faults]


def _advice(bundle: Bundle) -> Advice:
    """Word the readers' advice as it helps who calls ``fmnet-predict``."""
    wanted = bundle.metadata["input"]
    contrasts = ", ".join(bundle.preparation.contrasts)
    return Advice(
        root="correct the path",
        channels="name the files of one contrast one by one, or list them in a table",
        contrasts=f"give maps of every contrast that the signature needs: {contrasts}",
        stat=f"give maps of one statistic, the signature's ({wanted['stat']})",
        space="say which to read: --space NAME",
        task="say which to read: --entity task=NAME",
        desc="say which to read: --entity desc=NAME",
        naming="rename the maps the BIDS way, or list them in a table (.tsv: participant_id, "
        "contrast, path)",
        entity="say which to read: --entity {name}={value}",
    )


def find_new_runs(
    source: str,
    bundle: Bundle,
    space: str = "",
    stated: Stated = NOTHING,
    entities: Mapping[str, str] | None = None,
) -> tuple[list[NewBoldScan], list[Prediction]]:
    """Find the scans of runs that an argument names, with predictions as of `find_new_scans`.

    `source` is a preprocessed run; several runs of one session joined by commas, in the order they
    were acquired; or a folder that fMRIPrep wrote, of which `entities` choose images. `space` is
    the runs', whatever their names say; of a folder, the one to read; empty to believe the names,
    and to read the bundle's. `stated` is what is said of a single run.
    """
    try:
        # os.path and not pathlib, which raises where a folder above may not be entered
        if os.path.isdir(source):
            contract = contract_of(bundle, source)
            return _runs_from_folder(Path(source), bundle, space, contract, entities or {})
        files = split_names(source, RUN_ACCEPTED, has_volumes=True)
        known = space or stated_space(files, source) or bundle.space
        runs = tuple(describe_run(file, known, stated) for file in files)
        return [NewBoldScan(source, runs)], []
    except FmnetError as error:
        return [], [failed(source, error.faults)]
    except OSError as error:
        fault = Fault(source, f"{error.strerror or error}", "readable runs", "check permissions")
        return [], [failed(source, [fault])]


def _runs_from_folder(
    folder: Path, bundle: Bundle, space: str, contract: BoldContract, entities: Mapping[str, str]
) -> tuple[list[NewBoldScan], list[Prediction]]:
    check_readable(folder)
    tree = read_tree(folder, only_subjects=True)
    subjects, faults = with_table(folder, tree.subjects)
    names = keep_entities(bold_of(tree), entities, folder, RUN_ADVICE)
    task, raw = bundle.task or None, find_raw(folder)
    of_task = [name for name in names if task in {None, name.get("task")}]
    sessions = sorted({name.get("ses") for name in of_task}) or None
    output = space or ("" if bundle.space == UNSAID_SPACE else bundle.space)
    wanted = (task, sessions, output or None, raw, contract.needs_confounds, RUN_ADVICE, tree)
    needed = contract.words(bundle.space, bundle.task)
    lacks = (f"no run{f' of task {task!r}' if task else ''}", needed)
    try:
        runs, findings = list_runs(names, folder, *wanted)
    except CohortError as error:
        if not names or any(map(is_usable, names)):
            raise  # nothing to read, or a choice to make
        action = error.faults[0].action
        lacking = absent_faults(subjects, (), *lacks, told=faults, action=action)
        return [], [failed(fault.where, [fault]) for fault in [*faults, *lacking]]
    # nobody has to have been there at every session
    faults += [one.fault for one in findings if one.kind is not Kind.NO_RUN]
    there = [run.bold.participant_id for run in runs]
    faults += absent_faults(subjects, there, *lacks, told=faults, action=SUPPLY)
    scans: dict[str, list[PreprocessedRun]] = defaultdict(list)
    for run in runs:
        session = f"_ses-{run.session}" if run.session else ""
        scans[f"{run.bold.participant_id}{session}"].append(run)
    found = [NewBoldScan(name, tuple(members)) for name, members in scans.items()]
    return found, [failed(fault.where, [fault]) for fault in faults]


def split_names(source: str, accepted: str, has_volumes: bool = False) -> tuple[Path, ...]:
    """Split names at commas, unless it is one file whose name holds some.

    SPM's ``con_0001.nii,1``, the first volume of a file, is the file, unless it `has_volumes`, so
    that one of them is not the file. `accepted` is what the argument may be, for messages.

    Raises
    ------
    VolumeError
        If there is nothing between two commas, a later volume is meant, or a name leads nowhere.
    """
    if os.path.lexists(source):
        return (Path(source),)
    names: list[str] = []
    for name in (part.strip() for part in source.split(",")):
        if name == "":
            found, wanted = "an empty name between commas", "names of files, each after the other's"
            where = source if source.strip() else f"the argument '{source}'"
            raise VolumeError(Fault(where, found, f"{wanted} comma", "remove the extra comma"))
        is_volume = name.isdecimal() and names and image_ending(Path(names[-1]))
        if is_volume and not os.path.lexists(name):
            if int(name) != 1 or has_volumes:
                found = f"volume {name} of a file ({names[-1]},{name})"
                action = "write that volume into a file of its own, or give the file's name alone"
                raise VolumeError(Fault(source, found, accepted, action))
            continue
        names.append(name)
    for name in names:
        if not image_ending(Path(name)) and not os.path.lexists(name):
            found = "no such file or folder" if name == source else f"no such file ('{name}')"
            raise VolumeError(Fault(source, found, accepted, "correct the path"))
    return tuple(map(Path, names))


def in_order(files: tuple[Path, ...], contrasts: tuple[str, ...], name: str) -> tuple[Path, ...]:
    """Put the maps of a scan in the signature's order of contrasts, as far as names say.

    Raises
    ------
    VolumeError
        If names state other contrasts, one of them twice, or only some and not in this order.
    """
    found = stated(files, "contrast")
    if contrasts == UNSAID_CONTRASTS or len(files) != len(contrasts):
        return files
    if sorted(found) == sorted(contrasts):
        return tuple(files[found.index(contrast)] for contrast in contrasts)
    if all(said in {"", wanted} for said, wanted in zip(found, contrasts, strict=True)):
        return files
    given = f"maps of contrast {', '.join(said or '(not said)' for said in found)}"
    action = "give one map of each; if names differ from the signature's, list the maps in a table "
    raise VolumeError(Fault(name, given, ", ".join(contrasts), f"{action}with a contrast column"))


def check_contrasts(files: tuple[Path, ...], contrasts: tuple[str, ...], name: str) -> None:
    """Raise `VolumeError` if a map's name states another of the signature's contrasts.

    For maps whose contrast somebody stated: names that the signature doesn't know are passed over.
    """
    for file, said, wanted in zip(files, stated(files, "contrast"), contrasts, strict=True):
        if said != wanted and said in contrasts:
            found = f"a map for contrast '{wanted}' whose name says '{said}' ({file})"
            action = "correct the table or the name"
            raise VolumeError(Fault(name, found, "one contrast", action))


def stated_space(files: tuple[Path, ...], name: str) -> str:
    """Read the space of a scan off the names of its maps; empty if none says it.

    Raises
    ------
    VolumeError
        If they state several spaces, or one that is not MNI152.
    """
    spaces = sorted({space for space in stated(files, "space") if space})
    for space in spaces:
        check_space(space, name)
    if len(spaces) > 1:
        found = f"maps in several spaces: {', '.join(map(repr, spaces))}"
        action = "give all maps in the same space; if the names are wrong, state it with --space"
        raise VolumeError(Fault(name, found, "one space", action))
    return spaces[0] if spaces else ""
