"""Real maps with a known effect planted into half of them."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from annotated_types import Ge

from fmnet.data.files import draft_folder, keep_folder, why_not_written
from fmnet.data.grid import Grid
from fmnet.data.image_files import image_files
from fmnet.data.image_table import find_table_maps, read_image_table
from fmnet.data.listing import Listing, group_scans
from fmnet.data.nifti import read_volume, write_volume
from fmnet.data.resample import place_on_grid
from fmnet.data.scans import Scan
from fmnet.data.tables import write_table
from fmnet.data.template import build_grid
from fmnet.data.volume import FloatArray, Volume
from fmnet.errors import CohortError, Fault, FmnetError, VolumeError
from fmnet.progress.show import track
from fmnet.synthetic.effects import Effect, unit_rms
from fmnet.types import Count, Seed, VoxelSize

#: Part of every folder name: raise it when the same input would give other maps.
INJECTED_FORMAT = 1
PLANTED, PLAIN = "planted", "plain"


def read_injected(
    images: str | Path,
    template: str | Path,
    amplitude: Annotated[float, Ge(0)] = 0.1,
    n_subjects: Count | None = None,
    contrast: str | None = None,
    space: str = "MNI152",
    voxel_size_mm: VoxelSize = 4,
    root: str | Path = "outputs/injected",
    seed: Seed = 0,
) -> Listing:
    """Plant a template into the maps of a random half of the subjects, and list all of them.

    To each voxel is added: amplitude x template (scaled to a root mean square of 1 in the brain) x
    standard deviation of that voxel between subjects. Labels follow the draw and nothing else.

    Parameters
    ----------
    images : Path
        Table of paths as `fmnet.data.image_table.read_image_table` takes it; one map per subject.
    template : Path
        NIfTI map of where the effect lies and which sign it has; any grid.
    amplitude : float
        Size of the effect in standard deviations; 0 plants nothing.
    n_subjects : int, optional
        How many are drawn; all if left out.
    contrast : str, optional
        Which contrast of the table; may be left out where there is only one.
    space : str
        Of the maps and the template.
    voxel_size_mm : int
        Of the grid that the maps are put on first.
    root : Path
        The new maps lie below it, in a folder named after a hash of everything they are made from.
    seed : int
        Of the draw.

    Returns
    -------
    Listing
        Label column ``group``: ``planted`` against ``plain``.

    Raises
    ------
    CohortError
        With all faults of table, maps and template.
    """
    maps = find_table_maps(Path(images), [contrast] if contrast else None, space=space)
    scans, faults = group_scans(maps)
    if len(maps.contrasts) > 1:
        action = "choose one: cohort.contrast=NAME"
        faults.append(Fault("contrasts", ", ".join(maps.contrasts), "one contrast", action))
    if len({scan.participant_id for scan in scans}) < len(scans):
        action = "list one map per person"
        faults.append(Fault("images", "several scans of one person", "one map per person", action))
    if n_subjects is not None and n_subjects > len(scans):
        action = "ask for fewer: cohort.n_subjects"
        faults.append(Fault("n_subjects", str(n_subjects), f"at most {len(scans)}", action))
    if faults:
        raise CohortError(faults)
    rng = np.random.default_rng(seed)
    chosen = [scans[k] for k in sorted(rng.permutation(len(scans))[: n_subjects or len(scans)])]
    names = np.array([PLANTED, PLAIN])[np.arange(len(chosen)) % 2]
    groups = [str(name) for name in rng.permutation(names)]
    digest = _digest(chosen, groups, Path(template), amplitude, voxel_size_mm)
    folder = Path(root) / f"injected-{digest}"
    if not folder.exists():
        _write_whole(folder, chosen, groups, Path(template), amplitude, build_grid(voxel_size_mm))
    listing = read_image_table(
        folder / "images.tsv", folder / "participants.tsv", space=space, positive=PLANTED
    )
    return replace(listing, origin="injected")


def plant(
    values: FloatArray, pattern: FloatArray, is_planted: list[bool], amplitude: float
) -> FloatArray:
    """Add a pattern, (V,), to the maps of some subjects, values (N, V), NaN where missing."""
    present = np.isfinite(values)
    count = np.maximum(present.sum(axis=0), 1)
    deviation = np.where(present, values - np.where(present, values, 0).sum(axis=0) / count, 0)
    noise_sd = np.sqrt((deviation**2).sum(axis=0) / count)
    effect = Effect(unit_rms(np.nan_to_num(pattern))[None], amplitude, noise_sd)
    return effect.plant(values, is_planted).astype(np.float32)


def _digest(
    scans: list[Scan], groups: list[str], template: Path, amplitude: float, voxel_size_mm: int
) -> str:
    digest = hashlib.sha256()
    parameters = [INJECTED_FORMAT, groups, float(amplitude), voxel_size_mm]
    digest.update(json.dumps(parameters).encode())
    faults: list[Fault] = []
    for file in (template, *(scan.files[0] for scan in scans)):
        try:
            for part in image_files(file).values():
                digest.update(part.read_bytes())
        except VolumeError as error:
            faults += error.faults
    if faults:
        raise CohortError(faults)
    return digest.hexdigest()[:16]


def _write_whole(
    folder: Path, scans: list[Scan], groups: list[str], template: Path, amplitude: float, grid: Grid
) -> None:
    """Write next to `folder` and rename, so that the name appears only once all is there."""
    values, pattern = _read_all(scans, template, grid)
    planted = plant(values, pattern, [group == PLANTED for group in groups], amplitude)
    ids = [scan.participant_id for scan in scans]
    files = [f"{scan.scan_id}.nii.gz" for scan in scans]
    images = pd.DataFrame({"participant_id": ids, "path": files})
    participants = pd.DataFrame({"participant_id": ids, "group": groups})
    try:
        with draft_folder(folder) as part:
            for scan, row in zip(scans, planted, strict=True):
                map_ = grid.unmask(row[None], np.nan)
                volume = Volume(map_, grid.affine, scan.space, scan.scan_id)
                write_volume(volume, part / f"{scan.scan_id}.nii.gz")
            write_table(images, part / "images.tsv")
            write_table(participants, part / "participants.tsv")
            keep_folder(part, folder)
    except OSError as error:
        found = why_not_written(error, folder)
        action = "choose another cohort.root"
        raise CohortError(Fault(str(folder), found, "a folder to write to", action)) from error


def _read_all(scans: list[Scan], template: Path, grid: Grid) -> tuple[FloatArray, FloatArray]:
    rows: list[FloatArray] = []
    faults: list[Fault] = []
    jobs = [(scan.files[0], scan.space) for scan in scans] + [(template, scans[0].space)]
    for file, space in track(jobs, "planting maps", len(jobs)):
        try:
            rows.append(place_on_grid(read_volume(file, space), grid)[0])
        except FmnetError as error:
            faults += error.faults
    if faults:
        raise CohortError(faults)
    if not np.nan_to_num(rows[-1]).any():
        action = "give a map with values in the brain"
        found = "no value in the brain other than 0"
        raise CohortError(Fault(str(template), found, "a template with values", action))
    return np.stack(rows[:-1]), rows[-1]
