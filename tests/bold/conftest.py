"""Fixtures for preprocessed runs: image, mask and confounds as fMRIPrep writes them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from run_tree import RunTree

from fmnet.bold.bids_files import PreprocessedRun
from fmnet.bold.bold_file import BoldRun
from fmnet.bold.confounds import MOTION6
from fmnet.data.grid import Grid
from fmnet.data.nifti import write_series, write_volume
from fmnet.data.template import build_grid
from fmnet.data.volume import Volume
from fmnet.synthetic.bold import write_bold_cohort

RUN_SHAPE = (8, 9, 10)
RUN_AFFINE = np.array([[19.0, 0, 0, -65], [0, 18, 0, -82], [0, 0, 18.5, -75], [0, 0, 0, 1]])
N_VOLUMES = 90
#: Of the synthetic people's runs, the first two of which are not steady.
N_SHORT = 60


@pytest.fixture
def confounds_table(rng: np.random.Generator) -> Callable[..., pd.DataFrame]:
    """Make fMRIPrep's columns; two non-steady volumes, displacement above 0.5 mm in 20 and 69."""

    def build(n_volumes: int = N_VOLUMES) -> pd.DataFrame:
        walks = rng.normal(size=(n_volumes, 6)).cumsum(axis=0) / 50
        motion = pd.DataFrame(walks, columns=list(MOTION6))
        steps = motion.diff().add_suffix("_derivative1")
        names = ["csf", "white_matter", "global_signal", "a_comp_cor_00", "a_comp_cor_01"]
        names += ["cosine00", "cosine01", "std_dvars", "w_comp_cor_00", "t_comp_cor_00"]
        others = pd.DataFrame(rng.normal(size=(n_volumes, len(names))), columns=names)
        squares = [(table**2).add_suffix("_power2") for table in (motion, steps)]
        table = pd.concat([others, motion, steps, *squares], axis=1)
        table["framewise_displacement"] = steps.abs().sum(axis=1, min_count=1)
        table.loc[[20, 69], "framewise_displacement"] = 0.6
        for number in range(2):
            table[f"non_steady_state_outlier{number:02d}"] = (table.index == number) * 1
        return table

    return build


@pytest.fixture
def write_confounds(confounds_table: Callable[..., pd.DataFrame]) -> Callable[..., Path]:
    """Write a confounds file and its JSON; `change` is applied to the table before."""

    def write(path: Path, n_volumes: int = N_VOLUMES, change: Any = None) -> Path:
        table = confounds_table(n_volumes)
        if change is not None:
            table = change(table)
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(path, sep="\t", index=False, na_rep="n/a")
        masks = {"a_comp_cor_00": "combined", "a_comp_cor_01": "combined"}
        facts = {name: {"Mask": mask, "Retained": True} for name, mask in masks.items()}
        path.with_suffix(".json").write_text(json.dumps(facts))
        return path

    return write


@pytest.fixture
def bold_data(rng: np.random.Generator) -> Callable[..., Any]:
    """Draw int16 values, (X, Y, Z, T): slow waves and noise of 1 % around 9000, 0 at one face."""

    def draw(n_volumes: int = N_VOLUMES) -> Any:
        waves = rng.normal(size=(*RUN_SHAPE, n_volumes)).cumsum(axis=-1) * 10
        data = 9000 + waves + 90 * rng.normal(size=(*RUN_SHAPE, n_volumes))
        data[..., :2] += 2000
        data[0] = 0
        return data.astype(np.int16)

    return draw


@pytest.fixture
def write_run(
    tmp_path: Path, write_confounds: Callable[..., Path], bold_data: Callable[..., Any]
) -> Callable[..., PreprocessedRun]:
    """Write a run with mask and confounds, in a folder of its own."""

    def write(
        name: str = "sub-01", n_volumes: int = N_VOLUMES, data: Any = None, change: Any = None
    ) -> PreprocessedRun:
        func = tmp_path / name / "func"
        func.mkdir(parents=True, exist_ok=True)
        path = func / f"{name}_task-rest_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz"
        write_series(bold_data(n_volumes) if data is None else data, RUN_AFFINE, 2.0, path)
        mask = func / f"{name}_task-rest_space-MNI152NLin2009cAsym_desc-brain_mask.nii.gz"
        inside = np.ones((1, *RUN_SHAPE), np.float32)
        inside[:, -1] = 0
        write_volume(Volume(inside, RUN_AFFINE, "MNI152"), mask)
        confounds = func / f"{name}_task-rest_desc-confounds_timeseries.tsv"
        write_confounds(confounds, n_volumes, change)
        return PreprocessedRun(
            BoldRun(name, name, path, "MNI152", mask, 2.0), "rest", confounds=confounds
        )

    return write


@pytest.fixture(scope="session")
def rest_people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight synthetic people with a short run each."""
    root = tmp_path_factory.mktemp("people") / "rest"
    return write_bold_cohort(root, n_subjects=8, n_volumes=N_SHORT, voxel_size_mm=12)


@pytest.fixture(scope="session")
def pain_people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four synthetic people with two short runs of a task each."""
    root = tmp_path_factory.mktemp("people") / "pain"
    knobs = {"n_subjects": 4, "n_volumes": N_SHORT, "voxel_size_mm": 12}
    return write_bold_cohort(root, task="pain", n_runs=2, **knobs)


@pytest.fixture(scope="session")
def coarse_grid() -> Grid:
    """The grid that the synthetic people lie on."""
    return build_grid(12)


@pytest.fixture
def grow_tree(
    tmp_path: Path, rest_people: Path, write_tsv: Callable[..., Path]
) -> Callable[..., RunTree]:
    """Plant runs of the eight people under names of people, whose groups alternate.

    Each name stands for the number of the run that is planted, or for a dict of such numbers by the
    entities between person and task, ``ses-1`` for instance, and task and space, ``run-2``.
    """

    def grow(**people: Any) -> RunTree:
        tree = RunTree(tmp_path / "tree")
        for name, planted in people.items():
            runs = planted if isinstance(planted, dict) else {"": planted}
            for entities, number in runs.items():
                source = rest_people / f"sub-synthetic{number:03d}" / "func"
                tree.plant(source, f"sub-{name}", entities)
        rows = [
            {"participant_id": f"sub-{name}", "group": ("FM", "HC")[k % 2]}
            for k, name in enumerate(people)
        ]
        write_tsv(tree.root / "participants.tsv", rows)
        return tree

    return grow
