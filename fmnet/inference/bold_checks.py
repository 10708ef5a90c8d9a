"""What can be known of new runs before they are cleaned."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fmnet.bold.bids_files import PreprocessedRun
from fmnet.bold.bold_file import open_bold
from fmnet.bold.bold_run import SAME_T_R, differs_from_header, resolve_t_r
from fmnet.errors import Fault, VolumeError
from fmnet.inference.bold_contract import BoldContract
from fmnet.inference.bundle import Bundle
from fmnet.inference.naming import check_same_space
from fmnet.inference.predict import run_instead_of_maps


def contract_of(bundle: Bundle, name: str) -> BoldContract:
    """Look up how runs are cleaned; raise `VolumeError` if the signature reads maps."""
    if bundle.contract is not None:
        return bundle.contract
    raise VolumeError(run_instead_of_maps(bundle, name))


def check_runs(
    runs: Sequence[PreprocessedRun], name: str, bundle: Bundle, contract: BoldContract
) -> None:
    """Check space, task, repetition time and confounds of a scan's runs.

    Raises
    ------
    VolumeError
        With all that is wrong with all of them.
    """
    faults = [] if runs else [Fault(name, "no run", "one at least", "give a preprocessed run")]
    counts = Counter(run.bold.path.absolute() for run in runs)
    faults += [_twice(path, name) for path, count in counts.items() if count > 1]
    for run in runs:
        faults += _space_faults(run, bundle.space) + _t_r_faults(run, contract.t_r)
        if bundle.task and run.task and run.task != bundle.task:
            action = "give runs of the task that the signature was trained on"
            found = f"a run of task '{run.task}'"
            faults.append(Fault(str(run.bold.path), found, f"'{bundle.task}'", action))
        if contract.needs_confounds and run.confounds is None:
            faults.append(_no_confounds(run))
    if faults:
        raise VolumeError(faults)


def _space_faults(run: PreprocessedRun, wanted: str) -> list[Fault]:
    try:
        check_same_space(run.bold.space, wanted, str(run.bold.path))
    except VolumeError as error:
        return list(error.faults)
    return []


def header_notes(runs: Sequence[PreprocessedRun]) -> list[str]:
    """Say where runs' headers aren't all there is to say: two orientations, another t_r stated."""
    notes = []
    for run in runs:
        with open_bold(run.bold.path) as file:
            if file.header.note:
                notes.append(f"{run.bold.path}: {file.header.note}")
            if run.bold.is_t_r_certain and differs_from_header(run.bold, file.header):
                notes.append(
                    f"{run.bold.path}: a repetition time of {run.bold.t_r:g} s was stated, "
                    f"the header says {file.header.t_r:g} s"
                )
    return notes


def _t_r_faults(run: PreprocessedRun, wanted: float) -> list[Fault]:
    try:
        with open_bold(run.bold.path) as file:
            header = file.header
    except VolumeError as error:
        return list(error.faults)
    overrule = "or state the right one: --t-r SECONDS"
    try:
        t_r = resolve_t_r(run.bold, header)
    except VolumeError as error:
        return [replace(fault, action=f"{fault.action}, {overrule}") for fault in error.faults]
    if abs(t_r - wanted) <= SAME_T_R * wanted:
        return []
    found = f"a repetition time of {t_r:g} s"
    accepted = f"{wanted:g} s, that of the training runs, give or take {SAME_T_R:.0%}"
    action = f"give a run of that repetition time, {overrule}"
    return [Fault(str(run.bold.path), found, accepted, action)]


def _no_confounds(run: PreprocessedRun) -> Fault:
    return Fault(
        str(run.bold.path),
        "no confounds",
        "fMRIPrep's desc-confounds_timeseries.tsv, with which the run is cleaned",
        "put it beside the run, or name it: --confounds FILE",
    )


def _twice(path: Path, name: str) -> Fault:
    return Fault(name, f"the same run twice: {path}", "each run once", "remove one of them")
