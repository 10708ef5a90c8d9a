"""BOLD runs decoded once, put in a mask, kept volume by volume."""

import io
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fmnet.bold.bold_run import BoldRun, CheckedRun, check_run
from fmnet.bold.bold_values import RunValues
from fmnet.data.grid import Grid
from fmnet.data.resample import (
    Interpolation,
    Lookup,
    are_voxels,
    build_interpolation,
    build_lookup,
    coordinates,
    weights_between,
)
from fmnet.data.scans import low_coverage
from fmnet.data.store import ArrayStore, Entry, Job, Stored
from fmnet.data.volume import MNI_SPACES, OWN_SPACE, SPACES, FloatArray, check_space
from fmnet.errors import CohortError, Fault, StoreError, VolumeError

#: Part of every key: raise it when stored values or their meaning change.
BOLD_FORMAT = "bold 4"
SCALE, MASK = ".scale.npy", ".mask.npy"
RAISE_COVERAGE = "check the run's registration and its mask, or lower min_coverage"


@dataclass(frozen=True)
class RunFacts:
    """What is known of a decoded run.

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
    is_scaled_by_voxel : bool
        Whether it does; slopes and intercepts then lie beside the values.
    shape, affine, space
        Of the grid that the voxels lie on, RAS+.
    coverage : float
        Fraction of the mask, or of the template's, in which the run has data.
    file_grid : str
        How the file is written, see `fmnet.data.nifti.describe_grid`.
    source_sha256, mask_sha256 : str
        Hashes of the run's file and of its mask's; the latter is empty if there is none.
    """

    t_r: float
    n_volumes: int
    n_voxels: int
    dtype: str
    slope: float
    intercept: float
    is_scaled_by_voxel: bool
    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]
    space: str
    coverage: float
    file_grid: str
    source_sha256: str
    mask_sha256: str


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
        StoreError
            If the stored file is gone or shorter than it was.
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
        head = io.BytesIO()
        described = {"descr": dtype.str, "fortran_order": False, "shape": (self.n_volumes, width)}
        np.lib.format.write_array_header_1_0(head, described)
        first = len(head.getbuffer()) + start * width * dtype.itemsize
        lost = "a shorter file than was stored"
        try:
            kept = np.fromfile(self.path, dtype, n * width, offset=first)
        except OSError as error:
            kept, lost = np.empty(0, dtype), error.strerror or str(error)
        if len(kept) < n * width:
            action = "open the run again, which makes it anew"
            raise StoreError(Fault(str(self.path), lost, "the run as it was stored", action))
        kept = kept.reshape(n, width)
        slope, intercept = self.scale
        if np.ndim(slope) == 0 and (slope, intercept) == (1, 0):
            plain: FloatArray = kept.astype(np.float32)
            return plain
        values: FloatArray = np.multiply(kept, slope, dtype=np.float32)
        values += intercept
        return values

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
        if not self.facts.is_scaled_by_voxel:
            return np.float32(self.facts.slope), np.float32(self.facts.intercept)
        slope, intercept = np.load(self.path.with_suffix(SCALE), allow_pickle=False)
        return slope, intercept


@dataclass(frozen=True, eq=False)
class DecodedBold:
    """Recipe: decode a run and keep the time series of its voxels.

    Where a run has data is decided by its mask, if it has one, and its first volume: voxels that
    are NaN or exactly 0 there are outside in all volumes, and never mix into others.

    Of the file, `fmnet.bold.bold_file.N_AHEAD` volumes are in memory at a time, besides what it
    takes to place one: memory doesn't grow with the length of the run.

    Parameters
    ----------
    grid : Grid, optional
        Where runs are put, by linear interpolation. Without it each stays on its own grid, turned
        to RAS+, in its own mask.
    min_coverage : float
        Smallest fraction of the mask in which a run must have data.
    """

    grid: Grid | None = None
    min_coverage: float = 0.5

    def store(self, run: BoldRun, job: Job) -> StoredRun:
        """Fetch the values of a run as acquired."""
        is_own = self.grid is None or self.grid.space == OWN_SPACE
        check_space(run.space, str(run.path), SPACES if is_own else MNI_SPACES)
        grid = self.grid.digest if self.grid is not None else "own"
        settings = (BOLD_FORMAT, grid, run.space, repr(run.t_r))
        stored = job.fetch((run.path, run.mask), settings, partial(self._decode, run))
        shape, affine = tuple(stored.facts["shape"]), tuple(map(tuple, stored.facts["affine"]))
        facts = RunFacts(**stored.facts | {"shape": shape, "affine": affine})
        self._check_coverage(facts.coverage, run)
        return StoredRun(stored.path, facts, self.grid)

    def _decode(self, run: BoldRun, entry: Entry) -> Stored:
        with check_run(run, self.grid is None) as checked, closing(checked.volumes()) as volumes:
            header = checked.header
            first = next(volumes)
            support = checked.support(first)
            grid = self.grid or Grid(support, header.ras[1], run.space)
            values = RunValues(run.path, header, self._place(checked, support, grid))
            known = float(values.placement.known.mean())
            coverage = known if self.grid else float(support.sum() / checked.mask.sum())
            self._check_coverage(coverage, run)
            with entry.draft(values.n_bytes) as draft:
                scale = values.write(chain([first], volumes), draft)
                hashes = (checked.finish(), checked.mask_sha256)
                facts = RunFacts(
                    t_r=checked.t_r,
                    n_volumes=header.n_volumes,
                    n_voxels=grid.n_voxels,
                    dtype=values.dtype.str,
                    slope=header.slope if values.is_exact else 1.0,
                    intercept=header.intercept if values.is_exact else 0.0,
                    is_scaled_by_voxel=scale is not None,
                    shape=grid.shape,
                    affine=grid.affine.tolist(),
                    space=run.space,
                    coverage=coverage,
                    file_grid=header.description,
                    source_sha256=hashes[0],
                    mask_sha256=hashes[1],
                )
                arrays: dict[str, NDArray[Any] | IO[bytes]] = {".npy": draft}
                if scale is not None:
                    arrays[SCALE] = scale
                if self.grid is None:
                    arrays[MASK] = np.packbits(grid.mask)
                return entry.write(hashes, arrays, asdict(facts))

    def _place(
        self, checked: CheckedRun, support: NDArray[np.bool_], grid: Grid
    ) -> Lookup | Interpolation:
        order, affine = checked.header.ras
        if self.grid is None:
            return Lookup(order[support], np.ones(grid.n_voxels, dtype=bool))
        places = coordinates(grid, affine)
        placement: Lookup | Interpolation
        if are_voxels(places):
            placement = build_lookup(places, order, support)
        else:
            weights = weights_between(self.grid, affine, order.shape)
            placement = build_interpolation(weights, order, support)
        if not placement.known.any():
            raise checked.refusal(
                "no overlap with the mask",
                f"check that the run is in {checked.run.space} space and that its affine is right",
            )
        return placement

    def _check_coverage(self, fraction: float, run: BoldRun) -> None:
        if fraction < self.min_coverage:
            name = str(run.path)
            raise VolumeError(low_coverage(fraction, name, self.min_coverage, RAISE_COVERAGE))


def open_runs(
    runs: Sequence[BoldRun], store: ArrayStore[BoldRun, StoredRun], n_jobs: int = 1
) -> list[StoredRun]:
    """Decode every run once, `n_jobs` at a time.

    Raises
    ------
    CohortError
        With every fault of every run.
    StoreError
        If the store can't be written.
    """
    stored: list[StoredRun] = []
    faults: list[Fault] = []
    outcomes = store.add_all(runs, n_jobs)
    bar = tqdm(outcomes, desc="reading runs", total=len(runs), unit="run", leave=False)
    for run, outcome in zip(runs, bar, strict=True):
        if isinstance(outcome, StoredRun):
            stored.append(outcome)
        else:
            faults += [
                replace(
                    fault,
                    where=f"{run.run_id} ({fault.where})",
                    participant_id=run.participant_id,
                )
                for fault in outcome.faults
            ]
    if faults:
        raise CohortError(faults)
    return stored
