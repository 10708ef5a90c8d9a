"""Synthetic cohorts for targets other than two groups, with what is to be found beside them."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
import pandas as pd
from numpy.random import SeedSequence

from fmnet.data.bids import read_bids
from fmnet.data.grid import Grid
from fmnet.data.listing import Listing, OnFault
from fmnet.data.tables import write_table
from fmnet.data.template import build_grid
from fmnet.data.volume import FloatArray
from fmnet.errors import CohortError, Fault
from fmnet.synthetic.cohort_folder import COLUMNS, SPACE, provide_cohort, write_json
from fmnet.synthetic.design import MAP_RULES, Parameters, Rule
from fmnet.synthetic.effects import FWHM_PER_SD, both_sides, draw_field, sum_blobs
from fmnet.synthetic.maps import (
    ACTIVATION,
    ACTIVATION_FWHM_MM,
    BLOB_FWHM_MM,
    COARSER,
    draw_background,
    effect_pattern,
    write_map,
)
from fmnet.synthetic.outcomes import (
    LEVELS,
    PATTERNS,
    DrawnPeople,
    Kind,
    OutcomePlan,
    Planted,
    draw_people,
)

#: Part of every folder's name: raise it when the same parameters would give other data.
TARGET_FORMAT = 1
CONTRAST = "pressure"
#: Centres in mm of what one pain alone shows, besides what all share.
OWN_PLACES = {
    "fm": (*both_sides((22, -4, -18)), *both_sides((24, -64, 46)), (0, 30, 34)),
    "oa": (*both_sides((12, -18, 6)), *both_sides((10, -38, 66)), *both_sides((48, -60, 8))),
    "pp": (*both_sides((26, -62, -30)), (0, -4, 62), *both_sides((30, 44, -8))),
}
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
    kind, planted, target_effect, n_sites, n_groups, shared, missing, n_sessions, icc
        See `fmnet.synthetic.outcomes.OutcomePlan`, where ``target_effect`` is called ``effect``.
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
    target_effect: float = 0.6
    pattern_size: float = 1.0
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


def read_synthetic_target(
    root: str | Path,
    kind: Kind,
    planted: Planted = "effect",
    n_subjects: int = 80,
    target_effect: float = 0.6,
    pattern_size: float = 1.0,
    n_sites: int = 2,
    site_shift: float = 0.5,
    n_groups: int = 4,
    shared: float = 0.5,
    missing: float = 0.3,
    n_sessions: int = 2,
    icc: float = 0.6,
    smoothness_mm: float = 8.0,
    voxel_size_mm: int = 4,
    seed: int = 0,
    label: str | None = None,
    on_fault: OnFault = "raise",
) -> Listing:
    """Make a synthetic cohort for a target, or take the one made before, and list it.

    Parameters
    ----------
    root : str or Path
        Cohorts lie below it, each in a folder of its own, named after a hash of the parameters.
    kind, planted, n_subjects, target_effect, pattern_size, n_sites, site_shift
        See `TargetDesign`.
    n_groups, shared, missing, n_sessions, icc, smoothness_mm, voxel_size_mm, seed
        See there too.
    label : str, optional
        Column of two groups, where they are told apart instead of a target.
    on_fault : {"raise", "exclude"}
        What opening the listing will do about subjects with faults; there are none.

    Raises
    ------
    CohortError
        If parameters are out of range, all of them in one report, or the folder can't be written.
    """
    design = TargetDesign(
        kind=kind,
        planted=planted,
        n_subjects=n_subjects,
        target_effect=target_effect,
        pattern_size=pattern_size,
        n_sites=n_sites,
        site_shift=site_shift,
        n_groups=n_groups,
        shared=shared,
        missing=missing,
        n_sessions=n_sessions,
        icc=icc,
        smoothness_mm=smoothness_mm,
        voxel_size_mm=voxel_size_mm,
        seed=seed,
    )
    folder = write_target_cohort(Path(root) / f"{kind}-{design.digest[:16]}", design)
    return read_bids(folder, [CONTRAST], label=label, on_fault=on_fault)


def write_target_cohort(root: Path, design: TargetDesign) -> Path:
    """Write the cohort as a BIDS-derivatives tree, or leave it if it is there; its folder."""

    def file_of(participant_id: str, session: str) -> str:
        folder, stem = (participant_id, participant_id)
        if session:
            folder, stem = f"{participant_id}/ses-{session}", f"{participant_id}_ses-{session}"
        name = f"{stem}_task-pain_space-{SPACE}_contrast-{CONTRAST}_stat-z_statmap.nii.gz"
        return f"{folder}/func/{name}"

    def write(folder: Path) -> pd.DataFrame:
        grid = build_grid(design.voxel_size_mm)
        people_seed, map_seed = SeedSequence(design.seed).spawn(2)
        drawn = draw_people(design.plan, np.random.default_rng(people_seed))
        scans = drawn.scans
        named = zip(scans["participant_id"], scans["session"], strict=True)
        for one, values in zip(named, draw_scan_maps(design, grid, drawn, map_seed), strict=True):
            write_map(folder / file_of(*one), values, grid)
        _write_sessions(folder, scans)
        _write_truth(folder / "truth", design, grid, drawn)
        return drawn.people

    def files_of(participant_id: str) -> list[str]:
        return [file_of(participant_id, session) for session in design.plan.sessions]

    words = "Synthetic data; nobody was scanned."
    return provide_cohort(root, design, words, README, files_of, write, DESCRIBED)


def draw_scan_maps(
    design: TargetDesign, grid: Grid, drawn: DrawnPeople, seed: SeedSequence
) -> Iterator[FloatArray]:
    """Draw the map of every scan, in order: activation, background, site, and the patterns shown.

    Of several sessions, backgrounds are a person's own as far as patterns are, see ``icc``.

    Yields
    ------
    ndarray of float32, shape (X, Y, Z)
        In SDs of the between-subject background; 0 outside the mask.
    """
    site_seed, subject_seed = seed.spawn(2)
    common = sum_blobs(grid, ACTIVATION, ACTIVATION_FWHM_MM / FWHM_PER_SD)
    coarse_mm = COARSER * design.smoothness_mm
    offsets = {
        f"site-{number + 1}": design.site_shift
        * draw_field(np.random.default_rng(child), grid, coarse_mm)
        for number, child in enumerate(site_seed.spawn(design.n_sites))
    }
    patterns = design.pattern_size * np.stack(list(draw_patterns(grid).values()))
    n_sessions = len(design.plan.sessions)
    own_share = design.icc if n_sessions > 1 else 0.0
    own: FloatArray = np.zeros(grid.shape, np.float32)
    for row, child in enumerate(subject_seed.spawn(len(drawn.scans))):
        person, person_seed, scan_seed = drawn.person_of[row], *child.spawn(2)
        background = draw_background(grid, design.smoothness_mm, 1, scan_seed)[0]
        if n_sessions > 1:
            if row % n_sessions == 0:
                own = draw_background(grid, design.smoothness_mm, 1, person_seed)[0]
            background = math.sqrt(own_share) * own + math.sqrt(1 - own_share) * background
        shown = np.tensordot(drawn.expression[row].astype(np.float32), patterns, axes=1)
        values = common + offsets[str(drawn.people.at[person, "site"])] + background + shown
        yield np.where(grid.mask, values, np.float32(0)).astype(np.float32)


def draw_patterns(grid: Grid) -> dict[str, FloatArray]:
    """Draw each of `PATTERNS`, (X, Y, Z), with peaks of 1 or -1."""
    sd_mm = BLOB_FWHM_MM / FWHM_PER_SD
    own = {
        name: sum_blobs(grid, [(place, 1.0) for place in places], sd_mm)
        for name, places in OWN_PLACES.items()
    }
    return {PATTERNS[0]: effect_pattern(grid), **own}


def _write_sessions(folder: Path, scans: pd.DataFrame) -> None:
    """Write what is known of each session, if there are several."""
    if not scans["session"].iloc[0]:
        return
    for subject, rows in scans.groupby("participant_id"):
        table = rows.drop(columns="participant_id").rename(columns={"session": "session_id"})
        table["session_id"] = "ses-" + table["session_id"]
        write_table(table, folder / f"{subject}/{subject}_sessions.tsv")
    write_json({name: DESCRIBED[name] for name in scans.columns[2:]}, folder / "sessions.json")


def _write_truth(folder: Path, design: TargetDesign, grid: Grid, drawn: DrawnPeople) -> None:
    for name, pattern in draw_patterns(grid).items():
        shown = np.where(grid.mask, design.pattern_size * pattern, np.float32(0))
        write_map(folder / f"pattern-{name}_desc-truth_statmap.nii.gz", shown, grid)
    shown_by = pd.DataFrame(drawn.expression, columns=list(PATTERNS)).assign(driver=drawn.driver)
    identity = drawn.scans[["participant_id", "session"]].reset_index(drop=True)
    write_table(pd.concat([identity, shown_by], axis=1), folder / "expression.tsv")
    write_json(drawn.truth, folder / "truth.json")
