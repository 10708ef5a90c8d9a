"""What a run's confounds file says: regressors, volumes to leave out, head motion."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fmnet.bold.preprocessed import PreprocessedRun
from fmnet.bold.settings import CleaningSettings


@dataclass(frozen=True, eq=False)
class Nuisance:
    """What is not brain activity in a run.

    Parameters
    ----------
    regressors : ndarray of float64, shape (T, n)
        T volumes as acquired; no NaN; n may be 0.
    names : tuple of str
        Of the n regressors, as in the confounds file.
    kept : ndarray of int, shape (T_kept,)
        Numbers of the volumes that are left without non-steady and scrubbed ones, ascending.
    n_non_steady, n_scrubbed : int
        Volumes left out for either reason.
    framewise_displacement_mm : ndarray of float64, shape (T,)
        NaN where not stated, as for the first volume.
    sha256 : str
        Hash of the confounds file; empty without one.
    """

    regressors: NDArray[np.float64]
    names: tuple[str, ...]
    kept: NDArray[np.intp]
    n_non_steady: int
    n_scrubbed: int
    framewise_displacement_mm: NDArray[np.float64]
    sha256: str

    @property
    def mean_fd_mm(self) -> float:
        """Mean framewise displacement in mm over the volumes where it is stated; NaN if none."""
        known = self.framewise_displacement_mm[np.isfinite(self.framewise_displacement_mm)]
        return float(known.mean()) if known.size else float("nan")


def read_nuisance(run: PreprocessedRun, n_volumes: int, settings: CleaningSettings) -> Nuisance:
    """Read a run's confounds through nilearn's ``load_confounds``.

    Parameters
    ----------
    run : PreprocessedRun
        Its confounds file may be missing only where the strategy is ``none``.
    n_volumes : int
        T, as the image has it.
    settings : CleaningSettings
        Strategy and scrubbing.

    Raises
    ------
    VolumeError
        If the file is missing, damaged, of another length, or lacks what the strategy needs; if
        fewer volumes are left than ``settings.min_volumes``.
    """
    raise NotImplementedError
