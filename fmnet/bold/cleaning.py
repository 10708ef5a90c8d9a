"""Cleaning of runs by one matrix each, which nilearn makes and which is applied block by block.

Also what is checked of a run before its volumes are read.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fmnet.bold.bids_files import PreprocessedRun
from fmnet.bold.bold_file import check_run, open_bold
from fmnet.bold.confounds import Nuisance, read_nuisance
from fmnet.bold.decoded import StoredRun
from fmnet.bold.settings import CleaningSettings, band_of
from fmnet.data.volume import FloatArray
from fmnet.errors import Fault, VolumeError

#: Numbers of a run that are worked on at a time: 4 MB as float32, whatever the run's length.
BLOCK_NUMBERS = 1 << 20
#: Volumes that nilearn's filter, a Butterworth of order 5 run both ways, is padded by at each end.
FILTER_PADDING = 33


def check_preprocessed(run: PreprocessedRun, settings: CleaningSettings) -> Nuisance:
    """Check image, mask, repetition time, confounds and settings against each other.

    Raises
    ------
    VolumeError
        With every fault; those of the confounds only if the image has a header that tells how many
        volumes they are for.
    """
    faults: list[Fault] = []
    t_r = None
    try:
        with check_run(run.bold, needs_mask=False) as checked:
            n_volumes, t_r = checked.file.header.n_volumes, checked.t_r
    except VolumeError as error:
        faults += error.faults
        try:  # a wrong mask or repetition time doesn't hinder counting
            with open_bold(run.bold.path) as file:
                n_volumes = file.header.n_volumes
        except VolumeError:
            raise error from None
    try:
        nuisance = read_nuisance(run, n_volumes, settings)
    except VolumeError as error:
        raise VolumeError([*faults, *error.faults]) from error
    if t_r is not None:
        faults += cleaning_faults(nuisance, t_r, settings, str(run.bold.path))
    if faults:
        raise VolumeError(faults)
    return nuisance


def cleaning_matrix(
    nuisance: Nuisance, t_r: float, settings: CleaningSettings
) -> NDArray[np.float64]:
    """Build the matrix that takes drift, confounds and other frequencies out of a run.

    Everything that `nilearn.signal.clean` does without standardising is linear along time, so that
    cleaning the unit vectors tells what it does to any series. Its steps are taken in its order:
    volumes left out are filled in by a cubic spline, drift is taken out, the band is limited, the
    filled ones are left out again, and confounds, treated likewise, are regressed out. Filling in
    is done here: nilearn (0.14) lets a volume that is left out through where its mirror image in
    time is left out as well. With `compcor` its cosines stand for the lower limit of the band.

    Returns
    -------
    ndarray, shape (T_kept, T)
        From the volumes as acquired to those that are kept. A constant becomes 0.

    Raises
    ------
    VolumeError
        See `cleaning_faults`.
    """
    if faults := cleaning_faults(nuisance, t_r, settings, "cleaning"):
        raise VolumeError(faults)
    # here, for importing these takes long and what cleans nothing need not wait for it
    from nilearn.signal import clean
    from scipy.interpolate import CubicSpline

    kept, regressors = nuisance.kept, nuisance.regressors
    units, n = np.eye(len(regressors)), len(regressors)
    low_hz, high_hz = band_of(settings)
    is_filtered = (low_hz, high_hz) != (None, None)
    series, confounds = units[kept], regressors[kept]
    if is_filtered:
        times, filled = kept - kept[0], np.hstack([units, regressors])[kept]
        if times[-1] >= len(kept):
            filled = CubicSpline(times, filled)(np.arange(times[-1] + 1))
        filtered = clean(filled, standardize=None, high_pass=low_hz, low_pass=high_hz, t_r=t_r)
        series, confounds = np.split(filtered[times], [n], axis=1)
    cleaned: NDArray[np.float64] = clean(
        series,
        detrend=not is_filtered,
        standardize=None,
        filter=False,
        confounds=confounds if confounds.shape[1] else None,
    )
    return cleaned


def cleaning_faults(
    nuisance: Nuisance, t_r: float, settings: CleaningSettings, where: str
) -> list[Fault]:
    """Say why a run can't be cleaned like this; empty if it can.

    The band must lie below half the sampling rate, the run must be longer than the filter, and
    something must be left of it: each regressor takes one degree of freedom, the filter the
    fraction of frequencies that it stops.
    """
    low_hz, high_hz = band_of(settings)
    nyquist = 0.5 / t_r
    low, high = low_hz or 0.0, nyquist if high_hz is None else high_hz
    action = "change low_hz and high_hz, or set them to null"
    if high_hz is not None and high >= nyquist:
        found = f"an upper limit of {high:g} Hz where volumes are {t_r:g} s apart"
        return [Fault(where, found, f"less than {nyquist:g} Hz, half the sampling rate", action)]
    if low >= high:
        found = f"a band from {low:g} to {high:g} Hz"
        return [Fault(where, found, "low_hz below high_hz", action)]
    n_span = int(nuisance.kept[-1] - nuisance.kept[0]) + 1
    if (low_hz or high_hz) and n_span <= FILTER_PADDING:
        accepted = f"more than {FILTER_PADDING} for a filter"
        return [Fault(where, f"{n_span} volumes from first to last", accepted, action)]
    n_regressors = int((np.ptp(nuisance.regressors, axis=0) > 0).sum())
    n_band = int(len(nuisance.kept) * (high - low) / nyquist) - 2 * (low_hz is None)
    if n_band > n_regressors:
        return []
    found = (
        f"{n_regressors} regressors where {len(nuisance.kept)} volumes leave {n_band} degrees of "
        f"freedom between {low:g} and {high:g} Hz"
    )
    action = "leave the run out, widen the band, or choose a strategy with fewer regressors"
    return [Fault(where, found, "fewer regressors than degrees of freedom", action)]


def clean_values(stored: StoredRun, nuisance: Nuisance, settings: CleaningSettings) -> FloatArray:
    """Clean a run: (T_kept, V) float32, in percent of each voxel's mean over the kept volumes.

    NaN where the run has no data, does not vary, or has a mean that is not positive enough for
    percentages to mean anything: less than its standard deviation, as in runs that were cleaned
    before.

    Besides the result, which takes 4 * T_kept * V bytes, the matrix (8 * T_kept * T) and a few
    blocks of `BLOCK_NUMBERS` numbers are in memory; the stored values are mapped.

    Raises
    ------
    VolumeError
        See `cleaning_faults`.
    """
    matrix = cleaning_matrix(nuisance, stored.t_r, settings).astype(np.float32)
    cleaned = np.empty((len(nuisance.kept), stored.facts.n_voxels), np.float32)
    for columns, values in _blocks(stored):
        kept = values[nuisance.kept]
        mean = kept.mean(axis=0, dtype=np.float64)
        usable = (np.ptp(kept, axis=0) > 0) & (mean >= kept.std(axis=0))
        # the matrix takes constants out anyway, but float32 is finer near 0
        values -= mean.astype(np.float32)
        percent = np.divide(100, mean, out=np.full_like(mean, np.nan), where=usable)
        np.matmul(matrix, values, out=cleaned[:, columns])
        cleaned[:, columns] *= percent.astype(np.float32)
    return cleaned


def signal_to_noise(stored: StoredRun, n_skipped: int) -> FloatArray:
    """Divide mean by standard deviation in time, as stored, but for the first volumes: (V,).

    NaN where the run has no data or does not vary. Memory: blocks as in `clean_values`.
    """
    ratio = np.full(stored.facts.n_voxels, np.nan, np.float32)
    for columns, values in _blocks(stored):
        deviation = values[n_skipped:].std(axis=0)
        np.divide(
            values[n_skipped:].mean(axis=0), deviation, out=ratio[columns], where=deviation > 0
        )
    return ratio


def _blocks(stored: StoredRun) -> Iterator[tuple[slice, FloatArray]]:
    """Read all volumes of some voxels at a time, (T, v) in the file's units; NaN without data."""
    mapped, (slope, intercept) = stored.mapped(), stored.scale
    width = max(1, BLOCK_NUMBERS // stored.n_volumes)
    for start in range(0, stored.facts.n_voxels, width):
        columns = slice(start, min(start + width, stored.facts.n_voxels))
        values = mapped[:, columns].astype(np.float32)
        if np.ndim(slope):
            values *= slope[columns]
            values += intercept[columns]
        elif (slope, intercept) != (1, 0):
            values *= slope
            values += intercept
        yield columns, values
