"""Synthetic cohorts: a BIDS-derivatives tree with a planted effect; nobody was scanned."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fmnet.data.bids import SYNTHETIC_MARK, read_bids
from fmnet.data.grid import Grid
from fmnet.data.listing import Listing, OnFault
from fmnet.data.nifti import write_volume
from fmnet.data.tables import write_table
from fmnet.data.template import build_grid
from fmnet.data.volume import FloatArray, Volume
from fmnet.synthetic.maps import draw_maps, expected_difference, regions_table
from fmnet.synthetic.maps_design import SYNTHETIC_FORMAT, Design, draw_people
from fmnet.synthetic.whole_folder import provide_folder

#: The template that nilearn carries.
SPACE = "MNI152NLin2009aSym"
#: Written last: a folder without it is not a cohort.
DESCRIPTION = "dataset_description.json"

README = """SYNTHETIC DATA: made by fmnet's random number generator; nobody was scanned.

For trying out and testing fmnet. Group FM carries a planted effect (unless effect_size is 0), so
that it is known what a method ought to find. Nothing here says anything about fibromyalgia.

sub-*/func/  contrast maps, in SDs of the background between persons; 0 where there are no data
truth/       the planted difference of the group means (FM minus HC), and its regions

dataset_description.json holds the knobs; the same knobs give the same data.
"""

COLUMNS: dict[str, dict[str, Any]] = {
    "group": {
        "Description": "SYNTHETIC group",
        "Levels": {"FM": "fibromyalgia", "HC": "healthy control"},
    },
    "age": {"Description": "age, matched between the groups", "Units": "years"},
    "sex": {"Description": "sex, matched", "Levels": {"F": "female", "M": "male"}},
    "site": {"Description": "scanner site"},
    "pain_score": {"Description": "clinical pain, from 0 (none) to 100 (worst imaginable)"},
    "mean_framewise_displacement": {"Description": "head motion", "Units": "mm"},
}


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
    on_fault: OnFault = "raise",
) -> Listing:
    """Make a synthetic cohort, or take the one made before from the same knobs, and list it.

    Parameters
    ----------
    root : str or Path
        Cohorts lie below it, each in a folder of its own, named after a hash of the knobs.
    n_subjects, effect_size, jitter_mm, n_sites, site_shift, motion_effect
        See `fmnet.synthetic.maps_design.Design`.
    smoothness_mm, missing_coverage, voxel_size_mm, seed
        See there too.
    contrasts : sequence of str, optional
        Names of the channels, in this order; ``[pressure]`` if left out.
    on_fault : {"raise", "exclude"}
        What opening the listing will do about people with faults; there are none.

    Raises
    ------
    CohortError
        If knobs are out of range, all of them in one report, or the folder can't be written.
    """
    design = _build_design(
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
    return read_bids(folder, list(design.contrasts), on_fault=on_fault)


def write_cohort(root: str | Path, **knobs: Any) -> Path:
    """Write a synthetic cohort as a BIDS-derivatives tree.

    Parameters
    ----------
    root : str or Path
        The folder to make; may be empty, or hold the same cohort, which is then left as it is.
    **knobs
        See `fmnet.synthetic.maps_design.Design`; those left out or None keep their default.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    CohortError
        If knobs are out of range, or the folder holds anything else or can't be written.
    """
    return _provide(Path(root), _build_design(**knobs))


def _build_design(**knobs: Any) -> Design:
    return Design(**{name: value for name, value in knobs.items() if value is not None})


def _provide(root: Path, design: Design) -> Path:
    return provide_folder(
        root, lambda folder: _write_tree(folder, design), lambda folder: _is_same(folder, design)
    )


def _is_same(root: Path, design: Design) -> bool:
    """Tell whether the folder holds this very cohort, finished and complete."""
    try:
        stated = json.loads((root / DESCRIPTION).read_text(encoding="utf-8"))
        table = pd.read_csv(root / "participants.tsv", sep="\t", dtype=str)
    except (OSError, ValueError):
        return False
    ids = [str(person) for person in table.get("participant_id", ())]
    maps = [root / _map_name(person, name) for person in ids for name in design.contrasts]
    complete = len(ids) == design.n_subjects and all(path.is_file() for path in maps)
    return bool(stated == _description(design)) and complete


def _write_tree(folder: Path, design: Design) -> None:
    grid = build_grid(design.voxel_size_mm)
    people_seed, map_seed = np.random.SeedSequence(design.seed).spawn(2)
    people = draw_people(design, people_seed)
    people_maps = draw_maps(design, grid, people, map_seed)
    for person, maps in zip(people["participant_id"], people_maps, strict=True):
        for name, values in zip(design.contrasts, maps, strict=True):
            _write_map(folder / _map_name(person, name), values, grid)
    for name, values in zip(design.contrasts, expected_difference(design, grid), strict=True):
        _write_map(folder / f"truth/contrast-{name}_desc-truth_statmap.nii.gz", values, grid)
    write_table(regions_table(), folder / "truth/regions.tsv")
    write_table(people, folder / "participants.tsv")
    _write_json(COLUMNS, folder / "participants.json")
    (folder / "README").write_text(README, encoding="utf-8")
    _write_json(_description(design), folder / DESCRIPTION)


def _write_map(path: Path, values: FloatArray, grid: Grid) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(Volume(values[None], grid.affine, SPACE, str(path)), path)


def _map_name(participant_id: str, contrast: str) -> str:
    name = f"{participant_id}_task-pain_space-{SPACE}_contrast-{contrast}_stat-z_statmap.nii.gz"
    return f"{participant_id}/func/{name}"


def _description(design: Design) -> dict[str, Any]:
    return {
        "Name": SYNTHETIC_MARK,
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": "fmnet",
                "Description": "Synthetic data; nobody was scanned.",
                "Format": SYNTHETIC_FORMAT,
                "Knobs": design.knobs,
            }
        ],
    }


def _write_json(content: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
