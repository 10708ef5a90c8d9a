"""What is known of a run once its header has been read, and how it compares with the others."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fmnet.bold.bold_run import SAME_T_R
from fmnet.bold.findings import Finding, Kind
from fmnet.errors import Fault


@dataclass(frozen=True)
class RunSummary:
    """A run as a validator knows it.

    Parameters
    ----------
    run_id, participant_id, task, session : str
        ``sub-`` belongs to the person's id, ``task-`` and ``ses-`` don't to theirs.
    t_r : float or None
        Repetition time in seconds, of the sidecar or else of the header; None if unknown.
    n_volumes : int or None
        None if the header can't be read.
    task_name : str
        What the sidecar calls the task; empty if nothing.
    """

    run_id: str
    participant_id: str
    task: str
    session: str
    t_r: float | None
    n_volumes: int | None
    task_name: str = ""

    @property
    def length_s(self) -> float | None:
        """How long the run lasts, in seconds."""
        known = self.t_r is not None and self.n_volumes is not None
        return self.t_r * self.n_volumes if known else None  # type: ignore[operator]


def compare_runs(runs: Sequence[RunSummary]) -> list[Finding]:
    """Find runs that differ from most others of their task in what all should share."""
    findings: list[Finding] = []
    for task in sorted({run.task for run in runs}):
        of_task = [run for run in runs if run.task == task]
        findings += _other_t_r(of_task) + _other_names(of_task)
    return findings


def _other_t_r(runs: Sequence[RunSummary]) -> list[Finding]:
    known = [(run, run.t_r) for run in runs if run.t_r is not None]
    if not known:
        return []
    counts = Counter(round(t_r, 3) for _, t_r in known)
    usual, n = counts.most_common(1)[0]
    accepted = f"{usual:g} s, as in {n} of {len(known)} runs of task '{runs[0].task}'"
    action = "leave the run out, or study runs of one repetition time only"
    return [
        _finding(Kind.OTHER_T_R, run, f"a repetition time of {t_r:g} s", accepted, action)
        for run, t_r in known
        if abs(t_r - usual) > SAME_T_R * usual
    ]


def _other_names(runs: Sequence[RunSummary]) -> list[Finding]:
    known = [run for run in runs if run.task_name]
    if not known:
        return []
    usual, n = Counter(run.task_name for run in known).most_common(1)[0]
    accepted = f"'{usual}', as in {n} of {len(known)} runs of task '{runs[0].task}'"
    action = "find out which task was done, and correct the sidecar or the file's name"
    return [
        _finding(Kind.TASK_NAME, run, f"TaskName '{run.task_name}'", accepted, action)
        for run in known
        if run.task_name != usual
    ]


def _finding(kind: Kind, run: RunSummary, found: str, accepted: str, action: str) -> Finding:
    return Finding(kind, Fault(run.run_id, found, accepted, action, run.participant_id))
