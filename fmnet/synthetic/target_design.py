"""The parameters of synthetic cohorts for targets, and what their tables and folders say."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, ClassVar, get_args

from fmnet.errors import CohortError, Fault
from fmnet.synthetic.cohort_folder import COLUMNS
from fmnet.synthetic.design import MAP_RULES, Parameters, Rule
from fmnet.synthetic.outcomes import LEVELS, Kind, OutcomePlan, Planted

#: Part of every folder's name: raise it when the same parameters would give other data.
TARGET_FORMAT = 1
FRACTION = "a number from 0 to 1"
RULES: dict[str, Rule] = {
    **{name: MAP_RULES[name] for name in ("site_shift", "smoothness_mm", "voxel_size_mm", "seed")},
    "n_subjects": (Integral, "a whole number from 8 upwards", lambda n: n >= 8),
    "target_effect": (Real, "a number from 0 to 5", lambda x: 0 <= x <= 5),
    "pattern_size": (Real, "a number from 0 to 10 (SDs)", lambda x: 0 <= x <= 10),
    "n_sites": (Integral, "a whole number from 1 upwards", lambda n: n >= 1),
    "n_groups": (Integral, "a whole number from 2 to 4", lambda n: 2 <= n <= 4),
    "shared": (Real, FRACTION, lambda x: 0 <= x <= 1),
    "missing": (Real, "a number from 0 to 0.9", lambda x: 0 <= x <= 0.9),
    "n_sessions": (Integral, "a whole number from 2 to 9", lambda n: 2 <= n <= 9),
    "icc": (Real, FRACTION, lambda x: 0 <= x <= 1),
}
#: Kinds whose effect is a correlation.
CORRELATED = ("severity", "onset", "response", "sessions")
README = """SYNTHETIC DATA: made by fmnet's random number generator; nobody was scanned.

For trying out and testing fmnet: it is known what a method ought to find (truth/truth.json).
Nothing here says anything about pain, its course or its treatment.

sub-*/           contrast maps, in SDs of the background between subjects; of several sessions, a
                 table of what was asked at each
participants.*   what is known of the people, and what each column means
truth/           patterns, how strongly each scan shows each, and what there is to be found

dataset_description.json holds the parameters; the same parameters give the same data.
"""
FIQR = {
    "Description": "SYNTHETIC severity, FIQ-R total from 0 (no symptoms) to 100 (worst)",
    "Units": "FIQ-R points",
}
DESCRIBED: dict[str, dict[str, Any]] = {
    **COLUMNS,
    "group": {
        "Description": "SYNTHETIC group",
        "Levels": {
            "FM": "fibromyalgia",
            "OA": "osteoarthritis of the knee",
            "PP": "pelvic pain",
            "HC": "healthy control",
        },
    },
    "age": {"Description": "age", "Units": "years"},
    "sex": {"Description": "sex", "Levels": {"F": "female", "M": "male"}},
    "fiqr": FIQR,
    "severity": {
        "Description": "SYNTHETIC severity of pain, ordered",
        "Levels": {
            name: f"level {number} of {len(LEVELS)}" for number, name in enumerate(LEVELS, 1)
        },
    },
    "time": {
        "Description": "SYNTHETIC time from the scan to the onset of pain, or to the last visit",
        "Units": "years",
    },
    "event": {
        "Description": "SYNTHETIC whether pain began at that time",
        "Levels": {"1": "pain began", "0": "last seen without pain"},
    },
    "arm": {
        "Description": "SYNTHETIC arm of a trial, drawn at random within sites",
        "Levels": {"placebo": "control", "drug": "active"},
    },
    "baseline": {
        "Description": "SYNTHETIC pain before treatment, from 0 (none) to 100 (worst imaginable)",
        "Units": "points",
    },
    "outcome": {
        "Description": "SYNTHETIC pain after treatment, from 0 (none) to 100 (worst imaginable)",
        "Units": "points",
    },
}


@dataclass(frozen=True)
class TargetDesign(Parameters):
    """What a synthetic cohort with outcomes is made of.

    Parameters
    ----------
    kind, planted, n_sites, n_groups, shared, missing, n_sessions, icc
        See `fmnet.synthetic.outcomes.OutcomePlan`.
    target_effect : float
        Of numbers: correlation of the outcome with what it depends on. Of groups: difference of
        the means of patterns, in SDs; of change, from before to after.
    n_subjects : int
        People; each has a scan, or one for each session.
    pattern_size : float
        How high a pattern is at its peaks where it is shown by one SD more than usual, in SDs of
        the background between subjects.
    site_shift, smoothness_mm, voxel_size_mm, seed
        See `fmnet.synthetic.design.Design`.

    Raises
    ------
    CohortError
        With a fault for every parameter that is out of its range.
    """

    RULES: ClassVar[Mapping[str, Rule]] = RULES
    FORMAT: ClassVar[int] = TARGET_FORMAT

    kind: Kind = "severity"
    planted: Planted = "effect"
    n_subjects: int = 80
    target_effect: float = 0.7
    pattern_size: float = 2.0
    n_sites: int = 2
    site_shift: float = 0.5
    n_groups: int = 4
    shared: float = 0.5
    missing: float = 0.3
    n_sessions: int = 2
    icc: float = 0.6
    smoothness_mm: float = 8.0
    voxel_size_mm: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        faults = self.faults()
        allowed: dict[str, tuple[str, ...]] = {
            "response": ("moderator", "prognostic", "site", "baseline", "none"),
            "change": ("effect", "none"),
        }
        choices = allowed.get(self.kind, ("effect", "site", "baseline", "none"))
        if self.kind not in get_args(Kind):
            accepted = ", ".join(get_args(Kind))
            faults.append(Fault("cohort.kind", f"{self.kind!r}", accepted, "change cohort.kind"))
        elif self.planted not in choices:
            accepted, action = f"{', '.join(choices)} for {self.kind}", "change cohort.planted"
            faults.append(Fault("cohort.planted", f"{self.planted!r}", accepted, action))
        if not faults and self.kind in CORRELATED and self.target_effect > 0.95:
            accepted = f"a correlation from 0 to 0.95 for {self.kind}"
            found, action = f"{self.target_effect}", "change cohort.target_effect"
            faults.append(Fault("cohort.target_effect", found, accepted, action))
        if not faults and self.planted == "site" and self.n_sites < 2:
            action = "change cohort.n_sites"
            faults.append(Fault("cohort.n_sites", "1", "2 or more where sites matter", action))
        if faults:
            raise CohortError(faults)

    @property
    def plan(self) -> OutcomePlan:
        """What outcomes are drawn from."""
        shared = {
            f.name: getattr(self, f.name) for f in fields(OutcomePlan) if hasattr(self, f.name)
        }
        return OutcomePlan(**shared, effect=self.target_effect, n_people=self.n_subjects)
