"""Find the BOLD runs that an argument of ``fmnet-predict`` names."""

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from fmnet.bold.bids_files import PreprocessedRun, bold_of, find_raw
from fmnet.bold.derivatives import is_usable, keep_entities, list_runs
from fmnet.bold.findings import Kind
from fmnet.data.bids import absent_faults, read_tree
from fmnet.data.listing import Advice
from fmnet.errors import CohortError, Fault, FmnetError
from fmnet.inference.bold_checks import contract_of
from fmnet.inference.bold_contract import BoldContract
from fmnet.inference.bold_predict import NewBoldScan
from fmnet.inference.bundle import Bundle
from fmnet.inference.companion_files import NOTHING, Stated, describe_run
from fmnet.inference.find import SUPPLY, check_readable, with_table
from fmnet.inference.naming import UNSAID_SPACE, split_names, stated_space
from fmnet.inference.predict import Prediction, failed

#: The readers' advice, worded as it helps who calls ``fmnet-predict``.
ADVICE = Advice(
    root="correct the path",
    space="say which to read: --space NAME",
    task="give runs of the task that the signature was trained on",
    runs="name the runs that are meant one by one",
    sessions="name the runs that are meant one by one",
    raw="name the runs one by one and state it with --t-r",
    entity="say which to read: --entity {name}={value}",
)
ACCEPTED = (
    "a preprocessed run (.nii, .nii.gz), runs joined by commas, or a folder that fMRIPrep wrote"
)


def find_new_runs(
    source: str,
    bundle: Bundle,
    space: str = "",
    stated: Stated = NOTHING,
    entities: Mapping[str, str] | None = None,
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
    entities : dict, optional
        Which images of a folder to read, by entities of their names.

    Returns
    -------
    tuple of list
        Scans to be scored, and predictions with status ``error`` for those that can't be, also
        for everyone in a folder of whom there is no run, and where the argument itself is of no
        use.
    """
    try:
        # os.path and not pathlib, which raises where a folder above may not be entered
        if os.path.isdir(source):
            contract = contract_of(bundle, source)
            return _from_folder(Path(source), bundle, space, contract, entities or {})
        return [_from_files(source, bundle, space, stated)], []
    except FmnetError as error:
        return [], [failed(source, error.faults)]
    except OSError as error:
        fault = Fault(source, f"{error.strerror or error}", "readable runs", "check permissions")
        return [], [failed(source, [fault])]


def _from_files(source: str, bundle: Bundle, space: str, stated: Stated) -> NewBoldScan:
    files = split_names(source, ACCEPTED, has_volumes=True)
    known = space or stated_space(files, source) or bundle.space
    return NewBoldScan(source, tuple(describe_run(file, known, stated) for file in files))


def _from_folder(
    folder: Path, bundle: Bundle, space: str, contract: BoldContract, entities: Mapping[str, str]
) -> tuple[list[NewBoldScan], list[Prediction]]:
    check_readable(folder)
    tree = read_tree(folder, only_people=True)
    people, faults = with_table(folder, tree.people)
    names = keep_entities(bold_of(tree), entities, folder, ADVICE)
    task, raw = bundle.task or None, find_raw(folder)
    of_task = [name for name in names if task in {None, name.get("task")}]
    sessions = sorted({name.get("ses") for name in of_task}) or None
    output = space or ("" if bundle.space == UNSAID_SPACE else bundle.space)
    wanted = (task, sessions, output or None, raw, contract.needs_confounds, ADVICE, tree)
    lacks = (
        f"no run{f' of task {task!r}' if task else ''}",
        contract.words(bundle.space, bundle.task),
    )
    try:
        runs, findings = list_runs(names, folder, *wanted)
    except CohortError as error:
        if not names or any(map(is_usable, names)):
            raise  # nothing to read, or a choice to make
        action = error.faults[0].action
        lacking = absent_faults(people, (), *lacks, told=faults, action=action)
        return [], [failed(fault.where, [fault]) for fault in [*faults, *lacking]]
    # nobody has to have been there at every session
    faults += [one.fault for one in findings if one.kind is not Kind.NO_RUN]
    there = [run.bold.participant_id for run in runs]
    faults += absent_faults(people, there, *lacks, told=faults, action=SUPPLY)
    return join_sessions(runs), [failed(fault.where, [fault]) for fault in faults]


def join_sessions(runs: tuple[PreprocessedRun, ...]) -> list[NewBoldScan]:
    """Put the runs of each person's session together, in the order given."""
    sessions: dict[str, list[PreprocessedRun]] = defaultdict(list)
    for run in runs:
        session = f"_ses-{run.session}" if run.session else ""
        sessions[f"{run.bold.participant_id}{session}"].append(run)
    return [NewBoldScan(name, tuple(members)) for name, members in sessions.items()]
