"""List the scans that a run used, to be read again from disk."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from fmnet.bold.bids_files import parse_name
from fmnet.data.scans import FILE_SEPARATOR
from fmnet.data.tables import read_table_file
from fmnet.errors import ExportError, FmnetError
from fmnet.inference.bold import NewBoldScan, describe_run
from fmnet.inference.bold_contract import CONTRACT
from fmnet.inference.bundle_files import TEXT, optional, read_fields
from fmnet.inference.predict import NewScan


def read_run_scans(run_dir: Path, n_check: int) -> list[NewScan]:
    """Pick scans of maps that the run used, evenly through its list.

    Raises
    ------
    ExportError
        If there is no cohort table.
    """
    return [
        NewScan(row["scan_id"], _files(row["files"]), row["space"])
        for _, row in _pick(read_used(run_dir), n_check).iterrows()
    ]


def read_run_bold_scans(run_dir: Path, n_check: int) -> list[NewBoldScan]:
    """Pick scans of BOLD that the run used, with the files beside theirs.

    Raises
    ------
    ExportError
        If there is no cohort table, or a sidecar is damaged.
    """
    raw = read_raw(run_dir)
    try:
        return [
            NewBoldScan(
                row["scan_id"],
                tuple(describe_run(file, row["space"], raw=raw) for file in _files(row["files"])),
            )
            for _, row in _pick(read_used(run_dir), n_check).iterrows()
        ]
    except FmnetError as error:
        raise ExportError(error.faults) from error


def read_raw(run_dir: Path) -> Path | None:
    """Read where the raw data set of a run's BOLD lies; None if nobody said so."""
    if not (run_dir / CONTRACT).exists():
        return None
    raw = read_fields(run_dir / CONTRACT, {"raw": optional(TEXT)}).get("raw")
    return None if raw is None else Path(raw)


def read_task(run_dir: Path) -> str:
    """Read the task off the names of the runs that were used; empty if there are several."""
    files = [file for files in read_used(run_dir)["files"] for file in _files(files)]
    tasks = {parse_name(file).get("task") for file in files}
    return tasks.pop() if len(tasks) == 1 else ""


def read_used(run_dir: Path) -> pd.DataFrame:
    """Read which scans a run used.

    Raises
    ------
    ExportError
        If there is no cohort table.
    """
    try:
        table = read_table_file(run_dir / "cohort.tsv", ("scan_id", "used", "files", "space"))
    except FmnetError as error:
        raise ExportError(error.faults) from error
    return table[table["used"] == "yes"]


def _pick(used: pd.DataFrame, n_check: int) -> pd.DataFrame:
    return used.iloc[np.unique(np.linspace(0, len(used) - 1, n_check).round().astype(int))]


def _files(joined: str) -> tuple[Path, ...]:
    """Split names, of which `fmnet.data.tables.write_table` spelt out bytes that are no UTF-8."""
    names = re.sub(r"\\u(dc[89a-f][0-9a-f])", lambda match: chr(int(match[1], 16)), joined)
    return tuple(map(Path, names.split(FILE_SEPARATOR)))
