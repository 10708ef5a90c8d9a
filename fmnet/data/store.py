"""`ScanStore`: each map decoded once, put on the grid, kept as a memory-mapped file."""

import errno
import hashlib
import io
import os
import shutil
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnet.data.grid import Grid, place_on_grid
from fmnet.data.nifti import describe_grid, image_files, read_volume
from fmnet.data.scans import Scan
from fmnet.data.volume import FloatArray, Volume
from fmnet.errors import Fault, StoreError, VolumeError

#: Part of every key: raise it when the stored values would change for the same input, or
#: other maps are refused.
STORE_FORMAT = "2"

#: No statistic or signal change is larger; damaged files and wrong data types are.
MAX_MAGNITUDE = 1e6
LOWER_COVERAGE = (
    "give the unthresholded map, check its registration, or lower preparation.min_coverage"
)


@dataclass(frozen=True)
class StoredScan:
    """Where a scan's values lie and what they are made from.

    Parameters
    ----------
    path : Path
        ``.npy`` file, float32, shape (C, V), NaN where the map has no data.
    source_sha256, values_sha256 : tuple of str
        One hash per channel: of the files as they lie on disk, and of the values on the grid.
    file_grids : tuple of str
        How each channel's file is written, see `fmnet.data.nifti.describe_grid`.
    """

    path: Path
    source_sha256: tuple[str, ...]
    values_sha256: tuple[str, ...]
    file_grids: tuple[str, ...]

    def values(self) -> FloatArray:
        """Map the values into memory: (C, V) float32, read-only."""
        mapped: FloatArray = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return mapped


@dataclass(frozen=True, eq=False)
class ScanStore:
    """Files of in-mask values, named after the content that they come from.

    Parameters
    ----------
    folder : Path
        Made when first written to; may be shared by many runs and deleted at any time.
    grid : Grid
        Where maps are put.
    min_coverage : float
        Smallest share of the mask that a map must cover.
    """

    folder: Path
    grid: Grid
    min_coverage: float = 0.5

    def add(self, scan: Scan) -> StoredScan:
        """Store a scan unless the same content is there already.

        Raises
        ------
        VolumeError
            With every fault of the scan's files.
        StoreError
            If the store can't be written.
        """
        sources = _hash_sources(scan)
        key = hashlib.sha256("|".join((STORE_FORMAT, self.grid.digest, *sources)).encode())
        path = self.folder / f"{key.hexdigest()}.npy"
        known = read_stored(path)
        values = self._decode(scan) if known is None else known
        faults = [
            fault
            for file, channel in zip(scan.files, values, strict=True)
            if (fault := coverage_fault(channel, str(file), self.min_coverage))
        ]
        if faults:
            raise VolumeError(faults)
        if known is None:
            write_atomically(values, path)
        hashes = tuple(_sha256(channel.tobytes()) for channel in values)
        return StoredScan(path, sources, hashes, tuple(map(describe_grid, scan.files)))

    def _decode(self, scan: Scan) -> FloatArray:
        channels: list[FloatArray] = []
        faults: list[Fault] = []
        for file in scan.files:
            try:
                volume = read_volume(file, scan.space)
                check_content(volume, self.grid)
                channels.append(place_on_grid(volume, self.grid)[0])
            except VolumeError as error:
                faults += error.faults
        if faults:
            raise VolumeError(faults)
        return np.stack(channels)


def check_content(volume: Volume, grid: Grid) -> None:
    """Raise `VolumeError` if a map is empty, constant, out of range or wholly outside the mask."""
    if infinite := int(np.isinf(volume.data).sum()):
        raise VolumeError(
            Fault(
                volume.name,
                f"{infinite} infinite values",
                "finite values, and NaN or 0 where there are none",
                "find out where they come from (often a division by 0) and write the map again",
            )
        )
    known = volume.data[np.isfinite(volume.data) & (volume.data != 0)]
    if not known.size:
        found, action = "no value other than NaN and 0", "write the map again"
    elif known.min() == known.max():
        found = f"the constant {known[0]:g} in every voxel"
        action = "give a statistic map, not a mask or an empty model"
    elif (largest := float(np.abs(known).max())) > MAX_MAGNITUDE:
        found = f"values as large as {largest:.3g}, beyond {MAX_MAGNITUDE:.0e} in magnitude"
        action = "check the map's unit and data type, and write it again, masked to the brain"
    elif np.isnan(place_on_grid(volume, grid)).all():
        found = "no overlap with the mask"
        action = f"check that the map is in {volume.space} space and that its affine is right"
    else:
        return
    accepted = "a map with varying values inside the mask"
    raise VolumeError(Fault(volume.name, found, accepted, action))


def coverage_fault(
    values: FloatArray, name: str, min_coverage: float, action: str = LOWER_COVERAGE
) -> Fault | None:
    """Describe a map that covers too little of the mask; None if it covers enough."""
    covered = float(np.isfinite(values).mean())
    if covered >= min_coverage:
        return None
    return Fault(
        name,
        f"values in {covered:.0%} of the mask",
        f"at least {min_coverage:.0%}",
        action,
    )


def read_stored(path: Path) -> FloatArray | None:
    """Map stored values into memory; None if they aren't there or aren't whole.

    Raises
    ------
    StoreError
        If the store can't be read.
    """
    try:
        mapped: FloatArray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, EOFError, ValueError):  # numpy raises the last two for damaged files
        return None
    except OSError as error:
        accepted, action = "a readable folder (store_dir)", "choose another store_dir"
        found = f"{error.strerror or error}"
        raise StoreError(Fault(str(path.parent), found, accepted, action)) from error
    return mapped


def write_atomically(values: FloatArray, path: Path) -> None:
    """Write an array so that its name appears only once it is whole and on disk.

    Raises
    ------
    StoreError
        If the disk is full or the folder can't be written.
    """
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Through memory: numpy's own writing to a file hides why the disk refused.
        whole = io.BytesIO()
        np.save(whole, values, allow_pickle=False)
        with temporary.open("wb") as file:
            file.write(whole.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise _write_failed(error, path.parent, values.nbytes) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _write_failed(error: OSError, folder: Path, needed: int) -> StoreError:
    accepted = "a writable folder with room for the store (store_dir)"
    if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
        found = f"{error.strerror or error}"
        return StoreError(Fault(str(folder), found, accepted, "choose another store_dir"))
    free = shutil.disk_usage(folder).free if folder.exists() else 0
    found = f"a full disk: {needed / 1e6:.1f} MB to write for one scan, {free / 1e6:.1f} MB free"
    action = "free some room or set store_dir to another disk; what is stored so far stays valid"
    return StoreError(Fault(str(folder), found, accepted, action))


def _hash_sources(scan: Scan) -> tuple[str, ...]:
    hashes: list[str] = []
    faults: list[Fault] = []
    for file in scan.files:
        try:
            parts = [path.read_bytes() for path in image_files(file).values()]
            hashes.append(_sha256(*parts))
        except VolumeError as error:
            faults += error.faults
        except OSError as error:
            faults.append(_unreadable(file, error))
    if faults:
        raise VolumeError(faults)
    return tuple(hashes)


def _unreadable(file: Path, error: OSError) -> Fault:
    denied = isinstance(error, PermissionError)
    found = "a file that this account may not read" if denied else f"{error.strerror or error}"
    action = "ask its owner for read permission (chmod +r)" if denied else "check the disk"
    return Fault(str(file), found, "a readable file", action)


def _sha256(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
