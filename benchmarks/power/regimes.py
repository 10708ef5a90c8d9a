"""Ways in which patients can differ from controls, and all that is true about them."""

from collections.abc import Callable
from itertools import combinations, product
from typing import Literal, get_args

import numpy as np
from numpy.random import Generator

from benchmarks.power.effect import Coefficients, Effect, Scene, ShiftedEffect, draw_shifted
from fmnet.data.resample import smooth_values
from fmnet.data.volume import FloatArray

RegimeName = Literal[
    "null", "aligned", "shifted", "varied", "interaction", "widespread", "two_contrasts"
]
NAMES: tuple[RegimeName, ...] = get_args(RegimeName)
#: Size of the effect in each voxel's between-person SD, unless asked otherwise.
AMPLITUDES: dict[str, float] = {
    "null": 0.0,
    "aligned": 0.5,
    "shifted": 0.7,
    "varied": 0.7,
    "interaction": 1.0,
    "widespread": 0.06,
    "two_contrasts": 0.5,
}
#: Regions of the brain, and how many of them one patient shows where they vary.
N_REGIONS, N_SHOWN = 9, 5
#: Shifts that stand for all shifts where the effect's likelihood is worked out.
N_SHIFTS = 200
#: Width of the random field that is planted where no template is given.
FIELD_FWHM_MM = 20.0


def _null(scene: Scene, _: Generator) -> Effect:
    return _one_pattern(scene, np.zeros(scene.spread.shape[1], dtype=np.float32))


def _aligned(scene: Scene, rng: Generator) -> Effect:
    return _one_pattern(scene, _regions(scene, rng).sum(axis=0))


def _shifted(scene: Scene, rng: Generator) -> Effect:
    centres, signs = scene.brain.draw_centres(N_REGIONS, rng), _signs(N_REGIONS, rng)
    patterns = draw_shifted(scene, centres, signs, N_SHIFTS, rng)
    patient = np.eye(N_SHIFTS, dtype=np.float32)
    return ShiftedEffect(patterns, patient, patient[:1] * 0, scene, centres, signs)


def _varied(scene: Scene, rng: Generator) -> Effect:
    shown = list(combinations(range(N_REGIONS), N_SHOWN))
    patient = np.zeros((len(shown), N_REGIONS), dtype=np.float32)
    patient[np.arange(len(shown))[:, None], shown] = 1
    return Effect(scene.patterns(_regions(scene, rng)), patient, patient[:1] * 0)


def _interaction(scene: Scene, rng: Generator) -> Effect:
    balls = scene.brain.balls(scene.brain.draw_centres(2, rng), scene.radius_mm)
    patient = np.array([[1, 1], [-1, -1]], dtype=np.float32)
    control = np.array([[1, -1], [-1, 1]], dtype=np.float32)
    return Effect(scene.patterns(balls), patient, control)


def _widespread(scene: Scene, rng: Generator) -> Effect:
    field = scene.template
    if field is None:
        noise = rng.normal(size=scene.spread.shape[1:]).astype(np.float32)
        field = smooth_values(noise, scene.brain.grid, FIELD_FWHM_MM)
    return _one_pattern(scene, field / np.sqrt(np.mean(field**2)))


def _two_contrasts(scene: Scene, rng: Generator) -> Effect:
    balls = scene.brain.balls(scene.brain.draw_centres(N_REGIONS, rng), scene.radius_mm)
    patterns = np.concatenate([scene.patterns(balls, contrast, 2) for contrast in (0, 1)])
    states = np.array(list(product((-1, 1), repeat=N_REGIONS)), dtype=np.float32)
    return Effect(patterns, np.hstack([states, states]), np.hstack([states, -states]))


#: Scene and random numbers to what is planted.
REGIMES: dict[RegimeName, Callable[[Scene, Generator], Effect]] = {
    "null": _null,
    "aligned": _aligned,
    "shifted": _shifted,
    "varied": _varied,
    "interaction": _interaction,
    "widespread": _widespread,
    "two_contrasts": _two_contrasts,
}


def _one_pattern(scene: Scene, shape: FloatArray) -> Effect:
    one = np.ones((1, 1), dtype=np.float32)
    return Effect(scene.patterns(shape[None]), one, 0 * one)


def _regions(scene: Scene, rng: Generator) -> FloatArray:
    """Draw regions that are raised or lowered: (K, V)."""
    centres = scene.brain.draw_centres(N_REGIONS, rng)
    balls = scene.brain.balls(centres, scene.radius_mm)
    return balls * _signs(N_REGIONS, rng)[:, None]


def _signs(count: int, rng: Generator) -> Coefficients:
    return rng.choice(np.array([-1, 1], dtype=np.float32), count)
