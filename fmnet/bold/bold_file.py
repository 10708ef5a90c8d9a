"""4-D NIfTI files of BOLD runs, read volume by volume."""

import math
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

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
from fmnet.data.nifti import Header, ras_order, read_header
from fmnet.data.volume import Affine
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
    return BoldHeader(
        shape[:3],
        shape[3],
        dtype,
        found.slope,
        found.intercept,
        found.offset,
        found.affine,
        _t_r(found.fields),
        found.description,
        found.note,
        found.doubt,
    )


def _t_r(fields: Any) -> float | None:
    """Read the repetition time in seconds, unless it is none."""
    stated, unit = float(fields["pixdim"][4]), int(fields["xyzt_units"]) & 0x38
    if unit == 0 and stated == 1:  # what software writes that wasn't told
        return None
    seconds = round(stated * SECONDS.get(unit, 0.0), 6)
    return seconds if SHORTEST_T_R <= seconds <= LONGEST_T_R else None
