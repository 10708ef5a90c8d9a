"""Real BOLD runs of one person, and maps of two conditions in each.

The person: subject 1 of Haxby et al. (2001, Science, 293), in the layout of OpenfMRI, who saw
pictures of eight categories in 12 runs, each category in one block of each run. The runs are in
the person's own space.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnet.bold.acquired import AcquiredRun
from fmnet.bold.bids_files import PreprocessedRun
from fmnet.bold.bold_file import BoldRun
from fmnet.bold.confounds import Nuisance
from fmnet.bold.decoded import DecodedBold, StoredRun, open_runs
from fmnet.bold.maps import compute_maps, parse_maps
from fmnet.bold.settings import CleaningSettings
from fmnet.data.cohort import Cohort
from fmnet.data.grid import Grid
from fmnet.data.listing import Labels, Listing
from fmnet.data.nifti import read_volume
from fmnet.data.scans import Scan, StoredScan
from fmnet.data.store import ArrayStore
from fmnet.data.values import inside_mask
from fmnet.data.volume import OWN_SPACE, FloatArray
from fmnet.errors import BenchmarkError, Fault

RUNS = "haxby2001/sub001/BOLD/task001_run*"
EVENTS, MOTION = "bold_events.tsv", "bold_moest.txt"
PERSON, TASK = "sub-001", "objects"
#: Where a head's surface is taken to lie, in mm from its centre, for framewise displacement.
HEAD_MM = 50.0
MOTION_NAMES = ("rot_x", "rot_y", "rot_z", "trans_x", "trans_y", "trans_z")


@dataclass(frozen=True, eq=False)
class RunMaps:
    """Maps of the two conditions in each run.

    Parameters
    ----------
    cohort : Cohort
        The maps as folds and models know them: a run is what a person is elsewhere, and has one map
        of each condition. There are no files.
    values : ndarray of float32, shape (N, 1, V)
        z of each condition against the rest of its run.
    runs : DataFrame
        One row per run: ``run, volumes, t_r, mean_fd_mm, coverage``.
    """

    cohort: Cohort
    values: FloatArray
    runs: pd.DataFrame


def make_run_maps(
    data: Path, image: str, mask: str, conditions: tuple[str, str], store: Path
) -> RunMaps:
    """Read all runs, model them, and list their maps.

    Parameters
    ----------
    data : Path
        Folder with ``haxby2001``.
    image : str
        Name of the 4-D file in each run's folder.
    mask : str
        Brain mask on its grid, a path in `data`.
    conditions : tuple of str
        Trial types: the positive class and the negative.
    store : Path
        Where decoded runs are kept.

    Raises
    ------
    BenchmarkError
        If there are no runs.
    FmnetError
        With what is wrong with a run's files.
    """
    runs = list_runs(data, image, mask)
    volume = read_volume(data / mask, OWN_SPACE)
    grid = Grid(inside_mask(volume), volume.affine, OWN_SPACE)
    stored = open_runs([run.bold for run in runs], ArrayStore(store, DecodedBold(grid)))
    sources = [
        AcquiredRun(run, one, read_motion(run, one.n_volumes), CleaningSettings("motion6"))
        for run, one in zip(runs, stored, strict=True)
    ]
    recipes = parse_maps([f"contrast:{name}={name}" for name in conditions], "suite.conditions")
    maps = np.stack([compute_maps([source], recipes) for source in sources])  # (R, 2, V)
    names = [run.bold.run_id for run in runs]
    cohort = _list_maps(names, conditions, grid)
    return RunMaps(cohort, maps.reshape(-1, 1, grid.n_voxels), _describe(names, stored, sources))


def list_runs(data: Path, image: str, mask: str) -> list[PreprocessedRun]:
    """Find the person's runs."""
    folders = sorted(data.glob(RUNS))
    if not folders:
        raise BenchmarkError(
            Fault(
                str(data),
                "no run",
                f"a folder with {RUNS}/{image}, {EVENTS} and {MOTION}",
                "name the folder of Haxby's data in suite.data=FOLDER",
            )
        )
    return [
        PreprocessedRun(
            BoldRun(f"run-{number:02d}", PERSON, folder / image, OWN_SPACE, mask=data / mask),
            TASK,
            run=str(number),
            events=folder / EVENTS,
        )
        for number, folder in enumerate(folders, 1)
    ]


def read_motion(run: PreprocessedRun, n_volumes: int) -> Nuisance:
    """Read the six motion parameters beside a run: rotations in radians, then shifts in mm."""
    path = run.bold.path.with_name(MOTION)
    try:
        motion = np.loadtxt(path, ndmin=2)
        found = f"a table of shape {motion.shape}"
    except (OSError, ValueError) as error:
        motion, found = np.empty((0, 0)), str(error)
    shape = (n_volumes, len(MOTION_NAMES))
    if motion.shape != shape:
        action = "fetch the file that belongs to the run"
        raise BenchmarkError(Fault(str(path), found, f"numbers of shape {shape}", action))
    kept = np.arange(n_volumes)
    return Nuisance(motion, MOTION_NAMES, kept, 0, 0, _displacement(motion), "")


def _displacement(motion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Framewise displacement in mm (Power et al., 2012, NeuroImage, 59): (T,)."""
    moved = np.abs(np.diff(motion, axis=0)) @ np.repeat([HEAD_MM, 1.0], 3)
    return np.concatenate([[np.nan], moved])


def _list_maps(names: Sequence[str], conditions: tuple[str, str], grid: Grid) -> Cohort:
    scans = tuple(
        Scan(f"{name}_{condition}", name, (), grid.space, condition)
        for name in names
        for condition in conditions
    )
    people = pd.DataFrame({"participant_id": names})
    listing = Listing(scans, ("z",), "z", people, Labels("condition", *conditions), origin="haxby")
    stored = tuple(StoredScan(Path(scan.scan_id), (), (), ()) for scan in scans)
    return Cohort(scans, stored, listing, grid)


def _describe(
    names: Sequence[str], stored: Sequence[StoredRun], sources: Sequence[AcquiredRun]
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "run": names,
            "volumes": [one.n_volumes for one in stored],
            "t_r": [one.t_r for one in stored],
            "mean_fd_mm": [source.nuisance.mean_fd_mm for source in sources],
            "coverage": [one.facts.coverage for one in stored],
        }
    )
