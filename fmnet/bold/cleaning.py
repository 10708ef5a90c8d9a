"""Cleaning as one matrix for each run, which nilearn makes and which is applied block by block."""

import numpy as np
from numpy.typing import NDArray

from fmnet.bold.confounds import Nuisance
from fmnet.bold.settings import CleaningSettings
from fmnet.data.stored_run import StoredRun
from fmnet.data.volume import FloatArray


def cleaning_matrix(
    nuisance: Nuisance, t_r: float, settings: CleaningSettings
) -> NDArray[np.float64]:
    """Build the matrix that takes drift, confounds and other frequencies out of a run.

    Everything that `nilearn.signal.clean` does without standardising is linear along time, so that
    cleaning the unit vectors tells what it does to any series.

    Returns
    -------
    ndarray, shape (T_kept, T)
        From the volumes as acquired to those that are kept.
    """
    raise NotImplementedError


def clean_values(stored: StoredRun, nuisance: Nuisance, settings: CleaningSettings) -> FloatArray:
    """Clean a run: (T_kept, V) float32, in percent of each voxel's mean over the kept volumes.

    NaN where the run has no data, does not vary, or has a mean that is not positive enough for
    percentages to mean anything.
    """
    raise NotImplementedError
