"""Score preprocessed BOLD runs: cleaned as in training, and checked before their score is given."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from fmnet.bold.bids_files import PreprocessedRun
from fmnet.bold.cleaned import CleanedBold
from fmnet.bold.maps import compute_maps, parse_maps
from fmnet.bold.open_run import AcquiredBold
from fmnet.data.scans import coverage_fault, low_coverage
from fmnet.data.store import ArrayStore
from fmnet.data.volume import FloatArray
from fmnet.errors import Fault, FmnetError, VolumeError
from fmnet.inference.bold_checks import check_runs, contract_of, header_notes
from fmnet.inference.bold_contract import BoldContract
from fmnet.inference.bundle import Bundle
from fmnet.inference.predict import Prediction, failed, scored
from fmnet.inference.quality import motion_fault, scale_faults, temporal_sd
from fmnet.inference.series_preparation import SeriesPreparation

Result = TypeVar("Result")
WHOLE_RUN = "check the run's registration and its mask"
SAME_CLEANING = "check that the run was preprocessed as the training runs were"


@dataclass(frozen=True)
class NewBoldScan:
    """Runs of one session that are scored together.

    Parameters
    ----------
    name : str
        How it is called in the results.
    runs : tuple of PreprocessedRun
        In the order they were acquired.
    """

    name: str
    runs: tuple[PreprocessedRun, ...]


@dataclass(frozen=True, eq=False)
class ReadScan:
    """A scan as the preparation takes it, with what the gates look at.

    Parameters
    ----------
    values : ndarray of float32, shape (C, V) or (T, V)
        Maps, or the cleaned runs one after the other.
    coverage : tuple of float
        Share of the mask in which each run has data.
    mean_fd_mm : tuple of (float or None)
        Mean framewise displacement of each run, in mm; None if nobody states it.
    """

    values: FloatArray
    coverage: tuple[float, ...]
    mean_fd_mm: tuple[float | None, ...]


def predict_run(bundle: Bundle, scan: NewBoldScan) -> Prediction:
    """Score one scan; several runs are joined in time, or make maps together.

    Cleaned runs lie in a temporary folder meanwhile; ``TMPDIR`` says where.

    Parameters
    ----------
    bundle : Bundle
        A signature that reads BOLD.
    scan : NewBoldScan
        The scan.

    Returns
    -------
    Prediction
        With the reason where there is no score; bad input never raises.
    """
    try:
        read = read_scan(bundle, scan)
    except FmnetError as error:
        return failed(scan.name, error.faults)
    if doubts := _run_doubts(bundle, scan, read) or _value_doubts(bundle, scan, read.values):
        return failed(scan.name, doubts, "cannot_say")
    result = scored(bundle, scan.name, bundle.score_scan(read.values))
    notes = [result.reason, *header_notes(scan.runs)]
    return replace(result, reason=" | ".join(filter(None, notes)))


def read_scan(bundle: Bundle, scan: NewBoldScan) -> ReadScan:
    """Clean a scan's runs and make of them what the bundle's preparation takes.

    Raises
    ------
    VolumeError
        With all that is wrong with the runs, or with what they are given for.
    StoreError
        If the temporary folder can't be written.
    """
    contract = contract_of(bundle, scan.name)
    check_runs(scan.runs, scan.name, bundle, contract)
    with tempfile.TemporaryDirectory(prefix="fmnet-") as folder:
        # runs that cover too little are no errors here, but none that something can be said of
        recipe = CleanedBold(bundle.preparation.grid, contract.cleaning, 0.0)
        read = _read_maps if contract.maps else _read_series
        result = read(recipe, Path(folder), scan, contract)
    if isinstance(bundle.preparation, SeriesPreparation):
        _check_length(len(result.values), bundle.preparation.window_volumes, scan.name)
    return result


def _read_series(recipe: CleanedBold, folder: Path, scan: NewBoldScan, _: BoldContract) -> ReadScan:
    cleaned = _store_runs(ArrayStore(folder, recipe), scan)
    return ReadScan(
        np.concatenate([one.values() for one in cleaned]),
        tuple(one.facts.coverage for one in cleaned),
        tuple(one.facts.mean_fd_mm for one in cleaned),
    )


def _read_maps(
    recipe: CleanedBold, folder: Path, scan: NewBoldScan, contract: BoldContract
) -> ReadScan:
    sources = _store_runs(ArrayStore(folder, AcquiredBold(recipe)), scan)
    return ReadScan(
        compute_maps(sources, parse_maps(contract.maps)),
        tuple(source.stored.facts.coverage for source in sources),
        tuple(source.nuisance.mean_fd_mm for source in sources),
    )


def _store_runs(store: ArrayStore[PreprocessedRun, Result], scan: NewBoldScan) -> list[Result]:
    outcomes = list(store.add_all(scan.runs))
    errors = [one for one in outcomes if isinstance(one, VolumeError)]
    if errors:
        raise VolumeError([fault for error in errors for fault in error.faults])
    return [one for one in outcomes if not isinstance(one, VolumeError)]


def _check_length(n_volumes: int, window_volumes: int, name: str) -> None:
    if n_volumes < window_volumes:
        found = f"{n_volumes} volumes after cleaning"
        accepted = f"at least {window_volumes}, which the network reads at a time"
        raise VolumeError(Fault(name, found, accepted, "give a longer run, or all of a session's"))


def _run_doubts(bundle: Bundle, scan: NewBoldScan, read: ReadScan) -> list[Fault]:
    """Say which runs cover too little or were moved too much in."""
    least = bundle.preparation.min_coverage
    faults: list[Fault] = []
    for run, share, motion in zip(scan.runs, read.coverage, read.mean_fd_mm, strict=True):
        name = str(run.bold.path)
        if share < least:
            faults.append(low_coverage(share, name, least, WHOLE_RUN))
        if fault := motion_fault(motion, bundle.reference, name):
            faults.append(fault)
    return faults


def _value_doubts(bundle: Bundle, scan: NewBoldScan, values: FloatArray) -> list[Fault]:
    """Say what is missing in too many places, or larger or smaller than in training."""
    if isinstance(bundle.preparation, SeriesPreparation):
        values = temporal_sd(values)
    least = bundle.preparation.min_coverage
    sparse = [coverage_fault(channel, scan.name, least, WHOLE_RUN) for channel in values]
    faults = [fault for fault in sparse if fault is not None]
    return faults or scale_faults(values, bundle.reference, scan.name, SAME_CLEANING)
