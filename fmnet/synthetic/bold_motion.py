"""Head motion of synthetic people, and what it does to their BOLD signal."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from fmnet.data.volume import FloatArray
from fmnet.synthetic.bold_anatomy import Anatomy
from fmnet.synthetic.bold_noise import smooth_noise

#: Radius of the sphere on which rotations become millimetres (Power et al., NeuroImage 2012).
HEAD_MM = 50.0
#: Sum of six absolute differences of SD 1: what turns steps into framewise displacement.
SIX_STEPS = 6 * math.sqrt(2 / math.pi)
#: A head comes back to its place: how much of a displacement is left a volume later.
STAYING = 0.95
#: Spin history in a later volume, relative to the one before, for a longitudinal T1 of 1.3 s.
T1_S = 1.3
#: Smoothness of the disturbance that is new in each volume.
DISTURBANCE_FWHM_MM = 45.0
#: Share of a displacement that realignment doesn't undo at the rim.
RESIDUAL = 0.3


@dataclass(frozen=True, eq=False)
class HeadMotion:
    """Rigid motion of one run.

    Parameters
    ----------
    traces : ndarray of float64, shape (T, 6)
        Translation along x, y, z in mm, rotation about x, y, z in radians.
    is_spike : ndarray of bool, shape (T,)
        Volumes in which the head jerked.
    """

    traces: NDArray[np.float64]
    is_spike: NDArray[np.bool_]

    @property
    def displacement_mm(self) -> NDArray[np.float64]:
        """Framewise displacement after Power et al.: (T,), 0 for the first volume."""
        return framewise_displacement(self.traces)


def framewise_displacement(traces: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum absolute differences of six traces, rotations on a sphere of 50 mm: (T,), 0 first."""
    steps = np.abs(np.diff(traces, axis=0, prepend=traces[:1]))
    return np.asarray(steps @ np.array([1, 1, 1, HEAD_MM, HEAD_MM, HEAD_MM]))


def draw_motion(
    rng: np.random.Generator, n_volumes: int, mean_mm: float, spike_share: float
) -> HeadMotion:
    """Draw a wandering head that jerks now and then.

    Parameters
    ----------
    rng : Generator
        Same state, same course, whatever the amplitude.
    n_volumes : int
        T.
    mean_mm : float
        Expected framewise displacement without spikes.
    spike_share : float
        Expected share of volumes with a jerk.
    """
    steps = rng.standard_normal((n_volumes, 6)) * mean_mm / SIX_STEPS
    is_spike = rng.random(n_volumes) < min(spike_share, 0.5)
    is_spike[0] = False
    direction = rng.standard_normal((n_volumes, 6))
    direction /= np.abs(direction).sum(axis=1, keepdims=True)
    jerk = direction * (is_spike * (0.4 + rng.exponential(0.5, n_volumes)))[:, None]
    # Half of a jerk is undone in the next volume, half of it stays for a while.
    course = lfilter([1.0], [1.0, -STAYING], steps + jerk / 2, axis=0) + jerk / 2
    return HeadMotion(course / np.array([1, 1, 1, HEAD_MM, HEAD_MM, HEAD_MM]), is_spike)


def motion_signal(
    rng: np.random.Generator, motion: HeadMotion, anatomy: Anatomy, t_r: float
) -> FloatArray:
    """Work out what motion does to the signal, per percent that 1 mm costs at the rim: (T, V).

    Three parts: what realignment leaves at the rim, which follows the six traces; spin history,
    which follows framewise displacement, is dark in the whole brain and more so at the rim, and
    fades over volumes; and a smooth disturbance that is new in each volume, larger in spikes, when
    every other slice of an interleaved acquisition is hit.
    """
    moved = motion.displacement_mm.astype(np.float32)
    history = lfilter([1.0], [1.0, -math.exp(-t_r / T1_S)], moved).astype(np.float32)
    pattern = 0.4 + anatomy.rim
    signal = _residual(motion.traces, anatomy) - history[:, None] * pattern
    disturbance = smooth_noise(rng, anatomy.grid, len(moved), DISTURBANCE_FWHM_MM)
    signal += moved[:, None] * disturbance * pattern
    slices = np.nonzero(anatomy.grid.mask)[2]
    hit = motion.is_spike[:, None] & (slices % 2 == rng.integers(2, size=len(moved))[:, None])
    signal -= 2 * moved[:, None] * hit
    return signal


def _residual(traces: NDArray[np.float64], anatomy: Anatomy) -> FloatArray:
    """Displacement of each voxel towards the outside, weighted by the rim: (T, V), mm."""
    translation, rotation = np.split(traces.astype(np.float32), 2, axis=1)
    lever = np.cross(anatomy.places_mm, anatomy.outward)
    moved: FloatArray = translation @ anatomy.outward.T + rotation @ lever.T
    return RESIDUAL * moved
