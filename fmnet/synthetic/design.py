"""The parameters of synthetic cohorts, of maps and of BOLD runs, and their participants."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
import pandas as pd

from fmnet.errors import CohortError, Fault
from fmnet.synthetic.bold_brain import are_positive, coupling_range
from fmnet.synthetic.effects import Effect

Task = Literal["rest", "pain"]
#: A number's kind, its accepted values in words, and whether one is among them.
Rule = tuple[type, str, Callable[[Any], bool]]

#: Part of every folder's name: raise it when the same parameters would give other data.
SYNTHETIC_FORMAT, BOLD_COHORT_FORMAT = 1, 1
#: Mean framewise displacement of controls in mm, and its SD between subjects, in cohorts of maps.
MOTION_MM, MOTION_SD_MM = 0.25, 0.05
PERCENT = "a number from 0 to 20 (percent of the mean)"

MAP_RULES: dict[str, Rule] = {
    "n_subjects": (Integral, "a whole number from 4 upwards", lambda n: n >= 4),
    "effect_size": (Real, "a finite number (between-subject SDs)", math.isfinite),
    "jitter_mm": (Real, "a number from 0 to 50 (mm)", lambda x: 0 <= x <= 50),
    "n_sites": (Integral, "a whole number from 1 upwards", lambda n: n >= 1),
    "site_shift": (Real, "a finite number from 0 upwards (SDs)", lambda x: 0 <= x < math.inf),
    "motion_effect": (Real, "a finite number from 0 upwards (SDs)", lambda x: 0 <= x < math.inf),
    "smoothness_mm": (Real, "a number above 0, up to 40 (mm)", lambda x: 0 < x <= 40),
    "missing_coverage": (Real, "a fraction from 0 to below 1", lambda x: 0 <= x < 1),
    "voxel_size_mm": (Integral, "a whole number from 1 to 12 (mm)", lambda n: 1 <= n <= 12),
    "seed": (Integral, "a whole number from 0 upwards", lambda n: n >= 0),
}
BOLD_RULES: dict[str, Rule] = {
    "n_subjects": (Integral, "a whole number from 4 upwards", lambda n: n >= 4),
    "n_volumes": (Integral, "a whole number from 30 upwards", lambda n: n >= 30),
    "t_r": (Real, "a number from 0.3 to 5 (s)", lambda x: 0.3 <= x <= 5),
    "voxel_size_mm": (Integral, "a whole number from 1 to 12 (mm)", lambda n: 1 <= n <= 12),
    "n_runs": (Integral, "a whole number from 1 to 99", lambda n: 1 <= n <= 99),
    "coupling": (Real, "a number from -0.8 to 0.8", lambda x: abs(x) <= 0.8),
    "coupling_sd": (Real, "a number from 0 to 0.3", lambda x: 0 <= x <= 0.3),
    "task_effect": (Real, "a finite number (between-subject SDs)", math.isfinite),
    "motion_effect": (Real, "a number from -3 to 3 (between-subject SDs)", lambda x: abs(x) <= 3),
    "motion_mm": (Real, "a number from 0 to 2 (mm)", lambda x: 0 <= x <= 2),
    "motion_spread": (Real, "a number from 0 to 1", lambda x: 0 <= x <= 1),
    "spike_rate": (Real, "a fraction of volumes from 0 to 0.2", lambda x: 0 <= x <= 0.2),
    "motion_percent": (Real, PERCENT, lambda x: 0 <= x <= 20),
    "network_percent": (Real, PERCENT, lambda x: 0 <= x <= 20),
    "thermal_percent": (Real, PERCENT, lambda x: 0 <= x <= 20),
    "smooth_percent": (Real, PERCENT, lambda x: 0 <= x <= 20),
    "drift_percent": (Real, PERCENT, lambda x: 0 <= x <= 20),
    "physio_percent": (Real, PERCENT, lambda x: 0 <= x <= 20),
    "noise_spread": (Real, "a number from 0 to 1.5", lambda x: 0 <= x <= 1.5),
    "noise_fwhm_mm": (Real, "a number from 0 to 60 (mm)", lambda x: 0 <= x <= 60),
    "autocorrelation": (Real, "a number from 0 to 0.9", lambda x: 0 <= x <= 0.9),
    "n_non_steady": (Integral, "a whole number from 0 to 10", lambda n: 0 <= n <= 10),
    "n_sites": (Integral, "a whole number from 1 upwards", lambda n: n >= 1),
    "seed": (Integral, "a whole number from 0 upwards", lambda n: n >= 0),
}


@dataclass(frozen=True)
class Parameters:
    """What every synthetic cohort has: parameters in their ranges, and a hash of them."""

    #: Ranges of the numbers, and what to raise when the same parameters would give other data.
    RULES: ClassVar[Mapping[str, Rule]]
    FORMAT: ClassVar[int]

    @classmethod
    def given(cls, **parameters: Any) -> Self:
        """Take parameters; those left out or None keep their default."""
        return cls(**{name: value for name, value in parameters.items() if value is not None})

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters as plain values, alike for ``1`` and ``1.0``."""
        numbers = {
            name: int(getattr(self, name)) if kind is Integral else float(getattr(self, name))
            for name, (kind, _, _) in self.RULES.items()
        }
        others = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in numbers}
        return numbers | {
            name: value if isinstance(value, str) else list(value) for name, value in others.items()
        }

    @property
    def digest(self) -> str:
        """Hash of the parameters and of the way in which data follow from them."""
        text = json.dumps([self.FORMAT, self.parameters], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def faults(self) -> list[Fault]:
        """List the numbers that are of another kind or out of their range."""
        faults = []
        for name, (kind, accepted, holds) in self.RULES.items():
            value = getattr(self, name)
            if not isinstance(value, kind) or isinstance(value, bool) or not holds(value):
                where = f"cohort.{name}"
                faults.append(Fault(where, f"{value!r}", accepted, f"change {where}"))
        return faults


@dataclass(frozen=True)
class Design(Parameters):
    """What a synthetic cohort is made of.

    Parameters
    ----------
    n_subjects : int
        Half of them FM (one more where odd), half HC.
    effect_size : float
        Difference of the group means at the planted peaks, in SDs of the between-subject
        background; 0 draws both groups from exactly the same distribution.
    jitter_mm : float
        Each FM subject's planted pattern is displaced by a random vector of this SD per axis.
    contrasts : sequence of str
        Maps per subject; the second and later carry a weaker effect.
    n_sites : int
        Scanner sites, each with subjects of both groups.
    site_shift : float
        SD of the smooth pattern that each site adds to its maps.
    motion_effect : float
        Motion is higher in FM by this many SDs, and a subject's motion (in SDs from the controls'
        mean) times this adds a rim-of-the-brain pattern; 0 leaves groups and maps free of motion.
    smoothness_mm : float
        FWHM of the finer half of the background; the coarser half is three times as smooth.
    missing_coverage : float
        Fraction of subjects, whatever their group, whose maps lack a slab below or above.
    voxel_size_mm : int
        Edge length of the voxels of the template grid.
    seed : int
        Same seed and parameters, same data; same seed and another effect, same backgrounds.

    Raises
    ------
    CohortError
        With a fault for every parameter that is out of its range.
    """

    RULES: ClassVar[Mapping[str, Rule]] = MAP_RULES
    FORMAT: ClassVar[int] = SYNTHETIC_FORMAT

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
        faults = self.faults()
        is_list = isinstance(self.contrasts, Sequence) and not isinstance(self.contrasts, str)
        names = list(self.contrasts) if is_list else []
        plain = all(isinstance(name, str) and name.isascii() and name.isalnum() for name in names)
        if not names or not plain or len(set(names)) < len(names):
            accepted = "a list of different names of letters and digits, one at least"
            action = "change cohort.contrasts, for instance to [pressure]"
            faults.append(Fault("cohort.contrasts", f"{self.contrasts!r}", accepted, action))
        if faults := faults or _site_faults(self.n_sites, self.n_subjects):
            raise CohortError(faults)


@dataclass(frozen=True)
class BoldDesign(Parameters):
    """What a synthetic BOLD cohort is made of; percentages are of a grey-matter voxel's mean.

    Parameters
    ----------
    n_subjects : int
        Half of them FM (one more where odd), half HC.
    task : {"rest", "pain"}
        ``pain`` adds events and the response to them.
    n_volumes : int
        Of each run, with the non-steady ones.
    t_r : float
        Repetition time in seconds.
    voxel_size_mm : int
        Edge length of the voxels of the template grid.
    n_runs : int
        Runs of each subject.
    coupling : float
        Expected difference, FM minus HC, of the correlation between default mode and salience; 0
        draws both groups from exactly the same distribution.
    coupling_sd : float
        SD of that correlation between subjects of one group, clipped at 2 SDs; the other
        correlations vary by half of it.
    task_effect : float
        Difference of the response to events, FM minus HC, in between-subject SDs.
    motion_effect : float
        How many between-subject SDs more FM moves, on the logarithmic scale.
    motion_mm : float
        Mean framewise displacement in mm of the median control without spikes.
    motion_spread : float
        SD of the logarithm of framewise displacement between subjects.
    spike_rate : float
        Fraction of volumes in which a subject who moves by 0.12 mm jerks; grows with motion.
    motion_percent : float
        What 1 mm of motion does to the signal at the rim.
    network_percent : float
        SD over time of a network's signal at its peaks.
    thermal_percent : float
        SD over time of white noise.
    smooth_percent : float
        SD over time of spatially smooth autocorrelated noise.
    drift_percent : float
        SD over time of drift.
    physio_percent : float
        SD over time of breathing and heartbeat in CSF.
    noise_spread : float
        SD over places of the logarithm of the noise.
    noise_fwhm_mm : float
        Smoothness of the smooth part.
    autocorrelation : float
        Mean AR(1) coefficient of the smooth part for a repetition time of 2 s.
    n_non_steady : int
        Brighter volumes at the start.
    n_sites : int
        Scanner sites, each with subjects of both groups; they differ in thermal noise.
    seed : int
        Same seed and parameters, same data; same seed and another effect, same noise.

    Raises
    ------
    CohortError
        With a fault for every parameter that is out of its range.
    """

    RULES: ClassVar[Mapping[str, Rule]] = BOLD_RULES
    FORMAT: ClassVar[int] = BOLD_COHORT_FORMAT

    n_subjects: int = 60
    task: Task = "rest"
    n_volumes: int = 150
    t_r: float = 2.0
    voxel_size_mm: int = 12
    n_runs: int = 1
    coupling: float = 0.0
    coupling_sd: float = 0.15
    task_effect: float = 0.0
    motion_effect: float = 0.0
    motion_mm: float = 0.12
    motion_spread: float = 0.4
    spike_rate: float = 0.015
    motion_percent: float = 1.0
    network_percent: float = 0.6
    thermal_percent: float = 0.28
    smooth_percent: float = 0.32
    drift_percent: float = 0.28
    physio_percent: float = 0.55
    noise_spread: float = 0.95
    noise_fwhm_mm: float = 6.0
    autocorrelation: float = 0.65
    n_non_steady: int = 2
    n_sites: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        faults = self.faults()
        if self.task not in get_args(Task):
            accepted = " or ".join(get_args(Task))
            faults.append(Fault("cohort.task", f"{self.task!r}", accepted, "change cohort.task"))
        if faults:
            raise CohortError(faults)
        # each in range, but do they go together?
        faults = _site_faults(self.n_sites, self.n_subjects)
        if self.task_effect and self.task == "rest":
            found = f"{self.task_effect} in a cohort at rest"
            accepted = "0 where there are no events"
            action = "set cohort.task to pain, or cohort.task_effect to 0"
            faults.append(Fault("cohort.task_effect", found, accepted, action))
        if not are_positive(self.coupling, self.coupling_sd):
            low, high = coupling_range(self.coupling, self.coupling_sd)
            found = f"correlations from {low:.2f} to {high:.2f} between the two networks"
            accepted = "correlations that go together with those of the other networks"
            action = "take a smaller coupling or coupling_sd"
            faults.append(Fault("cohort.coupling", found, accepted, action))
        if faults:
            raise CohortError(faults)


def draw_participants(design: Design, seed: np.random.SeedSequence) -> pd.DataFrame:
    """Draw the participants table, of which the numbers of subjects and sites and motion decide.

    Returns
    -------
    DataFrame
        One row per subject: ``participant_id``, ``group``, ``age`` (years), ``sex``, ``site``,
        ``pain_score`` (0 to 100), ``mean_framewise_displacement`` (mm).
    """
    rng = np.random.default_rng(seed)
    n = design.n_subjects
    rank = np.arange(n)
    is_patient = rank < (n + 1) // 2
    # Subject k of one group is matched with subject k of the other, in age and in sex.
    pair = np.where(is_patient, rank, rank - is_patient.sum())
    age = rng.normal(48, 10, n)[pair] + rng.normal(0, 2, n)
    sex = np.where(rng.random(n)[pair] < 0.9, "F", "M")
    pain = np.where(is_patient, rng.normal(55, 15, n), rng.normal(8, 6, n))
    motion = Effect(np.ones(1), design.motion_effect).plant(rng.standard_normal(n), is_patient)
    participants = pd.DataFrame(
        {
            "group": np.where(is_patient, "FM", "HC"),
            "age": np.clip(age, 18, 75).round().astype(int),
            "sex": sex,
            "site": [f"site-{k + 1}" for k in rank % design.n_sites],
            "pain_score": np.clip(pain, 0, 100).round(1),
            "mean_framewise_displacement": np.clip(
                MOTION_MM + MOTION_SD_MM * motion, 0.02, None
            ).round(4),
        }
    )
    # In random order, so that neither number nor seed of a subject tells the group.
    participants = participants.iloc[rng.permutation(n)].reset_index(drop=True)
    participants.insert(0, "participant_id", [f"sub-synthetic{k:03d}" for k in range(1, n + 1)])
    return participants


def motion_in_sd(mm: Any) -> Any:
    """Turn mean framewise displacement in mm into SDs from the controls' mean."""
    return (mm - MOTION_MM) / MOTION_SD_MM


def _site_faults(n_sites: int, n_subjects: int) -> list[Fault]:
    if n_sites <= n_subjects // 2:
        return []
    accepted = f"at most {n_subjects // 2}, so that each site has people of both groups"
    action = "take fewer sites or more subjects"
    return [Fault("cohort.n_sites", f"{n_sites}", accepted, action)]
