"""`SeriesStore`: each run cleaned once, kept as a memory-mapped file."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fmnet.bold.preprocessed import PreprocessedRun
from fmnet.bold.settings import CleaningSettings
from fmnet.data.grid import Grid
from fmnet.data.volume import FloatArray
from fmnet.errors import VolumeError


@dataclass(frozen=True)
class CleanedFacts:
    """What is known of a cleaned run.

    Parameters
    ----------
    t_r : float
        Repetition time in seconds.
    n_acquired, n_non_steady, n_scrubbed : int
        Volumes in the file, and of them those left out for either reason.
    mean_fd_mm, max_fd_mm : float or None
        Framewise displacement; None if the confounds don't state it.
    tsnr : tuple of float
        10th, 50th and 90th percentile, over in-mask voxels, of mean over standard deviation in time
        before cleaning, without the non-steady volumes.
    coverage : float
        Share of the template's mask in which the run has data.
    file_grid : str
        See `fmnet.data.nifti.describe_grid`.
    source_sha256, mask_sha256, confounds_sha256 : str
        Hashes of the run's files; empty for those it doesn't have.
    values_sha256 : str
        Hash of the cleaned values.
    """

    t_r: float
    n_acquired: int
    n_non_steady: int
    n_scrubbed: int
    mean_fd_mm: float | None
    max_fd_mm: float | None
    tsnr: tuple[float, float, float]
    coverage: float
    file_grid: str
    source_sha256: str
    mask_sha256: str
    confounds_sha256: str
    values_sha256: str


@dataclass(frozen=True, eq=False)
class CleanedRun:
    """A cleaned run on disk.

    Parameters
    ----------
    path : Path
        ``.npy`` file, float32, shape (T_kept, V), in percent of each voxel's mean; NaN where the
        run has no data.
    kept : ndarray of int, shape (T_kept,)
        Which of the acquired volumes they are.
    facts : CleanedFacts
        From the file beside it.
    grid : Grid
        Where the V voxels lie.
    """

    path: Path
    kept: NDArray[np.intp]
    facts: CleanedFacts
    grid: Grid

    def values(self) -> FloatArray:
        """Map the values into memory: (T_kept, V) float32, read-only."""
        mapped: FloatArray = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return mapped


@dataclass(frozen=True, eq=False)
class SeriesStore:
    """Cleaned runs, named after the content and the settings that they come from.

    Parameters
    ----------
    folder : Path
        Made when first written to; may be shared by many studies and deleted at any time.
    grid : Grid
        Where runs are put.
    cleaning : CleaningSettings
        How they are cleaned.
    min_coverage : float
        Smallest share of the mask in which a run must have data.
    """

    folder: Path
    grid: Grid
    cleaning: CleaningSettings
    min_coverage: float = 0.5

    def add(self, run: PreprocessedRun) -> CleanedRun:
        """Clean and store a run unless the same content is there already.

        Raises
        ------
        VolumeError
            With every fault of the run's files.
        StoreError
            If the store can't be written.
        """
        raise NotImplementedError

    def add_all(
        self, runs: Iterable[PreprocessedRun], n_jobs: int = 1
    ) -> Iterator[CleanedRun | VolumeError]:
        """Clean runs one by one, `n_jobs` at a time; in order, or what is wrong with each."""
        raise NotImplementedError
