"""4-D NIfTI files of BOLD runs, read volume by volume."""

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

from fmnet.data.byte_stream import ByteStream, open_stream
from fmnet.data.image_files import ACCEPTED as ACCEPTED_MAP
from fmnet.data.image_files import SUFFIXES
from fmnet.data.nifti import describe_header, ras_order, read_header
from fmnet.data.volume import Affine
from fmnet.errors import Fault, VolumeError

ACCEPTED = "one 4-D NIfTI file of a BOLD run (.nii, .nii.gz)"
#: Bytes of the headers of NIfTI-1 and NIfTI-2, with the four that announce extensions.
NIFTI1_BYTES, NIFTI2_BYTES = 352, 544
#: Seconds in each unit of time that NIfTI knows; a file that states none means seconds.
SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6, "unknown": 1.0}
#: Repetition times in seconds outside of which a header is taken to be wrong.
SHORTEST_T_R, LONGEST_T_R = 0.05, 30.0
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
        with open_stream(path) as stream:
            start = stream.read(NIFTI1_BYTES)
            if start[:4] in {b"\x1c\2\0\0", b"\0\0\2\x1c"}:  # 540, in either byte order
                start += stream.read(NIFTI2_BYTES - NIFTI1_BYTES)
            header = _header(start, path)
            stream.skip(header.offset - len(start))
            yield BoldFile(header, stream)
    except VolumeError as error:
        raise VolumeError(
            replace(fault, accepted=ACCEPTED) if fault.accepted == ACCEPTED_MAP else fault
            for fault in error.faults
        ) from error


def _header(start: bytes, path: Path) -> BoldHeader:
    found = read_header(start, path)
    shape, dtype = found.get_data_shape(), found.get_data_dtype()
    if len(shape) != 4 or shape[3] < 2 or 0 in shape:
        action = "give the time series; a cohort or signature of maps reads maps"
        raise VolumeError(Fault(str(path), f"an image of shape {shape}", ACCEPTED, action))
    if dtype.kind not in "iuf":
        accepted, action = "integers or real numbers", "write the run with one number per voxel"
        raise VolumeError(Fault(str(path), f"values of type {dtype}", accepted, action))
    slope, intercept = found.get_slope_inter()
    return BoldHeader(
        shape[:3],
        shape[3],
        dtype,
        1.0 if slope is None else float(slope),
        0.0 if intercept is None else float(intercept),
        max(int(found.get_data_offset()), len(start)),
        np.asarray(found.get_best_affine(), dtype=float),
        _t_r(found),
        describe_header(found),
    )


def _t_r(header: Any) -> float | None:
    """Read the repetition time in seconds, unless it is none."""
    stated = float(header["pixdim"][4])
    unit = header.get_xyzt_units()[1]
    if unit == "unknown" and stated == 1:  # what software writes that wasn't told
        return None
    seconds = round(stated * SECONDS.get(unit, 0.0), 6)
    return seconds if SHORTEST_T_R <= seconds <= LONGEST_T_R else None
