"""One BOLD run in a store: in-mask values, volume by volume, with their geometry beside them."""

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnet.data.byte_stream import hash_file
from fmnet.data.files import write_atomically
from fmnet.data.grid import Grid
from fmnet.data.self_hashed import seal, unseal
from fmnet.data.store_files import writing_store
from fmnet.data.volume import FloatArray
from fmnet.errors import Fault, StoreError, VolumeError

#: Part of every key and of every sidecar: raise it when stored values or their meaning change.
BOLD_FORMAT = "3"
SCALE, MASK, SIDECAR = ".scale.npy", ".mask.npy", ".json"


@dataclass(frozen=True)
class RunFacts:
    """What is written beside the values of a run.

    Parameters
    ----------
    t_r : float
        Repetition time in seconds.
    n_volumes, n_voxels : int
        T and V: the stored array has the shape (T, V).
    dtype : str
        Of the stored numbers.
    slope, intercept : float
        What they are multiplied by and what is added then, unless that differs among voxels.
    shape, affine, space
        Of the grid that the voxels lie on, RAS+.
    coverage : float
        Share of the mask, or of the template's, in which the run has data.
    file_grid : str
        How the file is written, see `fmnet.data.nifti.describe_grid`.
    source_sha256, mask_sha256 : str
        Hashes of the run's file and of its mask's; the latter is empty if there is none.
    sizes, hashes : dict
        Bytes of each stored file, and their SHA-256, by suffix.
    """

    t_r: float
    n_volumes: int
    n_voxels: int
    dtype: str
    slope: float
    intercept: float
    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]
    space: str
    coverage: float
    file_grid: str
    source_sha256: str
    mask_sha256: str
    sizes: dict[str, int] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    format: str = BOLD_FORMAT


@dataclass(frozen=True, eq=False)
class StoredRun:
    """Where a run's values lie and what they are made from.

    Parameters
    ----------
    path : Path
        ``.npy`` file, shape (T, V): integers, see `read_window` for values.
    facts : RunFacts
        From the file beside it.
    template : Grid, optional
        The grid that the run was put on; None if it is on its own.
    """

    path: Path
    facts: RunFacts
    template: Grid | None = None

    @property
    def t_r(self) -> float:
        """Repetition time in seconds."""
        return self.facts.t_r

    @property
    def n_volumes(self) -> int:
        """Volumes in the run."""
        return self.facts.n_volumes

    @cached_property
    def grid(self) -> Grid:
        """The voxels of the run: the template's, or its own inside its mask, in RAS+."""
        if self.template is not None:
            return self.template
        shape = self.facts.shape
        bits = np.load(self.path.with_suffix(MASK), allow_pickle=False)
        mask = np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(bool)
        return Grid(mask, np.array(self.facts.affine), self.facts.space)

    def read_window(self, start: int, n: int) -> FloatArray:
        """Read `n` volumes from volume `start` on, counted from 0; nothing else is touched.

        Returns
        -------
        ndarray of float32, shape (n, V)
            In the file's own units; NaN where the run has no data.

        Raises
        ------
        VolumeError
            If the run has no such volumes.
        """
        if n < 1 or start < 0 or start + n > self.n_volumes:
            raise VolumeError(
                Fault(
                    str(self.path),
                    f"{n} volumes from volume {start} on asked for",
                    f"at least one, and none but volumes 0 to {self.n_volumes - 1}",
                    "ask for volumes that the run has",
                )
            )
        width, dtype = self.facts.n_voxels, np.dtype(self.facts.dtype)
        first = self.facts.sizes[".npy"] - (self.n_volumes - start) * width * dtype.itemsize
        kept = self._read(dtype, n * width, first).reshape(n, width)
        slope, intercept = self.scale
        if np.ndim(slope) == 0 and (slope, intercept) == (1, 0):
            plain: FloatArray = kept.astype(np.float32)
            return plain
        values: FloatArray = np.multiply(kept, slope, dtype=np.float32)
        values += intercept
        return values

    def _read(self, dtype: np.dtype[Any], count: int, offset: int) -> NDArray[Any]:
        try:
            kept = np.fromfile(self.path, dtype, count, offset=offset)
        except OSError as error:
            raise self._lost(error.strerror or str(error)) from error
        if len(kept) < count:
            raise self._lost("a shorter file than was stored")
        return kept

    def _lost(self, found: str) -> StoreError:
        action = "open the run again, which makes it anew"
        return StoreError(Fault(str(self.path), found, "the run as it was stored", action))

    def volume(self, number: int) -> FloatArray:
        """Read one volume, counted from 0: (V,) float32."""
        values: FloatArray = self.read_window(number, 1)[0]
        return values

    def mapped(self) -> NDArray[Any]:
        """Map the stored integers into memory: (T, V), read-only, without slope and intercept."""
        whole: NDArray[Any] = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return whole

    @cached_property
    def scale(self) -> tuple[Any, Any]:
        """What stored numbers are multiplied by and what is added then: numbers, or (V,) each."""
        if SCALE not in self.facts.sizes:
            return np.float32(self.facts.slope), np.float32(self.facts.intercept)
        slope, intercept = np.load(self.path.with_suffix(SCALE), allow_pickle=False)
        return slope, intercept


def open_run(path: Path, template: Grid | None) -> StoredRun | None:
    """Open a stored run; None if it isn't there, not as it was written, or of another format."""
    try:
        sidecar = path.with_suffix(SIDECAR)
        found = unseal(sidecar.read_bytes()) if sidecar.is_file() else None
        if found is None:
            return None
        affine = tuple(map(tuple, found.pop("affine")))
        facts = RunFacts(shape=tuple(found.pop("shape")), affine=affine, **found)
        sizes = {suffix: path.with_suffix(suffix).stat().st_size for suffix in facts.sizes}
        is_whole = sizes == facts.sizes and ".npy" in sizes and facts.format == BOLD_FORMAT
        hashes = {suffix: hash_file(path.with_suffix(suffix)) for suffix in sizes if is_whole}
        is_whole = is_whole and hashes == facts.hashes
    except (OSError, ValueError, KeyError, TypeError, AttributeError, VolumeError):
        return None
    return StoredRun(path, facts, template) if is_whole else None


def write_facts(facts: RunFacts, path: Path) -> None:
    """Write what belongs beside a run's values; last, for it stands for a run that is whole."""
    whole = json.dumps(seal(asdict(facts)), indent=1).encode()
    with writing_store(path.parent, len(whole)):
        write_atomically(path.with_suffix(SIDECAR), whole)
