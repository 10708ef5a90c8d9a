"""Synthetic cohorts for targets other than two groups, with what is to be found beside them."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import SeedSequence

from fmnet.data.bids import read_bids
from fmnet.data.grid import Grid
from fmnet.data.listing import NO_LABELS, Listing, OnFault
from fmnet.data.scans import Scan
from fmnet.data.tables import write_table
from fmnet.data.template import build_grid
from fmnet.data.volume import FloatArray
from fmnet.synthetic.cohort_folder import SPACE, provide_cohort, write_json
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
from fmnet.synthetic.outcomes import PATTERNS, DrawnPeople, Kind, Planted, draw_people
from fmnet.synthetic.target_design import DESCRIBED, README, TargetDesign

CONTRAST = "pressure"
#: Centres in mm of what one pain alone shows, besides what all share.
OWN_PLACES = {
    "fm": (*both_sides((22, -4, -18)), *both_sides((24, -64, 46)), (0, 30, 34)),
    "oa": (*both_sides((12, -18, 6)), *both_sides((10, -38, 66)), *both_sides((48, -60, 8))),
    "pp": (*both_sides((26, -62, -30)), (0, -4, 62), *both_sides((30, 44, -8))),
}


def read_synthetic_target(
    root: str | Path,
    kind: Kind,
    planted: Planted = "effect",
    n_subjects: int = 80,
    target_effect: float = 0.7,
    pattern_size: float = 2.0,
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
        See `TargetDesign`.
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
    folder = _provide(Path(root) / f"{kind}-{design.digest[:16]}", design)
    return read_bids(folder, [CONTRAST], label=label, on_fault=on_fault)


def write_target_cohort(root: str | Path, **parameters: Any) -> Path:
    """Write a cohort for a target as a BIDS-derivatives tree, and return its folder.

    Parameters
    ----------
    root : str or Path
        The folder to make; may be empty, or hold the same cohort, which is then left as it is.
    **parameters
        See `TargetDesign`; those left out or None keep their default.

    Raises
    ------
    CohortError
        If parameters are out of range, or the folder holds anything else or can't be written.
    """
    return _provide(Path(root), TargetDesign.given(**parameters))


def list_drawn(drawn: DrawnPeople) -> Listing:
    """List people who were drawn, without files, so that a target can read their outcomes."""

    def as_text(table: pd.DataFrame) -> pd.DataFrame:
        return table.map(lambda cell: "" if pd.isna(cell) else str(cell))

    scans, table = [], as_text(drawn.scans)
    for subject, session in zip(table["participant_id"], table["session"], strict=True):
        name = f"{subject}_ses-{session}" if session else str(subject)
        scans.append(Scan(name, str(subject), (), SPACE))
    of_scans = table.drop(columns=["participant_id", "session"])
    of_scans = of_scans.assign(scan_id=[scan.scan_id for scan in scans])
    held = (as_text(drawn.people), NO_LABELS)
    return Listing(tuple(scans), (CONTRAST,), "z", *held, origin="synthetic", of_scans=of_scans)


def _provide(root: Path, design: TargetDesign) -> Path:
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
