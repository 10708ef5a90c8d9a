"""One synthetic person, and one BOLD run of theirs before it becomes a file."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.random import SeedSequence
from numpy.typing import NDArray

from fmnet.data.volume import FloatArray
from fmnet.synthetic.bold_anatomy import BRIGHTNESS, Anatomy
from fmnet.synthetic.bold_design import BoldDesign
from fmnet.synthetic.bold_motion import HeadMotion, draw_motion, motion_signal
from fmnet.synthetic.bold_networks import (
    NETWORKS,
    Correlations,
    draw_correlations,
    draw_time_courses,
    network_maps,
    response_map,
)
from fmnet.synthetic.bold_noise import draw_noise

#: How far a person's networks lie from the group's, per axis, and the SD of their log strength.
JITTER_MM, STRENGTH_SPREAD = 3.0, 0.2
#: Height of the response to painful events in percent, and its SD between persons; what share of
#: it warmth gives.
RESPONSE_PERCENT, RESPONSE_SD_PERCENT, WARM_SHARE = 0.8, 0.25, 0.4
#: Events: seconds of each, and the shortest and longest pause after it.
EVENT_S, PAUSE_S = 10.0, (12.0, 20.0)
#: Framewise displacement of a person who jerks as often as the knob says, in mm.
REFERENCE_MM = 0.12
#: How much brighter the first non-steady volume is, and what is left of that in the next.
FLASH, FLASH_LEFT = 0.35, 0.3


@dataclass(frozen=True, eq=False)
class Person:
    """What is the same in all runs of a person.

    Parameters
    ----------
    correlations : ndarray, shape (K, K)
        Expected correlations of the networks' time courses.
    maps : ndarray of float32, shape (K, V)
        The person's own networks, with their strength.
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
class SyntheticRun:
    """A run as drawn.

    Parameters
    ----------
    values : ndarray of float32, shape (T, V)
        In the scanner's units.
    time_courses : ndarray of float64, shape (T, K)
        Of the networks.
    motion : HeadMotion
        What the head did.
    events : DataFrame or None
        ``onset, duration`` (s), ``trial_type``; None at rest.
    """

    values: FloatArray
    time_courses: NDArray[np.float64]
    motion: HeadMotion
    events: pd.DataFrame | None


def draw_person(
    design: BoldDesign, anatomy: Anatomy, is_patient: bool, thermal: float, seed: SeedSequence
) -> Person:
    """Draw one person; the same seed gives the same deviations from either group's mean."""
    coupling_rng, place_rng, level_rng = (np.random.default_rng(s) for s in seed.spawn(3))
    side = 0.5 if is_patient else -0.5
    z_response, z_motion = level_rng.standard_normal(2)
    shift_mm = JITTER_MM * place_rng.standard_normal((len(NETWORKS), 3))
    strength = np.exp(STRENGTH_SPREAD * place_rng.standard_normal((len(NETWORKS), 1)))
    return Person(
        draw_correlations(coupling_rng, side * design.coupling, design.coupling_sd),
        network_maps(anatomy.grid, shift_mm) * strength.astype(np.float32),
        RESPONSE_PERCENT + RESPONSE_SD_PERCENT * (z_response + side * design.task_effect),
        design.motion_mm
        * math.exp(design.motion_spread * (z_motion + is_patient * design.motion_effect)),
        thermal,
    )


def draw_run(
    design: BoldDesign, anatomy: Anatomy, person: Person, seed: SeedSequence
) -> SyntheticRun:
    """Draw one run of a person; signal, noise and motion have random numbers of their own."""
    signal_rng, event_rng, noise_rng, motion_rng, artefact_rng = (
        np.random.default_rng(s) for s in seed.spawn(5)
    )
    n, t_r = design.n_volumes, design.t_r
    courses = draw_time_courses(signal_rng, person.correlations, n, t_r)
    percent = (design.network_percent * courses).astype(np.float32) @ person.maps
    events = _draw_events(event_rng, n * t_r) if design.task == "pain" else None
    if events is not None:
        percent += np.outer(_response(events, n, t_r, person), response_map(anatomy.grid))
    spike_share = design.spike_rate * person.motion_mm / REFERENCE_MM
    motion = draw_motion(motion_rng, n, person.motion_mm, spike_share)
    percent += design.motion_percent * motion_signal(artefact_rng, motion, anatomy, t_r)
    values = anatomy.brightness * (1 + percent / 100 + _flash(design)[:, None])
    values += BRIGHTNESS / 100 * draw_noise(noise_rng, design, anatomy, person.thermal)
    return SyntheticRun(values.astype(np.float32), courses, motion, events)


def _draw_events(rng: np.random.Generator, duration_s: float) -> pd.DataFrame:
    onsets, now = [], PAUSE_S[0]
    while now + EVENT_S + PAUSE_S[0] <= duration_s:
        onsets.append(round(now, 1))
        now += EVENT_S + rng.uniform(*PAUSE_S)
    kinds = rng.permutation(["pain", "warm"] * len(onsets))[: len(onsets)]
    return pd.DataFrame({"onset": onsets, "duration": EVENT_S, "trial_type": kinds})


def _response(
    events: pd.DataFrame, n_volumes: int, t_r: float, person: Person
) -> NDArray[np.float64]:
    # Where nobody makes synthetic data, nothing waits for it.
    from nilearn.glm.first_level import compute_regressor

    height = np.where(events["trial_type"] == "pain", 1.0, WARM_SHARE)
    condition = np.stack([events["onset"], events["duration"], height])
    regressor, _ = compute_regressor(condition, "glover", np.arange(n_volumes) * t_r)
    return np.asarray(person.response_percent * regressor[:, 0] / regressor.max())


def _flash(design: BoldDesign) -> FloatArray:
    """Brightness before the steady state: (T,)."""
    flash = FLASH * FLASH_LEFT ** np.arange(design.n_volumes)
    flash[design.n_non_steady :] = 0
    return flash.astype(np.float32)
