"""What can be known of new runs before they are cleaned."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fmnet.bold.preprocessed import PreprocessedRun
from fmnet.data.bold_file import open_bold
from fmnet.data.bold_run import SAME_T_R, resolve_t_r
from fmnet.deploy.bold_contract import BoldContract
from fmnet.deploy.bundle import Bundle
from fmnet.deploy.naming import check_same_space
from fmnet.deploy.predict import run_instead_of_maps
from fmnet.errors import Fault, VolumeError


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


def _t_r_faults(run: PreprocessedRun, wanted: float) -> list[Fault]:
    try:
        with open_bold(run.bold.path) as file:
            t_r = resolve_t_r(run.bold, file.header)
    except VolumeError as error:
        return list(error.faults)
    if abs(t_r - wanted) <= SAME_T_R * wanted:
        return []
    found = f"a repetition time of {t_r:g} s"
    accepted = f"{wanted:g} s, that of the training runs, give or take {SAME_T_R:.0%}"
    return [Fault(str(run.bold.path), found, accepted, "give a run of that repetition time")]


def _no_confounds(run: PreprocessedRun) -> Fault:
    return Fault(
        str(run.bold.path),
        "no confounds",
        "fMRIPrep's desc-confounds_timeseries.tsv, with which the run is cleaned",
        "put it beside the run, or name it: --confounds FILE",
    )


def _twice(path: Path, name: str) -> Fault:
    return Fault(name, f"the same run twice: {path}", "each run once", "remove one of them")
