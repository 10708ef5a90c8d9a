"""Noise of synthetic BOLD: white, smooth and autocorrelated, drift, breathing and heartbeat."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from fmnet.data.grid import Grid
from fmnet.data.volume import FloatArray
from fmnet.synthetic.bold_anatomy import Anatomy
from fmnet.synthetic.bold_design import BoldDesign
from fmnet.synthetic.bold_networks import limit_band
from fmnet.synthetic.maps import FWHM_PER_SD, norm_of_kernel

#: Breathing and heartbeat in Hz, and their SD between persons.
BREATHING_HZ, HEARTBEAT_HZ, RATE_SPREAD = 0.28, 1.05, 0.1
#: SD between voxels of the AR(1) coefficient.
AUTOCORRELATION_SD = 0.15
#: Repetition time in s to which the knob `autocorrelation` refers.
REFERENCE_T_R = 2.0
#: Smoothness of the places where noise is stronger, and of drift.
PLACES_FWHM_MM = 30.0
#: Cosines that make up drift.
N_DRIFTS = 3
#: Slow changes of breathing that reach the whole grey matter, relative to the pulse in CSF.
GLOBAL_SHARE = 0.45


def smooth_noise(rng: np.random.Generator, grid: Grid, n: int, fwhm_mm: float) -> FloatArray:
    """Draw fields that are smooth in space and white in time: (n, V), expected SD 1."""
    sd = fwhm_mm / FWHM_PER_SD / np.array(grid.voxel_size_mm)
    margin = np.ceil(4 * sd).astype(int)
    box = tuple(int(length) for length in np.array(grid.shape) + margin)
    x, y, z = grid.shape
    fields = np.empty((n, grid.n_voxels), np.float32)
    scale = norm_of_kernel(box, sd) if fwhm_mm else 1.0
    for row in fields:
        white = rng.standard_normal(box, dtype=np.float32)
        smooth = gaussian_filter(white, sd, mode="wrap") if fwhm_mm else white
        row[:] = smooth[:x, :y, :z][grid.mask]
    fields /= scale
    return fields


def draw_noise(
    rng: np.random.Generator, design: BoldDesign, anatomy: Anatomy, thermal: float
) -> FloatArray:
    """Draw all noise but that of motion, in percent of a grey voxel's mean: (T, V).

    Parameters
    ----------
    rng : Generator
        Where the randomness comes from.
    design : BoldDesign
        How much of each.
    anatomy : Anatomy
        Where it shows.
    thermal : float
        What the site's scanner makes of thermal noise, 1 for the usual.
    """
    shape = (design.n_volumes, anatomy.grid.n_voxels)
    # thermal noise knows nothing of tissue: in dark voxels it is the larger part
    noise = rng.standard_normal(shape, dtype=np.float32)
    noise *= design.thermal_percent * thermal * _places(rng, anatomy.grid, design.noise_spread)
    smooth = smooth_noise(rng, anatomy.grid, design.n_volumes, design.noise_fwhm_mm)
    smooth = _autocorrelate(rng, smooth, design)
    noise += design.smooth_percent * smooth * _places(rng, anatomy.grid, design.noise_spread)
    noise += design.drift_percent * _drift(rng, anatomy.grid, design.n_volumes)
    noise += design.physio_percent * _physiology(rng, design, anatomy)
    return noise


def _autocorrelate(rng: np.random.Generator, white: FloatArray, design: BoldDesign) -> FloatArray:
    """Make each voxel AR(1), in place and at an SD of 1."""
    drawn = design.autocorrelation + AUTOCORRELATION_SD * rng.standard_normal(white.shape[1])
    ar = (np.clip(drawn, 0, 0.95) ** (design.t_r / REFERENCE_T_R)).astype(np.float32)
    fresh = np.sqrt(1 - ar**2)
    for number in range(1, len(white)):
        white[number] = ar * white[number - 1] + fresh * white[number]
    return white


def _places(rng: np.random.Generator, grid: Grid, spread: float) -> FloatArray:
    """Draw how strong noise is in each voxel: (V,), 1 in the median."""
    field = smooth_noise(rng, grid, 1, PLACES_FWHM_MM)[0]
    fine = rng.standard_normal(grid.n_voxels, dtype=np.float32)
    places: FloatArray = np.exp(np.float32(spread * math.sqrt(0.5)) * (field + fine))
    return places


def _drift(rng: np.random.Generator, grid: Grid, n_volumes: int) -> FloatArray:
    """Draw slow cosines with smooth weights, at an SD of 1: (T, V)."""
    phase = math.pi * (np.arange(n_volumes) + 0.5) / n_volumes
    heights = 1 / np.arange(1, N_DRIFTS + 1)
    waves = np.cos(np.outer(phase, np.arange(1, N_DRIFTS + 1))) * heights
    waves *= math.sqrt(2) / np.linalg.norm(heights)
    weights = smooth_noise(rng, grid, N_DRIFTS, PLACES_FWHM_MM)
    drift: FloatArray = waves.astype(np.float32) @ weights
    return drift


def _physiology(rng: np.random.Generator, design: BoldDesign, anatomy: Anatomy) -> FloatArray:
    """Draw breathing and heartbeat as they are sampled, and slow changes of breathing: (T, V)."""
    waves = [_wave(rng, design, hz) for hz in (BREATHING_HZ, HEARTBEAT_HZ)]
    slow = limit_band(rng.standard_normal((4 * design.n_volumes, 1)), design.t_r, 0.008, 0.06)
    weights = smooth_noise(rng, anatomy.grid, 2, PLACES_FWHM_MM)
    physiology = np.outer(GLOBAL_SHARE * slow[: design.n_volumes, 0], anatomy.grey)
    for wave, weight in zip(waves, weights, strict=True):
        physiology += np.outer(wave, anatomy.pulse * (1 + 0.5 * weight))
    return physiology.astype(np.float32)


def _wave(rng: np.random.Generator, design: BoldDesign, rate_hz: float) -> NDArray[np.float64]:
    """Draw a rhythm whose rate wanders, at an SD of 1; what is too fast is aliased: (T,)."""
    rate = rate_hz * math.exp(RATE_SPREAD * rng.standard_normal())
    wander = np.cumsum(rng.standard_normal(design.n_volumes)) * 0.5 * math.sqrt(design.t_r)
    phase = 2 * math.pi * (rate * design.t_r * np.arange(design.n_volumes) + rng.random())
    return np.asarray(math.sqrt(2) * np.cos(phase + wander))
