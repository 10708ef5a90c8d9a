"""`SeriesStore`: each run cleaned once, kept as a memory-mapped file."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from fmnet.bold.bids_files import PreprocessedRun
from fmnet.bold.bold_store import BoldStore
from fmnet.bold.cleaned_run import (
    SERIES_FORMAT,
    CleanedFacts,
    CleanedRun,
    hash_values,
    open_cleaned,
    write_cleaned,
)
from fmnet.bold.cleaning import check_preprocessed, clean_values, signal_to_noise
from fmnet.bold.confounds import MODELS, CleaningSettings, Nuisance, json_beside
from fmnet.bold.stored_run import BOLD_FORMAT, StoredRun
from fmnet.data.byte_stream import hash_file
from fmnet.data.grid import Grid
from fmnet.data.store import covered_share, low_coverage
from fmnet.data.store_index import (
    Source,
    Stamp,
    StoreIndex,
    add_each,
    read_index,
    stamp_image,
    take_stamp,
    write_index,
)
from fmnet.data.volume import FloatArray
from fmnet.errors import VolumeError

__all__ = ["CleanedFacts", "CleanedRun", "SeriesStore"]

#: Percentiles of the signal-to-noise ratio that are kept.
PERCENTILES = (10, 50, 90)
UNCLEANABLE = (
    "check the run's registration and its mask, that it is preprocessed but not cleaned yet, or "
    "lower min_coverage"
)


@dataclass(frozen=True, eq=False)
class SeriesStore:
    """Cleaned runs, named after the content and the settings that they come from.

    The values as acquired lie in the same folder, see `fmnet.bold.bold_store.BoldStore`.

    Parameters
    ----------
    folder : Path
        Made when first written to; may be shared by many studies and deleted at any time.
    grid : Grid
        Where runs are put.
    cleaning : CleaningSettings
        How they are cleaned.
    min_coverage : float
        Smallest share of the mask in which a run must have data.
    """

    folder: Path
    grid: Grid
    cleaning: CleaningSettings
    min_coverage: float = 0.5

    def add(self, run: PreprocessedRun) -> CleanedRun:
        """Clean and store a run unless the same content is there already.

        Raises
        ------
        VolumeError
            With every fault of the run's files.
        StoreError
            If the store can't be written.
        """
        (outcome,) = self.add_all([run])
        if isinstance(outcome, VolumeError):
            raise outcome
        return outcome

    def add_all(
        self, runs: Iterable[PreprocessedRun], n_jobs: int = 1
    ) -> Iterator[CleanedRun | VolumeError]:
        """Clean runs one by one, and remember their files so that unchanged ones aren't read again.

        Parameters
        ----------
        runs : iterable of PreprocessedRun
            Any number; the cleaned values of `n_jobs` of them are in memory at a time, see
            `fmnet.bold.cleaning.clean_values`, whatever the number of runs.
        n_jobs : int
            Threads. Results don't depend on it.

        Yields
        ------
        CleanedRun or VolumeError
            One per run, in order: where it lies, or what is wrong with it.

        Raises
        ------
        StoreError
            If the store can't be written.
        """
        return add_each(self._add, runs, self.folder, n_jobs)

    def open(self, run: PreprocessedRun) -> tuple[StoredRun, Nuisance]:
        """Open a run as acquired, with its confounds; it is decoded unless it is stored already.

        Raises
        ------
        VolumeError, StoreError
            As `add` does.
        """
        index = read_index(self.folder)
        nuisance = check_preprocessed(run, self.cleaning)
        stored = self._runs.add(run.bold, index)
        write_index(index, self.folder)
        return stored, nuisance

    @cached_property
    def _runs(self) -> BoldStore:
        return BoldStore(self.folder, self.grid, self.min_coverage)

    def _add(self, run: PreprocessedRun, index: StoreIndex) -> CleanedRun:
        files = self._files(run)
        stamps = [_stamp(file) for file in files]
        hashes = _find_hashes(files, stamps, index)
        cleaned = None
        if hashes is not None:
            cleaned = open_cleaned(self._path(run, hashes), self.grid)
        if hashes is None or cleaned is None:
            cleaned, hashes = self._clean(run, index)
        self._check_coverage(cleaned.facts.coverage, run)
        for file, stamp, sha256 in zip(files, stamps, hashes, strict=True):
            if file is not None:
                index.add_source(file, Source(stamp, sha256))
        return cleaned

    def _files(self, run: PreprocessedRun) -> tuple[Path | None, ...]:
        """Name the files that a cleaned run depends on."""
        facts = None
        if run.confounds is not None and MODELS[self.cleaning.strategy].needs_json:
            facts = json_beside(run.confounds)
        return run.bold.path, run.bold.mask, run.confounds, facts

    def _path(self, run: PreprocessedRun, hashes: Sequence[str]) -> Path:
        settings = map(repr, astuple(self.cleaning))
        stated = (run.bold.space, repr(run.bold.t_r))
        parts = (SERIES_FORMAT, BOLD_FORMAT, self.grid.digest, *hashes, *stated, *settings)
        return self.folder / f"{hashlib.sha256('|'.join(parts).encode()).hexdigest()}.npy"

    def _clean(self, run: PreprocessedRun, index: StoreIndex) -> tuple[CleanedRun, list[str]]:
        nuisance = check_preprocessed(run, self.cleaning)
        *_, json_file = self._files(run)
        json_sha256 = "" if json_file is None else hash_file(json_file)
        stored = self._runs.add(run.bold, index)
        values = clean_values(stored, nuisance, self.cleaning)
        self._check_coverage(covered_share(values[0]), run)
        facts = _describe(stored, nuisance, values)
        hashes = [facts.source_sha256, facts.mask_sha256, facts.confounds_sha256, json_sha256]
        cleaned = CleanedRun(self._path(run, hashes), nuisance.kept, facts, self.grid)
        write_cleaned(values, cleaned)
        return cleaned, hashes

    def _check_coverage(self, share: float, run: PreprocessedRun) -> None:
        if share < self.min_coverage or not share:
            where = str(run.bold.path)
            raise VolumeError(low_coverage(share, where, self.min_coverage, UNCLEANABLE))


def _describe(stored: StoredRun, nuisance: Nuisance, values: FloatArray) -> CleanedFacts:
    displacement = nuisance.framewise_displacement_mm
    known = displacement[np.isfinite(displacement)]
    ratio = signal_to_noise(stored, nuisance.n_non_steady)
    low, middle, high = np.percentile(ratio[np.isfinite(ratio)], PERCENTILES).tolist()
    return CleanedFacts(
        stored.t_r,
        stored.n_volumes,
        nuisance.n_non_steady,
        nuisance.n_scrubbed,
        float(known.mean()) if known.size else None,
        float(known.max()) if known.size else None,
        (low, middle, high),
        covered_share(values[0]),
        stored.facts.file_grid,
        stored.facts.source_sha256,
        stored.facts.mask_sha256,
        nuisance.sha256,
        hash_values(values),
    )


def _stamp(file: Path | None) -> Stamp:
    if file is None:
        return Stamp((), False)
    is_text = file.suffix.lower() in {".tsv", ".json"}
    return take_stamp([file]) if is_text else stamp_image(file)


def _find_hashes(
    files: Sequence[Path | None], stamps: Sequence[Stamp], index: StoreIndex
) -> list[str] | None:
    """Find the hashes of files that were read before; None if one is new or gone."""
    hashes = []
    for file, stamp in zip(files, stamps, strict=True):
        if file is None:
            hashes.append("")
        elif source := index.find_source(file, stamp):
            hashes.append(source.sha256)
        elif index.is_likely(file, stamp):
            hashes.append(hash_file(file))
        else:
            return None
    return hashes
