"""Networks of synthetic BOLD: where they lie, and how they go together."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fmnet.data.grid import Grid
from fmnet.data.volume import FloatArray
from fmnet.synthetic.maps import FWHM_PER_SD, Point, sum_blobs

Correlations = NDArray[np.float64]

BLOB_FWHM_MM = 26.0
#: A person's correlation is drawn within so many SDs of the group's mean.
MAX_SD = 2.0
#: Smallest eigenvalue that a matrix of correlations is left with.
MIN_EIGENVALUE = 0.05


@dataclass(frozen=True)
class Network:
    """A network: its name and the centres of its blobs in MNI mm."""

    name: str
    centres_mm: tuple[Point, ...]


def _both(x: float, y: float, z: float) -> tuple[Point, Point]:
    return (-x, y, z), (x, y, z)


#: Rough centres, as any textbook names them; the fronto-parietal one lies on the left alone.
NETWORKS = (
    Network("default_mode", ((0, -54, 28), (0, 52, 2), *_both(46, -66, 34), *_both(58, -12, -18))),
    Network("salience", (*_both(38, 12, 0), (0, 18, 38), *_both(58, -34, 28))),
    Network("sensorimotor", (*_both(40, -26, 54), (0, -10, 60))),
    Network("visual", ((0, -84, 4), *_both(28, -88, -4))),
    Network("auditory", _both(54, -20, 6)),
    Network("fronto_parietal", ((-42, 36, 26), (-44, -52, 48), (-58, -44, -10), (-6, 28, 46))),
    Network("dorsal_attention", (*_both(26, -60, 52), *_both(26, -4, 52), *_both(48, -66, -6))),
    Network("subcortical", (*_both(12, -18, 8), *_both(24, 4, 0))),
)
#: The pair whose correlation may differ between the groups.
FIRST, SECOND = 0, 1
#: Correlations of the time courses, row by row above the diagonal.
BASE = (
    (0.10, -0.05, 0.05, 0.05, 0.20, -0.15, 0.10),
    (0.15, 0.05, 0.20, 0.10, 0.10, 0.25),
    (0.20, 0.35, 0.00, 0.20, 0.10),
    (0.20, 0.00, 0.25, 0.05),
    (0.00, 0.05, 0.10),
    (0.20, 0.05),
    (0.05,),
)
#: Where painful events show, and by how much: centre in MNI mm and height.
PAIN_RESPONSE: tuple[tuple[Point, float], ...] = (
    *((centre, 1.0) for centre in _both(38, 8, 2)),
    *((centre, 0.9) for centre in _both(56, -26, 22)),
    *((centre, 0.7) for centre in _both(12, -16, 6)),
    ((0, 14, 36), 1.0),
    ((-40, -26, 56), 0.8),
    ((0, 50, -4), -0.5),
    ((0, -56, 32), -0.5),
)


def group_correlations(coupling: float) -> Correlations:
    """Build the K x K correlations with the two networks' own moved by ``coupling``."""
    matrix = np.eye(len(NETWORKS))
    for row, values in enumerate(BASE):
        matrix[row, row + 1 :] = matrix[row + 1 :, row] = values
    matrix[FIRST, SECOND] += coupling
    matrix[SECOND, FIRST] += coupling
    return matrix


def coupling_range(coupling: float, coupling_sd: float) -> tuple[float, float]:
    """Lowest and highest correlation that a person of either group may get."""
    reach = abs(coupling) / 2 + MAX_SD * coupling_sd
    return BASE[0][0] - reach, BASE[0][0] + reach


def are_positive(coupling: float, coupling_sd: float) -> bool:
    """Tell whether the correlations at both ends of that range go together."""
    reach = abs(coupling) / 2 + MAX_SD * coupling_sd
    return all(_smallest(group_correlations(shift)) > MIN_EIGENVALUE for shift in (-reach, reach))


def draw_correlations(
    rng: np.random.Generator, coupling: float, coupling_sd: float
) -> Correlations:
    """Draw one person's correlations around the group's.

    Parameters
    ----------
    rng : Generator
        Same state, same deviations from the group, whatever the coupling.
    coupling : float
        What the group adds to the two networks' correlation; it is kept in expectation.
    coupling_sd : float
        SD between persons; half of it for the other pairs.
    """
    z = np.clip(rng.standard_normal(), -MAX_SD, MAX_SD)
    centre = group_correlations(coupling + coupling_sd * float(z))
    upper = np.triu(rng.standard_normal(centre.shape) * coupling_sd / 2, 1)
    upper[FIRST, SECOND] = 0
    others = upper + upper.T
    # The pair itself is never touched: its expectation is what the knob promises.
    while _smallest(centre + others) <= MIN_EIGENVALUE:
        others *= 0.8
    return np.asarray(centre + others, dtype=float)


def network_maps(grid: Grid, shift_mm: NDArray[np.float64] | None = None) -> FloatArray:
    """Draw the networks' maps, each with peaks of about 1: (K, V).

    Parameters
    ----------
    grid : Grid
        Where.
    shift_mm : ndarray, shape (K, 3), optional
        Moves each network.
    """
    shifts = np.zeros((len(NETWORKS), 3)) if shift_mm is None else shift_mm
    sd_mm = BLOB_FWHM_MM / FWHM_PER_SD
    maps = []
    for network, shift in zip(NETWORKS, shifts, strict=True):
        blobs = [(np.array(centre) + shift, 1.0) for centre in network.centres_mm]
        maps.append(sum_blobs(grid, blobs, sd_mm)[grid.mask])
    return np.stack(maps)


def response_map(grid: Grid) -> FloatArray:
    """Draw where painful events show: (V,)."""
    blobs = [(np.array(centre), height) for centre, height in PAIN_RESPONSE]
    response: FloatArray = sum_blobs(grid, blobs, BLOB_FWHM_MM / FWHM_PER_SD)[grid.mask]
    return response


def draw_time_courses(
    rng: np.random.Generator, correlations: Correlations, n_volumes: int, t_r: float
) -> NDArray[np.float64]:
    """Draw the networks' time courses: (T, K), SD 1, between 0.01 and 0.1 Hz."""
    white = rng.standard_normal((4 * n_volumes, len(correlations)))
    slow = limit_band(white, t_r, 0.01, 0.1)[:n_volumes]
    return np.asarray(slow @ np.linalg.cholesky(correlations).T)


def limit_band(
    white: NDArray[np.float64], t_r: float, low_hz: float, high_hz: float
) -> NDArray[np.float64]:
    """Keep a band of white noise, falling off as 1/f in power, at an expected SD of 1."""
    n = len(white)
    frequency = np.fft.rfftfreq(n, t_r)
    inside = (frequency >= low_hz) & (frequency <= high_hz)
    gain = np.where(inside, 1 / np.sqrt(np.maximum(frequency, 1 / (n * t_r))), 0.0)
    gain /= math.sqrt(2 * float((gain**2).sum()) / n)
    return np.fft.irfft(gain[:, None] * np.fft.rfft(white, axis=0), n, axis=0)


def _smallest(matrix: Correlations) -> float:
    return float(np.linalg.eigvalsh(matrix)[0])
