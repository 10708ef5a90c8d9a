"""A tree of runs that were planted in it, and what may happen to them."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib

IMAGE = "desc-preproc_bold.nii.gz"
MASK = "desc-brain_mask.nii.gz"
CONFOUNDS = "desc-confounds_timeseries.tsv"


@dataclass(frozen=True)
class RunTree:
    """Runs under `root`; `file` names one of the files of a run."""

    root: Path

    def plant(self, source: Path, person: str, entities: str = "") -> None:
        """Copy a run with all that belongs to it: ``ses-1``, ``run-2``, ``ses-1 run-2``."""
        wanted = dict(part.split("-") for part in entities.split())
        session = f"ses-{wanted['ses']}" if "ses" in wanted else ""
        run = f"run-{wanted['run']}" if "run" in wanted else ""
        func = self.root / person / session / "func"
        func.mkdir(parents=True, exist_ok=True)
        for path in source.iterdir():
            _, task, *rest = path.name.split("_")
            parts = [person, session, task, run, *rest]
            shutil.copy(path, func / "_".join(part for part in parts if part))

    def file(self, person: str, ending: str, run: str = "") -> Path:
        (found,) = (self.root / f"sub-{person}").rglob(f"*{run}_*{ending}")
        return found

    def state_t_r(self, person: str, t_r: float, run: str = "") -> None:
        """Write another repetition time into header and sidecar."""
        for path in (self.root / f"sub-{person}").rglob(f"*{run}_*{IMAGE}"):
            image = nib.load(path)
            image.header.set_zooms((*image.header.get_zooms()[:3], t_r))
            nib.Nifti1Image(image.dataobj[...], None, image.header).to_filename(path)
            sidecar = path.with_name(path.name.replace(".nii.gz", ".json"))
            sidecar.write_text(json.dumps({"RepetitionTime": t_r}))

    def cut(self, person: str, n_volumes: int) -> None:
        """Keep the first volumes of a run."""
        path = self.file(person, IMAGE)
        image = nib.load(path)
        short = image.dataobj[..., :n_volumes]
        nib.Nifti1Image(short, None, image.header).to_filename(path)
        table = self.file(person, CONFOUNDS)
        lines = table.read_text().splitlines()[: n_volumes + 1]
        table.write_text("\n".join(lines) + "\n")

    def other_confounds(self, person: str, run: str = "") -> None:
        """Turn the rows of the confounds around."""
        table = self.file(person, CONFOUNDS, run)
        head, *rows = table.read_text().splitlines()
        # the first has no derivatives, and first volumes are not steady
        table.write_text("\n".join([head, *rows[:2], *rows[:1:-1]]) + "\n")
