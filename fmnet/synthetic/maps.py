"""Synthetic cohorts of contrast maps with a planted effect; nobody was scanned."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import SeedSequence
from numpy.typing import NDArray

from fmnet.data.bids import read_bids
from fmnet.data.grid import Grid
from fmnet.data.listing import Listing, OnFault
from fmnet.data.nifti import write_volume
from fmnet.data.tables import write_table
from fmnet.data.template import build_grid
from fmnet.data.volume import FloatArray, Volume
from fmnet.synthetic.cohort_folder import SPACE, provide_cohort
from fmnet.synthetic.design import Design, draw_participants, motion_in_sd
from fmnet.synthetic.effects import (
    FWHM_PER_SD,
    Effect,
    Point,
    Region,
    both_sides,
    depth_in_mm,
    draw_field,
    sum_blobs,
)

#: Width of a planted blob.
BLOB_FWHM_MM = 14.0
#: The planted effect in the second and later contrasts, relative to the first.
LATER_EFFECT = 0.7
#: How much smoother the coarse half of a background is than the fine half.
COARSER = 3
#: Correlation of the backgrounds of one subject's contrasts.
SHARED_BACKGROUND = 0.5


def _both(name: str, centre_mm: Point, direction: int) -> tuple[Region, Region]:
    left, right = both_sides(centre_mm)
    return Region(name, "left", left, direction), Region(name, "right", right, direction)


#: Where FM differs. The choice of regions was prompted by López-Solà et al., Pain 158 (2017) 34-47;
#: it simplifies their findings, and the coordinates are centres of regions, not that paper's peaks.
REGIONS = (
    *_both("insula_operculum", (40, 6, 0), 1),
    *_both("secondary_somatosensory", (56, -24, 22), 1),
    Region("medial_prefrontal", "midline", (0, 52, 8), 1),
    Region("posterior_cingulate", "midline", (0, -50, 28), 1),
    *_both("dorsolateral_prefrontal", (40, 32, 32), -1),
)

#: What painful pressure does in everybody, in the same SDs: centre in mm and height.
ACTIVATION: tuple[tuple[Point, float], ...] = (
    ((-40, 6, 2), 1.5),
    ((40, 6, 2), 1.5),
    ((-56, -24, 22), 1.2),
    ((56, -24, 22), 1.2),
    ((0, 14, 36), 1.5),
    ((0, -16, 6), 1.0),
    ((-40, -26, 54), 1.2),
    ((24, -56, -26), 1.0),
    ((0, 48, -6), -1.0),
    ((0, -58, 36), -1.2),
    ((-46, -66, 34), -1.0),
    ((46, -66, 34), -1.0),
)
ACTIVATION_FWHM_MM = 26.0

README = """SYNTHETIC DATA: made by fmnet's random number generator; nobody was scanned.

For trying out and testing fmnet. Group FM carries a planted effect (unless effect_size is 0), so
that it is known what a method ought to find. Nothing here says anything about fibromyalgia.

sub-*/func/  contrast maps, in SDs of the background between subjects; 0 where there are no data
truth/       the planted difference of the group means (FM minus HC), and its regions

dataset_description.json holds the parameters; the same parameters give the same data.
"""


def read_synthetic(
    root: str | Path,
    n_subjects: int = 40,
    effect_size: float = 2.5,
    jitter_mm: float = 0.0,
    contrasts: Sequence[str] | None = None,
    n_sites: int = 1,
    site_shift: float = 0.0,
    motion_effect: float = 0.0,
    smoothness_mm: float = 8.0,
    missing_coverage: float = 0.0,
    voxel_size_mm: int = 4,
    seed: int = 0,
    label: str | None = "group",
    on_fault: OnFault = "raise",
) -> Listing:
    """Make a synthetic cohort, or take the one made before from the same parameters, and list it.

    Parameters
    ----------
    root : str or Path
        Cohorts lie below it, each in a folder of its own, named after a hash of the parameters.
    n_subjects, effect_size, jitter_mm, contrasts, n_sites, site_shift, motion_effect, seed
        See `fmnet.synthetic.design.Design`.
    smoothness_mm, missing_coverage, voxel_size_mm
        See `fmnet.synthetic.design.Design`.
    label : str, optional
        Column of the groups; None where a target is predicted.
    on_fault : {"raise", "exclude"}
        What opening the listing will do about subjects with faults; there are none.

    Raises
    ------
    CohortError
        If parameters are out of range, all of them in one report, or the folder can't be written.
    """
    design = Design.given(
        n_subjects=n_subjects,
        effect_size=effect_size,
        jitter_mm=jitter_mm,
        contrasts=contrasts,
        n_sites=n_sites,
        site_shift=site_shift,
        motion_effect=motion_effect,
        smoothness_mm=smoothness_mm,
        missing_coverage=missing_coverage,
        voxel_size_mm=voxel_size_mm,
        seed=seed,
    )
    folder = _provide(Path(root) / f"synthetic-{design.digest[:16]}", design)
    return read_bids(folder, list(design.contrasts), label=label, on_fault=on_fault)


def write_cohort(root: str | Path, **parameters: Any) -> Path:
    """Write a synthetic cohort as a BIDS-derivatives tree, and return its folder.

    Parameters
    ----------
    root : str or Path
        The folder to make; may be empty, or hold the same cohort, which is then left as it is.
    **parameters
        See `fmnet.synthetic.design.Design`; those left out or None keep their default.

    Raises
    ------
    CohortError
        If parameters are out of range, or the folder holds anything else or can't be written.
    """
    return _provide(Path(root), Design.given(**parameters))


def _provide(root: Path, design: Design) -> Path:
    def files_of(participant_id: str) -> list[str]:
        stem = f"{participant_id}/func/{participant_id}_task-pain_space-{SPACE}"
        return [f"{stem}_contrast-{name}_stat-z_statmap.nii.gz" for name in design.contrasts]

    def write(folder: Path) -> pd.DataFrame:
        grid = build_grid(design.voxel_size_mm)
        table_seed, map_seed = SeedSequence(design.seed).spawn(2)
        participants = draw_participants(design, table_seed)
        subject_maps = draw_maps(design, grid, participants, map_seed)
        for subject, maps in zip(participants["participant_id"], subject_maps, strict=True):
            for name, values in zip(files_of(subject), maps, strict=True):
                write_map(folder / name, values, grid)
        for name, values in zip(design.contrasts, expected_difference(design, grid), strict=True):
            write_map(folder / f"truth/contrast-{name}_desc-truth_statmap.nii.gz", values, grid)
        write_table(regions_table(), folder / "truth/regions.tsv")
        return participants

    words = "Synthetic data; nobody was scanned."
    return provide_cohort(root, design, words, README, files_of, write)


def write_map(path: Path, values: FloatArray, grid: Grid) -> None:
    """Write a map, (X, Y, Z), and the folders that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(Volume(values[None], grid.affine, SPACE, str(path)), path)


def draw_maps(
    design: Design, grid: Grid, participants: pd.DataFrame, seed: SeedSequence
) -> Iterator[FloatArray]:
    """Draw the maps of every subject in the table, in its order.

    Read are ``group``, ``site`` and ``mean_framewise_displacement`` (mm) of each. A subject's
    background depends on nothing but the seed, the grid, the smoothness and the subject's row.

    Yields
    ------
    ndarray of float32, shape (C, X, Y, Z)
        One map per contrast in SDs of the between-subject background; 0 where there are no data.
    """
    coverage_seed, site_seed, subject_seed = seed.spawn(3)
    coarse_mm = COARSER * design.smoothness_mm
    offsets = {
        f"site-{k + 1}": design.site_shift
        * draw_field(np.random.default_rng(child), grid, coarse_mm)
        for k, child in enumerate(site_seed.spawn(design.n_sites))
    }
    common = sum_blobs(grid, ACTIVATION, ACTIVATION_FWHM_MM / FWHM_PER_SD)
    # where motion shows: 1 in the outermost voxels of the mask, falling off over 8 mm
    rim = np.exp(-(depth_in_mm(grid) - min(grid.voxel_size_mm)) / 8).astype(np.float32)
    missing = _draw_missing(design, grid, coverage_seed)
    for k, child in enumerate(subject_seed.spawn(len(participants))):
        shift_seed, background_seed = child.spawn(2)
        subject = participants.iloc[k]
        maps = (
            common
            + offsets[subject["site"]]
            + draw_background(grid, design.smoothness_mm, len(design.contrasts), background_seed)
        )
        z = motion_in_sd(subject["mean_framewise_displacement"])
        maps += float(design.motion_effect * z) * rim
        if subject["group"] == "FM":
            shift_mm = design.jitter_mm * np.random.default_rng(shift_seed).standard_normal(3)
            maps = _planted(design, grid, shift_mm).plant(maps[None], [True])[0]
        yield np.where(grid.mask & ~missing[k], maps, np.float32(0))


def expected_difference(design: Design, grid: Grid) -> FloatArray:
    """Work out the planted difference of the group means, FM minus HC.

    Displacement from subject to subject makes it wider and lower. Motion is not part of it.

    Returns
    -------
    ndarray of float32, shape (C, X, Y, Z)
        In SDs of the between-subject background; 0 outside the mask.
    """
    difference = _planted(design, grid, jitter_mm=design.jitter_mm).sized[0]
    return np.where(grid.mask, difference, np.float32(0))


def _planted(
    design: Design, grid: Grid, shift_mm: NDArray[np.float64] | float = 0.0, jitter_mm: float = 0.0
) -> Effect:
    """Build the effect in the maps of patients, (1, C, X, Y, Z), of which each may be displaced."""
    later = np.arange(len(design.contrasts)) > 0
    size = (design.effect_size * LATER_EFFECT**later).astype(np.float32)
    pattern = effect_pattern(grid, shift_mm, jitter_mm)
    return Effect(pattern[None, None], size[:, None, None, None])


def effect_pattern(
    grid: Grid, shift_mm: NDArray[np.float64] | float = 0.0, jitter_mm: float = 0.0
) -> FloatArray:
    """Add up the blobs of `REGIONS`, each of height 1 or -1: (X, Y, Z).

    All are moved by `shift_mm`, (3,); the mean is taken over random displacements of SD `jitter_mm`
    per axis.
    """
    sd_mm = math.hypot(BLOB_FWHM_MM / FWHM_PER_SD, jitter_mm)
    height = (BLOB_FWHM_MM / FWHM_PER_SD / sd_mm) ** 3
    return sum_blobs(
        grid, [(np.array(r.centre_mm) + shift_mm, r.direction * height) for r in REGIONS], sd_mm
    )


def regions_table() -> pd.DataFrame:
    """Tabulate `REGIONS`: ``region, hemisphere, x_mm, y_mm, z_mm, direction``."""
    rows = [
        (r.name, r.hemisphere, *r.centre_mm, "up" if r.direction > 0 else "down") for r in REGIONS
    ]
    return pd.DataFrame(rows, columns=["region", "hemisphere", "x_mm", "y_mm", "z_mm", "direction"])


def draw_background(
    grid: Grid, smoothness_mm: float, n_contrasts: int, seed: SeedSequence
) -> FloatArray:
    """Draw one subject's background of SD 1, half its variance fine, half coarse: (C, X, Y, Z)."""
    fields: list[FloatArray] = []
    for child in seed.spawn(1 + n_contrasts):
        fine, coarse = (np.random.default_rng(each) for each in child.spawn(2))
        both = draw_field(fine, grid, smoothness_mm)
        both = both + draw_field(coarse, grid, COARSER * smoothness_mm)
        fields.append(math.sqrt(0.5) * both)
    shared, *own = fields
    return math.sqrt(SHARED_BACKGROUND) * shared + math.sqrt(1 - SHARED_BACKGROUND) * np.stack(own)


def _draw_missing(design: Design, grid: Grid, seed: SeedSequence) -> NDArray[np.bool_]:
    """Mark the slices that each subject's maps lack, below or above: (N, 1, 1, Z)."""
    rng = np.random.default_rng(seed)
    n, n_slices = design.n_subjects, grid.shape[2]
    lacking = rng.permutation(n) < round(design.missing_coverage * n)
    thickness = np.maximum(np.rint(rng.uniform(0.10, 0.25, n) * n_slices), 1)
    is_below = rng.random(n) < 0.5
    height = np.arange(n_slices)
    from_end = np.where(is_below[:, None], height, height[::-1])
    return (lacking[:, None] & (from_end < thickness[:, None]))[:, None, None, :]
