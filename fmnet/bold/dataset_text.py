"""A data set's report for reading on a terminal, and its faults as a table."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from fmnet.bold.checked_runs import RunSummary
from fmnet.bold.dataset import DatasetReport
from fmnet.bold.findings import Finding, Kind
from fmnet.errors import Fault

#: Faults of a kind that are shown in full, and people that are named.
N_EXAMPLES, N_NAMES = 3, 8
#: What cures all faults of a kind at once.
CURES = {
    Kind.POINTER: (
        "in the data set's folder: datalad get sub-* (or the part you need: datalad get "
        "sub-*/anat sub-*/func/*_task-NAME_*)"
    )
}
WIDTH = 100


def describe(report: DatasetReport) -> list[str]:
    """Write the report: what there is, then each kind of fault with a few examples."""
    lines = [
        f"{title}: {folder}"
        for title, folder in (("raw data", report.raw), ("preprocessed", report.derivatives))
        if folder is not None
    ]
    lines += [f"people: {len(report.people)}; participants.tsv: {report.table or 'none'}", ""]
    for title, runs in (("raw", report.raw_runs), ("preprocessed", report.preprocessed_runs)):
        lines += [*_run_table(title, runs), ""] if runs else []
    people = {finding.fault.participant_id for finding in report.findings} - {""}
    if not report.findings:
        return [*lines, "No fault found. Headers were read, volumes were not."]
    faults = _count(len(report.findings), "fault")
    lines.append(f"{faults}, {_count(len(people), 'person')} concerned")
    for kind in Kind:
        if found := [finding for finding in report.findings if finding.kind is kind]:
            lines += ["", *_describe_kind(kind, found, report.folders)]
    return lines


def fault_table(report: DatasetReport) -> pd.DataFrame:
    """List all faults, by kind and person: one row each."""
    order = list(Kind)
    found = sorted(
        report.findings, key=lambda each: (order.index(each.kind), each.fault.participant_id)
    )
    rows = [
        {
            "kind": str(finding.kind),
            "participant_id": finding.fault.participant_id,
            "where": finding.fault.where,
            "found": finding.fault.found,
            "accepted": finding.fault.accepted,
            "action": finding.fault.action,
        }
        for finding in found
    ]
    columns = ["kind", "participant_id", "where", "found", "accepted", "action"]
    return pd.DataFrame(rows, columns=columns)


def _run_table(title: str, runs: Sequence[RunSummary]) -> Iterator[str]:
    rows = [(title, "session", "people", "runs", "t_r (s)", "volumes")]
    for task, session in sorted({(run.task, run.session) for run in runs}):
        of = [run for run in runs if (run.task, run.session) == (task, session)]
        t_rs = sorted({round(run.t_r, 3) for run in of if run.t_r is not None})
        volumes = sorted(run.n_volumes for run in of if run.n_volumes is not None)
        people = len({run.participant_id for run in of})
        rows.append(
            (
                f"task {task}",
                session or "-",
                str(people),
                str(len(of)),
                ", ".join(f"{t_r:g}" for t_r in t_rs) or "unknown",
                _range(volumes, len(of)),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()


def _range(volumes: list[int], n_runs: int) -> str:
    if not volumes:
        return "unknown"
    spread = f"{volumes[0]} to {volumes[-1]}" if volumes[0] < volumes[-1] else str(volumes[0])
    unknown = n_runs - len(volumes)
    return f"{spread}, {unknown} unknown" if unknown else spread


def _describe_kind(kind: Kind, found: list[Finding], folders: Sequence[Path]) -> Iterator[str]:
    people = sorted({finding.fault.participant_id for finding in found} - {""})
    yield f"{kind}: {len(found)}"
    if people:
        named = ", ".join(people[:N_NAMES])
        more = f" and {len(people) - N_NAMES} more" if len(people) > N_NAMES else ""
        yield f"    {_count(len(people), 'person')}: {named}{more}"
    accepted = {finding.fault.accepted for finding in found}
    is_shared = len(accepted) == 1
    if kind is Kind.POINTER:
        suffixes = Counter(finding.fault.where.split("_")[-1] for finding in found)
        yield from _wrap(", ".join(f"{n} {end}" for end, n in suffixes.most_common()), "    ")
    for finding in found[:N_EXAMPLES]:
        yield from _wrap(_example(finding.fault, kind, folders, is_shared), "    ")
    if len(found) > N_EXAMPLES:
        yield f"    ... and {len(found) - N_EXAMPLES} more"
    if is_shared and kind is not Kind.POINTER:
        yield from _wrap(f"accepted: {accepted.pop()}", "    ")
    yield from _wrap(f"to do: {CURES.get(kind, found[0].fault.action)}", "    ")


def _example(fault: Fault, kind: Kind, folders: Sequence[Path], is_shared: bool) -> str:
    where = fault.where
    for folder in folders:
        where = where.removeprefix(f"{folder}/")
    if kind is Kind.POINTER:  # the headline says what was found
        return where
    accepted = "" if is_shared else f"; accepted: {fault.accepted}"
    return f"{where}: {fault.found}{accepted}"


def _wrap(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _count(n: int, noun: str) -> str:
    if n == 1:
        return f"1 {noun}"
    return f"{n} people" if noun == "person" else f"{n} {noun}s"
