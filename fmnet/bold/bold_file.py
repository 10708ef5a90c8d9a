"""BOLD runs as they lie on disk: read volume by volume, and checked before that."""

import math
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fmnet.data.image_files import ACCEPTED as ACCEPTED_MAP
from fmnet.data.image_files import (
    SPARE_BYTES,
    SUFFIXES,
    ByteStream,
    damaged,
    is_packed,
    open_stream,
    read_start,
    too_long,
)
from fmnet.data.nifti import Header, ras_order, read_header, read_raw, read_volume
from fmnet.data.scans import SAME_T_R
from fmnet.data.values import blank_background, find_fill, inside_mask
from fmnet.data.volume import Affine, Volume
from fmnet.errors import Fault, VolumeError

ACCEPTED = "one 4-D NIfTI file of a BOLD run (.nii, .nii.gz)"
#: Seconds in each unit of time that NIfTI knows, by its code; a file that states none (0) means
#: seconds.
SECONDS = {0: 1.0, 8: 1.0, 16: 1e-3, 24: 1e-6}
#: Repetition times in seconds outside of which a header is taken to be wrong.
SHORTEST_T_R, LONGEST_T_R = 0.05, 30.0
#: Voxels of a volume (a head at 0.8 mm), and their bytes.
MAX_VOXELS, MAX_VOLUME_BYTES = 1 << 24, 1 << 27
#: Bytes of a run, unpacked; and how many of them one packed byte can stand for (deflate's limit).
MAX_RUN_BYTES, MAX_RATIO = 32 << 30, 1040
#: Volumes that are unpacked ahead of the one in use; all that is held of a file at a time.
N_AHEAD = 3
Result = TypeVar("Result")
#: How far voxels of a run and of its mask may lie apart, in mm.
SAME_GRID_MM = 1e-2
#: What stands in headers, as fMRIPrep 23.2 wrote them, where nobody stated it.
UNTOLD_T_R = 1.0


@dataclass(frozen=True, eq=False)
class BoldHeader:
    """What a BOLD file says of itself.

    Parameters
    ----------
    shape : tuple of int
        Voxels along the file's axes x, y and z.
    n_volumes : int
        Along time.
    dtype : dtype
        Of the numbers in the file, with its byte order.
    slope, intercept : float
        What they are multiplied by and what is added then.
    offset : int
        Bytes before the first volume.
    affine : ndarray, shape (4, 4)
        Of the file's own axes.
    t_r : float or None
        Repetition time in seconds; None if it isn't stated or can't be right.
    description : str
        See `fmnet.data.nifti.describe_grid`.
    note, doubt : str
        See `fmnet.data.nifti.Header`.
    """

    shape: tuple[int, int, int]
    n_volumes: int
    dtype: np.dtype[Any]
    slope: float
    intercept: float
    offset: int
    affine: Affine
    t_r: float | None
    description: str
    note: str = ""
    doubt: str = ""

    @cached_property
    def ras(self) -> tuple[NDArray[np.intp], Affine]:
        """Where each voxel in RAS+ lies in a volume of the file, and the affine in RAS+."""
        return ras_order(self.shape, self.affine)


@dataclass(frozen=True, eq=False)
class BoldFile:
    """An open BOLD file."""

    header: BoldHeader
    stream: ByteStream

    def volumes(self) -> Generator[NDArray[Any], None, None]:
        """Yield each volume as it lies in the file: one axis, x runs fastest, the file's type.

        The next ones are unpacked meanwhile, by another thread. A volume is overwritten once the
        next but two is asked for.
        """
        buffers = [
            np.empty(int(np.prod(self.header.shape)), self.header.dtype) for _ in range(N_AHEAD)
        ]

        def read(number: int) -> NDArray[Any]:
            buffer = buffers[number % N_AHEAD]
            self.stream.fill(buffer)
            return buffer

        n = self.header.n_volumes
        pool = ThreadPoolExecutor(1)
        try:
            waiting = deque(pool.submit(read, number) for number in range(min(N_AHEAD, n)))
            for number in range(N_AHEAD, n + N_AHEAD):
                yield waiting.popleft().result()
                if number < n:
                    waiting.append(pool.submit(read, number))
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def open_bold(path: Path) -> Iterator[BoldFile]:
    """Open a 4-D NIfTI file.

    Raises
    ------
    VolumeError
        If the file is missing, damaged, a DataLad pointer, not 4-D, or without usable geometry.
    """
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        is_image = path.name.lower().endswith(SUFFIXES)
        found = "one of a pair of files" if is_image else f"a file named '{path.name}'"
        raise VolumeError(Fault(str(path), found, ACCEPTED, "convert the run to 4-D NIfTI"))
    try:
        header = _check(read_header(read_start(path), path), path)
        with open_stream(path) as stream:
            stream.skip(header.offset)
            yield BoldFile(header, stream)
    except VolumeError as error:
        raise VolumeError(
            replace(fault, accepted=ACCEPTED) if fault.accepted == ACCEPTED_MAP else fault
            for fault in error.faults
        ) from error


def _check(found: Header, path: Path) -> BoldHeader:
    """Check that a header is one of a run that the file can hold, before room is made for it."""
    shape, dtype = found.shape, found.dtype
    if len(shape) != 4 or shape[3] < 2:
        action = "give the time series; a cohort or signature of maps reads maps"
        raise VolumeError(Fault(str(path), f"an image of shape {shape}", ACCEPTED, action))
    if dtype.kind not in "iuf":
        accepted, action = "integers or real numbers", "write the run with one number per voxel"
        raise VolumeError(Fault(str(path), f"values of type {dtype}", accepted, action))
    n_bytes, size = found.n_bytes, path.stat().st_size
    n_voxels = math.prod(shape[:3])
    if (
        n_bytes > MAX_RUN_BYTES
        or n_voxels > MAX_VOXELS
        or n_voxels * dtype.itemsize > MAX_VOLUME_BYTES
    ):
        accepted = f"up to {MAX_RUN_BYTES >> 30} GiB, and in each volume {MAX_VOXELS >> 20} "
        accepted += f"million voxels and {MAX_VOLUME_BYTES >> 20} MiB"
        action = "correct the header, or write the run with fewer volumes or voxels"
        raise VolumeError(Fault(str(path), f"an image of shape {shape}, {dtype}", accepted, action))
    if n_bytes > size * (MAX_RATIO if is_packed(path) else 1):
        short = f"{size} bytes can't hold the {n_bytes} that the header claims"
        raise damaged(path, EOFError(short))
    if found.doubt and not is_packed(path) and size > n_bytes:
        raise damaged(path, ValueError(found.doubt))
    if size > n_bytes + SPARE_BYTES:
        raise too_long(path, f"{size} bytes", n_bytes + SPARE_BYTES)
    stated, unit = float(found.fields["pixdim"][4]), int(found.fields["xyzt_units"]) & 0x38
    is_told = unit != 0 or stated != 1  # software that wasn't told writes 1 without a unit
    t_r = round(stated * SECONDS.get(unit, 0.0), 6) if is_told else 0.0
    return BoldHeader(
        shape[:3],
        shape[3],
        dtype,
        found.slope,
        found.intercept,
        found.offset,
        found.affine,
        t_r if SHORTEST_T_R <= t_r <= LONGEST_T_R else None,
        found.description,
        found.note,
        found.doubt,
    )


@dataclass(frozen=True)
class BoldRun:
    """One BOLD run as it lies on disk.

    Parameters
    ----------
    run_id, participant_id : str
        The run's own name, and whose it is.
    path : Path
        4-D ``.nii`` or ``.nii.gz``.
    space : str
        One of `fmnet.data.volume.SPACES`.
    mask : Path, optional
        Brain mask on the run's own grid; inside is what lies above half of its largest value, see
        `fmnet.data.values.inside_mask`.
    t_r : float, optional
        Repetition time in seconds, as a sidecar states it; by default the header's.
    is_t_r_certain : bool
        Whether somebody stated `t_r` who knows better than the header.
    """

    run_id: str
    participant_id: str
    path: Path
    space: str
    mask: Path | None = None
    t_r: float | None = None
    is_t_r_certain: bool = False


@dataclass(frozen=True, eq=False)
class CheckedRun:
    """An open run with usable geometry, mask and repetition time.

    Parameters
    ----------
    run : BoldRun
        What was asked for.
    file : BoldFile
        Open; its volumes come once.
    t_r : float
        In seconds.
    mask : ndarray of bool, shape (X, Y, Z)
        On the run's own grid in RAS+; True throughout if the run has none.
    mask_sha256 : str
        Hash of the mask's file; empty if there is none.
    """

    run: BoldRun
    file: BoldFile
    t_r: float
    mask: NDArray[np.bool_]
    mask_sha256: str

    def finish(self) -> str:
        """Read what is left of the file, and return the hash of the whole."""
        return self.file.stream.finish(self.file.header.doubt)

    def support(self, first: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell where the run has data at first: (X, Y, Z), in the mask, and no background.

        Raises
        ------
        VolumeError
            If it has none, or one value fills a good part of it.
        """
        header = self.file.header
        half_step = abs(header.slope) / 2 if header.dtype.kind in "iu" else 0.0
        with np.errstate(invalid="ignore", over="ignore"):
            values = (first * header.slope + header.intercept).astype(np.float32)
        values = blank_background(values[header.ras[0]], half_step)
        support: NDArray[np.bool_] = np.isfinite(values) & self.mask
        if (fill := find_fill(values[support])) is not None and (values[support] != fill).any():
            found = f"the value {fill:.6g} in a good part of the first volume"
            action = "write 0 where the run has no data, or give the brain mask that belongs to it"
            raise unusable_values(self.run.path, found, action)
        if not support.any():
            within = "its mask" if self.run.mask else "the image"
            found = f"no value other than NaN and 0 in {within} in the first volume"
            action = "write the run again, or give the mask that belongs to it"
            raise unusable_values(self.run.path, found, action)
        return support


def unusable_values(path: Path, found: str, action: str) -> VolumeError:
    """Describe why a run can't be used for its values."""
    accepted = "a run with finite, varying values inside the mask"
    return VolumeError(Fault(str(path), found, accepted, action))


@contextmanager
def check_run(run: BoldRun, needs_mask: bool) -> Iterator[CheckedRun]:
    """Open a run and check all that can be known before its volumes are read.

    Raises
    ------
    VolumeError
        With all that is wrong with the run's file, its mask and its repetition time; also if it
        `needs_mask` and has none.
    """
    faults: list[Fault] = []
    if run.mask is None and needs_mask:
        accepted, action = "a brain mask on the run's own grid", "give one, or a template grid"
        faults.append(Fault(str(run.path), "no mask", accepted, action))
    volume = _collect(faults, _read_mask, run)
    try:
        with open_bold(run.path) as file:
            t_r = _collect(faults, resolve_t_r, run, file.header)
            mask = _collect(faults, _match_mask, volume, file.header)
            if t_r is not None and mask is not None and not faults:
                yield CheckedRun(run, file, t_r, *mask)
    except VolumeError as error:
        raise VolumeError([*faults, *error.faults]) from error
    if faults:
        raise VolumeError(faults)


def resolve_t_r(run: BoldRun, header: BoldHeader) -> float:
    """Find a run's repetition time in seconds.

    What a sidecar states overrules a header of exactly 1 s, which software writes that wasn't told;
    with any other the two have to agree, unless the run's is certain.

    Raises
    ------
    VolumeError
        If it isn't known for sure.
    """
    accepted = f"{SHORTEST_T_R:g} to {LONGEST_T_R:g} s"
    given, stated = run.t_r, header.t_r
    if given is None and stated is None:
        found, action = "no usable repetition time in the header", "give t_r, in seconds"
    elif given is not None and not SHORTEST_T_R <= given <= LONGEST_T_R:
        found, action = f"a repetition time of {given:g} s", "give t_r, in seconds"
    elif differs_from_header(run, header) and not run.is_t_r_certain and stated != UNTOLD_T_R:
        found = f"a repetition time of {stated:g} s in the header where {given:g} s is given"
        accepted, action = "one repetition time", "find out which is right and correct the other"
    else:
        return float(stated if given is None else given)  # type: ignore[arg-type]
    raise VolumeError(Fault(str(run.path), found, accepted, action))


def differs_from_header(run: BoldRun, header: BoldHeader) -> bool:
    """Tell whether the repetition time that is stated for a run isn't that of its header."""
    given, stated = run.t_r, header.t_r
    return given is not None and stated is not None and abs(given - stated) > SAME_T_R * stated


def _read_mask(run: BoldRun) -> tuple[Volume, NDArray[np.bool_], str] | None:
    if run.mask is None:
        return None
    raw = read_raw(run.mask)
    volume = read_volume(raw, run.space)
    return volume, inside_mask(volume), raw.sha256


def _match_mask(
    mask: tuple[Volume, NDArray[np.bool_], str] | None, header: BoldHeader
) -> tuple[NDArray[np.bool_], str]:
    """Turn a mask into booleans on the run's grid in RAS+; without one all is inside."""
    order, affine = header.ras
    if mask is None:
        return np.ones(order.shape, dtype=bool), ""
    volume, inside, sha256 = mask
    corners = np.array([*np.ndindex(2, 2, 2)]) * (np.array(order.shape) - 1)
    apart = corners @ (volume.affine - affine)[:3, :3].T + (volume.affine - affine)[:3, 3]
    if inside.shape != order.shape or np.abs(apart).max() > SAME_GRID_MM:
        found = f"a mask of {_describe_grid(inside.shape, volume.affine)}"
        accepted = f"the run's own grid, {_describe_grid(order.shape, affine)}"
        action = "give the mask that belongs to the run (desc-brain_mask), or resample it"
        raise VolumeError(Fault(volume.name, found, accepted, action))
    return inside, sha256


def _describe_grid(shape: tuple[int, ...], affine: Affine) -> str:
    edges = "x".join(f"{edge:.4g}" for edge in np.linalg.norm(affine[:3, :3], axis=0))
    corner = ", ".join(f"{mm:.4g}" for mm in affine[:3, 3])
    return f"{'x'.join(map(str, shape))} voxels of {edges} mm from ({corner})"


def _collect(faults: list[Fault], work: Callable[..., Result], *arguments: Any) -> Result | None:
    """Do one check of several; its faults join the others."""
    try:
        return work(*arguments)
    except VolumeError as error:
        faults += error.faults
        return None
