"""What is wrong with fMRIPrep's output, as far as names, sidecars, headers and masks tell."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fmnet.bold.bids_files import BoldName, find_bold, find_people, find_raw
from fmnet.bold.bold_file import BoldHeader, open_bold
from fmnet.bold.bold_run import check_run
from fmnet.bold.check_raw import check_t_r
from fmnet.bold.checked_runs import RunSummary, compare_runs
from fmnet.bold.derivatives import list_runs
from fmnet.bold.findings import Finding, Kind, image_finding
from fmnet.bold.preprocessed import PreprocessedRun
from fmnet.bold.run_selection import is_usable
from fmnet.data.advice import Advice
from fmnet.data.image_files import POINTER, check_is_there
from fmnet.data.tables import read_table_file
from fmnet.errors import CohortError, Fault, FmnetError, VolumeError


def check_preprocessed(
    root: Path, raw: Path | None, task: str | None, space: str | None, advice: Advice
) -> tuple[tuple[RunSummary, ...], list[Finding]]:
    """Check preprocessed runs of one task, or of each.

    Raises
    ------
    CohortError
        If there is no BOLD image (of the task).
    """
    names = find_bold(root)
    tasks = sorted({name.get("task") for name in names})
    if task not in {None, *tasks} or not names:
        found = f"no run of task '{task}'" if names else "no BOLD image"
        accepted = ", ".join(map(repr, tasks)) or "fMRIPrep's output, which holds sub-*/"
        raise CohortError(Fault(str(root), found, accepted, advice.task if names else advice.root))
    raw = find_raw(root) if raw is None else raw
    runs: list[RunSummary] = []
    findings: list[Finding] = []
    for each in [task] if task is not None else tasks:
        found_runs, wrong = _list_task(names, root, raw, each, space, advice)
        if task is None and 2 * _count_people(names, each) <= len(find_people(root)):
            wrong = [finding for finding in wrong if finding.kind is not Kind.NO_RUN]
        findings += wrong
        for run in found_runs:
            summary, wrong = _check_run(run)
            runs.append(summary)
            findings += wrong
    return tuple(runs), findings + compare_runs(runs)


def left_out(raw_runs: Sequence[RunSummary], root: Path) -> list[Finding]:
    """Find raw runs that nothing was made of."""
    there = {name.run_id for name in find_bold(root)}
    accepted = "an image in fMRIPrep's output"
    action = "look for errors in fMRIPrep's report (sub-*.html), and run it again"
    return [
        Finding(
            Kind.NOT_PREPROCESSED,
            Fault(run.run_id, "none", accepted, action, run.participant_id),
        )
        for run in raw_runs
        if run.run_id not in there
    ]


def _list_task(
    names: Sequence[BoldName],
    root: Path,
    raw: Path | None,
    task: str,
    space: str | None,
    advice: Advice,
) -> tuple[tuple[PreprocessedRun, ...], list[Finding]]:
    of_task = [name for name in names if name.get("task") == task]
    sessions = sorted({name.get("ses") for name in of_task})
    try:
        return list_runs(of_task, root, task, sessions, space, raw, True, advice)
    except CohortError as error:
        kind = Kind.CHOICE if any(map(is_usable, of_task)) else Kind.UNUSABLE
        return (), [Finding(kind, replace(f, where=f"task '{task}'")) for f in error.faults]


def _count_people(names: Sequence[BoldName], task: str) -> int:
    return len({name.participant_id for name in names if name.get("task") == task})


def _check_run(run: PreprocessedRun) -> tuple[RunSummary, list[Finding]]:
    bold = run.bold
    findings: list[Finding] = []
    header: BoldHeader | None = None
    try:
        with open_bold(bold.path) as file:
            header = file.header
    except VolumeError as error:
        findings += [image_finding(fault) for fault in error.faults]
    if header is not None:
        findings += check_t_r(bold, header)
        findings += _check_mask(run, header)
        findings += _check_confounds(run, header.n_volumes)
    person = bold.participant_id
    findings = [each.of_person(person) for each in findings]
    t_r = bold.t_r or (header.t_r if header else None)
    n_volumes = header.n_volumes if header else None
    return RunSummary(bold.run_id, person, run.task, run.session, t_r, n_volumes), findings


def _check_mask(run: PreprocessedRun, header: BoldHeader) -> list[Finding]:
    """Check the mask; the repetition time is reported by itself."""
    try:
        with check_run(replace(run.bold, t_r=header.t_r or 1.0), needs_mask=True):
            return []
    except VolumeError as error:
        kinds = [Kind.POINTER if fault.found == POINTER else Kind.MASK for fault in error.faults]
        return [Finding(kind, fault) for kind, fault in zip(kinds, error.faults, strict=True)]


def _check_confounds(run: PreprocessedRun, n_volumes: int) -> list[Finding]:
    if run.confounds is None:
        return []
    path = run.confounds
    accepted = f"a row for each of the run's {n_volumes} volumes"
    try:
        check_is_there(path)
        n_rows = len(read_table_file(path, ()))
    except FmnetError as error:
        action = "fetch or write the file again"
        faults = [Fault(str(path), fault.found, accepted, action) for fault in error.faults]
        kinds = [Kind.POINTER if fault.found == POINTER else Kind.CONFOUNDS for fault in faults]
        return [Finding(kind, fault) for kind, fault in zip(kinds, faults, strict=True)]
    if n_rows == n_volumes:
        return []
    action = "find the confounds that belong to the image"
    return [Finding(Kind.CONFOUNDS, Fault(str(path), f"{n_rows} rows", accepted, action))]
