"""Find the BOLD runs that an argument of ``fmnet-predict`` names."""

import os
from collections import defaultdict
from pathlib import Path

from fmnet.bold.derivatives import find_runs
from fmnet.bold.preprocessed import PreprocessedRun
from fmnet.deploy.beside import NOTHING, Stated, describe_run
from fmnet.deploy.bold_predict import NewBoldScan
from fmnet.deploy.bundle import Bundle
from fmnet.deploy.naming import UNSAID_SPACE, split_names, stated_space
from fmnet.deploy.predict import Prediction, failed
from fmnet.errors import Fault, FmnetError


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
            return _from_folder(Path(source), bundle, space)
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
    folder: Path, bundle: Bundle, space: str
) -> tuple[list[NewBoldScan], list[Prediction]]:
    wanted = space or ("" if bundle.space == UNSAID_SPACE else bundle.space)
    listing = find_runs(folder, task=bundle.task or None, space=wanted or None)
    errors = [failed(fault.where, [fault]) for fault in listing.faults]
    named = {run.bold.participant_id for run in listing.runs}
    named |= {fault.participant_id for fault in listing.faults}
    errors += [
        failed(person, [_no_run(person, bundle, wanted)])
        for person in sorted(set(listing.everyone) - named)
    ]
    return join_sessions(listing.runs), errors


def join_sessions(runs: tuple[PreprocessedRun, ...]) -> list[NewBoldScan]:
    """Put the runs of each person's session together, in the order given."""
    sessions: dict[str, list[PreprocessedRun]] = defaultdict(list)
    for run in runs:
        session = f"_ses-{run.session}" if run.session else ""
        sessions[f"{run.bold.participant_id}{session}"].append(run)
    return [NewBoldScan(name, tuple(members)) for name, members in sessions.items()]


def _no_run(person: str, bundle: Bundle, space: str) -> Fault:
    task = f" of task '{bundle.task}'" if bundle.task else ""
    where = f" in space '{space}'" if space else ""
    accepted = "sub-*_desc-preproc_bold.nii.gz with its confounds"
    return Fault(person, f"no run{task}{where}", accepted, "supply the person's preprocessed runs")
