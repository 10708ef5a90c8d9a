"""What a regime plants into, and what it plants."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.power.regions import Brain, Points
from fmnet.data.volume import FloatArray

Coefficients = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Scene:
    """What a regime plants into.

    Parameters
    ----------
    brain : Brain
        V voxels.
    spread : ndarray of float32, shape (2, V)
        Between-person SD of each voxel in the first and the second contrast.
    amplitude : float
        In these SDs.
    radius_mm, jitter_mm : float
        Of regions; root mean square length of a shift.
    template : ndarray of float32, shape (V,), or None
        What is planted all over the brain; a random field if None.
    """

    brain: Brain
    spread: FloatArray
    amplitude: float
    radius_mm: float = 9.0
    jitter_mm: float = 8.0
    template: FloatArray | None = None

    def patterns(self, shapes: FloatArray, contrast: int = 0, n_contrasts: int = 1) -> FloatArray:
        """Give shapes, (K, V), their size in one of the contrasts: (K, C, V)."""
        sized = np.zeros((len(shapes), n_contrasts, shapes.shape[1]), dtype=np.float32)
        sized[:, contrast] = self.amplitude * self.spread[contrast] * shapes
        return sized


@dataclass(frozen=True, eq=False)
class Effect:
    """What is planted: each person is in one of H hidden states, all equally probable.

    Parameters
    ----------
    patterns : ndarray of float32, shape (K, C, V)
        In the unit of the maps.
    patient, control : ndarray of float32, shape (H, K)
        How much of each pattern a person has in each state.
    """

    patterns: FloatArray
    patient: Coefficients
    control: Coefficients

    def plant(self, labels: NDArray[np.int64], rng: Generator) -> FloatArray:
        """Draw everybody's state, and from it what is added to the maps: (N, C, V)."""
        states = [self._draw(self.patient if label else self.control, rng) for label in labels]
        return np.tensordot(np.stack(states), self.patterns, axes=1)

    def _draw(self, states: Coefficients, rng: Generator) -> Coefficients:
        row: Coefficients = states[rng.integers(len(states))]
        return row


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

    scene: Scene
    centres: Points
    signs: Coefficients

    def plant(self, labels: NDArray[np.int64], rng: Generator) -> FloatArray:
        """Draw a shift for each patient, not one of those in `patterns`: (N, C, V)."""
        planted = np.zeros((len(labels), *self.patterns.shape[1:]), dtype=np.float32)
        patients = np.flatnonzero(labels)
        planted[patients] = draw_shifted(self.scene, self.centres, self.signs, len(patients), rng)
        return planted


def draw_shifted(
    scene: Scene, centres: Points, signs: Coefficients, count: int, rng: Generator
) -> FloatArray:
    """Move all regions together, `count` times: (count, 1, V)."""
    shifts = rng.normal(0, scene.jitter_mm / np.sqrt(3), (count, 3))
    shapes = [signs @ scene.brain.balls(centres + shift, scene.radius_mm) for shift in shifts]
    return scene.patterns(np.stack(shapes))
