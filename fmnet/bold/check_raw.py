"""What is wrong with a raw BIDS data set, as far as names, sidecars and headers tell."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fmnet.bold.bids_files import VOLUMES, BoldName, find_bold, find_people, inherited_files
from fmnet.bold.bold_file import BoldHeader, open_bold
from fmnet.bold.bold_run import BoldRun, resolve_t_r
from fmnet.bold.check_events import check_events, differing_conditions, is_rest
from fmnet.bold.checked_runs import RunSummary, compare_runs
from fmnet.bold.findings import Finding, Kind, image_finding
from fmnet.bold.sidecars import read_sidecars, stated_t_r
from fmnet.data.advice import Advice
from fmnet.data.image_files import read_start
from fmnet.data.nifti import read_header
from fmnet.errors import CohortError, Fault, VolumeError


def check_raw(
    root: Path, task: str | None, advice: Advice
) -> tuple[tuple[RunSummary, ...], list[Finding]]:
    """Check the images, sidecars and events of a raw data set.

    Raises
    ------
    CohortError
        If it holds no BOLD image (of the task).
    """
    names = [name for name in find_bold(root) if name.extension in VOLUMES]
    if not names:
        accepted = "sub-*/[ses-*/]func/sub-*_task-*_bold.nii.gz"
        raise CohortError(Fault(str(root), "no BOLD image", accepted, advice.root))
    tasks = sorted({name.get("task") for name in names})
    if task is not None and task not in tasks:
        found = f"no run of task '{task}'"
        raise CohortError(Fault(str(root), found, ", ".join(map(repr, tasks)), advice.task))
    names = [name for name in names if task in {None, name.get("task")}]
    findings = _check_others(root)
    summaries: dict[str, RunSummary] = {}
    for name in names:
        summary, wrong = _check_bold(root, name, advice)
        findings += wrong
        summaries.setdefault(name.run_id, summary)  # the echoes of a run are one run
    runs = tuple(summaries.values())
    findings += _absent_runs(runs, find_people(root), task is not None)
    findings += compare_runs(runs) + _check_all_events(root, names, summaries)
    return runs, findings


def _check_bold(root: Path, name: BoldName, advice: Advice) -> tuple[RunSummary, list[Finding]]:
    person = name.participant_id
    findings: list[Finding] = []
    sidecars, t_r = _read_sidecars(root, name, advice, findings)
    header = None
    try:
        with open_bold(name.path) as file:
            header = file.header
    except VolumeError as error:
        findings += [image_finding(fault).of_person(person) for fault in error.faults]
    if header is not None and t_r is not None:
        findings += check_t_r(BoldRun(name.run_id, person, name.path, "", None, t_r), header)
    task_name = next((held["TaskName"] for _, held in sidecars if "TaskName" in held), "")
    summary = RunSummary(
        name.run_id,
        person,
        name.get("task"),
        name.get("ses"),
        t_r or (header.t_r if header else None),
        header.n_volumes if header else None,
        str(task_name),
    )
    return summary, findings


def _read_sidecars(
    root: Path, name: BoldName, advice: Advice, findings: list[Finding]
) -> tuple[list[tuple[Path, dict[str, Any]]], float | None]:
    try:
        sidecars = read_sidecars(name, (root,))
    except VolumeError as error:
        findings += [Finding(Kind.SIDECAR, fault) for fault in error.faults]
        return [], None
    if not sidecars:
        accepted, action = "a .json file with RepetitionTime", "fetch it, or write it"
        fault = Fault(str(name.path), "no sidecar", accepted, action, name.participant_id)
        findings.append(Finding(Kind.SIDECAR, fault))
        return [], None
    try:
        return sidecars, stated_t_r(name, sidecars, advice)
    except VolumeError as error:
        findings += [Finding(Kind.T_R, fault) for fault in error.faults]
        return sidecars, None


def check_t_r(run: BoldRun, header: BoldHeader) -> list[Finding]:
    """Compare the repetition time of a sidecar with the header's."""
    try:
        resolve_t_r(run, header)
    except VolumeError as error:
        action = "state RepetitionTime in the image's sidecar (.json)"
        faults = (replace(f, action=f.action if run.t_r else action) for f in error.faults)
        return [Finding(Kind.T_R, fault).of_person(run.participant_id) for fault in faults]
    return []


def _check_others(root: Path) -> list[Finding]:
    """Check that images other than BOLD are there, and that each person has a T1w image."""
    findings: list[Finding] = []
    with_t1w: set[str] = set()
    paths = [path for end in VOLUMES for path in root.glob(f"sub-*/**/sub-*.{end}")]
    for path in sorted(path for path in paths if path.parent.name != "func"):
        person = path.relative_to(root).parts[0]
        with_t1w |= {person} if path.name.split("_")[-1].startswith("T1w.") else set()
        try:
            read_header(read_start(path), path)
        except VolumeError as error:
            findings += [image_finding(fault).of_person(person) for fault in error.faults]
    action = "fetch the image, or leave the person out"
    return findings + [
        Finding(Kind.NO_ANATOMY, Fault(person, "no T1w image", "one at least", action, person))
        for person in find_people(root)
        if person not in with_t1w
    ]


def _absent_runs(
    runs: Sequence[RunSummary], everyone: tuple[str, ...], is_asked_for: bool
) -> list[Finding]:
    """People who lack a task, or a session of one, that more than half of the others have."""
    findings: list[Finding] = []
    for task in sorted({run.task for run in runs}):
        of_task = [run for run in runs if run.task == task]
        people = {run.participant_id for run in of_task}
        if is_asked_for or 2 * len(people) > len(everyone):
            lacking = [person for person in everyone if person not in people]
            findings += [_lacks(person, f"task '{task}'", len(people)) for person in lacking]
        for session in sorted({run.session for run in of_task}):
            there = {run.participant_id for run in of_task if run.session == session}
            if 2 * len(there) > len(people):
                words = f"task '{task}' in {f'session {session!r}' if session else 'no session'}"
                findings += [_lacks(person, words, len(there)) for person in sorted(people - there)]
    return findings


def _lacks(person: str, words: str, n: int) -> Finding:
    accepted, action = f"one, as {n} others have", "fetch it, or leave the person out of this task"
    return Finding(Kind.NO_RUN, Fault(person, f"no run of {words}", accepted, action, person))


def _check_all_events(
    root: Path, names: Sequence[BoldName], summaries: dict[str, RunSummary]
) -> list[Finding]:
    findings: list[Finding] = []
    by_task: dict[str, dict[Path, tuple[str, frozenset[str]]]] = {}
    first = {name.run_id: name for name in reversed(names) if not is_rest(name.get("task"))}
    for run_id, name in sorted(first.items()):
        person = name.participant_id
        paths = inherited_files(root, name, "events.tsv")
        if not paths:
            action = "fetch it; without it no contrast can be made of the run"
            fault = Fault(run_id, "no events.tsv", "one for each task run", action, person)
            findings.append(Finding(Kind.NO_EVENTS, fault))
            continue
        conditions, wrong = check_events(paths[0], person, summaries[run_id].length_s)
        findings += wrong
        by_task.setdefault(name.get("task"), {})[paths[0]] = (person, conditions)
    return findings + [odd for found in by_task.values() for odd in differing_conditions(found)]
