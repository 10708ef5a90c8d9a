"""`BoldStore`: each BOLD run decoded once, put in a mask, kept volume by volume."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fmnet.bold.bold_run import BoldRun, CheckedRun, check_run
from fmnet.bold.bold_values import RunValues
from fmnet.bold.stored_run import (
    BOLD_FORMAT,
    MASK,
    SCALE,
    RunFacts,
    StoredRun,
    open_run,
    write_facts,
)
from fmnet.data.byte_stream import hash_file
from fmnet.data.files import keep_draft, open_draft
from fmnet.data.grid import Grid
from fmnet.data.nifti import read_raw
from fmnet.data.placement import (
    Interpolation,
    Lookup,
    are_voxels,
    build_interpolation,
    build_lookup,
    coordinates,
    linear_weights,
)
from fmnet.data.store import low_coverage
from fmnet.data.store_files import write_array, writing_store
from fmnet.data.store_index import Source, StoreIndex, add_each, stamp_image
from fmnet.data.volume import MNI_SPACES, OWN_SPACE, SPACES, FloatArray, check_space
from fmnet.errors import CohortError, Fault, VolumeError

RAISE_COVERAGE = "check the run's registration and its mask, or lower min_coverage"


@dataclass(frozen=True, eq=False)
class BoldStore:
    """Files of in-mask time series, named after the content that they come from.

    Where a run has data is decided by its mask, if it has one, and its first volume: voxels that
    are NaN or exactly 0 there are outside in all volumes, and never mix into others.

    Parameters
    ----------
    folder : Path
        Made when first written to; may be shared by many studies and deleted at any time.
    grid : Grid, optional
        Where runs are put, by linear interpolation. Without it each stays on its own grid, turned
        to RAS+, in its own mask.
    min_coverage : float
        Smallest share of the mask in which a run must have data.
    """

    folder: Path
    grid: Grid | None = None
    min_coverage: float = 0.5
    _weights: dict[bytes, Any] = field(default_factory=dict, init=False, repr=False)

    def add(self, run: BoldRun, index: StoreIndex | None = None) -> StoredRun:
        """Store a run unless the same content is there already.

        Of the file, `fmnet.bold.bold_file.N_AHEAD` volumes are in memory at a time, besides what
        it takes to place one: memory doesn't grow with the length of the run.

        Parameters
        ----------
        run : BoldRun
            What to store.
        index : StoreIndex, optional
            What is known of files, and is added to; without it the file is read in any case.

        Raises
        ------
        VolumeError
            With what is wrong with the run's files.
        StoreError
            If the store can't be written.
        """
        return self._add(run, StoreIndex() if index is None else index)

    def add_all(
        self, runs: Iterable[BoldRun], n_jobs: int = 1
    ) -> Iterator[StoredRun | VolumeError]:
        """Store runs, and remember their files so that unchanged ones aren't read next time.

        Parameters
        ----------
        runs : iterable of BoldRun
            Any number.
        n_jobs : int
            Runs that are read at a time, each by one thread that unpacks and one that does the
            rest. Results don't depend on it.

        Yields
        ------
        StoredRun or VolumeError
            One per run, in order: where it lies, or what is wrong with it.

        Raises
        ------
        StoreError
            If the store can't be written.
        """
        return add_each(self._add, runs, self.folder, n_jobs)

    def _add(self, run: BoldRun, index: StoreIndex) -> StoredRun:
        is_own = self.grid is None or self.grid.space == OWN_SPACE
        check_space(run.space, str(run.path), SPACES if is_own else MNI_SPACES)
        stamps = {file: stamp_image(file) for file in (run.path, run.mask) if file is not None}
        known = {file: index.find_source(file, stamp) for file, stamp in stamps.items()}
        hashes = {file: source.sha256 for file, source in known.items() if source is not None}
        if run.path not in hashes and index.is_likely(run.path, stamps[run.path]):
            hashes[run.path] = hash_file(run.path)
        stored = self._open(run, hashes) or self._decode(run)
        self._check_coverage(stored.facts.coverage, run)
        hashes[run.path] = stored.facts.source_sha256
        if run.mask is not None:
            hashes[run.mask] = stored.facts.mask_sha256
        for file, stamp in stamps.items():
            index.add_source(file, Source(stamp, hashes[file]))
        return stored

    def _open(self, run: BoldRun, hashes: dict[Path, str]) -> StoredRun | None:
        """Open a run whose file is known, unless what is stored of it has been altered."""
        if run.path not in hashes:
            return None
        mask = ""
        if run.mask is not None:
            mask = hashes.get(run.mask) or read_raw(run.mask).sha256
        return open_run(self._path(run, hashes[run.path], mask), self.grid)

    def _path(self, run: BoldRun, source_sha256: str, mask_sha256: str) -> Path:
        grid = self.grid.digest if self.grid is not None else "own"
        parts = (BOLD_FORMAT, grid, source_sha256, mask_sha256, run.space, repr(run.t_r))
        return self.folder / f"{hashlib.sha256('|'.join(parts).encode()).hexdigest()}.npy"

    def _decode(self, run: BoldRun) -> StoredRun:
        with check_run(run, self.grid is None) as checked, closing(checked.volumes()) as volumes:
            header = checked.header
            first = next(volumes)
            support = checked.support(first)
            grid = self.grid or Grid(support, header.ras[1], run.space)
            values = RunValues(run.path, header, self._place(checked, support, grid))
            known = float(values.placement.known.mean())
            coverage = known if self.grid else float(support.sum() / checked.mask.sum())
            self._check_coverage(coverage, run)
            with writing_store(self.folder, values.n_bytes), open_draft(self.folder) as draft:
                scale = values.write(chain([first], volumes), draft)
                source_sha256 = checked.finish()
                path = self._path(run, source_sha256, checked.mask_sha256)
                keep_draft(draft, path)
        facts = RunFacts(
            checked.t_r,
            header.n_volumes,
            grid.n_voxels,
            values.dtype.str,
            header.slope if values.is_exact else 1.0,
            header.intercept if values.is_exact else 0.0,
            grid.shape,
            tuple(map(tuple, grid.affine.tolist())),
            run.space,
            coverage,
            header.description,
            source_sha256,
            checked.mask_sha256,
        )
        return self._keep(path, facts, scale, grid)

    def _place(
        self, checked: CheckedRun, support: NDArray[np.bool_], grid: Grid
    ) -> Lookup | Interpolation:
        order, affine = checked.header.ras
        if self.grid is None:
            return Lookup(order[support], np.ones(grid.n_voxels, dtype=bool))
        places = coordinates(grid, affine)
        placement: Lookup | Interpolation
        if are_voxels(places):
            placement = build_lookup(places, order, support)
        else:
            key = repr(order.shape).encode() + affine.tobytes()
            if key not in self._weights:
                self._weights[key] = linear_weights(places, order.shape)
            placement = build_interpolation(self._weights[key], order, support)
        if not placement.known.any():
            raise checked.refusal(
                "no overlap with the mask",
                f"check that the run is in {checked.run.space} space and that its affine is right",
            )
        return placement

    def _keep(self, path: Path, facts: RunFacts, scale: FloatArray | None, grid: Grid) -> StoredRun:
        """Write what belongs beside the values; the facts last, which stand for a whole run."""
        beside: dict[str, NDArray[Any]] = {} if scale is None else {SCALE: scale}
        if self.grid is None:
            beside[MASK] = np.packbits(grid.mask)
        for suffix, array in beside.items():
            write_array(array, path.with_suffix(suffix))
        files = {end: path.with_suffix(end) for end in (".npy", *beside)}
        facts = replace(
            facts,
            sizes={end: file.stat().st_size for end, file in files.items()},
            hashes={end: hash_file(file) for end, file in files.items()},
        )
        write_facts(facts, path)
        return StoredRun(path, facts, self.grid)

    def _check_coverage(self, share: float, run: BoldRun) -> None:
        if share < self.min_coverage:
            name = str(run.path)
            raise VolumeError(low_coverage(share, name, self.min_coverage, RAISE_COVERAGE))


def open_runs(runs: Sequence[BoldRun], store: BoldStore, n_jobs: int = 1) -> list[StoredRun]:
    """Decode every run once, `n_jobs` at a time.

    Raises
    ------
    CohortError
        With every fault of every run.
    StoreError
        If the store can't be written.
    """
    stored: list[StoredRun] = []
    faults: list[Fault] = []
    outcomes = store.add_all(runs, n_jobs)
    bar = tqdm(outcomes, desc="reading runs", total=len(runs), unit="run", leave=False)
    for run, outcome in zip(runs, bar, strict=True):
        if isinstance(outcome, StoredRun):
            stored.append(outcome)
        else:
            faults += [
                replace(
                    fault,
                    where=f"{run.run_id} ({fault.where})",
                    participant_id=run.participant_id,
                )
                for fault in outcome.faults
            ]
    if faults:
        raise CohortError(faults)
    return stored
