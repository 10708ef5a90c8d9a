"""Time courses of networks and of an atlas's regions."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fmnet.data.grid import Grid
from fmnet.data.nifti import read_volume
from fmnet.data.resample import nearest_on_grid
from fmnet.data.volume import FloatArray
from fmnet.errors import ConfigError, Fault

Courses = NDArray[np.float64]
Regions = NDArray[np.int64]

#: In percent of the mean; below it is rounding.
SMALLEST_SD = 1e-6
#: Fewer regions have next to no connections.
MIN_REGIONS = 3


def network_courses(values: FloatArray, maps: FloatArray) -> Courses:
    """Fit each volume by maps and a constant, as the first stage of dual regression does.

    The constant takes up what all voxels share, such as what breathing and motion do to the whole
    brain.

    Parameters
    ----------
    values : ndarray, shape (T, V)
        NaN where there are no data.
    maps : ndarray, shape (K, V)
        One per network; all of them 0 where nothing is known of networks.

    Returns
    -------
    ndarray, shape (T, K)
        See `standardise_courses`.
    """
    known = np.isfinite(values).all(axis=0) & maps.any(axis=0)
    design = maps[:, known].astype(np.float64)
    design -= design.mean(axis=1, keepdims=True)
    weights = np.linalg.pinv(design).astype(np.float32)  # (V_known, K)
    return standardise_courses(values[:, known] @ weights)


def region_courses(values: FloatArray, regions: Regions) -> Courses:
    """Average voxels by region.

    Parameters
    ----------
    values : ndarray, shape (T, V)
        NaN where there are no data.
    regions : ndarray of int, shape (V,)
        From 0 on; -1 for voxels of none.

    Returns
    -------
    ndarray, shape (T, R)
        See `standardise_courses`; 0 for regions of which the scan has no voxel.
    """
    known = np.isfinite(values).all(axis=0)
    courses = np.zeros((len(values), int(regions.max()) + 1))
    for region in range(courses.shape[1]):
        if (inside := known & (regions == region)).any():
            courses[:, region] = values[:, inside].mean(axis=1, dtype=np.float64)
    return standardise_courses(courses)


def standardise_courses(courses: NDArray[np.floating]) -> Courses:
    """Give each course, (T, R), mean 0 and SD 1 over time; those that don't vary are 0.

    How large signals are differs between scanners, and is no connection.
    """
    centred = courses.astype(np.float64) - courses.mean(axis=0, dtype=np.float64)
    sd = centred.std(axis=0)
    return np.asarray(centred / np.where(sd > SMALLEST_SD, sd, np.inf))


def read_regions(path: Path, space: str, grid: Grid) -> Regions:
    """Put an atlas of labels on the grid by nearest neighbour.

    Parameters
    ----------
    path : Path
        NIfTI image of whole numbers, 0 for no region, any grid.
    space : str
        One of `fmnet.data.volume.MNI_SPACES`.
    grid : Grid
        Where it goes.

    Returns
    -------
    ndarray of int, shape (V,)
        Numbered from 0 in the order of the labels, without those that have no voxel in the mask; -1
        for voxels of none.

    Raises
    ------
    VolumeError
        If the image can't be read.
    ConfigError
        If it is no atlas of labels, or has too few regions in the mask.
    """
    volume = read_volume(path, space)
    labels = np.nan_to_num(volume.data[0])
    if (labels != np.rint(labels)).any() or (labels < 0).any():
        found, action = "values that are no whole numbers from 0 on", "give an atlas of labels"
        raise ConfigError(Fault(str(path), found, "one whole number for each region", action))
    found_labels = np.nan_to_num(nearest_on_grid(volume, grid))
    kept, numbers = np.unique(found_labels, return_inverse=True)
    n_regions = int((kept > 0).sum())
    if n_regions < MIN_REGIONS:
        found = f"{n_regions} regions with a voxel in the mask"
        action = "check space and affine of the atlas, or give one of more regions"
        raise ConfigError(Fault(str(path), found, f"{MIN_REGIONS} or more", action))
    return numbers.astype(np.int64) - int(kept[0] == 0)
