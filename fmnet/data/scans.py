"""One subject's scan: its files, and its maps as they are stored on one grid."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fmnet.data.grid import Grid
from fmnet.data.image_files import RawImage
from fmnet.data.nifti import describe_grid, read_raw, read_volume, stated_stat
from fmnet.data.resample import place_on_grid
from fmnet.data.store import Entry, Job, Stored
from fmnet.data.values import check_values
from fmnet.data.volume import FloatArray, Volume
from fmnet.errors import Fault, VolumeError

Given = TypeVar("Given")
Made = TypeVar("Made")
#: How much the repetition times of the user and of the header may differ, as a fraction.
SAME_T_R = 0.01

#: Between the files of one scan in cohort.tsv; unlike a comma, hardly ever part of a name.
FILE_SEPARATOR = " | "
#: Part of every key: raise it when the stored values would change for the same input, or
#: other maps are refused.
MAPS_FORMAT = "maps 4"
LOWER_COVERAGE = (
    "give the unthresholded map, check its registration, or lower preparation.min_coverage"
)


@dataclass(frozen=True)
class Scan:
    """One subject's input: one map per contrast, or BOLD runs that maps are computed from.

    A subject may have several scans. ``files`` are one map per channel, in the listing's order of
    contrasts, or, if ``is_series``, the runs; ``space`` is the one that they are said to be in;
    ``label`` the value of the label column, empty if missing; ``outcome`` what else is predicted of
    the person, a number for each role of the target (`fmnet.data.outcomes.Outcomes`), and
    ``stratum`` the kind of that outcome, of which all folds get their part.
    """

    scan_id: str
    participant_id: str
    files: tuple[Path, ...]
    space: str
    label: str = ""
    is_series: bool = False
    outcome: tuple[tuple[str, float], ...] = ()
    stratum: str = ""

    def source(self, channel: int) -> str:
        """Name the file that a channel comes from, or all runs that it is computed from."""
        if self.is_series:
            return FILE_SEPARATOR.join(map(str, self.files))
        return str(self.files[channel])


@dataclass(frozen=True, eq=False)
class Series:
    """Cleaned time series of one scan: one file for each of its runs, as they were acquired.

    ``paths`` are ``.npy`` files, float32, shape (T_run, V), in percent of each voxel's mean over
    the run; NaN where the run has no data, at all of its times alike. ``lengths`` are T_run of
    each; ``t_r``, in seconds, is the same for all runs.
    """

    paths: tuple[Path, ...]
    lengths: tuple[int, ...]
    t_r: float

    @property
    def n_volumes(self) -> int:
        """Volumes of all runs."""
        return sum(self.lengths)

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Tell which voxels have data in all runs, and so at all times: (V,)."""
        firsts = [np.load(path, mmap_mode="r", allow_pickle=False)[0] for path in self.paths]
        return np.asarray(np.isfinite(firsts).all(axis=0))

    def values(self) -> FloatArray:
        """Read the runs one after the other: (T, V) float32, NaN where there are no data."""
        runs = [np.load(path, mmap_mode="r", allow_pickle=False) for path in self.paths]
        whole: FloatArray = runs[0] if len(runs) == 1 else np.concatenate(runs)
        return whole


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
        `fmnet.data.nifti.header_stat`.
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


@dataclass(frozen=True, eq=False)
class MapsOnGrid:
    """Recipe: decode the maps of a scan and put them on a grid.

    A map must cover ``min_coverage`` of the mask, a fraction.
    """

    grid: Grid
    min_coverage: float = 0.5

    def store(self, scan: Scan, job: Job) -> StoredScan:
        """Fetch the maps of a scan, (C, V)."""
        settings = (MAPS_FORMAT, self.grid.digest)
        stored = job.fetch(scan.files, settings, partial(self._compute, scan))
        self._check_coverage(scan, stored.facts["coverage"])
        names = ("values_sha256", "file_grids", "stats")
        hashes, grids, stats = (tuple(stored.facts[name]) for name in names)
        return StoredScan(stored.path, stored.sources, hashes, grids, stats=stats)

    def _compute(self, scan: Scan, entry: Entry) -> Stored:
        raws = apply_to_all(read_raw, scan.files)
        hashes = [raw.sha256 for raw in raws]
        if (stored := entry.find(hashes)) is not None:
            return stored

        def place(raw: RawImage) -> FloatArray:
            values: FloatArray = place_checked(read_volume(raw, scan.space), self.grid)[0]
            return values

        channels = apply_to_all(place, raws)
        facts: dict[str, Any] = {
            "values_sha256": [hashlib.sha256(one.tobytes()).hexdigest() for one in channels],
            "coverage": [covered_fraction(one) for one in channels],
            "file_grids": [describe_grid(raw) for raw in raws],
            "stats": [stated_stat(raw) for raw in raws],
        }
        self._check_coverage(scan, facts["coverage"])
        return entry.write(hashes, {".npy": np.stack(channels)}, facts)

    def _check_coverage(self, scan: Scan, fractions: list[float]) -> None:
        faults = [
            low_coverage(fraction, str(file), self.min_coverage, LOWER_COVERAGE)
            for file, fraction in zip(scan.files, fractions, strict=True)
            if fraction < self.min_coverage
        ]
        if faults:
            raise VolumeError(faults)


def apply_to_all(function: Callable[[Given], Made], items: Iterable[Given]) -> list[Made]:
    """Call a function on each item; raise `VolumeError` with the faults of all that fail."""
    results, faults = list[Made](), list[Fault]()
    for item in items:
        try:
            results.append(function(item))
        except VolumeError as error:
            faults += error.faults
    if faults:
        raise VolumeError(faults)
    return results


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
    fraction = covered_fraction(values)
    return None if fraction >= min_coverage else low_coverage(fraction, name, min_coverage, action)


def covered_fraction(values: FloatArray) -> float:
    """Fraction of in-mask values that are known."""
    return float(np.isfinite(values).mean())


def low_coverage(fraction: float, name: str, min_coverage: float, action: str) -> Fault:
    """Describe an image with data in too small a part of the mask."""
    found = f"values in {fraction:.0%} of the mask"
    return Fault(name, found, f"at least {min_coverage:.0%}", action)
