"""What the noise of a BOLD run looks like, in figures that don't need its truth."""

import math

import numpy as np
from numpy.polynomial.legendre import legvander
from numpy.typing import NDArray
from scipy.stats import kurtosis

from fmnet.data.grid import Grid
from fmnet.data.volume import FloatArray

PERCENTILES = (10, 50, 90)
#: Bands whose share of the power is told, in Hz.
BANDS = {"below 0.01 Hz": (0, 0.01), "0.01 to 0.1 Hz": (0.01, 0.1), "above 0.1 Hz": (0.1, 99)}


def measure_noise(values: FloatArray, grid: Grid, t_r: float) -> dict[str, float]:
    """Describe the noise of a run.

    Parameters
    ----------
    values : ndarray of float32, shape (T, V)
        In the file's units, all positive in the mean.
    grid : Grid
        Where the V voxels lie.
    t_r : float
        Repetition time in seconds.

    Returns
    -------
    dict
        Quantity to figure. SFNR is what tSNR is after a drift of second order is taken out; so are
        autocorrelation, correlations, smoothness and kurtosis.
    """
    mean = values.mean(axis=0, dtype=float)
    percent = 100 * (values / mean - 1)
    still = _detrend(percent)
    sd, still_sd = np.asarray(percent.std(axis=0)), np.asarray(still.std(axis=0))
    scaled = still / still_sd
    pairs = (scaled.T @ scaled / len(scaled))[np.triu_indices(values.shape[1], 1)]
    steps = np.sqrt((np.diff(percent, axis=0) ** 2).mean(axis=1))
    return {
        **_spread("tSNR", 100 / sd),
        **_spread("SFNR", 100 / still_sd),
        **_spread("AR(1) coefficient", (scaled[1:] * scaled[:-1]).mean(axis=0)),
        "share of variance that is drift": float(np.median(1 - (still_sd / sd) ** 2)),
        **_power_shares(percent, t_r),
        **_spread("DVARS (percent)", steps),
        "global signal SD (percent)": float(still.mean(axis=1).std()),
        "mean correlation of voxels": float(pairs.mean()),
        "mean |correlation| of voxels": float(np.abs(pairs).mean()),
        "correlation of neighbours": neighbour_correlation(scaled, grid),
        "FWHM (voxels)": _fwhm(neighbour_correlation(scaled, grid)),
        **_spread("excess kurtosis", np.asarray(kurtosis(still, axis=0))),
    }


def thin_out(values: FloatArray, grid: Grid, step: int) -> tuple[FloatArray, Grid]:
    """Keep every `step`-th voxel along each axis, without averaging."""
    every = (slice(None, None, step),) * 3
    affine = grid.affine @ np.diag([step, step, step, 1.0])
    coarse = Grid(np.ascontiguousarray(grid.mask[every]), affine, grid.space)
    numbers = np.zeros(grid.shape, dtype=np.intp)
    numbers[grid.mask] = np.arange(grid.n_voxels)
    return values[:, numbers[every][coarse.mask]], coarse


def neighbour_correlation(scaled: NDArray[np.floating], grid: Grid) -> float:
    """Mean correlation over time of voxels that share a face."""
    numbers = np.full(grid.shape, -1)
    numbers[grid.mask] = np.arange(grid.n_voxels)
    found = []
    for axis in range(3):
        along = np.moveaxis(numbers, axis, 0)
        one, other = along[:-1].ravel(), along[1:].ravel()
        both = (one >= 0) & (other >= 0)
        found.append((scaled[:, one[both]] * scaled[:, other[both]]).mean(axis=0))
    return float(np.concatenate(found).mean())


def _detrend(percent: NDArray[np.floating]) -> NDArray[np.float64]:
    drift = legvander(np.linspace(-1, 1, len(percent)), 2)
    return np.asarray(percent - drift @ np.linalg.lstsq(drift, percent, rcond=None)[0])


def _power_shares(percent: NDArray[np.floating], t_r: float) -> dict[str, float]:
    power = np.abs(np.fft.rfft(percent, axis=0)[1:]) ** 2
    frequency = np.fft.rfftfreq(len(percent), t_r)[1:]
    power /= power.sum(axis=0)
    return {
        f"power {name}": float(power[(frequency >= low) & (frequency < high)].sum(axis=0).mean())
        for name, (low, high) in BANDS.items()
    }


def _spread(name: str, values: NDArray[np.floating]) -> dict[str, float]:
    figures = np.percentile(values, PERCENTILES)
    return {f"{name}, p{p}": float(x) for p, x in zip(PERCENTILES, figures, strict=True)}


def _fwhm(correlation: float) -> float:
    """Width of the Gaussian that makes white noise so alike in neighbours; 0 if they aren't."""
    return math.sqrt(2 * math.log(2) / -math.log(correlation)) if 0 < correlation < 1 else 0.0
