"""Find the scans that an argument of ``fmnet-predict`` names."""

import os
from dataclasses import replace
from pathlib import Path

from fmnet.data.advice import Advice
from fmnet.data.bids import find_maps
from fmnet.data.image_table import find_table_maps
from fmnet.data.scans import MapTable, group_scans
from fmnet.data.statistic import UNSAID_STAT
from fmnet.deploy.bundle import Bundle
from fmnet.deploy.naming import (
    UNSAID_CONTRASTS,
    check_contrasts,
    check_stat,
    in_order,
    split_names,
    stated_space,
)
from fmnet.deploy.predict import NewScan, Prediction, failed, run_instead_of_maps
from fmnet.errors import Fault, FmnetError, VolumeError

#: How names of time series end.
RUNS = ("_bold.nii", "_bold.nii.gz")
TABLES = {".tsv", ".csv"}
Found = tuple[list[NewScan], list[Fault]]


def find_new_scans(
    source: str, bundle: Bundle, space: str = ""
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

    Returns
    -------
    tuple of list
        Scans to be scored, and predictions with status ``error`` for those that can't be, also
        where the argument itself is of no use.
    """
    try:
        found, faults = _find(source, bundle, space)
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


def _find(source: str, bundle: Bundle, space: str) -> Found:
    # os.path and not pathlib, which raises where a folder above may not be entered
    if os.path.isdir(source):
        return _from_folder(Path(source), bundle, space)
    if Path(source).suffix.lower() in TABLES:
        return _from_table(Path(source), bundle, space)
    files = split_names(source)
    return [NewScan(source, in_order(files, bundle.preparation.contrasts, source), space)], []


def _check_no_runs(scan: NewScan, bundle: Bundle) -> None:
    """Raise `VolumeError` where names say BOLD, before anything else is found wrong with it."""
    if any(file.name.lower().endswith(RUNS) for file in scan.files):
        raise VolumeError(run_instead_of_maps(bundle, scan.name))


def _from_table(table: Path, bundle: Bundle, space: str) -> Found:
    contrasts = bundle.preparation.contrasts
    maps = find_table_maps(table, list(contrasts), space=space, advice=_advice(bundle))
    scans, faults = _from_maps(maps, bundle)
    agreeing = []
    for scan in scans:
        try:
            check_contrasts(scan.files, contrasts, scan.name)
            agreeing.append(scan)
        except VolumeError as error:
            faults += error.faults
    return agreeing, faults


def _from_folder(folder: Path, bundle: Bundle, space: str) -> Found:
    check_readable(folder)
    wanted = bundle.metadata["input"]
    maps = find_maps(
        folder,
        list(bundle.preparation.contrasts),
        None if wanted["stat"] == UNSAID_STAT else wanted["stat"],
        preferred_space=space or wanted["space"],
        advice=_advice(bundle),
    )
    if space:  # chooses where names state it, and overrules them where none does
        chosen = maps.rows["space"] == space
        maps.rows = maps.rows[chosen] if chosen.any() else maps.rows.assign(space=space)
    scans, faults = _from_maps(maps, bundle)
    without = sorted(set(maps.everyone) - set(maps.rows["participant_id"]))
    return scans, [*faults, *(_no_map(person, bundle, space) for person in without)]


def check_readable(folder: Path) -> None:
    """Raise `VolumeError` for a folder in which a search would find nothing and not say why."""
    if not os.access(folder, os.R_OK | os.X_OK):
        found, action = "a folder that this account may not read", "ask its owner for permission"
        raise VolumeError(Fault(str(folder), found, "a readable folder", action))


def _from_maps(maps: MapTable, bundle: Bundle) -> Found:
    scans, faults = group_scans(maps, _advice(bundle))
    says_contrast = maps.contrasts != UNSAID_CONTRASTS
    found = [NewScan(scan.scan_id, scan.files, scan.space, says_contrast) for scan in scans]
    return found, [*maps.faults, *faults]


def _no_map(person: str, bundle: Bundle, space: str) -> Fault:
    where = f" in space '{space}'" if space else ""
    accepted = f"{', '.join(bundle.preparation.contrasts)} ({bundle.metadata['input']['stat']})"
    return Fault(person, f"no map that is needed{where}", accepted, "supply the person's maps")


def _advice(bundle: Bundle) -> Advice:
    """Word the readers' advice as it helps who calls ``fmnet-predict``."""
    wanted = bundle.metadata["input"]
    contrasts = ", ".join(bundle.preparation.contrasts)
    return Advice(
        root="correct the path",
        contrasts=f"give maps of every contrast that the signature needs: {contrasts}",
        stat=f"give maps of one statistic, the signature's ({wanted['stat']})",
        space="say which to read: --space NAME",
        desc="name the files that are meant one by one",
        naming="rename the maps the BIDS way, or list them in a table (.tsv: participant_id, "
        "contrast, path)",
    )
