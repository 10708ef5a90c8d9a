"""What is wrong with a data set, by kinds: a report to read, and a table of all faults.

With kinds, six hundred faults of one kind can be told in one line.
"""

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import pandas as pd

from fmnet.data.image_files import POINTER
from fmnet.errors import Fault

#: Faults of a kind that are shown in full, and subjects that are named.
N_EXAMPLES, N_NAMES = 3, 8
WIDTH = 100


class Kind(StrEnum):
    """What a fault is about; the value is its headline in a report, in the order of reports."""

    POINTER = "images without content (DataLad pointers)"
    UNREADABLE = "images that can't be read"
    NO_TABLE = "no usable participants.tsv"
    NOT_IN_TABLE = "people with images but without a row in participants.tsv"
    NO_IMAGES = "people in participants.tsv without images"
    TWICE_IN_TABLE = "people with several rows in participants.tsv"
    NUMBERS = "cells of participants.tsv that are no numbers, or stand for a missing one"
    OUTCOME = "what the target lacks"
    NO_ANATOMY = "people without a T1w image, which fMRIPrep needs"
    NO_RUN = "people without a run that is wanted or that most people have"
    NOT_PREPROCESSED = "raw runs that fMRIPrep left nothing of"
    CHOICE = "choices that have to be made"
    UNUSABLE = "runs without a usable preprocessed image"
    REPEATED = "runs that are there more than once"
    SIDECAR = "sidecars (.json) that are missing or damaged"
    TASK_NAME = "sidecars that call a task by another name than most"
    T_R = "repetition times that are wrong, unknown or contradict the header"
    OTHER_T_R = "runs whose repetition time differs from most others of the task"
    NO_EVENTS = "task runs without events"
    EVENTS = "events that look wrong"
    MASK = "masks that are missing or don't belong to the run"
    CONFOUNDS = "confounds that are missing, damaged or of another length than the run"


#: What cures all faults of a kind at once.
CURES = {
    Kind.POINTER: (
        "in the data set's folder: datalad get sub-* (or the part you need: datalad get "
        "sub-*/anat sub-*/func/*_task-NAME_*)"
    )
}


@dataclass(frozen=True)
class Finding:
    """A fault and what it is about."""

    kind: Kind
    fault: Fault

    def of_subject(self, participant_id: str) -> "Finding":
        """Say whose fault it is."""
        return replace(self, fault=replace(self.fault, participant_id=participant_id))


def file_finding(fault: Fault, otherwise: Kind = Kind.UNREADABLE) -> Finding:
    """Tell a file that was not fetched from one that has something else wrong with it."""
    return Finding(Kind.POINTER if fault.found == POINTER else otherwise, fault)


@dataclass(frozen=True)
class RunSummary:
    """A run as its name, sidecar and header describe it.

    Parameters
    ----------
    run_id, participant_id, task, session : str
        ``sub-`` belongs to the subject's id, ``task-`` and ``ses-`` don't to theirs.
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


@dataclass(frozen=True)
class DatasetReport:
    """What a data set holds and what is wrong with it.

    Parameters
    ----------
    raw, derivatives : Path or None
        What was checked.
    subjects : tuple of str
        All with a folder, sorted, with ``sub-``.
    table : str
        What participants.tsv holds; empty without a usable one.
    raw_runs, preprocessed_runs : tuple of RunSummary
        All raw runs, and those preprocessed ones of which all files are there.
    findings : tuple of Finding
        Every fault with its kind.
    target : str
        What a target finds in the tables; empty if none was asked about.
    """

    raw: Path | None
    derivatives: Path | None
    subjects: tuple[str, ...]
    table: str
    raw_runs: tuple[RunSummary, ...]
    preprocessed_runs: tuple[RunSummary, ...]
    findings: tuple[Finding, ...]
    target: str = ""

    @property
    def folders(self) -> tuple[Path, ...]:
        """What was checked; derivatives, which may lie in the raw data set, come first."""
        return tuple(path for path in (self.derivatives, self.raw) if path is not None)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Every fault."""
        return tuple(finding.fault for finding in self.findings)


def describe(report: DatasetReport) -> list[str]:
    """Write the report: what there is, then each kind of fault with a few examples."""
    lines = [
        f"{title}: {folder}"
        for title, folder in (("raw data", report.raw), ("preprocessed", report.derivatives))
        if folder is not None
    ]
    lines += [f"people: {len(report.subjects)}; participants.tsv: {report.table or 'none'}"]
    lines += [*([report.target] if report.target else []), ""]
    for title, runs in (("raw", report.raw_runs), ("preprocessed", report.preprocessed_runs)):
        lines += [*_run_table(title, runs), ""] if runs else []
    subjects = {finding.fault.participant_id for finding in report.findings} - {""}
    if not report.findings:
        return [*lines, "No fault found. Headers were read, volumes were not."]
    faults = _count(len(report.findings), "fault")
    lines.append(f"{faults}, {_count(len(subjects), 'person')} concerned")
    for kind in Kind:
        if found := [finding for finding in report.findings if finding.kind is kind]:
            lines += ["", *_describe_kind(kind, found, report.folders)]
    return lines


def fault_table(report: DatasetReport) -> pd.DataFrame:
    """List all faults, by kind and subject: one row each."""
    order = list(Kind)
    found = sorted(
        report.findings, key=lambda each: (order.index(each.kind), each.fault.participant_id)
    )
    columns = ["participant_id", "where", "found", "accepted", "action"]
    rows = [
        [str(finding.kind), *(getattr(finding.fault, column) for column in columns)]
        for finding in found
    ]
    return pd.DataFrame(rows, columns=["kind", *columns])


def _run_table(title: str, runs: Sequence[RunSummary]) -> Iterator[str]:
    rows = [(title, "session", "people", "runs", "t_r (s)", "volumes")]
    for task, session in sorted({(run.task, run.session) for run in runs}):
        of = [run for run in runs if (run.task, run.session) == (task, session)]
        t_rs = sorted({round(run.t_r, 3) for run in of if run.t_r is not None})
        volumes = sorted(run.n_volumes for run in of if run.n_volumes is not None)
        n_volumes = "unknown"
        if volumes:
            low, high, n_unknown = volumes[0], volumes[-1], len(of) - len(volumes)
            n_volumes = f"{low} to {high}" if low < high else f"{low}"
            n_volumes += f", {n_unknown} unknown" if n_unknown else ""
        n_subjects = len({run.participant_id for run in of})
        t_r = ", ".join(f"{t_r:g}" for t_r in t_rs) or "unknown"
        counts = (str(n_subjects), str(len(of)), t_r, n_volumes)
        rows.append((f"task {task}", session or "-", *counts))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()


def _describe_kind(kind: Kind, found: list[Finding], folders: Sequence[Path]) -> Iterator[str]:
    subjects = sorted({finding.fault.participant_id for finding in found} - {""})
    yield f"{kind}: {len(found)}"
    if subjects:
        named = ", ".join(subjects[:N_NAMES])
        more = f" and {len(subjects) - N_NAMES} more" if len(subjects) > N_NAMES else ""
        yield f"    {_count(len(subjects), 'person')}: {named}{more}"
    accepted = {finding.fault.accepted for finding in found}
    if kind is Kind.POINTER:
        suffixes = Counter(finding.fault.where.split("_")[-1] for finding in found)
        yield from _wrap(", ".join(f"{n} {end}" for end, n in suffixes.most_common()))
    for finding in found[:N_EXAMPLES]:
        text = finding.fault.where
        for folder in folders:
            text = text.removeprefix(f"{folder}/")
        if kind is not Kind.POINTER:  # whose headline says what was found
            text += f": {finding.fault.found}"
            text += f"; accepted: {finding.fault.accepted}" if len(accepted) > 1 else ""
        yield from _wrap(text)
    if len(found) > N_EXAMPLES:
        yield f"    ... and {len(found) - N_EXAMPLES} more"
    if len(accepted) == 1 and kind is not Kind.POINTER:
        yield from _wrap(f"accepted: {accepted.pop()}")
    yield from _wrap(f"to do: {CURES.get(kind, found[0].fault.action)}")


def _wrap(text: str) -> list[str]:
    wrapper = textwrap.TextWrapper(WIDTH, " " * 4, " " * 6)
    wrapper.break_long_words = wrapper.break_on_hyphens = False
    return wrapper.wrap(text)


def _count(n: int, noun: str) -> str:
    if n == 1:
        return f"1 {noun}"
    return f"{n} people" if noun == "person" else f"{n} {noun}s"
