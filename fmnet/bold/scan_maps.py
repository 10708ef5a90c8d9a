"""Scans of BOLD runs: cleaned once, with the maps that are computed from them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock

import numpy as np

from fmnet.bold.acquired import AcquiredBold
from fmnet.bold.bids_files import PreprocessedRun
from fmnet.bold.cleaned import CleanedBold, CleanedFacts, CleanedRun
from fmnet.bold.maps import compute_maps, parse_maps
from fmnet.bold.settings import CleaningSettings
from fmnet.data.grid import Grid
from fmnet.data.image_files import hash_file
from fmnet.data.scans import SAME_T_R, Scan, Series, StoredScan
from fmnet.data.store import Entry, Job, Stored
from fmnet.errors import Fault, VolumeError

#: Part of every key: raise it when a map's definition changes.
SCAN_MAPS_FORMAT = "scan maps 2"
#: Columns of the participants table that runs fill in.
MOTION, SCRUBBED, KEPT = "mean_framewise_displacement", "share_scrubbed", "n_volumes_kept"
#: Maps of one scan at a time: they take its runs into memory, and silence warnings meanwhile, which
#: Python does for all threads alike.
COMPUTING = Lock()


@dataclass(frozen=True, eq=False)
class ScanMaps:
    """Recipe: clean the runs of a scan and compute maps of them.

    Parameters
    ----------
    grid : Grid
        Where runs are put.
    min_coverage : float
        Smallest fraction of the mask in which a run must have data.
    cleaning : CleaningSettings
        How runs are cleaned.
    maps : tuple of str
        Names of the maps, see `fmnet.bold.maps.parse_maps`.
    runs : dict
        The runs of each scan, by scan id.
    """

    grid: Grid
    min_coverage: float
    cleaning: CleaningSettings
    maps: tuple[str, ...]
    runs: Mapping[str, tuple[PreprocessedRun, ...]]

    @cached_property
    def cleaned(self) -> CleanedBold:
        """The recipe for a scan's runs."""
        return CleanedBold(self.grid, self.cleaning, self.min_coverage)

    def store(self, scan: Scan, job: Job) -> StoredScan:
        """Fetch the maps of a scan, (C, V), and its cleaned series."""
        runs = self.runs[scan.scan_id]
        faults: list[Fault] = []
        cleaned: list[CleanedRun] = []
        for run in runs:
            try:
                cleaned.append(self.cleaned.store(run, job))
            except VolumeError as error:
                name = run.bold.run_id
                for fault in error.faults:
                    where = fault.where if name in fault.where else f"{name}: {fault.where}"
                    faults.append(replace(fault, where=where))
        if faults:
            raise VolumeError(faults)
        facts = [run.facts for run in cleaned]
        times = sorted({run.t_r for run in facts})
        if times[-1] - times[0] > SAME_T_R * times[0]:
            found = f"runs with repetition times of {', '.join(f'{t_r:g} s' for t_r in times)}"
            action = "study the runs of one repetition time"
            raise VolumeError(Fault(scan.scan_id, found, "one", action))
        recipes = parse_maps(self.maps)
        needs_events = any(recipe.needs_events for recipe in recipes)
        events = [run.events if needs_events else None for run in runs]

        def compute(entry: Entry) -> Stored:
            hashes = [hash_file(path) if path else "" for path in events]
            if (stored := entry.find(hashes)) is not None:
                return stored
            acquired = AcquiredBold(self.cleaned)
            with COMPUTING:
                maps = compute_maps([acquired.store(run, job) for run in runs], recipes)
            of_maps = [hashlib.sha256(values.tobytes()).hexdigest() for values in maps]
            return entry.write(hashes, {".npy": maps}, {"values_sha256": of_maps})

        # a cleaned run is named after all that it is made from
        names = [run.path.stem for run in cleaned]
        first = [repr(run.start_time) for run in runs]
        stored = job.fetch(events, (SCAN_MAPS_FORMAT, *self.maps, *names, *first), compute)
        hashes = [
            digest
            for run, of_events in zip(facts, stored.sources, strict=True)
            for digest in (
                run.source_sha256,
                run.mask_sha256,
                run.confounds_sha256,
                of_events,
            )
        ]
        low, middle, high = np.mean([run.tsnr for run in facts], axis=0).tolist()
        return StoredScan(
            stored.path,
            tuple(hashes),
            # of images too: one of several runs may be somebody else's
            (*(run.source_sha256 for run in facts), *stored.facts["values_sha256"]),
            tuple(run.file_grid for run in facts),
            Series(
                tuple(run.path for run in cleaned),
                tuple(len(run.kept) for run in cleaned),
                facts[0].t_r,
            ),
            (low, middle, high),
            _covariates(facts),
            tuple(run.mean_fd_mm for run in facts),
        )


def _covariates(facts: list[CleanedFacts]) -> dict[str, float]:
    """Put the runs of a scan together: motion over all volumes, fractions and sums."""
    acquired = sum(one.n_acquired for one in facts)
    left_out = sum(one.n_non_steady + one.n_scrubbed for one in facts)
    scrubbed = sum(one.n_scrubbed for one in facts)
    found = {SCRUBBED: scrubbed / acquired, KEPT: float(acquired - left_out)}
    moved = [(one.mean_fd_mm, one.n_acquired) for one in facts if one.mean_fd_mm is not None]
    if moved:
        values, weights = zip(*moved, strict=True)
        found[MOTION] = float(np.average(values, weights=weights))
    return found
