"""One cleaned run in a store: its values, and beside them what is known of them."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fmnet.bold.stored_run import SIDECAR
from fmnet.data.files import write_atomically
from fmnet.data.grid import Grid
from fmnet.data.self_hashed import seal, unseal
from fmnet.data.store_files import read_stored, write_array, writing_store
from fmnet.data.volume import FloatArray

#: Part of every key and of every sidecar: raise it when stored values or their meaning change.
SERIES_FORMAT = "1"


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
        Share of the template's mask in which the run has data that can be cleaned.
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


def open_cleaned(path: Path, grid: Grid) -> CleanedRun | None:
    """Open a cleaned run; None if it isn't there, not as it was written, or of another format."""
    try:
        found = unseal(path.with_suffix(SIDECAR).read_bytes())
        if found is None:
            return None
        kept = np.array(found["kept"], dtype=np.intp)
        tsnr = tuple(map(float, found["facts"].pop("tsnr")))
        facts = CleanedFacts(tsnr=tsnr, **found["facts"])  # type: ignore[arg-type]
        is_current = found["format"] == SERIES_FORMAT
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    values = read_stored(path, (len(kept), grid.n_voxels)) if is_current else None
    return None if values is None else CleanedRun(path, kept, facts, grid)


def write_cleaned(values: FloatArray, run: CleanedRun) -> None:
    """Write values, and then the facts beside them, which stand for a whole run.

    Raises
    ------
    StoreError
        If the store can't be written.
    """
    write_array(values, run.path)
    content = {"format": SERIES_FORMAT, "kept": run.kept.tolist(), "facts": asdict(run.facts)}
    whole = json.dumps(seal(content), indent=1).encode()
    with writing_store(run.path.parent, len(whole)):
        write_atomically(run.path.with_suffix(SIDECAR), whole)


def hash_values(values: FloatArray) -> str:
    """Hash values as they lie in memory."""
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()
