"""Synthetic preprocessed runs with confounds, many of them from few distinct images."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.bold_files import make_run, with_mask
from fmnet.bold.bids_files import PreprocessedRun
from fmnet.bold.bold_file import BoldRun
from fmnet.bold.confounds import DISPLACEMENT, MOTION6, MOTION24, NON_STEADY, TISSUES
from fmnet.data.tables import write_table

#: Volumes at the start that are marked as non-steady.
N_NON_STEADY = 2


def make_preprocessed(
    folder: Path, n_runs: int, n_files: int, shape: tuple[int, int, int], n_volumes: int
) -> list[PreprocessedRun]:
    """Write runs as fMRIPrep names them; each has confounds of its own.

    Parameters
    ----------
    folder : Path
        Made if it isn't there.
    n_runs : int
        How many.
    n_files : int
        Distinct images among them; the others are links to these, to save time and room.
    shape : tuple of int
        Voxels along x, y and z.
    n_volumes : int
        Along time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bold: list[BoldRun] = []
    numbers = tqdm(range(n_runs), desc="making runs", unit="run", leave=False)
    for number in numbers:
        path = folder / f"sub-{number:03d}_task-rest_desc-preproc_bold.nii.gz"
        if number < n_files:
            bold.append(make_run(path, shape, n_volumes, number))
        else:
            os.link(bold[number % n_files].path, path)
            bold.append(with_mask(path, path.with_name(f"mask-{path.name}")))
    return [
        PreprocessedRun(run, "rest", confounds=_write_confounds(run.path, n_volumes, number))
        for number, run in enumerate(bold)
    ]


def _write_confounds(bold: Path, n_volumes: int, seed: int) -> Path:
    """Write 24 motion parameters, tissue means and displacement, as slow as real ones."""
    rng = np.random.default_rng(seed)
    motion = pd.DataFrame(_walks(rng, n_volumes, len(MOTION6)) * 0.05, columns=list(MOTION6))
    steps = motion.diff()
    parts = [motion, steps, motion**2, steps**2]
    table = pd.concat(parts, axis=1).set_axis(list(MOTION24), axis=1)
    table[list(TISSUES)] = 9000 + 20 * _walks(rng, n_volumes, len(TISSUES))
    table[DISPLACEMENT] = steps.abs().sum(axis=1, min_count=1)
    for number in range(N_NON_STEADY):
        table[f"{NON_STEADY}{number:02d}"] = (table.index == number).astype(int)
    path = bold.with_name(bold.name.replace("preproc_bold.nii.gz", "confounds_timeseries.tsv"))
    write_table(table, path)
    return path


def _walks(rng: np.random.Generator, n_volumes: int, n: int) -> NDArray[np.float64]:
    walks: NDArray[np.float64] = rng.normal(size=(n_volumes, n)).cumsum(axis=0) / np.sqrt(n_volumes)
    return walks
