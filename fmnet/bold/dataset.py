"""Check a whole data set, raw or preprocessed, before hours are spent on it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from fmnet.bold.bids_files import (
    VOLUMES,
    BoldName,
    PreprocessedRun,
    find_bold,
    find_raw,
    find_subjects,
    inherited_files,
    is_derivative,
    read_sidecars,
    stated_t_r,
)
from fmnet.bold.bold_file import BoldHeader, BoldRun, check_run, open_bold, resolve_t_r
from fmnet.bold.derivatives import is_usable, list_runs
from fmnet.bold.findings import DatasetReport, Finding, Kind, RunSummary, file_finding
from fmnet.data.covariates import number_faults, read_together
from fmnet.data.image_files import check_is_there, read_start
from fmnet.data.listing import Advice
from fmnet.data.nifti import read_header
from fmnet.data.scans import SAME_T_R
from fmnet.data.tables import read_table_file, subject_key
from fmnet.errors import CohortError, Fault, FmnetError, VolumeError

#: What a validator's user can change.
VALIDATOR = Advice(
    root="correct the folder",
    runs="say which with --task NAME",
    task="choose among them with --task NAME",
    space="say which with --space NAME",
    raw="give the raw data set as ROOT and this folder with --derivatives",
)
EVENTS = "onset and duration in seconds, within the run, and a trial_type"
TABLE = "participants.tsv"
#: Columns with more values than this tell subjects apart, not groups.
MAX_GROUPS = 5


def check_dataset(
    root: str | Path,
    derivatives: str | Path | None = None,
    task: str | None = None,
    space: str | None = None,
) -> DatasetReport:
    """Check a raw BIDS data set, fMRIPrep's output, or both, by names, sidecars and headers.

    Of images the header is read and of masks all; volumes are not, so that a run which is cut off
    is only met when it is used.

    Parameters
    ----------
    root : Path
        A raw data set, or fMRIPrep's output folder.
    derivatives : Path, optional
        fMRIPrep's output, if `root` is raw.
    task, space : optional
        Only runs of this task, by default of each; see `fmnet.bold.derivatives.find_runs`.

    Raises
    ------
    CohortError
        If a folder is missing or holds no run.
    """
    folders = [Path(folder) for folder in (root, derivatives) if folder is not None]
    if missing := [folder for folder in folders if not folder.is_dir()]:
        accepted = "a BIDS data set"
        raise CohortError(
            Fault(str(folder), "no such folder", accepted, VALIDATOR.root) for folder in missing
        )
    raw: Path | None = folders[0]
    preprocessed = folders[1] if derivatives is not None else None
    if preprocessed is None:
        is_preprocessed = any(name.get("desc") == "preproc" for name in find_bold(folders[0]))
        if is_preprocessed or is_derivative(folders[0]):
            raw, preprocessed = None, folders[0]
    task = None if task is None else task.removeprefix("task-")
    findings: list[Finding] = []
    raw_runs: tuple[RunSummary, ...] = ()
    runs: tuple[RunSummary, ...] = ()
    folders, subjects = [], set()
    if raw is not None:
        raw_runs, findings = check_raw(raw, task)
        folders, subjects = [raw], {*find_subjects(raw)}
    if preprocessed is not None:
        runs, wrong = check_derivatives(preprocessed, raw, task, space)
        there = {name.run_id for name in find_bold(preprocessed)}
        accepted = "an image in fMRIPrep's output"
        action = "look for errors in fMRIPrep's report (sub-*.html), and run it again"
        for run in raw_runs:
            if run.run_id not in there:
                fault = Fault(run.run_id, "none", accepted, action, run.participant_id)
                findings.append(Finding(Kind.NOT_PREPROCESSED, fault))
        findings += wrong
        folders += [preprocessed, *preprocessed.resolve().parents[:2]]
        subjects |= {*find_subjects(preprocessed)}
    everyone = tuple(sorted(subjects))
    table, wrong = check_participants(folders, everyone)
    found = tuple(dict.fromkeys([*findings, *wrong]))
    return DatasetReport(raw, preprocessed, everyone, table, raw_runs, runs, found)


def check_raw(root: Path, task: str | None) -> tuple[tuple[RunSummary, ...], list[Finding]]:
    """Check the images, sidecars and events of a raw data set.

    Raises
    ------
    CohortError
        If it holds no BOLD image (of the task).
    """
    names = [name for name in find_bold(root) if name.extension in VOLUMES]
    if not names:
        accepted = "sub-*/[ses-*/]func/sub-*_task-*_bold.nii.gz"
        raise CohortError(Fault(str(root), "no BOLD image", accepted, VALIDATOR.root))
    tasks = sorted({name.get("task") for name in names})
    if task is not None and task not in tasks:
        found = f"no run of task '{task}'"
        raise CohortError(Fault(str(root), found, ", ".join(map(repr, tasks)), VALIDATOR.task))
    names = [name for name in names if task in {None, name.get("task")}]
    findings = _check_others(root)
    summaries: dict[str, RunSummary] = {}
    for name in names:
        summary, wrong = _check_bold(root, name)
        findings += wrong
        summaries.setdefault(name.run_id, summary)  # the echoes of a run are one run
    runs = tuple(summaries.values())
    findings += _absent_runs(runs, find_subjects(root), task is not None)
    findings += compare_runs(runs) + _check_all_events(root, names, summaries)
    return runs, findings


def _check_bold(root: Path, name: BoldName) -> tuple[RunSummary, list[Finding]]:
    """Check the sidecar and the header of one image."""
    subject, header = name.participant_id, None
    findings: list[Finding] = []
    sidecars: list[tuple[Path, dict[str, Any]]] = []
    t_r = None
    try:
        sidecars = read_sidecars(name, (root,))
    except VolumeError as error:
        findings += [Finding(Kind.SIDECAR, fault) for fault in error.faults]
    else:
        if not sidecars:
            accepted, action = "a .json file with RepetitionTime", "fetch it, or write it"
            fault = Fault(str(name.path), "no sidecar", accepted, action, subject)
            findings.append(Finding(Kind.SIDECAR, fault))
        try:
            t_r = stated_t_r(name, sidecars, VALIDATOR)
        except VolumeError as error:
            findings += [Finding(Kind.T_R, fault) for fault in error.faults]
    try:
        with open_bold(name.path) as file:
            header = file.header
    except VolumeError as error:
        findings += [file_finding(fault).of_subject(subject) for fault in error.faults]
    if header is not None and t_r is not None:
        findings += check_t_r(BoldRun(name.run_id, subject, name.path, "", None, t_r), header)
    task_name = next((held["TaskName"] for _, held in sidecars if "TaskName" in held), "")
    summary = RunSummary(
        name.run_id,
        subject,
        name.get("task"),
        name.get("ses"),
        t_r or (header.t_r if header else None),
        header.n_volumes if header else None,
        str(task_name),
    )
    return summary, findings


def check_t_r(run: BoldRun, header: BoldHeader) -> list[Finding]:
    """Compare the repetition time of a sidecar with the header's."""
    try:
        resolve_t_r(run, header)
    except VolumeError as error:
        action = "state RepetitionTime in the image's sidecar (.json)"
        faults = (replace(f, action=f.action if run.t_r else action) for f in error.faults)
        return [Finding(Kind.T_R, fault).of_subject(run.participant_id) for fault in faults]
    return []


def _check_others(root: Path) -> list[Finding]:
    """Check that images other than BOLD are there, and that each subject has a T1w image."""
    findings: list[Finding] = []
    with_t1w: set[str] = set()
    paths = [path for end in VOLUMES for path in root.glob(f"sub-*/**/sub-*.{end}")]
    for path in sorted(path for path in paths if path.parent.name != "func"):
        subject = path.relative_to(root).parts[0]
        with_t1w |= {subject} if path.name.split("_")[-1].startswith("T1w.") else set()
        try:
            read_header(read_start(path), path)
        except VolumeError as error:
            findings += [file_finding(fault).of_subject(subject) for fault in error.faults]
    action = "fetch the image, or leave the person out"
    return findings + [
        Finding(Kind.NO_ANATOMY, Fault(subject, "no T1w image", "one at least", action, subject))
        for subject in find_subjects(root)
        if subject not in with_t1w
    ]


def _absent_runs(
    runs: Sequence[RunSummary], everyone: tuple[str, ...], is_asked_for: bool
) -> list[Finding]:
    """Find subjects without a task, or a session of one, that more than half of the others have."""
    lacking: list[tuple[str, str, int]] = []
    for task in sorted({run.task for run in runs}):
        of_task = [run for run in runs if run.task == task]
        with_task = {run.participant_id for run in of_task}
        n = len(with_task)
        if is_asked_for or 2 * n > len(everyone):
            lacking += [(sub, f"task '{task}'", n) for sub in everyone if sub not in with_task]
        for session in sorted({run.session for run in of_task}):
            there = {run.participant_id for run in of_task if run.session == session}
            if 2 * len(there) > n:
                words = f"task '{task}' in {f'session {session!r}' if session else 'no session'}"
                lacking += [(sub, words, len(there)) for sub in sorted(with_task - there)]
    action = "fetch it, or leave the person out of this task"
    faults = [
        Fault(subject, f"no run of {words}", f"one, as {n} others have", action, subject)
        for subject, words, n in lacking
    ]
    return [Finding(Kind.NO_RUN, fault) for fault in faults]


def _check_all_events(
    root: Path, names: Sequence[BoldName], summaries: dict[str, RunSummary]
) -> list[Finding]:
    findings: list[Finding] = []
    by_task: dict[str, dict[Path, tuple[str, frozenset[str]]]] = {}
    # BIDS wants the names of tasks without events to begin with "rest"
    of_tasks = [name for name in names if not name.get("task").lower().startswith("rest")]
    first = {name.run_id: name for name in reversed(of_tasks)}
    for run_id, name in sorted(first.items()):
        subject = name.participant_id
        paths = inherited_files(root, name, "events.tsv")
        if not paths:
            action = "fetch it; without it no contrast can be made of the run"
            fault = Fault(run_id, "no events.tsv", "one for each task run", action, subject)
            findings.append(Finding(Kind.NO_EVENTS, fault))
            continue
        conditions, wrong = check_events(paths[0], subject, summaries[run_id].length_s)
        findings += wrong
        by_task.setdefault(name.get("task"), {})[paths[0]] = (subject, conditions)
    return findings + [odd for found in by_task.values() for odd in differing_conditions(found)]


def check_derivatives(
    root: Path, raw: Path | None, task: str | None, space: str | None
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
        raise CohortError(
            Fault(str(root), found, accepted, VALIDATOR.task if names else VALIDATOR.root)
        )
    raw = find_raw(root) if raw is None else raw
    runs: list[RunSummary] = []
    findings: list[Finding] = []
    for each in [task] if task is not None else tasks:
        of_task = [name for name in names if name.get("task") == each]
        sessions = sorted({name.get("ses") for name in of_task})
        found_runs: tuple[PreprocessedRun, ...] = ()
        try:
            found_runs, wrong = list_runs(
                of_task, root, each, sessions, space, raw, True, VALIDATOR
            )
        except CohortError as error:
            kind = Kind.CHOICE if any(map(is_usable, of_task)) else Kind.UNUSABLE
            wrong = [Finding(kind, replace(f, where=f"task '{each}'")) for f in error.faults]
        n_subjects = len({name.participant_id for name in of_task})
        if task is None and 2 * n_subjects <= len(find_subjects(root)):
            wrong = [finding for finding in wrong if finding.kind is not Kind.NO_RUN]
        findings += wrong
        for run in found_runs:
            summary, wrong = _check_run(run)
            runs.append(summary)
            findings += wrong
    return tuple(runs), findings + compare_runs(runs)


def _check_run(run: PreprocessedRun) -> tuple[RunSummary, list[Finding]]:
    bold = run.bold
    findings: list[Finding] = []
    header: BoldHeader | None = None
    try:
        with open_bold(bold.path) as file:
            header = file.header
    except VolumeError as error:
        findings += [file_finding(fault) for fault in error.faults]
    if header is not None:
        findings += check_t_r(bold, header)
        try:  # the repetition time is reported by itself
            with check_run(replace(bold, t_r=header.t_r or 1.0), needs_mask=True):
                pass
        except VolumeError as error:
            findings += [file_finding(fault, Kind.MASK) for fault in error.faults]
        if run.confounds is not None:
            findings += _check_confounds(run.confounds, header.n_volumes)
    subject = bold.participant_id
    findings = [each.of_subject(subject) for each in findings]
    t_r = bold.t_r or (header.t_r if header else None)
    n_volumes = header.n_volumes if header else None
    return RunSummary(bold.run_id, subject, run.task, run.session, t_r, n_volumes), findings


def _check_confounds(path: Path, n_volumes: int) -> list[Finding]:
    accepted = f"a row for each of the run's {n_volumes} volumes"
    try:
        check_is_there(path)
        n_rows = len(read_table_file(path, ()))
    except FmnetError as error:
        action = "fetch or write the file again"
        faults = [Fault(str(path), fault.found, accepted, action) for fault in error.faults]
        return [file_finding(fault, Kind.CONFOUNDS) for fault in faults]
    if n_rows == n_volumes:
        return []
    action = "find the confounds that belong to the image"
    return [Finding(Kind.CONFOUNDS, Fault(str(path), f"{n_rows} rows", accepted, action))]


def compare_runs(runs: Sequence[RunSummary]) -> list[Finding]:
    """Find runs that differ from most others of their task in repetition time or task name."""
    findings: list[Finding] = []
    for task in sorted({run.task for run in runs}):
        odd: list[tuple[Kind, RunSummary, str, str, str]] = []
        timed = [(run, run.t_r) for run in runs if run.task == task and run.t_r is not None]
        if timed:
            usual, n = Counter(round(t_r, 3) for _, t_r in timed).most_common(1)[0]
            accepted = f"{usual:g} s, as in {n} of {len(timed)} runs of task '{task}'"
            action = "leave the run out, or study runs of one repetition time only"
            odd += [
                (Kind.OTHER_T_R, run, f"a repetition time of {t_r:g} s", accepted, action)
                for run, t_r in timed
                if abs(t_r - usual) > SAME_T_R * usual
            ]
        named = [run for run in runs if run.task == task and run.task_name]
        if named:
            name, n = Counter(run.task_name for run in named).most_common(1)[0]
            accepted = f"'{name}', as in {n} of {len(named)} runs of task '{task}'"
            action = "find out which task was done, and correct the sidecar or the file's name"
            odd += [
                (Kind.TASK_NAME, run, f"TaskName '{run.task_name}'", accepted, action)
                for run in named
                if run.task_name != name
            ]
        for kind, run, found, accepted, action in odd:
            fault = Fault(run.run_id, found, accepted, action, run.participant_id)
            findings.append(Finding(kind, fault))
    return findings


def check_events(
    path: Path, subject: str, length_s: float | None
) -> tuple[frozenset[str], list[Finding]]:
    """Check a run's ``events.tsv``; `length_s` of the run is None if it isn't known.

    Returns the values of trial_type, and all that is odd.
    """
    try:
        table = read_table_file(path, ("onset", "duration", "trial_type"))
    except CohortError as error:
        return frozenset(), [
            Finding(Kind.EVENTS, Fault(str(path), fault.found, EVENTS, fault.action, subject))
            for fault in error.faults
        ]
    conditions = frozenset(str(value) for value in table["trial_type"] if value)
    return conditions, [_event_finding(path, odd, subject) for odd in _oddities(table, length_s)]


def differing_conditions(found: dict[Path, tuple[str, frozenset[str]]]) -> list[Finding]:
    """Find runs of one task, by events file, whose conditions aren't those of most of its runs."""
    sets = [conditions for _, conditions in found.values() if conditions]
    usual = max(sorted(set(sets), key=sorted), key=sets.count, default=frozenset())
    findings: list[Finding] = []
    for path, (subject, conditions) in found.items():
        if conditions and conditions != usual:
            differences = {"without": usual - conditions, "only here": conditions - usual}
            words = [
                f"{word} {', '.join(map(repr, sorted(names)))}"
                for word, names in differences.items()
                if names
            ]
            odd = f"other conditions than in most runs of the task: {'; '.join(words)}"
            findings.append(_event_finding(path, odd, subject))
    return findings


def _oddities(table: pd.DataFrame, length_s: float | None) -> list[str]:
    table = table[table["trial_type"] != ""]  # the others are no conditions: responses, cues
    if table.empty:
        return ["no event with a trial_type"]
    odd = []
    numbers = {
        name: pd.Series(found.values, table.index)
        for name, found in read_together(table, ("onset", "duration")).items()
    }
    for name, values in numbers.items():
        if lost := int(values.isna().sum()):
            odd.append(f"{_count(lost)} without a number as {name}")
    if short := int((numbers["duration"] < 0).sum()):
        odd.append(f"{_count(short)} of negative duration")
    if early := int((numbers["onset"] < 0).sum()):
        odd.append(f"{_count(early)} before the run begins")
    last = numbers["onset"].max()
    if length_s is not None and last >= length_s:
        late = int((numbers["onset"] >= length_s).sum())
        odd.append(f"{_count(late)} after the end of the run ({last:g} s, it lasts {length_s:g} s)")
    return odd


def _count(n: int) -> str:
    return f"{n} event{'' if n == 1 else 's'}"


def _event_finding(path: Path, found: str, subject: str) -> Finding:
    action = "correct the file, or leave the person out of analyses of this task"
    return Finding(Kind.EVENTS, Fault(str(path), found, EVENTS, action, subject))


def check_participants(
    folders: Sequence[Path], subjects: Sequence[str]
) -> tuple[str, list[Finding]]:
    """Compare the first participants.tsv of these folders with the subjects who have images.

    Returns
    -------
    description : str
        The table's columns and how many subjects are in each group; empty without a table.
    findings : list of Finding
        One per subject and fault, and one per column with cells that can't be right.
    """
    paths = [folder / TABLE for folder in folders]
    path = next((path for path in paths if path.exists() or path.is_symlink()), None)
    accepted = "participant_id, the column to predict (group), age, sex and other covariates"
    if path is None:
        action = "make one; the data set's README may say where its people are described"
        fault = Fault(str(paths[0]), "no such file", f"a table of {accepted}", action)
        return "", [Finding(Kind.NO_TABLE, fault)]
    try:
        table = read_table_file(path, ("participant_id",))
    except CohortError as error:
        return "", [Finding(Kind.NO_TABLE, fault) for fault in error.faults]
    odd = [Finding(Kind.NUMBERS, fault) for fault in number_faults(table)]
    columns: list[str] = []
    for name in table.columns:
        counts = Counter(value for value in table[name] if value)
        is_group = 1 < len(counts) <= MAX_GROUPS and name != "participant_id"
        groups = ", ".join(f"{value} {count}" for value, count in sorted(counts.items()))
        columns.append(f"{name} ({groups})" if is_group else str(name))
    named = Counter(subject_key(subject) for subject in table["participant_id"])
    there = {subject_key(subject): subject for subject in subjects}

    def finding(kind: Kind, subject: str, found: str, action: str) -> Finding:
        accepted = f"one row in {TABLE} and images"
        return Finding(kind, Fault(subject, found, accepted, action, subject))

    findings = [
        finding(Kind.NOT_IN_TABLE, subject, "no row", "add the person's row")
        for key, subject in there.items()
        if key not in named
    ]
    for key, count in named.items():
        subject = there.get(key, f"sub-{key}")
        if key not in there:
            action = "fetch the person's images, or take the row out"
            findings.append(finding(Kind.NO_IMAGES, subject, "no folder of this person", action))
        if count > 1:
            action = "remove the rows that are wrong"
            findings.append(finding(Kind.TWICE_IN_TABLE, subject, f"{count} rows", action))
    return f"{len(table)} rows; {', '.join(columns)}", findings + odd
