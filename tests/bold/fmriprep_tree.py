"""Tiny trees such as fMRIPrep and BIDS converters write, for tests."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from fmnet.data.nifti import write_series

SHAPE = (7, 8, 9)
AFFINE = np.array([[-20.0, 0, 0, 60], [0, 21, 0, -70], [0, 0, 22, -80], [0, 0, 0, 1]])
MNI = "MNI152NLin2009cAsym"
ANNEX = "../../.git/annex/objects/Kx/Qq/MD5E-s17--32ef.nii.gz/MD5E-s17--32ef.nii.gz"


@dataclass(frozen=True)
class Tree:
    """A tree with a method for each kind of file; names are BIDS stems without ``sub-01_``."""

    root: Path

    def path(self, person: str, name: str, session: str = "") -> Path:
        parts = [person, *([f"ses-{session}"] if session else [])]
        folder = self.root.joinpath(*parts, "anat" if name.endswith("T1w.nii.gz") else "func")
        folder.mkdir(parents=True, exist_ok=True)
        return folder / "_".join([*parts, name])

    def image(
        self, person: str, name: str, session: str = "", n_volumes: int = 5, t_r: float = 2.0
    ) -> Path:
        path = self.path(person, f"{name}_bold.nii.gz", session)
        write_series(np.ones((*SHAPE, n_volumes), np.int16), AFFINE, t_r, path)
        return path

    def sidecar(self, person: str, name: str, session: str = "", content: Any = None) -> Path:
        path = self.path(person, f"{name}_bold.json", session)
        path.write_text(json.dumps({"RepetitionTime": 2.0} if content is None else content))
        return path

    def mask(self, person: str, name: str, session: str = "", affine: Any = AFFINE) -> Path:
        path = self.path(person, f"{name}_desc-brain_mask.nii.gz", session)
        data = np.zeros(SHAPE, np.uint8)
        data[1:5, 1:6, 2:7] = 1
        nib.Nifti1Image(data, affine).to_filename(path)
        return path

    def confounds(self, person: str, name: str, session: str = "", n_rows: int = 5) -> Path:
        path = self.path(person, f"{name}_desc-confounds_timeseries.tsv", session)
        path.write_text("trans_x\trot_x\n" + "0.1\t0\n" * n_rows)
        return path

    def events(self, person: str, name: str, rows: Any = None, session: str = "") -> Path:
        path = self.path(person, f"{name}_events.tsv", session)
        rows = [(1, 2, "a - B"), (5, 2, "c")] if rows is None else rows
        lines = ["onset\tduration\ttrial_type", *("\t".join(map(str, row)) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
        return path

    def t1w(self, person: str) -> Path:
        path = self.path(person, "T1w.nii.gz")
        nib.Nifti1Image(np.ones(SHAPE, np.int16), AFFINE).to_filename(path)
        return path

    def participants(self, people: Any, column: str = "participant_id") -> Path:
        path = self.root / "participants.tsv"
        groups = ("FM", "HC")
        rows = [f"{person}\t{groups[number % 2]}" for number, person in enumerate(people)]
        path.write_text("\n".join([f"{column}\tgroup", *rows]) + "\n")
        return path

    def describe(self, kind: str) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        content = {"Name": "x", "BIDSVersion": "1.8.0", "DatasetType": kind}
        (self.root / "dataset_description.json").write_text(json.dumps(content))

    def preprocessed(
        self,
        person: str,
        name: str = "task-rest",
        session: str = "",
        output: str = f"space-{MNI}",
        n_volumes: int = 5,
        t_r: float = 2.0,
    ) -> Path:
        """Write a run as fMRIPrep does, with all that belongs to it."""
        whole = f"{name}_{output}" if output else name
        self.sidecar(person, f"{whole}_desc-preproc", session, {"RepetitionTime": t_r})
        self.mask(person, whole, session)
        self.confounds(person, name, session, n_volumes)
        return self.image(person, f"{whole}_desc-preproc", session, n_volumes, t_r)

    def raw(self, person: str, name: str = "task-rest", **options: Any) -> Path:
        """Write a raw run with its sidecar and, of a task, events."""
        task = name.split("_")[0].removeprefix("task-")
        self.sidecar(
            person, name, content={"RepetitionTime": options.get("t_r", 2.0), "TaskName": task}
        )
        if task != "rest":
            self.events(person, name)
        return self.image(person, name, **options)


def make_pointer(path: Path) -> Path:
    """Put a DataLad link without content in the place of a file."""
    path.unlink()
    path.symlink_to(ANNEX)
    return path
