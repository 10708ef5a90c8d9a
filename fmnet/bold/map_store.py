"""`MapStore`: scans of BOLD runs, cleaned once, with the maps that are computed from them."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fmnet.bold.bids_files import PreprocessedRun
from fmnet.bold.bold_run import SAME_T_R
from fmnet.bold.confounds import CleaningSettings
from fmnet.bold.map_source import MapSource
from fmnet.bold.maps import MapRecipe, compute_maps, parse_maps
from fmnet.bold.series_store import CleanedFacts, CleanedRun, SeriesStore
from fmnet.data.byte_stream import hash_file
from fmnet.data.grid import Grid
from fmnet.data.scans import Scan
from fmnet.data.series import Series
from fmnet.data.store import StoredScan
from fmnet.data.store_files import read_stored, write_array
from fmnet.data.volume import FloatArray
from fmnet.errors import Fault, VolumeError

#: Part of every key: raise it when a map's definition changes.
MAPS_FORMAT = "1"
#: Columns of the participants table that runs fill in.
MOTION, SCRUBBED, KEPT = "mean_framewise_displacement", "share_scrubbed", "n_volumes_kept"


@dataclass(frozen=True, eq=False)
class MapStore:
    """Scans of BOLD runs on their way to series and maps.

    Parameters
    ----------
    folder : Path
        As for `SeriesStore`.
    grid : Grid
        Where runs are put.
    min_coverage : float
        Smallest share of the mask in which a run must have data.
    cleaning : CleaningSettings
        How runs are cleaned.
    maps : tuple of str
        Names of the maps, see `fmnet.bold.maps.parse_maps`.
    runs : dict
        The runs of each scan, by scan id.
    """

    folder: Path
    grid: Grid
    min_coverage: float
    cleaning: CleaningSettings
    maps: tuple[str, ...]
    runs: Mapping[str, tuple[PreprocessedRun, ...]]

    def add_all(self, scans: Iterable[Scan], n_jobs: int = 1) -> Iterator[StoredScan | VolumeError]:
        """Clean the runs of each scan, `n_jobs` runs at a time, and compute its maps.

        Memory holds `n_jobs` runs, see `SeriesStore`, and the maps of one scan, however many there
        are.

        Yields
        ------
        StoredScan or VolumeError
            One per scan, in order: where it lies, or every fault of its files.
        """
        listed = list(scans)
        runs = [run for scan in listed for run in self.runs[scan.scan_id]]
        outcomes = self._series.add_all(runs, n_jobs)
        for scan in listed:
            own = self.runs[scan.scan_id]
            found = [next(outcomes) for _ in own]
            faults = [
                _name_run(fault, run)
                for run, one in zip(own, found, strict=True)
                if isinstance(one, VolumeError)
                for fault in one.faults
            ]
            cleaned = [one for one in found if isinstance(one, CleanedRun)]
            try:
                yield VolumeError(faults) if faults else self._stored(scan, own, cleaned)
            except VolumeError as error:
                yield error

    @property
    def _series(self) -> SeriesStore:
        return SeriesStore(self.folder, self.grid, self.cleaning, self.min_coverage)

    def _stored(
        self, scan: Scan, runs: tuple[PreprocessedRun, ...], cleaned: list[CleanedRun]
    ) -> StoredScan:
        facts = [one.facts for one in cleaned]
        found = sorted({one.t_r for one in facts})
        if found[-1] - found[0] > SAME_T_R * found[0]:
            words = ", ".join(f"{t_r:g} s" for t_r in found)
            action = "study the runs of one repetition time"
            raise VolumeError(
                Fault(scan.scan_id, f"runs with repetition times of {words}", "one", action)
            )
        recipes = parse_maps(self.maps)
        needs_events = any(recipe.needs_events for recipe in recipes)
        events = [hash_file(run.events) if run.events and needs_events else "" for run in runs]
        maps_path = self._path(runs, cleaned, events)
        maps = self._maps(runs, recipes, maps_path)
        hashes = [
            digest
            for one, own in zip(facts, events, strict=True)
            for digest in (one.source_sha256, one.mask_sha256, one.confounds_sha256, own)
        ]
        return StoredScan(
            maps_path,
            tuple(hashes),
            # of images too: one of several runs may be somebody else's
            (
                *(one.source_sha256 for one in facts),
                *(hashlib.sha256(one.tobytes()).hexdigest() for one in maps),
            ),
            tuple(one.file_grid for one in facts),
            Series(
                tuple(one.path for one in cleaned),
                tuple(len(one.kept) for one in cleaned),
                facts[0].t_r,
            ),
            _mean_tsnr(facts),
            _covariates(facts),
            tuple(one.mean_fd_mm for one in facts),
        )

    def _maps(
        self, runs: tuple[PreprocessedRun, ...], recipes: tuple[MapRecipe, ...], path: Path
    ) -> FloatArray:
        """Compute the maps of a scan, (C, V), unless they are there already."""
        maps = read_stored(path, (len(recipes), self.grid.n_voxels))
        if maps is None:
            opened = [(run, *self._series.open(run)) for run in runs]
            sources = [MapSource(*one, self.cleaning) for one in opened]
            maps = compute_maps(sources, recipes)
            write_array(maps, path)
        return maps

    def _path(
        self, runs: tuple[PreprocessedRun, ...], cleaned: list[CleanedRun], events: list[str]
    ) -> Path:
        # a cleaned run is named after all that it is made from
        names = [one.path.stem for one in cleaned]
        starts = [repr(run.start_time) for run in runs]
        parts = (MAPS_FORMAT, *self.maps, *names, *events, *starts)
        name = hashlib.sha256("|".join(parts).encode()).hexdigest()
        return self.folder / f"{name}.maps.npy"


def _name_run(fault: Fault, run: PreprocessedRun) -> Fault:
    if run.bold.run_id in fault.where:
        return fault
    return replace(fault, where=f"{run.bold.run_id}: {fault.where}")


def _mean_tsnr(facts: list[CleanedFacts]) -> tuple[float, float, float]:
    low, middle, high = np.mean([one.tsnr for one in facts], axis=0)
    return float(low), float(middle), float(high)


def _covariates(facts: list[CleanedFacts]) -> dict[str, float]:
    """Put the runs of a scan together: motion over all volumes, shares and sums."""
    acquired = sum(one.n_acquired for one in facts)
    left_out = sum(one.n_non_steady + one.n_scrubbed for one in facts)
    scrubbed = sum(one.n_scrubbed for one in facts)
    found = {SCRUBBED: scrubbed / acquired, KEPT: float(acquired - left_out)}
    moved = [(one.mean_fd_mm, one.n_acquired) for one in facts if one.mean_fd_mm is not None]
    if moved:
        values, weights = zip(*moved, strict=True)
        found[MOTION] = float(np.average(values, weights=weights))
    return found
