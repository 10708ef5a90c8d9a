"""Find the BOLD runs that an argument of ``fmnet-predict`` names."""

import os
from collections import defaultdict
from pathlib import Path

from fmnet.bold.bids_files import find_bold, find_raw
from fmnet.bold.derivatives import list_runs
from fmnet.bold.findings import Kind
from fmnet.bold.preprocessed import PreprocessedRun
from fmnet.data.advice import Advice
from fmnet.deploy.beside import NOTHING, Stated, describe_run
from fmnet.deploy.bold_checks import contract_of
from fmnet.deploy.bold_contract import BoldContract
from fmnet.deploy.bold_predict import NewBoldScan
from fmnet.deploy.bundle import Bundle
from fmnet.deploy.find import check_readable
from fmnet.deploy.naming import UNSAID_SPACE, split_names, stated_space
from fmnet.deploy.predict import Prediction, failed
from fmnet.errors import Fault, FmnetError

#: The readers' advice, worded as it helps who calls ``fmnet-predict``.
ADVICE = Advice(
    root="correct the path",
    space="say which to read: --space NAME",
    task="give runs of the task that the signature was trained on",
    runs="name the runs that are meant one by one",
    sessions="name the runs that are meant one by one",
    raw="name the runs one by one and state it with --t-r",
)


def find_new_runs(
    source: str, bundle: Bundle, space: str = "", stated: Stated = NOTHING
) -> tuple[list[NewBoldScan], list[Prediction]]:
    """Find the scans that an argument names.

    Parameters
    ----------
    source : str
        A preprocessed run; several runs of one session joined by commas, in the order they were
        acquired; or a folder that fMRIPrep wrote.
    bundle : Bundle
        Says which task and space are needed.
    space : str
        The runs' space, whatever their names say; of a folder, the one to read. Empty to believe
        the names, and to read the bundle's.
    stated : Stated
        What is said of a single run.

    Returns
    -------
    tuple of list
        Scans to be scored, and predictions with status ``error`` for those that can't be, also
        where the argument itself is of no use.
    """
    try:
        # os.path and not pathlib, which raises where a folder above may not be entered
        if os.path.isdir(source):
            contract = contract_of(bundle, source)
            return _from_folder(Path(source), bundle, space, contract)
        return [_from_files(source, bundle, space, stated)], []
    except FmnetError as error:
        return [], [failed(source, error.faults)]
    except OSError as error:
        fault = Fault(source, f"{error.strerror or error}", "readable runs", "check permissions")
        return [], [failed(source, [fault])]


def _from_files(source: str, bundle: Bundle, space: str, stated: Stated) -> NewBoldScan:
    files = split_names(source)
    known = space or stated_space(files, source) or bundle.space
    return NewBoldScan(source, tuple(describe_run(file, known, stated) for file in files))


def _from_folder(
    folder: Path, bundle: Bundle, space: str, contract: BoldContract
) -> tuple[list[NewBoldScan], list[Prediction]]:
    check_readable(folder)
    names = find_bold(folder)
    task, raw = bundle.task or None, find_raw(folder)
    of_task = [name for name in names if task in {None, name.get("task")}]
    sessions = sorted({name.get("ses") for name in of_task}) or None
    output = space or ("" if bundle.space == UNSAID_SPACE else bundle.space)
    wanted = (task, sessions, output or None, raw, contract.needs_confounds, ADVICE)
    runs, findings = list_runs(names, folder, *wanted)
    told = {run.bold.participant_id for run in runs}
    told |= {one.fault.participant_id for one in findings if one.kind is not Kind.NO_RUN}
    # nobody has to have been there at every session
    faults = [
        one.fault
        for one in findings
        if one.kind is not Kind.NO_RUN or one.fault.participant_id not in told
    ]
    return join_sessions(runs), [failed(fault.where, [fault]) for fault in faults]


def join_sessions(runs: tuple[PreprocessedRun, ...]) -> list[NewBoldScan]:
    """Put the runs of each person's session together, in the order given."""
    sessions: dict[str, list[PreprocessedRun]] = defaultdict(list)
    for run in runs:
        session = f"_ses-{run.session}" if run.session else ""
        sessions[f"{run.bold.participant_id}{session}"].append(run)
    return [NewBoldScan(name, tuple(members)) for name, members in sessions.items()]
