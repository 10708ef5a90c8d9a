"""Small time series on disk whose classes differ in how two places go together."""

from pathlib import Path

import numpy as np
from cohort_fixtures import list_cohort

from fmnet.data.grid import Grid
from fmnet.data.scans import Series
from fmnet.inference.preparation import PreparationSettings
from fmnet.training.scan_set import SeriesScans

SHAPE = (5, 6, 7)


def make_grid() -> Grid:
    mask = np.ones(SHAPE, dtype=bool)
    mask[0, 0, :2] = False
    return Grid(mask, np.diag([12.0, 12.0, 12.0, 1.0]), "MNI152")


def write_series(folder: Path, name: str, runs) -> Series:
    """Write the runs of a scan, (T, V) each."""
    paths = tuple(folder / f"{name}-{number}.npy" for number in range(len(runs)))
    for path, values in zip(paths, runs, strict=True):
        np.save(path, np.asarray(values, dtype=np.float32))
    return Series(paths, tuple(map(len, runs)), 2.0)


def draw_run(rng, grid: Grid, n_volumes: int, is_coupled: bool):
    """Noise with two networks, which share their course in one class."""
    courses = rng.normal(size=(n_volumes, 2))
    if is_coupled:
        courses[:, 1] = courses[:, 0] + 0.1 * courses[:, 1]
    values = 0.3 * rng.normal(size=(n_volumes, grid.n_voxels))
    half = grid.n_voxels // 2
    values[:, :half] += courses[:, :1]
    values[:, half:] += courses[:, 1:]
    return values


def make_series_cohort(folder: Path, n=12, window_volumes=0, lengths=(20, 24, 31)) -> SeriesScans:
    """Scans of several lengths whose labels alternate."""
    rng, grid = np.random.default_rng(0), make_grid()
    labels = np.arange(n) % 2
    series = tuple(
        write_series(folder, f"s{k}", [draw_run(rng, grid, lengths[k % len(lengths)], labels[k])])
        for k in range(n)
    )
    return fitted_series(series, labels, window_volumes)


def fitted_series(series, labels, window_volumes=0) -> SeriesScans:
    """Scans of these series, whose maps are all 0."""
    cohort = list_cohort(labels, make_grid(), ("alff",))
    maps = np.zeros((len(labels), 1, cohort.grid.n_voxels), np.float32)
    scans = SeriesScans(
        cohort, maps, PreparationSettings(), tuple(series), window_volumes=window_volumes
    )
    return scans.fit(np.arange(len(labels)))
