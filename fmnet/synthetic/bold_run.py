"""Synthetic BOLD runs: a subject's signal, noise and head motion, and the confounds of a run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import Generator, SeedSequence
from numpy.typing import NDArray
from scipy.signal import lfilter

from fmnet.data.grid import Grid
from fmnet.data.volume import FloatArray
from fmnet.synthetic.bold_brain import (
    BRIGHTNESS,
    NETWORKS,
    Anatomy,
    Correlations,
    draw_correlations,
    network_maps,
    response_map,
)
from fmnet.synthetic.design import BoldDesign
from fmnet.synthetic.effects import HALF, Effect, draw_fields

#: How far a subject's networks lie from the group's, per axis, and the SD of their log strength.
JITTER_MM, STRENGTH_SD = 3.0, 0.2
#: Height of the response to painful events in percent, and its SD between subjects; what part of
#: it warmth gives.
RESPONSE_PERCENT, RESPONSE_SD_PERCENT, WARM_FRACTION = 0.8, 0.25, 0.4
#: Events: seconds of each, and the shortest and longest pause after it.
EVENT_S, PAUSE_S = 10.0, (12.0, 20.0)
#: Framewise displacement of a subject who jerks as often as `spike_rate` says, in mm.
REFERENCE_MM = 0.12
#: How much brighter the first non-steady volume is, and what is left of that in the next.
FLASH, FLASH_LEFT = 0.35, 0.3
#: Breathing and heartbeat in Hz, and their SD between subjects.
BREATHING_HZ, HEARTBEAT_HZ, RATE_SD = 0.28, 1.05, 0.1
#: SD between voxels of the AR(1) coefficient.
AUTOCORRELATION_SD = 0.15
#: Repetition time in s to which the parameter `autocorrelation` refers.
REFERENCE_T_R = 2.0
#: Smoothness of how strong noise is in each voxel, and of drift.
LEVEL_FWHM_MM = 30.0
#: Cosines that make up drift.
N_DRIFTS = 3
#: Slow changes of breathing that reach the whole grey matter, relative to the pulse in CSF.
GLOBAL_FRACTION = 0.45
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
#: Fraction of a displacement that realignment doesn't undo at the rim.
RESIDUAL = 0.3
TRACES = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
#: How exactly realignment finds the head, in mm and radians.
TRACE_ERROR = np.array([2e-3] * 3 + [4e-5] * 3)
#: Where fMRIPrep marks volumes as outliers.
OUTLIER_FD_MM, OUTLIER_DVARS = 0.5, 1.5
#: Slowest wave that is no drift, in s; and anatomical components that are kept.
DRIFT_S, N_COMPONENTS = 128.0, 5


@dataclass(frozen=True, eq=False)
class Subject:
    """What is the same in all runs of a subject.

    Parameters
    ----------
    correlations : ndarray, shape (K, K)
        Expected correlations of the networks' time series.
    maps : ndarray of float32, shape (K, V)
        The subject's own networks, with their strength.
    response_percent : float
        To painful events.
    motion_mm : float
        Expected framewise displacement without spikes.
    thermal : float
        Thermal noise of the site's scanner relative to the usual.
    """

    correlations: Correlations
    maps: FloatArray
    response_percent: float
    motion_mm: float
    thermal: float


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


@dataclass(frozen=True, eq=False)
class SyntheticRun:
    """A run as drawn.

    Parameters
    ----------
    values : ndarray of float32, shape (T, V)
        In the scanner's units.
    time_series : ndarray of float64, shape (T, K)
        Of the networks.
    motion : HeadMotion
        What the head did.
    events : DataFrame or None
        ``onset, duration`` (s), ``trial_type``; None at rest.
    """

    values: FloatArray
    time_series: NDArray[np.float64]
    motion: HeadMotion
    events: pd.DataFrame | None


def draw_subject(
    design: BoldDesign, anatomy: Anatomy, is_patient: bool, thermal: float, seed: SeedSequence
) -> Subject:
    """Draw one subject; the same seed gives the same deviations from either group's mean."""
    coupling_rng, place_rng, level_rng = (np.random.default_rng(s) for s in seed.spawn(3))
    coupled = Effect(np.ones(1), design.coupling, patient=HALF, control=-HALF)  # correlation
    responding = Effect(np.ones(1), design.task_effect, patient=HALF, control=-HALF)  # SDs
    moving = Effect(np.ones(1), design.motion_effect)  # SDs
    z = level_rng.standard_normal(2)
    (z_response,) = responding.plant(z[:1], [is_patient])
    (z_motion,) = moving.plant(z[1:], [is_patient])
    shift_mm = JITTER_MM * place_rng.standard_normal((len(NETWORKS), 3))
    strength = np.exp(STRENGTH_SD * place_rng.standard_normal((len(NETWORKS), 1)))
    return Subject(
        draw_correlations(coupling_rng, coupled.added([is_patient])[0], design.coupling_sd),
        network_maps(anatomy.grid, shift_mm) * strength.astype(np.float32),
        RESPONSE_PERCENT + RESPONSE_SD_PERCENT * z_response,
        design.motion_mm * math.exp(design.motion_spread * z_motion),
        thermal,
    )


def draw_run(
    design: BoldDesign, anatomy: Anatomy, subject: Subject, seed: SeedSequence
) -> SyntheticRun:
    """Draw one run of a subject; signal, noise and motion have random numbers of their own."""
    signal_rng, event_rng, noise_rng, motion_rng, artefact_rng = (
        np.random.default_rng(s) for s in seed.spawn(5)
    )
    n, t_r = design.n_volumes, design.t_r
    signals = draw_time_series(signal_rng, subject.correlations, n, t_r)
    percent = (design.network_percent * signals).astype(np.float32) @ subject.maps
    events = None
    if design.task == "pain":
        events = _draw_events(event_rng, n * t_r)
        percent += np.outer(_response(events, n, t_r, subject), response_map(anatomy.grid))
    spike_rate = design.spike_rate * subject.motion_mm / REFERENCE_MM
    motion = draw_motion(motion_rng, n, subject.motion_mm, spike_rate)
    percent += design.motion_percent * motion_signal(artefact_rng, motion, anatomy, t_r)
    flash = FLASH * FLASH_LEFT ** np.arange(n)
    flash[design.n_non_steady :] = 0
    values = anatomy.brightness * (1 + percent / 100 + flash.astype(np.float32)[:, None])
    values += BRIGHTNESS / 100 * draw_noise(noise_rng, design, anatomy, subject.thermal)
    return SyntheticRun(values.astype(np.float32), signals, motion, events)


def draw_time_series(
    rng: Generator, correlations: Correlations, n_volumes: int, t_r: float
) -> NDArray[np.float64]:
    """Draw the networks' time series: (T, K), SD 1, between 0.01 and 0.1 Hz."""
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


def _draw_events(rng: Generator, duration_s: float) -> pd.DataFrame:
    onsets, now = [], PAUSE_S[0]
    while now + EVENT_S + PAUSE_S[0] <= duration_s:
        onsets.append(round(now, 1))
        now += EVENT_S + rng.uniform(*PAUSE_S)
    kinds = rng.permutation(["pain", "warm"] * len(onsets))[: len(onsets)]
    return pd.DataFrame({"onset": onsets, "duration": EVENT_S, "trial_type": kinds})


def _response(
    events: pd.DataFrame, n_volumes: int, t_r: float, subject: Subject
) -> NDArray[np.float64]:
    # Where nobody makes synthetic data, nothing waits for it.
    from nilearn.glm.first_level import compute_regressor

    height = np.where(events["trial_type"] == "pain", 1.0, WARM_FRACTION)
    condition = np.stack([events["onset"], events["duration"], height])
    regressor, _ = compute_regressor(condition, "glover", np.arange(n_volumes) * t_r)
    return np.asarray(subject.response_percent * regressor[:, 0] / regressor.max())


def draw_noise(rng: Generator, design: BoldDesign, anatomy: Anatomy, thermal: float) -> FloatArray:
    """Draw all noise but that of motion, in percent of a grey voxel's mean: (T, V).

    `thermal` is what the site's scanner makes of thermal noise, 1 for the usual.
    """
    shape = (design.n_volumes, anatomy.grid.n_voxels)
    # thermal noise knows nothing of tissue: in dark voxels it is the larger part
    noise = rng.standard_normal(shape, dtype=np.float32)
    noise *= design.thermal_percent * thermal * _draw_levels(rng, anatomy.grid, design.noise_spread)
    smooth = draw_fields(rng, anatomy.grid, design.n_volumes, design.noise_fwhm_mm)
    # each voxel AR(1), at an SD of 1
    drawn = design.autocorrelation + AUTOCORRELATION_SD * rng.standard_normal(shape[1])
    ar = (np.clip(drawn, 0, 0.95) ** (design.t_r / REFERENCE_T_R)).astype(np.float32)
    fresh = np.sqrt(1 - ar**2)
    for number in range(1, len(smooth)):
        smooth[number] = ar * smooth[number - 1] + fresh * smooth[number]
    noise += design.smooth_percent * smooth * _draw_levels(rng, anatomy.grid, design.noise_spread)
    # drift: slow cosines with smooth weights, at an SD of 1
    numbers = np.arange(1, N_DRIFTS + 1)
    phase = math.pi * (np.arange(design.n_volumes) + 0.5) / design.n_volumes
    waves = np.cos(np.outer(phase, numbers)) * (1 / numbers)
    waves *= math.sqrt(2) / np.linalg.norm(1 / numbers)
    weights = draw_fields(rng, anatomy.grid, N_DRIFTS, LEVEL_FWHM_MM)
    noise += design.drift_percent * (waves.astype(np.float32) @ weights)
    noise += design.physio_percent * _physiology(rng, design, anatomy)
    return noise


def _draw_levels(rng: Generator, grid: Grid, sd: float) -> FloatArray:
    """Draw how strong noise is in each voxel: (V,), 1 in the median."""
    field = draw_fields(rng, grid, 1, LEVEL_FWHM_MM)[0]
    fine = rng.standard_normal(grid.n_voxels, dtype=np.float32)
    levels: FloatArray = np.exp(np.float32(sd * math.sqrt(0.5)) * (field + fine))
    return levels


def _physiology(rng: Generator, design: BoldDesign, anatomy: Anatomy) -> FloatArray:
    """Draw breathing and heartbeat as they are sampled, and slow changes of breathing: (T, V)."""
    waves = []
    for hz in (BREATHING_HZ, HEARTBEAT_HZ):  # rhythms whose rate wanders, aliased, at an SD of 1
        rate = hz * math.exp(RATE_SD * rng.standard_normal())
        wander = np.cumsum(rng.standard_normal(design.n_volumes)) * 0.5 * math.sqrt(design.t_r)
        phase = 2 * math.pi * (rate * design.t_r * np.arange(design.n_volumes) + rng.random())
        waves.append(math.sqrt(2) * np.cos(phase + wander))
    slow = limit_band(rng.standard_normal((4 * design.n_volumes, 1)), design.t_r, 0.008, 0.06)
    weights = draw_fields(rng, anatomy.grid, 2, LEVEL_FWHM_MM)
    physiology = np.outer(GLOBAL_FRACTION * slow[: design.n_volumes, 0], anatomy.grey)
    for wave, weight in zip(waves, weights, strict=True):
        physiology += np.outer(wave, anatomy.pulse * (1 + 0.5 * weight))
    return physiology.astype(np.float32)


def framewise_displacement(traces: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum absolute differences of six traces, rotations on a sphere of 50 mm: (T,), 0 first."""
    steps = np.abs(np.diff(traces, axis=0, prepend=traces[:1]))
    return np.asarray(steps @ np.array([1, 1, 1, HEAD_MM, HEAD_MM, HEAD_MM]))


def draw_motion(rng: Generator, n_volumes: int, mean_mm: float, spike_rate: float) -> HeadMotion:
    """Draw a wandering head that jerks now and then.

    Expected are a framewise displacement of `mean_mm` without spikes, and a jerk in a fraction
    `spike_rate` of volumes. The same random numbers give the same path, whatever the amplitude.
    """
    steps = rng.standard_normal((n_volumes, 6)) * mean_mm / SIX_STEPS
    is_spike = rng.random(n_volumes) < min(spike_rate, 0.5)
    is_spike[0] = False
    direction = rng.standard_normal((n_volumes, 6))
    direction /= np.abs(direction).sum(axis=1, keepdims=True)
    jerk = direction * (is_spike * (0.4 + rng.exponential(0.5, n_volumes)))[:, None]
    # Half of a jerk is undone in the next volume, half of it stays for a while.
    path = lfilter([1.0], [1.0, -STAYING], steps + jerk / 2, axis=0) + jerk / 2
    return HeadMotion(path / np.array([1, 1, 1, HEAD_MM, HEAD_MM, HEAD_MM]), is_spike)


def motion_signal(rng: Generator, motion: HeadMotion, anatomy: Anatomy, t_r: float) -> FloatArray:
    """Work out what motion does to the signal, per percent that 1 mm costs at the rim: (T, V).

    Three parts: what realignment leaves at the rim, which follows the six traces; spin history,
    which follows framewise displacement, is dark in the whole brain and more so at the rim, and
    fades over volumes; and a smooth disturbance that is new in each volume, larger in spikes, when
    every other slice of an interleaved acquisition is hit.
    """
    moved = motion.displacement_mm.astype(np.float32)
    history = lfilter([1.0], [1.0, -math.exp(-t_r / T1_S)], moved).astype(np.float32)
    pattern = 0.4 + anatomy.rim
    # displacement of each voxel towards the outside, weighted by the rim, in mm
    translation, rotation = np.split(motion.traces.astype(np.float32), 2, axis=1)
    lever = np.cross(anatomy.positions_mm, anatomy.outward)
    towards: FloatArray = translation @ anatomy.outward.T + rotation @ lever.T
    signal = RESIDUAL * towards - history[:, None] * pattern
    disturbance = draw_fields(rng, anatomy.grid, len(moved), DISTURBANCE_FWHM_MM)
    signal += moved[:, None] * disturbance * pattern
    slices = np.nonzero(anatomy.grid.mask)[2]
    hit = motion.is_spike[:, None] & (slices % 2 == rng.integers(2, size=len(moved))[:, None])
    signal -= 2 * moved[:, None] * hit
    return signal


def build_confounds(
    run: SyntheticRun, anatomy: Anatomy, t_r: float, n_non_steady: int, rng: Generator
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Build the columns of ``desc-confounds_timeseries.tsv`` and the meta data of its JSON file.

    The run's values are those that are written; the random numbers are realignment's errors.

    Returns
    -------
    table : DataFrame
        T rows; NaN for what the first volume has none of.
    meta : dict
        Of the components, by column.
    """
    traces = run.motion.traces + TRACE_ERROR * rng.standard_normal(run.motion.traces.shape)
    fd = framewise_displacement(traces)
    fd[0] = math.nan
    dvars, std_dvars = _dvars(run.values, n_non_steady)
    means = {
        "global_signal": run.values.mean(axis=1, dtype=float),
        "csf": run.values[:, anatomy.csf].mean(axis=1, dtype=float),
        "white_matter": run.values[:, anatomy.white].mean(axis=1, dtype=float),
    }
    # discrete cosines slower than 128 s, without the constant: (T, n)
    order = np.arange(1, int(2 * len(fd) * t_r / DRIFT_S) + 1)
    phase = np.pi * (np.arange(len(fd)) + 0.5) / len(fd)
    cosines = math.sqrt(2 / len(fd)) * np.cos(np.outer(phase, order))
    components, meta = _anatomical_components(run.values, anatomy, cosines, n_non_steady)
    outlying = (np.nan_to_num(fd) > OUTLIER_FD_MM) | (np.nan_to_num(std_dvars) > OUTLIER_DVARS)
    outlying[: n_non_steady + (n_non_steady > 0)] = False
    columns = {
        **_expand(means),
        "std_dvars": std_dvars,
        "dvars": dvars,
        "framewise_displacement": fd,
        **components,
        **{f"cosine{k:02d}": wave for k, wave in enumerate(cosines.T)},
        **_mark("non_steady_state_outlier", np.arange(n_non_steady), len(fd)),
        **_expand(dict(zip(TRACES, traces.T, strict=True))),
        **_mark("motion_outlier", np.flatnonzero(outlying), len(fd)),
    }
    return pd.DataFrame(columns), meta


def _expand(columns: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Add derivatives and squares as fMRIPrep names them."""
    expanded: dict[str, NDArray[np.float64]] = {}
    for name, values in columns.items():
        derivative = np.diff(values, prepend=math.nan)
        expanded |= {
            name: values,
            f"{name}_derivative1": derivative,
            f"{name}_power2": values**2,
            f"{name}_derivative1_power2": derivative**2,
        }
    return expanded


def _dvars(
    values: FloatArray, n_non_steady: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Work out DVARS, and standardised by what each voxel's SD and autocorrelation predict."""
    steps = np.diff(values, axis=0)
    dvars = np.sqrt((steps**2).mean(axis=1, dtype=float))
    steady = values[n_non_steady:]
    low, high = np.percentile(steady, [25, 75], axis=0)
    sd = (high - low) / 1.349
    centred = steady - steady.mean(axis=0)
    power = np.maximum((centred**2).sum(axis=0), 1e-12)
    ar = (centred[1:] * centred[:-1]).sum(axis=0) / power
    expected = float((sd * np.sqrt(np.maximum(2 * (1 - ar), 0))).mean())
    return np.r_[math.nan, dvars], np.r_[math.nan, dvars / max(expected, 1e-12)]


def _anatomical_components(
    values: FloatArray, anatomy: Anatomy, cosines: NDArray[np.float64], n_non_steady: int
) -> tuple[dict[str, NDArray[np.float64]], dict[str, Any]]:
    columns: dict[str, NDArray[np.float64]] = {}
    meta: dict[str, Any] = {}
    masks = {"c": ("CSF", anatomy.csf), "w": ("WM", anatomy.white)}
    masks["a"] = ("combined", anatomy.csf | anatomy.white)
    for letter, (mask_name, mask) in masks.items():
        series = values[n_non_steady:, mask].astype(float)
        design = np.column_stack([np.ones(len(series)), cosines[n_non_steady:]])
        series -= design @ np.linalg.lstsq(design, series, rcond=None)[0]
        series /= np.maximum(series.std(axis=0), 1e-12)
        waves, singular, _ = np.linalg.svd(series, full_matrices=False)
        explained = singular**2 / (singular**2).sum()
        for k in range(min(N_COMPONENTS, len(singular))):
            name = f"{letter}_comp_cor_{k:02d}"
            # components know nothing of the volumes before the steady state
            columns[name] = np.r_[np.zeros(n_non_steady), waves[:, k]]
            meta[name] = {
                "Method": "aCompCor",
                "Mask": mask_name,
                "Retained": True,
                "SingularValue": float(singular[k]),
                "VarianceExplained": float(explained[k]),
                "CumulativeVarianceExplained": float(explained[: k + 1].sum()),
            }
    return columns, meta


def _mark(name: str, volumes: NDArray[np.intp], n_volumes: int) -> dict[str, NDArray[np.intp]]:
    """One column of 0 and a single 1 for each volume."""
    return {
        f"{name}{k:02d}": (np.arange(n_volumes) == volume).astype(np.intp)
        for k, volume in enumerate(volumes)
    }
