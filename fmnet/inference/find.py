"""Find the scans that an argument of ``fmnet-predict`` names."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from fmnet.data.bids import STATMAP, absent_faults, choose_maps, no_maps, read_tree
from fmnet.data.image_table import find_table_maps
from fmnet.data.listing import Advice, MapTable, group_scans
from fmnet.data.tables import read_table_file, subject_key
from fmnet.data.values import UNSAID_STAT
from fmnet.errors import CohortError, Fault, FmnetError, VolumeError
from fmnet.inference.bundle import Bundle
from fmnet.inference.naming import (
    UNSAID_CONTRASTS,
    check_contrasts,
    check_stat,
    in_order,
    split_names,
    stated_space,
)
from fmnet.inference.predict import NewScan, Prediction, failed, run_instead_of_maps

#: How names of time series end.
RUNS = ("_bold.nii", "_bold.nii.gz")
TABLES = {".tsv", ".csv"}
ACCEPTED = (
    "a map (.nii, .nii.gz, .img), maps joined by commas, a table (.tsv, .csv) or a "
    "BIDS-derivatives folder"
)
SUPPLY = "supply the person's maps"
#: Names a data set's people.
PEOPLE = "participants.tsv"
Found = tuple[list[NewScan], list[Fault]]


def find_new_scans(
    source: str, bundle: Bundle, space: str = "", entities: Mapping[str, str] | None = None
) -> tuple[list[NewScan], list[Prediction]]:
    """Find the scans that an argument names.

    Parameters
    ----------
    source : str
        A map; several maps of one scan joined by commas; a table (.tsv, .csv) of
        ``participant_id, contrast, path``; or a BIDS-derivatives folder. Maps whose names state
        their contrasts may come in any order, others in the bundle's.
    bundle : Bundle
        Says which contrasts, statistic and space are needed.
    space : str
        The maps' space, whatever their names say; empty to believe the names.
    entities : dict, optional
        Which maps of a folder to read, by entities of their names.

    Returns
    -------
    tuple of list
        Scans to be scored, and predictions with status ``error`` for those that can't be, also
        for everyone in a folder of whom there is no map, and where the argument itself is of no
        use.
    """
    try:
        found, faults = _find(source, bundle, space, entities or {})
    except FmnetError as error:
        return [], [failed(source, error.faults)]
    except OSError as error:
        fault = Fault(source, f"{error.strerror or error}", "readable maps", "check permissions")
        return [], [failed(source, [fault])]
    scans, errors = [], [failed(fault.where, [fault]) for fault in faults]
    for scan in found:
        try:
            _check_no_runs(scan, bundle)
            check_stat(scan.files, bundle.metadata["input"]["stat"], scan.name)
            known = scan.space or stated_space(scan.files, scan.name)
            scans.append(replace(scan, space=known))
        except VolumeError as error:
            errors.append(failed(scan.name, error.faults))
    return scans, errors


def _find(source: str, bundle: Bundle, space: str, entities: Mapping[str, str]) -> Found:
    # os.path and not pathlib, which raises where a folder above may not be entered
    if os.path.isdir(source):
        return _from_folder(Path(source), bundle, space, entities)
    if Path(source).suffix.lower() in TABLES:
        return _from_table(Path(source), bundle, space)
    files = split_names(source, ACCEPTED)
    return [NewScan(source, in_order(files, bundle.preparation.contrasts, source), space)], []


def _check_no_runs(scan: NewScan, bundle: Bundle) -> None:
    """Raise `VolumeError` where names say BOLD, before anything else is found wrong with it."""
    if any(file.name.lower().endswith(RUNS) for file in scan.files):
        raise VolumeError(run_instead_of_maps(bundle, scan.name))


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
    people, faults = with_table(folder, tree.people)
    in_space = f" in space '{space}'" if space else ""
    lacks = (
        f"no map that is needed{in_space}",
        f"{', '.join(wanted['contrasts'])} ({wanted['stat']})",
    )
    if people and not any(image.suffix == STATMAP for image in tree.images):
        action = no_maps(tree, _advice(bundle)).action
        faults += tree.faults
        return [], faults + absent_faults(people, (), *lacks, told=faults, action=action)
    maps = choose_maps(
        tree,
        _asked(bundle),
        None if wanted["stat"] == UNSAID_STAT else wanted["stat"],
        entities,
        _advice(bundle),
        space or wanted["space"],
        is_unsaid_accepted=True,
    )
    if space:  # chooses where names state it, and overrules them where none does
        chosen = maps.rows["space"] == space
        maps.rows = maps.rows[chosen] if chosen.any() else maps.rows.assign(space=space)
    scans, wrong = _from_maps(maps, bundle)
    faults += wrong
    present = maps.rows["participant_id"]
    return scans, faults + absent_faults(people, present, *lacks, told=faults, action=SUPPLY)


def with_table(
    folder: Path, people: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, tuple[str, ...]], list[Fault]]:
    """Add those whom a folder's own participants.tsv names; a table of no use is a fault."""
    table = folder / PEOPLE
    if not os.path.lexists(table):
        return dict(people), []
    try:
        named = read_table_file(table, ("participant_id",))["participant_id"]
    except CohortError as error:
        return dict(people), list(error.faults)
    known = {subject_key(person) for person in people}
    others = {person: () for person in named if person and subject_key(person) not in known}
    return {**people, **others}, []


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
