"""BOLD runs cleaned once, kept as memory-mapped time series."""

import hashlib
from dataclasses import asdict, astuple, dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fmnet.bold.bids_files import PreprocessedRun
from fmnet.bold.cleaning import check_preprocessed, clean_values, signal_to_noise
from fmnet.bold.confounds import MODELS
from fmnet.bold.decoded import BOLD_FORMAT, DecodedBold
from fmnet.bold.settings import CleaningSettings
from fmnet.data.grid import Grid
from fmnet.data.image_files import hash_file
from fmnet.data.scans import covered_fraction, low_coverage
from fmnet.data.store import Entry, Job, Stored
from fmnet.data.volume import FloatArray
from fmnet.errors import VolumeError

#: Part of every key: raise it when stored values or their meaning change.
SERIES_FORMAT = "series 2"
#: Percentiles of the signal-to-noise ratio that are kept.
PERCENTILES = (10, 50, 90)
UNCLEANABLE = (
    "check the run's registration and its mask, that it is preprocessed but not cleaned yet, or "
    "lower min_coverage"
)


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
        Fraction of the template's mask in which the run has data that can be cleaned.
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
        From its companion file.
    grid : Grid
        Where the V voxels lie.
    """

    path: Path
    kept: NDArray[np.intp]
    facts: CleanedFacts
    grid: Grid

    def values(self) -> FloatArray:
        """Map the values into memory: (T_kept, V) float32, read-only."""
        return np.asanyarray(np.load(self.path, mmap_mode="r", allow_pickle=False))


@dataclass(frozen=True, eq=False)
class CleanedBold:
    """Recipe: decode a run and clean its time series.

    The cleaned values of one run are in memory at a time, see `fmnet.bold.cleaning.clean_values`.
    Those as acquired are stored as well, see `fmnet.bold.decoded.DecodedBold`.

    Parameters
    ----------
    grid : Grid
        Where runs are put.
    cleaning : CleaningSettings
        How they are cleaned.
    min_coverage : float
        Smallest fraction of the mask in which a run must have data.
    """

    grid: Grid
    cleaning: CleaningSettings
    min_coverage: float = 0.5

    @cached_property
    def decoded(self) -> DecodedBold:
        """The recipe for runs as acquired."""
        return DecodedBold(self.grid, self.min_coverage)

    def store(self, run: PreprocessedRun, job: Job) -> CleanedRun:
        """Fetch a cleaned run."""
        facts_file = None
        if run.confounds is not None and MODELS[self.cleaning.strategy].needs_json:
            facts_file = run.confounds.with_suffix(".json")
        files = (run.bold.path, run.bold.mask, run.confounds, facts_file)
        settings = map(repr, astuple(self.cleaning))
        stated = (run.bold.space, repr(run.bold.t_r))
        names = (SERIES_FORMAT, BOLD_FORMAT, self.grid.digest, *stated, *settings)
        stored = job.fetch(files, names, partial(self._clean, run, facts_file, job))
        kept = np.array(stored.facts["kept"], dtype=np.intp)
        tsnr = tuple(stored.facts["run"]["tsnr"])
        facts = CleanedFacts(**stored.facts["run"] | {"tsnr": tsnr})
        self._check_coverage(facts.coverage, run)
        return CleanedRun(stored.path, kept, facts, self.grid)

    def _clean(
        self, run: PreprocessedRun, facts_file: Path | None, job: Job, entry: Entry
    ) -> Stored:
        nuisance = check_preprocessed(run, self.cleaning)
        facts_sha256 = "" if facts_file is None else hash_file(facts_file)
        acquired = self.decoded.store(run.bold, job)
        values = clean_values(acquired, nuisance, self.cleaning)
        self._check_coverage(covered_fraction(values[0]), run)
        displacement = nuisance.framewise_displacement_mm
        known = displacement[np.isfinite(displacement)]
        ratio = signal_to_noise(acquired, nuisance.n_non_steady)
        low, middle, high = np.percentile(ratio[np.isfinite(ratio)], PERCENTILES).tolist()
        facts = CleanedFacts(
            t_r=acquired.t_r,
            n_acquired=acquired.n_volumes,
            n_non_steady=nuisance.n_non_steady,
            n_scrubbed=nuisance.n_scrubbed,
            mean_fd_mm=float(known.mean()) if known.size else None,
            max_fd_mm=float(known.max()) if known.size else None,
            tsnr=(low, middle, high),
            coverage=covered_fraction(values[0]),
            file_grid=acquired.facts.file_grid,
            source_sha256=acquired.facts.source_sha256,
            mask_sha256=acquired.facts.mask_sha256,
            confounds_sha256=nuisance.sha256,
            values_sha256=hashlib.sha256(np.ascontiguousarray(values).data).hexdigest(),
        )
        hashes = (facts.source_sha256, facts.mask_sha256, facts.confounds_sha256, facts_sha256)
        written = {"kept": nuisance.kept.tolist(), "run": asdict(facts)}
        return entry.write(hashes, {".npy": values}, written)

    def _check_coverage(self, fraction: float, run: PreprocessedRun) -> None:
        if fraction < self.min_coverage or not fraction:
            where = str(run.bold.path)
            raise VolumeError(low_coverage(fraction, where, self.min_coverage, UNCLEANABLE))
