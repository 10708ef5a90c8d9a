"""`ScanStore`: each map decoded once, put on the grid, kept as a memory-mapped file."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fmnet.data.grid import Grid, place_on_grid
from fmnet.data.image_files import RawImage
from fmnet.data.map_values import check_values
from fmnet.data.nifti import describe_grid, read_raw, read_volume, stated_stat
from fmnet.data.scans import Scan
from fmnet.data.series import Series
from fmnet.data.store_files import read_stored, write_array
from fmnet.data.store_index import Source, StoreIndex, add_each, stamp_image
from fmnet.data.volume import FloatArray, Volume
from fmnet.errors import Fault, VolumeError

#: Part of every key: raise it when the stored values would change for the same input, or
#: other maps are refused.
STORE_FORMAT = "3"
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
        Of a scan of BOLD runs: of all files of the runs; of their images and of the maps.
    file_grids : tuple of str
        How each channel's file is written, see `fmnet.data.nifti.describe_grid`.
    series : Series or None
        Of a scan of BOLD runs: what the maps are computed from. Its file grids are then those of
        the runs.
    tsnr : tuple of float or None
        Of BOLD runs: 10th, 50th and 90th percentile over voxels of mean over SD in time.
    facts : dict
        Of BOLD runs: covariates that the runs themselves state, by column of the participants
        table.
    mean_fd_mm : tuple of (float or None)
        Mean framewise displacement of each BOLD run, in mm; None where nobody states it.
    stats : tuple of str
        Of maps: what each channel's header says its values are, empty where it doesn't; see
        `fmnet.data.statistic.header_stat`.
    """

    path: Path
    source_sha256: tuple[str, ...]
    values_sha256: tuple[str, ...]
    file_grids: tuple[str, ...]
    series: Series | None = None
    tsnr: tuple[float, float, float] | None = None
    facts: Mapping[str, float] = field(default_factory=dict)
    mean_fd_mm: tuple[float | None, ...] = ()
    stats: tuple[str, ...] = ()

    def values(self) -> FloatArray:
        """Map the values into memory: (C, V) float32, read-only."""
        mapped: FloatArray = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return mapped


class ScanSource(Protocol):
    """Whatever turns the scans of a listing into maps on a grid."""

    @property
    def grid(self) -> Grid:
        """Where maps are put."""

    def add_all(self, scans: Iterable[Scan], n_jobs: int = 1) -> Iterator[StoredScan | VolumeError]:
        """Store scans; in order, where each lies, or every fault of its files."""


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
        return self._add(scan, StoreIndex())

    def add_all(self, scans: Iterable[Scan], n_jobs: int = 1) -> Iterator[StoredScan | VolumeError]:
        """Store scans, and remember their files so that unchanged ones aren't read next time.

        Parameters
        ----------
        scans : iterable of Scan
            Any number; the decoded maps of `n_jobs` of them are in memory at a time.
        n_jobs : int
            Threads. Results don't depend on it.

        Yields
        ------
        StoredScan or VolumeError
            One per scan, in order: where it lies, or every fault of its files.

        Raises
        ------
        StoreError
            If the store can't be written.
        """
        return add_each(self._add, scans, self.folder, n_jobs)

    def _add(self, scan: Scan, index: StoreIndex) -> StoredScan:
        stamps = [stamp_image(file) for file in scan.files]
        found = [index.find_source(*pair) for pair in zip(scan.files, stamps, strict=True)]
        sources = [source for source in found if source is not None]
        path = self._path([source.sha256 for source in sources])
        facts = self._find(scan, path, index) if len(sources) == len(found) else None
        if facts is None:
            raws = _read_sources(scan)
            hashes = [raw.sha256 for raw in raws]
            path = self._path(hashes)
            facts = self._find(scan, path, index) or self._store(scan, raws, path)
            said = [(describe_grid(raw), stated_stat(raw)) for raw in raws]
            known = zip(stamps, hashes, said, strict=True)
            sources = [Source(stamp, sha256, *texts) for stamp, sha256, texts in known]
        self._check_coverage(scan, facts["coverage"])
        for file, source in zip(scan.files, sources, strict=True):
            index.add_source(file, source)
        index.add_stored(path, facts)
        return StoredScan(
            path,
            tuple(source.sha256 for source in sources),
            tuple(facts["values_sha256"]),
            tuple(source.file_grid for source in sources),
            stats=tuple(source.stat for source in sources),
        )

    def _path(self, hashes: list[str]) -> Path:
        key = hashlib.sha256("|".join((STORE_FORMAT, self.grid.digest, *hashes)).encode())
        return self.folder / f"{key.hexdigest()}.npy"

    def _find(self, scan: Scan, path: Path, index: StoreIndex) -> dict[str, Any] | None:
        """Describe values that are stored; None if they aren't, or not as they were written."""
        values = read_stored(path, (len(scan.files), self.grid.n_voxels))
        if values is None:
            return None
        return index.find_stored(path) or _describe(values)

    def _store(self, scan: Scan, raws: list[RawImage], path: Path) -> dict[str, Any]:
        values = self._decode(scan, raws)
        facts = _describe(values)
        self._check_coverage(scan, facts["coverage"])
        write_array(values, path)
        return facts

    def _decode(self, scan: Scan, raws: list[RawImage]) -> FloatArray:
        channels: list[FloatArray] = []
        faults: list[Fault] = []
        for raw in raws:
            try:
                channels.append(place_checked(read_volume(raw, scan.space), self.grid)[0])
            except VolumeError as error:
                faults += error.faults
        if faults:
            raise VolumeError(faults)
        return np.stack(channels)

    def _check_coverage(self, scan: Scan, shares: list[float]) -> None:
        faults = [
            low_coverage(share, str(file), self.min_coverage, LOWER_COVERAGE)
            for file, share in zip(scan.files, shares, strict=True)
            if share < self.min_coverage
        ]
        if faults:
            raise VolumeError(faults)


def _describe(values: FloatArray) -> dict[str, Any]:
    hashes = [hashlib.sha256(channel.tobytes()).hexdigest() for channel in values]
    return {"values_sha256": hashes, "coverage": [covered_share(one) for one in values]}


def place_checked(volume: Volume, grid: Grid) -> FloatArray:
    """Put a map on the grid as `place_on_grid` does, (C, V), after a look at its values.

    Raises
    ------
    VolumeError
        If its values are none of a map (see `check_values`), or all outside the mask.
    """
    check_values(volume)
    values = place_on_grid(volume, grid)
    if np.isnan(values).all():
        accepted = "a map with varying values inside the mask"
        action = f"check that the map is in {volume.space} space and that its affine is right"
        raise VolumeError(Fault(volume.name, "no overlap with the mask", accepted, action))
    return values


def coverage_fault(
    values: FloatArray, name: str, min_coverage: float, action: str = LOWER_COVERAGE
) -> Fault | None:
    """Describe a map that covers too little of the mask; None if it covers enough."""
    share = covered_share(values)
    return None if share >= min_coverage else low_coverage(share, name, min_coverage, action)


def covered_share(values: FloatArray) -> float:
    """Share of in-mask values that are known."""
    return float(np.isfinite(values).mean())


def low_coverage(share: float, name: str, min_coverage: float, action: str) -> Fault:
    """Describe an image with data in too small a share of the mask."""
    return Fault(
        name,
        f"values in {share:.0%} of the mask",
        f"at least {min_coverage:.0%}",
        action,
    )


def _read_sources(scan: Scan) -> list[RawImage]:
    raws: list[RawImage] = []
    faults: list[Fault] = []
    for file in scan.files:
        try:
            raws.append(read_raw(file))
        except VolumeError as error:
            faults += error.faults
    if faults:
        raise VolumeError(faults)
    return raws
