"""Ways in which patients can differ from controls, and all that is true about them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.power.cortex import find_cortex
from benchmarks.power.regions import Brain, Points
from fmnet.data.resample import smooth_values
from fmnet.data.volume import FloatArray
from fmnet.synthetic.effects import HIDDEN, SHOWN, Effect, unit_rms

Strengths = NDArray[np.float32]

RegimeName = Literal[
    "null",
    "aligned",
    "shifted",
    "varied",
    "interaction",
    "widespread",
    "two_contrasts",
    "widespread_strong",
    "cortical_sheets",
]
NAMES: tuple[RegimeName, ...] = get_args(RegimeName)
#: Size of the effect in each voxel's between-subject SD, unless asked otherwise.
AMPLITUDES: dict[str, float] = {
    "null": 0.0,
    "aligned": 0.5,
    "shifted": 0.7,
    "varied": 0.7,
    "interaction": 1.0,
    "widespread": 0.06,
    "two_contrasts": 0.5,
    "widespread_strong": 0.1,
    "cortical_sheets": 0.8,
}
#: Regimes that plant a template, and regimes whose effect sits in regions of a size.
TEMPLATED: frozenset[RegimeName] = frozenset({"widespread", "widespread_strong"})
REGIONAL: frozenset[RegimeName] = frozenset(NAMES) - TEMPLATED - {"null"}
#: Radius of regions unless asked otherwise; a patch of cortex, which is thin, is as much wider.
RADIUS_MM, PATCH_RADII = 9.0, 1.5
#: Regions of the brain, and how many of them one patient shows where they vary.
N_REGIONS, N_SHOWN = 9, 5
#: Shifts that stand for all shifts where the effect's likelihood is worked out.
N_SHIFTS = 200
#: Width of the random field that is planted where no template is given.
FIELD_FWHM_MM = 20.0


class Condition(NamedTuple):
    """A regime with regions of one size and an effect of one strength.

    Attributes
    ----------
    regime : str
        See `REGIMES`.
    radius_mm : float
        Of regions.
    amplitude_scale : float
        What the regime's amplitude is multiplied by.
    """

    regime: RegimeName
    radius_mm: float = RADIUS_MM
    amplitude_scale: float = 1.0

    @property
    def label(self) -> str:
        """Name it: ``aligned``, and what is not the usual: ``aligned_5mm_x0.6``."""
        radius = "" if self.radius_mm == RADIUS_MM else f"_{self.radius_mm:g}mm"
        scale = "" if self.amplitude_scale == 1 else f"_x{self.amplitude_scale:g}"
        return f"{self.regime}{radius}{scale}"


def list_conditions(
    regimes: Sequence[RegimeName], radii_mm: Sequence[float], scales: Sequence[float]
) -> list[Condition]:
    """Cross regimes with the radii and strengths that mean something in them, each once."""
    crossed = [
        Condition(
            regime,
            float(radius) if regime in REGIONAL else RADIUS_MM,
            1.0 if regime == "null" else float(scale),
        )
        for regime in regimes
        for radius in radii_mm
        for scale in scales
    ]
    return list(dict.fromkeys(crossed))


@dataclass(frozen=True, eq=False)
class Scene:
    """What a regime plants into.

    Parameters
    ----------
    brain : Brain
        V voxels.
    noise_sd : ndarray of float32, shape (2, V)
        Between-subject SD of each voxel in the first and the second contrast.
    amplitude : float
        In these SDs.
    radius_mm, jitter_mm : float
        Of regions; root mean square length of a shift.
    template : ndarray of float32, shape (V,), or None
        What is planted all over the brain; a random field if None.
    """

    brain: Brain
    noise_sd: FloatArray
    amplitude: float
    radius_mm: float = RADIUS_MM
    jitter_mm: float = 8.0
    template: FloatArray | None = None

    def effect(self, shapes: FloatArray, patient: Strengths, control: Strengths) -> Effect:
        """Give shapes, (K, C, V), their size, and say how strongly they are shown."""
        noise_sd = self.noise_sd[: shapes.shape[1]]
        return Effect(shapes, self.amplitude, noise_sd, patient, control)


@dataclass(frozen=True, eq=False)
class ShiftedEffect(Effect):
    """Regions that each patient has elsewhere; `patterns` are a sample of what that can be.

    Parameters
    ----------
    scene : Scene
        Where they lie.
    centres, signs : ndarray, shape (K, 3) in mm and (K,)
        Without a shift.
    """

    scene: Scene = field(kw_only=True)
    centres: Points = field(kw_only=True)
    signs: Strengths = field(kw_only=True)

    def added(self, is_patient: Any, rng: Generator | None = None) -> Any:
        """Draw a shift for each patient, not one of those in `patterns`: (N, C, V)."""
        if rng is None:
            raise ValueError("shifts are drawn anew: give random numbers")
        planted = np.zeros((len(is_patient), *self.patterns.shape[1:]), dtype=np.float32)
        patients = np.flatnonzero(is_patient)
        shapes = draw_shifted(self.scene, self.centres, self.signs, len(patients), rng)
        planted[patients] = self.size * self.noise_sd * shapes
        return planted


def draw_shifted(
    scene: Scene, centres: Points, signs: Strengths, count: int, rng: Generator
) -> FloatArray:
    """Move all regions together, `count` times: (count, 1, V)."""
    shifts = rng.normal(0, scene.jitter_mm / np.sqrt(3), (count, 3))
    moved = [signs @ scene.brain.balls(centres + shift, scene.radius_mm) for shift in shifts]
    return np.stack(moved)[:, None]


def _null(scene: Scene, _: Generator) -> Effect:
    return _one_pattern(scene, np.zeros(scene.noise_sd.shape[1], dtype=np.float32))


def _aligned(scene: Scene, rng: Generator) -> Effect:
    return _one_pattern(scene, _regions(scene, rng).sum(axis=0))


def _shifted(scene: Scene, rng: Generator) -> Effect:
    centres, signs = scene.brain.draw_centres(N_REGIONS, rng), _signs(N_REGIONS, rng)
    shapes = draw_shifted(scene, centres, signs, N_SHIFTS, rng)
    patient = np.eye(N_SHIFTS, dtype=np.float32)
    return ShiftedEffect(
        shapes,
        scene.amplitude,
        scene.noise_sd[:1],
        patient,
        patient[:1] * 0,
        scene=scene,
        centres=centres,
        signs=signs,
    )


def _varied(scene: Scene, rng: Generator) -> Effect:
    shown = list(combinations(range(N_REGIONS), N_SHOWN))
    patient = np.zeros((len(shown), N_REGIONS), dtype=np.float32)
    patient[np.arange(len(shown))[:, None], shown] = 1
    return scene.effect(_regions(scene, rng)[:, None], patient, patient[:1] * 0)


def _interaction(scene: Scene, rng: Generator) -> Effect:
    balls = scene.brain.balls(scene.brain.draw_centres(2, rng), scene.radius_mm)
    patient = np.array([[1, 1], [-1, -1]], dtype=np.float32)
    control = np.array([[1, -1], [-1, 1]], dtype=np.float32)
    return scene.effect(balls[:, None], patient, control)


def _widespread(scene: Scene, rng: Generator) -> Effect:
    values = scene.template
    if values is None:
        noise = rng.normal(size=scene.noise_sd.shape[1:]).astype(np.float32)
        values = smooth_values(noise, scene.brain.grid, FIELD_FWHM_MM)
    return _one_pattern(scene, unit_rms(values))


def _cortical_sheets(scene: Scene, rng: Generator) -> Effect:
    radius_mm = PATCH_RADII * scene.radius_mm
    sheets = find_cortex().sheets(N_REGIONS, radius_mm, scene.brain.grid, rng)
    return _one_pattern(scene, _signs(N_REGIONS, rng) @ sheets)


def _two_contrasts(scene: Scene, rng: Generator) -> Effect:
    balls = scene.brain.balls(scene.brain.draw_centres(N_REGIONS, rng), scene.radius_mm)
    one, none = balls[:, None], np.zeros_like(balls[:, None])
    shapes = np.concatenate([np.hstack([one, none]), np.hstack([none, one])])  # (2 K, 2, V)
    states = np.array(list(product((-1, 1), repeat=N_REGIONS)), dtype=np.float32)
    return scene.effect(shapes, np.hstack([states, states]), np.hstack([states, -states]))


#: Scene and random numbers to what is planted.
REGIMES: dict[RegimeName, Callable[[Scene, Generator], Effect]] = {
    "null": _null,
    "aligned": _aligned,
    "shifted": _shifted,
    "varied": _varied,
    "interaction": _interaction,
    "widespread": _widespread,
    "two_contrasts": _two_contrasts,
    "widespread_strong": _widespread,
    "cortical_sheets": _cortical_sheets,
}


def _one_pattern(scene: Scene, shape: FloatArray) -> Effect:
    return scene.effect(shape[None, None], SHOWN, HIDDEN)


def _regions(scene: Scene, rng: Generator) -> FloatArray:
    """Draw regions that are raised or lowered: (K, V)."""
    centres = scene.brain.draw_centres(N_REGIONS, rng)
    balls = scene.brain.balls(centres, scene.radius_mm)
    return balls * _signs(N_REGIONS, rng)[:, None]


def _signs(count: int, rng: Generator) -> Strengths:
    return rng.choice(np.array([-1, 1], dtype=np.float32), count)
