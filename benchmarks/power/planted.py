"""Cohorts with a known effect, drawn again and again from the same backgrounds."""

import hashlib
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import Generator, SeedSequence
from numpy.typing import NDArray

from benchmarks.power.backgrounds import Backgrounds
from benchmarks.power.regimes import (
    RADIUS_MM,
    REGIMES,
    REGIONAL,
    TEMPLATED,
    Condition,
    RegimeName,
    Scene,
)
from benchmarks.power.regions import Brain
from fmnet.data.cohort import Cohort
from fmnet.data.grid import Grid
from fmnet.data.listing import Labels, Listing
from fmnet.data.scans import Scan, StoredScan
from fmnet.data.volume import FloatArray
from fmnet.inference.preparation import PreparationSettings
from fmnet.synthetic.effects import Effect
from fmnet.training.scan_set import MapScans, ScanSet

PATIENT, CONTROL = "patient", "control"


@dataclass(frozen=True, eq=False)
class PlantedCohort:
    """N people whose maps differ in a known way.

    Parameters
    ----------
    background, values : ndarray of float32, shape (N, C, V)
        Maps before and after planting.
    labels : ndarray of int, shape (N,)
        1 for patients.
    families : tuple of str
        Who shares a background, mirrored or not, and so stays on one side of every split.
    effect : Effect
        The truth.
    grid : Grid
        Where the values lie.
    seed : int
        Of what is learned from it.
    """

    background: FloatArray
    values: FloatArray
    labels: NDArray[np.int64]
    families: tuple[str, ...]
    effect: Effect
    grid: Grid
    seed: int = 0

    @property
    def cohort(self) -> Cohort:
        """List the people as folds and models know them; there are no files."""
        people = [f"sub-{number:03d}" for number in range(len(self.labels))]
        groups = [PATIENT if label else CONTROL for label in self.labels]
        contrasts = tuple(f"contrast{k + 1}" for k in range(self.values.shape[1]))
        scans = tuple(
            Scan(person, person, (), self.grid.space, group)
            for person, group in zip(people, groups, strict=True)
        )
        table = pd.DataFrame({"participant_id": people, "group": groups, "family": self.families})
        labels = Labels("group", PATIENT, CONTROL)
        listing = Listing(scans, contrasts, "n/a", table, labels, origin="planted")
        stored = tuple(StoredScan(Path(person), (), (), ()) for person in people)
        return Cohort(scans, stored, listing, self.grid)

    def prepare(self, settings: PreparationSettings) -> ScanSet:
        """Smooth the maps for a model."""
        return MapScans(self.cohort, self.values, settings)


@dataclass(frozen=True, eq=False)
class Planter:
    """Draws cohorts.

    Parameters
    ----------
    backgrounds : Backgrounds
        Whose maps.
    amplitudes : dict
        By regime, in between-subject SDs.
    radius_mm, jitter_mm : float
        See `benchmarks.power.regimes.Scene`.
    templates : ndarray of float32, shape (T, V), or None
        What is planted all over the brain, one after another; None for random fields.
    template_names : tuple of str
        What they are called.
    seed : int
        Same seed, same cohorts.
    """

    backgrounds: Backgrounds
    amplitudes: dict[str, float]
    radius_mm: float = RADIUS_MM
    jitter_mm: float = 8.0
    templates: FloatArray | None = None
    template_names: tuple[str, ...] = ()
    seed: int = 0

    def under(self, condition: Condition) -> "Planter":
        """Plant regions of the size, and effects of the strength, that a condition asks for."""
        regime, radius_mm, scale = condition
        scaled = self.amplitudes | {regime: scale * self.amplitudes[regime]}
        return replace(self, amplitudes=scaled, radius_mm=radius_mm)

    def template_of(self, regime: RegimeName, number: int) -> str:
        """Name the template that the cohort of this number has; empty for none."""
        if regime not in TEMPLATED or not self.template_names:
            return ""
        return self.template_names[number % len(self.template_names)]

    def draw(self, regime: RegimeName, n: int, number: int) -> PlantedCohort:
        """Draw the cohort of this number: `n` people, half of them patients.

        Cohorts of different regimes or numbers have nothing in common; of different sizes, only
        what is planted and where.
        """
        root = SeedSequence([self.seed, number, zlib.crc32(regime.encode())])
        rngs = [np.random.default_rng(child) for child in root.spawn(4)]
        effect = REGIMES[regime](self._scene(regime, number), rngs[0])
        background, families = self._choose(n, effect.patterns.shape[1], rngs[1])
        labels = rngs[2].permutation(np.arange(n) % 2)
        values = effect.plant(background, labels, rngs[3])
        grid, seed = self.backgrounds.grid, int(root.generate_state(1)[0])
        return PlantedCohort(background, values, labels, families, effect, grid, seed)

    def describe(self, regime: RegimeName) -> list[Any]:
        """List all that decides what the cohorts of a regime look like, as JSON can hold it."""
        own: list[Any] = [self.backgrounds.digest, self.seed, self.amplitudes[regime]]
        if regime in TEMPLATED and self.templates is not None:
            own.append(hashlib.sha256(self.templates.tobytes()).hexdigest())
        if regime in REGIONAL:
            own.append(self.radius_mm)
        return [*own, self.jitter_mm] if regime == "shifted" else own

    def _scene(self, regime: RegimeName, number: int) -> Scene:
        templates, noise_sd = self.templates, self.backgrounds.spread
        template = None if templates is None else templates[number % len(templates)]
        brain = Brain(self.backgrounds.grid)
        return Scene(
            brain, noise_sd, self.amplitudes[regime], self.radius_mm, self.jitter_mm, template
        )

    def _choose(
        self, n: int, n_contrasts: int, rng: Generator
    ) -> tuple[FloatArray, tuple[str, ...]]:
        """Choose people's backgrounds, (N, C, V), and say who belongs together.

        A second contrast is the mirror image of another person's map, and that person is family.
        """
        rows, is_mirrored = self.backgrounds.choose(n, rng)
        first = self._maps(rows, is_mirrored)
        if n_contrasts == 1:
            return first[:, None], tuple(f"{row}" for row in rows)
        partner, family = pair_up(np.unique(rows), rng)
        others = np.array([partner[row] for row in rows])
        both = np.stack([first, self._maps(others, ~is_mirrored)], axis=1)
        return both, tuple(f"{family[row]}" for row in rows)

    def _maps(self, rows: NDArray[np.intp], is_mirrored: NDArray[np.bool_]) -> FloatArray:
        given = self.backgrounds
        if not is_mirrored.any():
            return given.values[rows]
        return np.where(is_mirrored[:, None], given.mirrored[rows], given.values[rows])


def pair_up(people: NDArray[np.intp], rng: Generator) -> tuple[dict[int, int], dict[int, int]]:
    """Put people together in pairs, the last three together if their number is odd.

    Returns
    -------
    tuple of dict
        Each person's partner, who is somebody else, and number of the pair.
    """
    order = rng.permutation(people)
    groups = np.array_split(order, max(len(order) // 2, 1))
    partner = {
        int(one): int(other)
        for group in groups
        for one, other in zip(group, np.roll(group, 1), strict=True)
    }
    return partner, {int(one): k for k, group in enumerate(groups) for one in group}
