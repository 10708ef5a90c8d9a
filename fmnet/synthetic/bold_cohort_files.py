"""Synthetic BOLD cohorts: a tree as fMRIPrep leaves it, with a known truth; nobody was scanned."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import SeedSequence

from fmnet.data.bids import SYNTHETIC_MARK
from fmnet.data.nifti import write_series, write_volume
from fmnet.data.tables import write_table
from fmnet.data.volume import Volume
from fmnet.synthetic.bold_anatomy import Anatomy, build_anatomy
from fmnet.synthetic.bold_confounds import build_confounds
from fmnet.synthetic.bold_design import BOLD_COHORT_FORMAT, BoldDesign
from fmnet.synthetic.bold_networks import (
    FIRST,
    NETWORKS,
    SECOND,
    group_correlations,
    network_maps,
)
from fmnet.synthetic.bold_run import Person, SyntheticRun, draw_person, draw_run
from fmnet.synthetic.maps_cohort import COLUMNS, DESCRIPTION, SPACE
from fmnet.synthetic.maps_design import Design, draw_people
from fmnet.synthetic.whole_folder import provide_folder

#: Spread of the sites' thermal noise, as SD of its logarithm.
SITE_SPREAD = 0.15

README = """SYNTHETIC DATA: made by fmnet's random number generator; nobody was scanned.

For trying out and testing fmnet. What differs between the groups is what the knobs in
dataset_description.json say, and nothing else. Nothing here says anything about fibromyalgia.

sub-*/func/  BOLD runs, brain masks and confounds, named and laid out as fMRIPrep does
truth/       networks; correlations of their time courses in each group; what each person drew

The same knobs give the same data.
"""


def write_bold_cohort(root: str | Path, **knobs: Any) -> Path:
    """Write a synthetic BOLD cohort as fMRIPrep would leave it.

    Parameters
    ----------
    root : str or Path
        The folder to make; may be empty, or hold the same cohort, which is then left as it is.
    **knobs
        See `fmnet.synthetic.bold_design.BoldDesign`; those left out or None keep their default.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    CohortError
        If knobs are out of range, or the folder holds anything else or can't be written.
    """
    given = {name: value for name, value in knobs.items() if value is not None}
    return _provide(Path(root), BoldDesign(**given), 1)


def provide_bold_cohort(root: str | Path, design: BoldDesign, n_jobs: int = 1) -> Path:
    """Make a synthetic BOLD cohort below `root`, or take the one made before from the same knobs.

    Parameters
    ----------
    root : str or Path
        Cohorts lie below it, each in a folder of its own, named after a hash of the knobs.
    design : BoldDesign
        The knobs.
    n_jobs : int
        Processes, as joblib takes them; the data are the same however many there are.

    Raises
    ------
    CohortError
        If the folder can't be written.
    """
    return _provide(Path(root) / f"synthetic-bold-{design.digest[:16]}", design, n_jobs)


def run_names(design: BoldDesign, participant_id: str) -> list[str]:
    """Name the runs of a person as their files begin: ``sub-01_task-rest_run-1``."""
    name = f"{participant_id}_task-{design.task}"
    return [name] if design.n_runs == 1 else [f"{name}_run-{k + 1}" for k in range(design.n_runs)]


def _provide(root: Path, design: BoldDesign, n_jobs: int) -> Path:
    write = partial(_write_tree, design=design, n_jobs=n_jobs)
    return provide_folder(root, write, partial(_is_same, design=design))


def _is_same(root: Path, design: BoldDesign) -> bool:
    """Tell whether the folder holds this very cohort, finished and complete."""
    try:
        stated = json.loads((root / DESCRIPTION).read_text(encoding="utf-8"))
        table = pd.read_csv(root / "participants.tsv", sep="\t", dtype=str)
    except (OSError, ValueError):
        return False
    ids = [str(person) for person in table.get("participant_id", ())]
    files = [
        root / person / "func" / f"{name}_{kind}"
        for person in ids
        for name in run_names(design, person)
        for kind in (f"space-{SPACE}_desc-preproc_bold.nii.gz", "desc-confounds_timeseries.tsv")
    ]
    complete = len(ids) == design.n_subjects and all(path.is_file() for path in files)
    return bool(stated == _description(design)) and complete


def _write_tree(folder: Path, design: BoldDesign, n_jobs: int) -> None:
    # Starting its pool costs more than a small cohort; nobody else waits for it.
    from joblib import Parallel, delayed

    folder.mkdir(parents=True, exist_ok=True)
    anatomy = build_anatomy(design.voxel_size_mm)
    people_seed, site_seed, person_seed = SeedSequence(design.seed).spawn(3)
    plain = Design(n_subjects=design.n_subjects, n_sites=design.n_sites)
    people = draw_people(plain, people_seed).drop(
        columns=["pain_score", "mean_framewise_displacement"]
    )
    thermal = np.exp(SITE_SPREAD * np.random.default_rng(site_seed).standard_normal(design.n_sites))
    sites = dict(zip([f"site-{k + 1}" for k in range(design.n_sites)], thermal, strict=True))
    work = delayed(_write_person)
    drawn = Parallel(n_jobs=n_jobs)(
        work(folder, design, anatomy, row, sites[row["site"]] if design.n_sites > 1 else 1.0, seed)
        for row, seed in zip(
            people.to_dict("records"), person_seed.spawn(design.n_subjects), strict=True
        )
    )
    if design.n_sites == 1:
        people = people.drop(columns="site")
    _write_truth(folder / "truth", design, anatomy, pd.DataFrame(drawn))
    write_table(people, folder / "participants.tsv")
    _write_json({name: COLUMNS[name] for name in people.columns[1:]}, folder / "participants.json")
    (folder / "README").write_text(README, encoding="utf-8")
    _write_json(_description(design), folder / DESCRIPTION)


def _write_person(
    folder: Path,
    design: BoldDesign,
    anatomy: Anatomy,
    row: dict[str, Any],
    thermal: float,
    seed: SeedSequence,
) -> dict[str, Any]:
    """Write all runs of one person; return what was drawn."""
    person_seed, *run_seeds = seed.spawn(1 + design.n_runs)
    person = draw_person(design, anatomy, row["group"] == "FM", thermal, person_seed)
    func = folder / row["participant_id"] / "func"
    func.mkdir(parents=True)
    runs = []
    for name, run_seed in zip(run_names(design, row["participant_id"]), run_seeds, strict=True):
        draw_seed, error_seed = run_seed.spawn(2)
        run = draw_run(design, anatomy, person, draw_seed)
        runs.append(run)
        _write_run(func, name, design, anatomy, run, np.random.default_rng(error_seed))
    return _drawn(row["participant_id"], person, runs)


def _write_run(
    func: Path,
    name: str,
    design: BoldDesign,
    anatomy: Anatomy,
    run: SyntheticRun,
    rng: np.random.Generator,
) -> None:
    grid, stem = anatomy.grid, f"{name}_space-{SPACE}"
    # what the file will hold, so that confounds and volumes agree to the last digit
    written = np.clip(np.rint(run.values), 0, np.iinfo(np.int16).max)
    volumes = np.moveaxis(grid.unmask(written), 0, -1).astype(np.int16)
    write_series(volumes, grid.affine, design.t_r, func / f"{stem}_desc-preproc_bold.nii.gz")
    sidecar = {"RepetitionTime": design.t_r, "SkullStripped": True, "TaskName": design.task}
    _write_json(sidecar, func / f"{stem}_desc-preproc_bold.json")
    mask = Volume(grid.mask[None].astype(np.float32), grid.affine, SPACE)
    write_volume(mask, func / f"{stem}_desc-brain_mask.nii.gz")
    as_written = replace(run, values=written)
    table, meta = build_confounds(as_written, anatomy, design.t_r, design.n_non_steady, rng)
    write_table(table, func / f"{name}_desc-confounds_timeseries.tsv")
    _write_json(meta, func / f"{name}_desc-confounds_timeseries.json")
    if run.events is not None:
        write_table(run.events, func / f"{name}_events.tsv")


def _drawn(participant_id: str, person: Person, runs: list[SyntheticRun]) -> dict[str, Any]:
    courses = np.concatenate([run.time_courses for run in runs])
    moved = np.concatenate([run.motion.displacement_mm[1:] for run in runs])
    return {
        "participant_id": participant_id,
        "coupling": person.correlations[FIRST, SECOND],
        "realised_coupling": np.corrcoef(courses[:, [FIRST, SECOND]].T)[0, 1],
        "response_percent": person.response_percent,
        "motion_mm": person.motion_mm,
        "mean_framewise_displacement": moved.mean(),
    }


def _write_truth(folder: Path, design: BoldDesign, anatomy: Anatomy, people: pd.DataFrame) -> None:
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
        people if design.task == "pain" else people.drop(columns="response_percent"),
        folder / "people.tsv",
    )


def _description(design: BoldDesign) -> dict[str, Any]:
    return {
        "Name": SYNTHETIC_MARK,
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": "fmnet",
                "Description": "Synthetic BOLD in the layout of fMRIPrep; nobody was scanned.",
                "Format": BOLD_COHORT_FORMAT,
                "Knobs": design.knobs,
            }
        ],
    }


def _write_json(content: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
