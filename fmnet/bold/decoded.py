"""BOLD runs decoded once, put in a mask, kept volume by volume."""

import io
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fmnet.bold.bold_file import BoldHeader, BoldRun, CheckedRun, check_run, unusable_values
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
from fmnet.data.values import FEW_VOXELS, MAX_MAGNITUDE, SPIKE_FACTOR_BOLD, largest_usual
from fmnet.data.volume import MNI_SPACES, OWN_SPACE, SPACES, FloatArray, check_space
from fmnet.errors import CohortError, Fault, StoreError, VolumeError
from fmnet.progress.show import track

#: Steps from a voxel's least value to its largest.
STEPS = 65534
#: Part of every key: raise it when stored values or their meaning change.
BOLD_FORMAT = "bold 4"
SCALE, MASK = ".scale.npy", ".mask.npy"
RAISE_COVERAGE = "check the run's registration and its mask, or lower min_coverage"


@dataclass(frozen=True, eq=False)
class RunValues:
    """The rows of a run, one for each volume, as they come from its file.

    A file of integers of at most 16 bits, whose voxels are the grid's, is kept number by number.
    Whatever else becomes int16 with a slope and an intercept for each voxel: off by at most half a
    step, which is 1/65534 of the voxel's range in this run, besides the rounding of float32.
    (float16 would be off by up to 4 at 10000, where BOLD often lies and moves by 100.)

    Parameters
    ----------
    path : Path
        Of the run's file, for messages.
    header : BoldHeader
        Of the run's file.
    placement : Lookup or Interpolation
        From a volume of the file to a row.
    """

    path: Path
    header: BoldHeader
    placement: Lookup | Interpolation

    @property
    def is_exact(self) -> bool:
        """Whether the file's own numbers are kept."""
        dtype = self.header.dtype
        return dtype.kind in "iu" and dtype.itemsize <= 2 and isinstance(self.placement, Lookup)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored numbers."""
        return self.header.dtype.newbyteorder("=") if self.is_exact else np.dtype(np.int16)

    @property
    def n_bytes(self) -> int:
        """Room on the disk that writing them takes; of it, scaled ones keep a third."""
        itemsize = self.dtype.itemsize if self.is_exact else 2 + 4
        return len(self.placement.known) * self.header.n_volumes * itemsize

    def write(self, volumes: Iterable[NDArray[Any]], draft: IO[bytes]) -> FloatArray | None:
        """Write a ``.npy`` file of shape (T, V); return slope and intercept of each voxel.

        Returns
        -------
        ndarray of float32, shape (2, V), or None
            NaN where the run has no data; None if the header's slope and intercept hold for all.

        Raises
        ------
        VolumeError
            If the volumes are damaged, not finite, out of range, or all the same.
        """
        shape = (self.header.n_volumes, len(self.placement.known))
        head = {"descr": self.dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(draft, head)
        return self._write_exact(volumes, draft) if self.is_exact else self._scale(volumes, draft)

    def _write_exact(self, volumes: Iterable[NDArray[Any]], draft: IO[bytes]) -> FloatArray | None:
        slope, intercept = self.header.slope, self.header.intercept
        extent = _Extent(self, slope, intercept)
        for volume in volumes:
            row = self.placement.apply(volume).astype(self.dtype, copy=False)
            extent.see(row)
            draft.write(row.data)
        extent.check()
        known = self.placement.known
        if known.all():
            return None
        return np.where(known, np.array([[slope], [intercept]]), np.nan).astype(np.float32)

    def _scale(self, volumes: Iterable[NDArray[Any]], draft: IO[bytes]) -> FloatArray:
        """Write twice: a voxel's range is known only once all volumes have been seen."""
        extent = _Extent(self, 1.0, 0.0)
        width, unknown = len(self.placement.known), np.flatnonzero(~self.placement.known)
        factor, offset = np.float32(self.header.slope), np.float32(self.header.intercept)
        with TemporaryFile(dir=Path(draft.name).parent) as wide:
            for number, volume in enumerate(volumes):
                row = self.placement.apply(volume).astype(np.float32, copy=False)
                row *= factor
                row += offset
                row[unknown] = 0
                if lost := width - int(np.count_nonzero(np.isfinite(row))):
                    found = f"{lost} values in volume {number} that are NaN or infinite"
                    action = "mask the run to where it has data throughout, or write it again"
                    raise unusable_values(self.path, found, action)
                extent.see(row)
                wide.write(row.data)
            extent.check()
            low, high = extent.low.astype(np.float64), extent.high.astype(np.float64)
            slope = ((high - low) / STEPS).astype(np.float32)
            middle = ((high + low) / 2).astype(np.float32)
            divisor = np.where(slope > 0, slope, np.float32(1))
            wide.seek(0)
            for _ in range(self.header.n_volumes):
                values = np.frombuffer(wide.read(4 * width), np.float32)
                steps = np.clip(np.rint((values - middle) / divisor), -(STEPS // 2), STEPS // 2)
                draft.write(steps.astype(np.int16).data)
        scale = np.stack([slope, middle])
        scale[:, ~self.placement.known] = np.nan
        return scale


class _Extent:
    """Least and largest value of each voxel, and the size of each row, as rows are seen."""

    def __init__(self, values: RunValues, slope: float, intercept: float) -> None:
        self._values = values
        self._slope, self._intercept = slope, intercept
        self._sizes: list[float] = []
        self.low: NDArray[Any] = np.empty(0)
        self.high: NDArray[Any] = np.empty(0)

    def see(self, row: NDArray[Any]) -> None:
        with np.errstate(over="ignore"):  # refused in the end
            size = np.abs(row * np.float32(self._slope) + np.float32(self._intercept))
        self._sizes.append(float(size.mean(dtype=np.float64)))
        if not self.low.size:
            self.low, self.high = row.copy(), row.copy()
        np.minimum(self.low, row, out=self.low)
        np.maximum(self.high, row, out=self.high)

    def check(self) -> None:
        path, known = self._values.path, self._values.placement.known
        low, high = self.low[known], self.high[known]
        if (low == high).all():
            action = "give the time series, not one volume repeated"
            raise unusable_values(path, "no change from volume to volume", action)
        ends = np.stack([low, high]).astype(np.float64) * self._slope + self._intercept
        ends = np.abs(ends).max(axis=0)
        if (largest := ends.max()) > MAX_MAGNITUDE:
            found = f"values as large as {largest:.3g}, beyond {MAX_MAGNITUDE:.0e} in magnitude"
            raise unusable_values(path, found, "check the run's data type and its scaling")
        if (usual := largest_usual(ends)) * SPIKE_FACTOR_BOLD < largest:
            placement, where = self._values.placement, ""
            if isinstance(placement, Lookup):  # it is a voxel of the file
                number = placement.indices[np.flatnonzero(known)[ends.argmax()]]
                voxel = np.unravel_index(number, self._values.header.shape, order="F")
                where = f" at voxel ({', '.join(map(str, voxel))})"
            found = f"a spike of {largest:.6g}{where}, where other voxels reach {usual:.3g}"
            raise unusable_values(path, found, "find out where it comes from; mask it out")
        sizes = np.array(self._sizes)
        usual, largest = float(np.median(sizes)), float(sizes.max())
        if 0 < usual * SPIKE_FACTOR_BOLD < largest and len(ends) > 2 * FEW_VOXELS:
            found = f"values of {largest:.6g} on average in volume {sizes.argmax()}"
            found += f", where those of other volumes are of {usual:.3g}"
            raise unusable_values(path, found, "find out why, and leave that volume out")


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
        Whether it does; slopes and intercepts then lie in a companion file.
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
        From its companion file.
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
            found = f"{n} volumes from volume {start} on asked for"
            accepted = f"at least one, and none but volumes 0 to {self.n_volumes - 1}"
            action = "ask for volumes that the run has"
            raise VolumeError(Fault(str(self.path), found, accepted, action))
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
        return np.asarray(self.read_window(number, 1)[0])

    def mapped(self) -> NDArray[Any]:
        """Map the stored integers into memory: (T, V), read-only, without slope and intercept."""
        mapped: NDArray[Any] = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return mapped

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
        with (
            check_run(run, self.grid is None) as checked,
            closing(checked.file.volumes()) as volumes,
        ):
            header = checked.file.header
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
        order, affine = checked.file.header.ras
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
            raise unusable_values(
                checked.run.path,
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
    shown = track(outcomes, "reading runs", len(runs))
    for run, outcome in zip(runs, shown, strict=True):
        if isinstance(outcome, StoredRun):
            stored.append(outcome)
        else:
            for fault in outcome.faults:
                where = f"{run.run_id} ({fault.where})"
                faults.append(replace(fault, where=where, participant_id=run.participant_id))
    if faults:
        raise CohortError(faults)
    return stored
