"""The knobs of a synthetic BOLD cohort, checked together."""

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, get_args

from fmnet.errors import CohortError, Fault
from fmnet.synthetic.bold_networks import are_positive, coupling_range
from fmnet.synthetic.parameters import Rule, digest_knobs, knob_faults, plain_numbers

Task = Literal["rest", "pain"]

#: Part of every folder name: raise it when the same knobs would give other data.
BOLD_COHORT_FORMAT = 1
PERCENT = "a number from 0 to 20 (percent of the mean)"

_RULES: dict[str, Rule] = {
    "n_subjects": (Integral, "a whole number from 4 upwards", lambda n: n >= 4),
    "n_volumes": (Integral, "a whole number from 30 upwards", lambda n: n >= 30),
    "t_r": (Real, "a number from 0.3 to 5 (s)", lambda x: 0.3 <= x <= 5),
    "voxel_size_mm": (Integral, "a whole number from 1 to 12 (mm)", lambda n: 1 <= n <= 12),
    "n_runs": (Integral, "a whole number from 1 to 99", lambda n: 1 <= n <= 99),
    "coupling": (Real, "a number from -0.8 to 0.8", lambda x: abs(x) <= 0.8),
    "coupling_sd": (Real, "a number from 0 to 0.3", lambda x: 0 <= x <= 0.3),
    "task_effect": (Real, "a finite number (between-person SDs)", math.isfinite),
    "motion_effect": (Real, "a number from -3 to 3 (between-person SDs)", lambda x: abs(x) <= 3),
    "motion_mm": (Real, "a number from 0 to 2 (mm)", lambda x: 0 <= x <= 2),
    "motion_spread": (Real, "a number from 0 to 1", lambda x: 0 <= x <= 1),
    "spike_rate": (Real, "a share of volumes from 0 to 0.2", lambda x: 0 <= x <= 0.2),
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
class BoldDesign:
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
        Runs of each person.
    coupling : float
        Expected difference, FM minus HC, of the correlation between default mode and salience; 0
        draws both groups from exactly the same distribution.
    coupling_sd : float
        SD of that correlation between persons of one group, clipped at 2 SDs; the other
        correlations vary by half of it.
    task_effect : float
        Difference of the response to events, FM minus HC, in between-person SDs.
    motion_effect : float
        How many between-person SDs more FM moves, on the logarithmic scale.
    motion_mm, motion_spread : float
        Mean framewise displacement in mm of the median control without spikes; SD of its logarithm
        between persons.
    spike_rate : float
        Share of volumes in which a person who moves by 0.12 mm jerks; grows with motion.
    motion_percent : float
        What 1 mm of motion does to the signal at the rim.
    network_percent : float
        SD over time of a network's signal at its peaks.
    thermal_percent, smooth_percent, drift_percent, physio_percent : float
        SD over time of white noise, of spatially smooth autocorrelated noise, of drift, and of
        breathing and heartbeat in CSF.
    noise_spread : float
        SD over places of the logarithm of the noise.
    noise_fwhm_mm : float
        Smoothness of the smooth part.
    autocorrelation : float
        Mean AR(1) coefficient of the smooth part for a repetition time of 2 s.
    n_non_steady : int
        Brighter volumes at the start.
    n_sites : int
        Scanner sites, each with people of both groups; they differ in thermal noise.
    seed : int
        Same seed and knobs, same data; same seed and another effect, same noise.

    Raises
    ------
    CohortError
        With a fault for every knob that is out of its range.
    """

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
        faults = knob_faults(self, _RULES) + self._task_faults()
        if not faults:
            faults = self._faults_together()
        if faults:
            raise CohortError(faults)

    @property
    def knobs(self) -> dict[str, Any]:
        """All knobs as plain values, alike for ``1`` and ``1.0``."""
        return plain_numbers(self, _RULES) | {"task": self.task}

    @property
    def digest(self) -> str:
        """Hash of the knobs and of the way in which data follow from them."""
        return digest_knobs(BOLD_COHORT_FORMAT, self.knobs)

    def _task_faults(self) -> list[Fault]:
        if self.task in get_args(Task):
            return []
        accepted = " or ".join(get_args(Task))
        return [Fault("cohort.task", f"{self.task!r}", accepted, "change cohort.task")]

    def _faults_together(self) -> list[Fault]:
        """Find knobs that are each in range but don't go together."""
        faults = []
        if self.n_sites > self.n_subjects // 2:
            accepted = (
                f"at most {self.n_subjects // 2}, so that each site has people of both groups"
            )
            action = "take fewer sites or more subjects"
            faults.append(Fault("cohort.n_sites", f"{self.n_sites}", accepted, action))
        if self.task_effect and self.task == "rest":
            found, accepted = (
                f"{self.task_effect} in a cohort at rest",
                "0 where there are no events",
            )
            action = "set cohort.task to pain, or cohort.task_effect to 0"
            faults.append(Fault("cohort.task_effect", found, accepted, action))
        if not are_positive(self.coupling, self.coupling_sd):
            low, high = coupling_range(self.coupling, self.coupling_sd)
            found = f"correlations from {low:.2f} to {high:.2f} between the two networks"
            accepted = "correlations that go together with those of the other networks"
            action = "take a smaller coupling or coupling_sd"
            faults.append(Fault("cohort.coupling", found, accepted, action))
        return faults
