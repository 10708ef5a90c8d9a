"""How runs are cleaned."""

from dataclasses import dataclass
from typing import Literal

from fmnet.types import Count, Positive

Strategy = Literal[
    "none", "motion6", "motion24", "motion24_wm_csf", "motion24_wm_csf_global", "compcor"
]


@dataclass(frozen=True)
class CleaningSettings:
    """How confounds are taken out of runs; nothing of it is learned from the cohort.

    Parameters
    ----------
    strategy : str
        Which regressors of fMRIPrep's are taken out: ``motion6`` six motion parameters;
        ``motion24`` also their derivatives and squares; ``motion24_wm_csf`` also the means of white
        matter and CSF; ``motion24_wm_csf_global`` also the mean of the whole brain; ``compcor``
        24 motion parameters and anatomical components; ``none`` nothing but mean and drift.
    low_hz, high_hz : float or None
        Band that is kept, in Hz; None for no limit on that side.
    scrub_mm : float or None
        Volumes whose framewise displacement in mm is larger are left out; None for none.
    min_volumes : int
        Fewest volumes that may be left of a run.
    """

    strategy: Strategy = "motion24_wm_csf"
    low_hz: Positive | None = 0.01
    high_hz: Positive | None = 0.1
    scrub_mm: Positive | None = None
    min_volumes: Count = 50

    @property
    def needs_confounds(self) -> bool:
        """Tell whether runs without a confounds file can't be cleaned."""
        return self.strategy != "none" or self.scrub_mm is not None
