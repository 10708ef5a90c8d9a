"""The knobs of a synthetic cohort, checked together, and the people that it is about."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd

from fmnet.errors import CohortError, Fault
from fmnet.synthetic.parameters import Rule, digest_knobs, knob_faults, plain_numbers

#: Part of every folder name: raise it when the same knobs would give other data.
SYNTHETIC_FORMAT = 1
#: Mean framewise displacement of controls in mm, and its SD between persons.
MOTION_MM, MOTION_SD_MM = 0.25, 0.05

_RULES: dict[str, Rule] = {
    "n_subjects": (Integral, "a whole number from 4 upwards", lambda n: n >= 4),
    "effect_size": (Real, "a finite number (between-person SDs)", math.isfinite),
    "jitter_mm": (Real, "a number from 0 to 50 (mm)", lambda x: 0 <= x <= 50),
    "n_sites": (Integral, "a whole number from 1 upwards", lambda n: n >= 1),
    "site_shift": (Real, "a finite number from 0 upwards (SDs)", lambda x: 0 <= x < math.inf),
    "motion_effect": (Real, "a finite number from 0 upwards (SDs)", lambda x: 0 <= x < math.inf),
    "smoothness_mm": (Real, "a number above 0, up to 40 (mm)", lambda x: 0 < x <= 40),
    "missing_coverage": (Real, "a share from 0 to below 1", lambda x: 0 <= x < 1),
    "voxel_size_mm": (Integral, "a whole number from 1 to 12 (mm)", lambda n: 1 <= n <= 12),
    "seed": (Integral, "a whole number from 0 upwards", lambda n: n >= 0),
}


@dataclass(frozen=True)
class Design:
    """What a synthetic cohort is made of.

    Parameters
    ----------
    n_subjects : int
        Half of them FM (one more where odd), half HC.
    effect_size : float
        Difference of the group means at the planted peaks, in SDs of the between-person
        background; 0 draws both groups from exactly the same distribution.
    jitter_mm : float
        Each FM person's planted pattern is displaced by a random vector of this SD per axis.
    contrasts : sequence of str
        Maps per person; the second and later carry a weaker effect, see
        `fmnet.synthetic.maps.LATER_EFFECT`.
    n_sites : int
        Scanner sites, each with people of both groups.
    site_shift : float
        SD of the smooth pattern that each site adds to its maps.
    motion_effect : float
        Motion is higher in FM by this many SDs, and a person's motion (in SDs from the controls'
        mean) times this adds a rim-of-the-brain pattern; 0 leaves groups and maps free of motion.
    smoothness_mm : float
        FWHM of the finer half of the background; the coarser half is three times as smooth.
    missing_coverage : float
        Share of people, whatever their group, whose maps lack a slab below or above.
    voxel_size_mm : int
        Edge length of the voxels of the template grid.
    seed : int
        Same seed and knobs, same data; same seed and another effect, same backgrounds.

    Raises
    ------
    CohortError
        With a fault for every knob that is out of its range.
    """

    n_subjects: int = 40
    effect_size: float = 2.5
    jitter_mm: float = 0.0
    contrasts: Sequence[str] = ("pressure",)
    n_sites: int = 1
    site_shift: float = 0.0
    motion_effect: float = 0.0
    smoothness_mm: float = 8.0
    missing_coverage: float = 0.0
    voxel_size_mm: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        faults = knob_faults(self, _RULES) + self._contrast_faults()
        if not faults and self.n_sites > self.n_subjects // 2:
            accepted = (
                f"at most {self.n_subjects // 2}, so that each site has people of both groups"
            )
            action = "take fewer sites or more subjects"
            faults.append(Fault("cohort.n_sites", f"{self.n_sites}", accepted, action))
        if faults:
            raise CohortError(faults)

    @property
    def knobs(self) -> dict[str, Any]:
        """All knobs as plain values, alike for ``1`` and ``1.0``."""
        return {**plain_numbers(self, _RULES), "contrasts": list(self.contrasts)}

    @property
    def digest(self) -> str:
        """Hash of the knobs and of the way in which data follow from them."""
        return digest_knobs(SYNTHETIC_FORMAT, self.knobs)

    def _contrast_faults(self) -> list[Fault]:
        is_list = isinstance(self.contrasts, Sequence) and not isinstance(self.contrasts, str)
        names = list(self.contrasts) if is_list else []
        plain = all(isinstance(name, str) and name.isascii() and name.isalnum() for name in names)
        if names and plain and len(set(names)) == len(names):
            return []
        accepted = "a list of different names of letters and digits, one at least"
        action = "change cohort.contrasts, for instance to [pressure]"
        return [Fault("cohort.contrasts", f"{self.contrasts!r}", accepted, action)]


def draw_people(design: Design, seed: np.random.SeedSequence) -> pd.DataFrame:
    """Draw the participants table.

    Parameters
    ----------
    design : Design
        The knobs; the number of people, of sites and the motion are used here.
    seed : SeedSequence
        Where the randomness comes from.

    Returns
    -------
    DataFrame
        One row per person: ``participant_id``, ``group``, ``age`` (years), ``sex``, ``site``,
        ``pain_score`` (0 to 100), ``mean_framewise_displacement`` (mm).
    """
    rng = np.random.default_rng(seed)
    n = design.n_subjects
    rank = np.arange(n)
    is_patient = rank < (n + 1) // 2
    # Person k of one group is matched with person k of the other, in age and in sex.
    pair = np.where(is_patient, rank, rank - is_patient.sum())
    age = rng.normal(48, 10, n)[pair] + rng.normal(0, 2, n)
    sex = np.where(rng.random(n)[pair] < 0.9, "F", "M")
    pain = np.where(is_patient, rng.normal(55, 15, n), rng.normal(8, 6, n))
    motion = rng.standard_normal(n) + design.motion_effect * is_patient
    people = pd.DataFrame(
        {
            "group": np.where(is_patient, "FM", "HC"),
            "age": np.clip(age, 18, 75).round().astype(int),
            "sex": sex,
            "site": [f"site-{k + 1}" for k in rank % design.n_sites],
            "pain_score": np.clip(pain, 0, 100).round(1),
            "mean_framewise_displacement": motion_in_mm(motion),
        }
    )
    # In random order, so that neither number nor seed of a person tells the group.
    people = people.iloc[rng.permutation(n)].reset_index(drop=True)
    people.insert(0, "participant_id", [f"sub-synthetic{k:03d}" for k in range(1, n + 1)])
    return people


def motion_in_mm(z: Any) -> Any:
    """Turn SDs from the controls' mean into mean framewise displacement in mm."""
    return np.clip(MOTION_MM + MOTION_SD_MM * z, 0.02, None).round(4)


def motion_in_sd(mm: Any) -> Any:
    """Turn mean framewise displacement in mm into SDs from the controls' mean."""
    return (mm - MOTION_MM) / MOTION_SD_MM
