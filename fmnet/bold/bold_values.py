"""How the values of a BOLD run are written: as the file's own integers, or scaled to int16."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fmnet.bold.bold_file import BoldHeader
from fmnet.data.resample import Interpolation, Lookup
from fmnet.data.values import FEW_VOXELS, MAX_MAGNITUDE, SPIKE_FACTOR_BOLD, largest_usual
from fmnet.data.volume import FloatArray
from fmnet.errors import Fault, VolumeError

#: Steps from a voxel's least value to its largest.
STEPS = 65534


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
        width = len(self.placement.known)
        with TemporaryFile(dir=Path(draft.name).parent) as wide:
            for row in self._float_rows(volumes):
                extent.see(row)
                wide.write(row.data)
            extent.check()
            low, high = extent.low.astype(np.float64), extent.high.astype(np.float64)
            slope = ((high - low) / STEPS).astype(np.float32)
            middle = ((high + low) / 2).astype(np.float32)
            divisor = np.where(slope > 0, slope, np.float32(1))
            wide.seek(0)
            for _ in range(self.header.n_volumes):
                row = np.frombuffer(wide.read(4 * width), np.float32)
                steps = np.clip(np.rint((row - middle) / divisor), -(STEPS // 2), STEPS // 2)
                draft.write(steps.astype(np.int16).data)
        scale = np.stack([slope, middle])
        scale[:, ~self.placement.known] = np.nan
        return scale

    def _float_rows(self, volumes: Iterable[NDArray[Any]]) -> Iterator[FloatArray]:
        unknown = np.flatnonzero(~self.placement.known)
        slope, intercept = np.float32(self.header.slope), np.float32(self.header.intercept)
        for number, volume in enumerate(volumes):
            row = self.placement.apply(volume).astype(np.float32, copy=False)
            row *= slope
            row += intercept
            row[unknown] = 0
            if lost := len(row) - int(np.count_nonzero(np.isfinite(row))):
                found = f"{lost} values in volume {number} that are NaN or infinite"
                action = "mask the run to where it has data throughout, or write it again"
                raise _refused(self.path, found, action)
            yield row


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
        known = self._values.placement.known
        low, high = self.low[known], self.high[known]
        if (low == high).all():
            action = "give the time series, not one volume repeated"
            raise _refused(self._values.path, "no change from volume to volume", action)
        ends = np.stack([low, high]).astype(np.float64) * self._slope + self._intercept
        ends = np.abs(ends).max(axis=0)
        if (largest := ends.max()) > MAX_MAGNITUDE:
            found = f"values as large as {largest:.3g}, beyond {MAX_MAGNITUDE:.0e} in magnitude"
            raise _refused(self._values.path, found, "check the run's data type and its scaling")
        if (usual := largest_usual(ends)) * SPIKE_FACTOR_BOLD < largest:
            found = f"a spike of {largest:.6g}{self._place(int(ends.argmax()))}"
            found += f", where other voxels reach {usual:.3g}"
            raise _refused(self._values.path, found, "find out where it comes from; mask it out")
        sizes = np.array(self._sizes)
        usual, largest = float(np.median(sizes)), float(sizes.max())
        if 0 < usual * SPIKE_FACTOR_BOLD < largest and len(ends) > 2 * FEW_VOXELS:
            found = f"values of {largest:.6g} on average in volume {sizes.argmax()}"
            found += f", where those of other volumes are of {usual:.3g}"
            raise _refused(self._values.path, found, "find out why, and leave that volume out")

    def _place(self, known: int) -> str:
        """Say in which voxel of the file, if it is one, a known value lies."""
        placement = self._values.placement
        if not isinstance(placement, Lookup):
            return ""
        place = placement.places[np.flatnonzero(placement.known)[known]]
        voxel = np.unravel_index(place, self._values.header.shape, order="F")
        return f" at voxel ({', '.join(map(str, voxel))})"


def _refused(path: Path, found: str, action: str) -> VolumeError:
    accepted = "a run with finite, varying values inside the mask"
    return VolumeError(Fault(str(path), found, accepted, action))
