"""Preprocessed runs of a folder that fMRIPrep wrote."""

from dataclasses import dataclass
from pathlib import Path

from fmnet.bold.preprocessed import PreprocessedRun
from fmnet.errors import Fault


@dataclass(frozen=True)
class RunListing:
    """Runs found, everyone with a folder, and what is wrong."""

    runs: tuple[PreprocessedRun, ...]
    everyone: tuple[str, ...]
    faults: tuple[Fault, ...]


def find_runs(root: Path, task: str | None = None, space: str | None = None) -> RunListing:
    """List the preprocessed runs of a tree."""
    raise NotImplementedError
