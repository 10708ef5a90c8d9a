"""The oracle's map: where an effect of known form lies, as far as labelled maps can tell.

It knows how effects are planted: how many regions there are, their shape, size and amplitude, how
far apart and how deep they lie, and the standard deviations that the amplitude is a multiple of;
and it knows how backgrounds vary within the groups. It doesn't know where regions lie, which way
they go, nor how the groups' backgrounds differ. What it gives is how probable it is that a voxel
was planted, given the maps and labels of the cohort; of effects all over the brain, what they are
expected to be.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from benchmarks.power.planted import PlantedCohort
from benchmarks.power.regimes import TEMPLATED, RegimeName
from benchmarks.power.summary import ORACLE
from benchmarks.signature.candidates import Candidates, list_candidates
from benchmarks.signature.noise import weigh_difference
from benchmarks.signature.oracle_field import expect_field
from benchmarks.signature.oracle_people import (
    interacting_pairs,
    opposing_contrasts,
    weigh_people,
)
from benchmarks.signature.oracle_regions import (
    paint,
    pick_regions,
    sample_regions,
    single_regions,
)
from fmnet.data.grid import Grid
from fmnet.data.volume import FloatArray

#: The same of one region at a time, as if there were no others.
SINGLE = "matched_filter"


@dataclass(frozen=True)
class OracleMaps:
    """Maps of one that knows all of a regime but where it is planted.

    Parameters
    ----------
    regime : str
        What is planted, see `benchmarks.power.regimes`.
    radius_mm, jitter_mm : float
        Of regions.
    """

    regime: RegimeName
    radius_mm: float
    jitter_mm: float

    def make(self, planted: PlantedCohort) -> dict[str, FloatArray]:
        """Work out ``oracle`` and, where the groups' means differ, ``matched_filter``: (C, V)."""
        rng = np.random.default_rng(planted.seed)
        if self.regime in TEMPLATED:
            return {ORACLE: expect_field(planted, rng)[None].astype(np.float32)}
        candidates = _candidates(self.regime, planted.grid, self.radius_mm, self.jitter_mm)
        if self.regime in ("interaction", "two_contrasts"):
            fits = weigh_people(planted, candidates)
            if self.regime == "interaction":
                probability = interacting_pairs(planted, candidates, fits)
            else:
                probability = pick_regions(opposing_contrasts(planted, fits), candidates)
            painted = paint(candidates, probability)
            return {ORACLE: np.tile(painted, (planted.values.shape[1], 1))}
        evidence = weigh_difference(planted, candidates.shapes, rng)
        log_odds = single_regions(evidence)
        single = paint(candidates, np.exp(log_odds - log_odds.max()))
        joint = paint(candidates, sample_regions(evidence, candidates, rng))
        return {ORACLE: joint[None], SINGLE: single[None]}


@lru_cache(maxsize=2)
def _candidates(regime: RegimeName, grid: Grid, radius_mm: float, jitter_mm: float) -> Candidates:
    """Keep what is the same for all cohorts of a regime."""
    return list_candidates(regime, grid, radius_mm, jitter_mm)
