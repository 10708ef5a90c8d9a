"""Synthetic BOLD cohorts: a tree as fMRIPrep leaves it, with a known truth; nobody was scanned."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import SeedSequence

from fmnet.bold.bold_cohort import read_bold
from fmnet.bold.settings import CleaningSettings
from fmnet.data.listing import Listing, OnFault
from fmnet.data.nifti import write_series, write_volume
from fmnet.data.tables import write_table
from fmnet.data.volume import Volume
from fmnet.synthetic.bold_brain import (
    FIRST,
    NETWORKS,
    SECOND,
    Anatomy,
    build_anatomy,
    group_correlations,
    network_maps,
)
from fmnet.synthetic.bold_run import build_confounds, draw_run, draw_subject
from fmnet.synthetic.cohort_folder import SPACE, provide_cohort, write_json
from fmnet.synthetic.design import BoldDesign, Design, Task, draw_participants

#: SD of the logarithm of the sites' thermal noise.
SITE_SD = 0.15

README = """SYNTHETIC DATA: made by fmnet's random number generator; nobody was scanned.

For trying out and testing fmnet. What differs between the groups is what the parameters in
dataset_description.json say, and nothing else. Nothing here says anything about fibromyalgia.

sub-*/func/  BOLD runs, brain masks and confounds, named and laid out as fMRIPrep does
truth/       networks; correlations of their time series in each group; what each subject drew

The same parameters give the same data.
"""


def read_synthetic_bold(
    root: str | Path,
    n_subjects: int = 60,
    task: Task = "rest",
    n_volumes: int = 150,
    t_r: float = 2.0,
    voxel_size_mm: int = 12,
    n_runs: int = 1,
    coupling: float = 0.3,
    coupling_sd: float = 0.15,
    task_effect: float = 0.0,
    motion_effect: float = 0.0,
    n_sites: int = 1,
    seed: int = 0,
    cleaning: CleaningSettings | None = None,
    maps: Sequence[str] = ("alff", "falff", "reho"),
    label: str | None = "group",
    on_fault: OnFault = "raise",
) -> Listing:
    """Make a synthetic cohort of BOLD runs, or take the one made before from the same parameters.

    Parameters
    ----------
    root : Path
        Cohorts lie below it, each in a folder of its own, named after a hash of the parameters.
    n_subjects, task, n_volumes, t_r, voxel_size_mm, n_runs, coupling, coupling_sd
        See `fmnet.synthetic.design.BoldDesign`.
    task_effect, motion_effect, n_sites, seed
        See `fmnet.synthetic.design.BoldDesign`.
    cleaning, maps, label, on_fault
        See `fmnet.bold.bold_cohort.read_bold`.

    Raises
    ------
    CohortError
        If parameters are out of range, all of them in one report, or the folder can't be written.
    """
    design = BoldDesign(
        n_subjects=n_subjects,
        task=task,
        n_volumes=n_volumes,
        t_r=t_r,
        voxel_size_mm=voxel_size_mm,
        n_runs=n_runs,
        coupling=coupling,
        coupling_sd=coupling_sd,
        task_effect=task_effect,
        motion_effect=motion_effect,
        n_sites=n_sites,
        seed=seed,
    )
    folder = provide_bold_cohort(Path(root), design)
    return read_bold(folder, label=label, cleaning=cleaning, maps=maps, on_fault=on_fault)


def write_bold_cohort(root: str | Path, **parameters: Any) -> Path:
    """Write a synthetic BOLD cohort as fMRIPrep would leave it, and return its folder.

    Parameters
    ----------
    root : str or Path
        The folder to make; may be empty, or hold the same cohort, which is then left as it is.
    **parameters
        See `fmnet.synthetic.design.BoldDesign`; those left out or None keep their default.

    Raises
    ------
    CohortError
        If parameters are out of range, or the folder holds anything else or can't be written.
    """
    return _provide(Path(root), BoldDesign.given(**parameters), 1)


def provide_bold_cohort(root: str | Path, design: BoldDesign, n_jobs: int = 1) -> Path:
    """Make a synthetic BOLD cohort below `root`, or take one made before from the same parameters.

    Each has a folder of its own, named after a hash of the parameters. The data are the same for
    any `n_jobs`, the number of processes as joblib takes it.

    Raises
    ------
    CohortError
        If the folder can't be written.
    """
    return _provide(Path(root) / f"synthetic-bold-{design.digest[:16]}", design, n_jobs)


def run_names(design: BoldDesign, participant_id: str) -> list[str]:
    """Name the runs of a subject as their files begin: ``sub-01_task-rest_run-1``."""
    name = f"{participant_id}_task-{design.task}"
    return [name] if design.n_runs == 1 else [f"{name}_run-{k + 1}" for k in range(design.n_runs)]


def _provide(root: Path, design: BoldDesign, n_jobs: int) -> Path:
    def files_of(participant_id: str) -> list[str]:
        kinds = f"space-{SPACE}_desc-preproc_bold.nii.gz", "desc-confounds_timeseries.tsv"
        names = run_names(design, participant_id)
        return [f"{participant_id}/func/{name}_{kind}" for name in names for kind in kinds]

    write = partial(_write_subjects, design=design, n_jobs=n_jobs)
    words = "Synthetic BOLD in the layout of fMRIPrep; nobody was scanned."
    return provide_cohort(root, design, words, README, files_of, write)


def _write_subjects(folder: Path, design: BoldDesign, n_jobs: int) -> pd.DataFrame:
    # Starting its pool costs more than a small cohort; nobody else waits for it.
    from joblib import Parallel, delayed

    folder.mkdir(parents=True, exist_ok=True)
    anatomy = build_anatomy(design.voxel_size_mm)
    table_seed, site_seed, subject_seed = SeedSequence(design.seed).spawn(3)
    plain = Design(n_subjects=design.n_subjects, n_sites=design.n_sites)
    participants = draw_participants(plain, table_seed).drop(
        columns=["pain_score", "mean_framewise_displacement"]
    )
    thermal = np.exp(SITE_SD * np.random.default_rng(site_seed).standard_normal(design.n_sites))
    sites = dict(zip([f"site-{k + 1}" for k in range(design.n_sites)], thermal, strict=True))
    work = delayed(_write_subject)
    drawn = Parallel(n_jobs=n_jobs)(
        work(folder, design, anatomy, row, sites[row["site"]] if design.n_sites > 1 else 1.0, seed)
        for row, seed in zip(
            participants.to_dict("records"), subject_seed.spawn(design.n_subjects), strict=True
        )
    )
    if design.n_sites == 1:
        participants = participants.drop(columns="site")
    _write_truth(folder / "truth", design, anatomy, pd.DataFrame(drawn))
    return participants


def _write_subject(
    folder: Path,
    design: BoldDesign,
    anatomy: Anatomy,
    row: dict[str, Any],
    thermal: float,
    seed: SeedSequence,
) -> dict[str, Any]:
    """Write all runs of one subject; return what was drawn."""
    subject_seed, *run_seeds = seed.spawn(1 + design.n_runs)
    subject = draw_subject(design, anatomy, row["group"] == "FM", thermal, subject_seed)
    func = folder / row["participant_id"] / "func"
    func.mkdir(parents=True)
    runs = []
    for name, run_seed in zip(run_names(design, row["participant_id"]), run_seeds, strict=True):
        draw_seed, error_seed = run_seed.spawn(2)
        run = draw_run(design, anatomy, subject, draw_seed)
        runs.append(run)
        grid, stem = anatomy.grid, f"{name}_space-{SPACE}"
        # what the file will hold, so that confounds and volumes agree to the last digit
        written = np.clip(np.rint(run.values), 0, np.iinfo(np.int16).max)
        volumes = np.moveaxis(grid.unmask(written), 0, -1).astype(np.int16)
        write_series(volumes, grid.affine, design.t_r, func / f"{stem}_desc-preproc_bold.nii.gz")
        sidecar = {"RepetitionTime": design.t_r, "SkullStripped": True, "TaskName": design.task}
        write_json(sidecar, func / f"{stem}_desc-preproc_bold.json")
        mask = Volume(grid.mask[None].astype(np.float32), grid.affine, SPACE)
        write_volume(mask, func / f"{stem}_desc-brain_mask.nii.gz")
        errors = np.random.default_rng(error_seed)
        as_written = replace(run, values=written)
        table, meta = build_confounds(as_written, anatomy, design.t_r, design.n_non_steady, errors)
        write_table(table, func / f"{name}_desc-confounds_timeseries.tsv")
        write_json(meta, func / f"{name}_desc-confounds_timeseries.json")
        if run.events is not None:
            write_table(run.events, func / f"{name}_events.tsv")
    series = np.concatenate([run.time_series for run in runs])
    moved = np.concatenate([run.motion.displacement_mm[1:] for run in runs])
    return {
        "participant_id": row["participant_id"],
        "coupling": subject.correlations[FIRST, SECOND],
        "realised_coupling": np.corrcoef(series[:, [FIRST, SECOND]].T)[0, 1],
        "response_percent": subject.response_percent,
        "motion_mm": subject.motion_mm,
        "mean_framewise_displacement": moved.mean(),
    }


def _write_truth(folder: Path, design: BoldDesign, anatomy: Anatomy, drawn: pd.DataFrame) -> None:
    folder.mkdir()
    maps = anatomy.grid.unmask(network_maps(anatomy.grid))
    write_volume(
        Volume(maps, anatomy.grid.affine, SPACE), folder / f"space-{SPACE}_desc-networks.nii.gz"
    )
    names = [network.name for network in NETWORKS]
    for group, side in (("FM", 0.5), ("HC", -0.5)):
        table = pd.DataFrame(group_correlations(side * design.coupling), columns=names)
        table.insert(0, "network", names)
        write_table(table, folder / f"group-{group}_correlations.tsv")
    write_table(
        drawn if design.task == "pain" else drawn.drop(columns="response_percent"),
        folder / "people.tsv",
    )
