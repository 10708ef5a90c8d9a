import json

import numpy as np
import pandas as pd
import pytest
from numpy.random import SeedSequence

from fmnet.data.template import build_grid
from fmnet.errors import CohortError
from fmnet.synthetic.outcomes import draw_people
from fmnet.synthetic.target_design import TargetDesign
from fmnet.synthetic.targets import (
    draw_patterns,
    draw_scan_maps,
    read_synthetic_target,
)

SMALL = {"n_subjects": 8, "voxel_size_mm": 12}


def draw_maps(**parameters):
    design = TargetDesign(**{"voxel_size_mm": 12} | parameters)
    grid = build_grid(12)
    people, maps = SeedSequence(1).spawn(2)
    drawn = draw_people(design.plan, np.random.default_rng(people))
    values = np.stack([one[grid.mask] for one in draw_scan_maps(design, grid, drawn, maps)])
    return grid, drawn, values


def test_maps_show_the_patterns_as_strongly_as_drawn():
    grid, drawn, values = draw_maps(n_subjects=60, pattern_size=2.0, site_shift=0.0)
    patterns = np.stack([one[grid.mask] for one in draw_patterns(grid).values()])
    found = np.linalg.lstsq(patterns.T, (values - values.mean(axis=0)).T, rcond=None)[0] / 2
    for own, expression in zip(found, drawn.expression.T, strict=True):
        assert np.corrcoef(own, expression)[0, 1] > 0.7
    assert np.polyfit(drawn.expression[:, 0], found[0], 1)[0] == pytest.approx(1, abs=0.25)


def test_backgrounds_of_sessions_have_the_icc_asked_for():
    _, _, values = draw_maps(
        kind="sessions", n_subjects=30, icc=0.7, pattern_size=0.0, site_shift=0.0
    )
    one, two = values[::2] - values.mean(axis=0), values[1::2] - values.mean(axis=0)
    assert (one * two).mean() / values.var(axis=0).mean() == pytest.approx(0.7, abs=0.08)
    assert abs((one[1:] * two[:-1]).mean() / values.var(axis=0).mean()) < 0.1


def test_a_folder_says_what_its_columns_mean_and_what_there_is_to_find(tmp_path):
    listing = read_synthetic_target(tmp_path, "response", "moderator", **SMALL)
    assert not listing.faults
    assert (listing.origin, len(listing.scans)) == ("synthetic", 8)
    (folder,) = tmp_path.iterdir()
    described = json.loads((folder / "participants.json").read_text())
    assert set(described) == set(listing.participants.columns) - {"participant_id"}
    assert described["outcome"]["Units"] == "points"
    truth = json.loads((folder / "truth/truth.json").read_text())
    assert (truth["is_effect"], truth["correlation_control"]) == (True, 0)
    shown = pd.read_csv(folder / "truth/expression.tsv", sep="\t")
    assert shown["participant_id"].tolist() == [scan.participant_id for scan in listing.scans]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    read_synthetic_target(tmp_path, "response", "moderator", **SMALL)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_sessions_are_in_tables_of_their_own(tmp_path):
    listing = read_synthetic_target(tmp_path, "sessions", n_sessions=3, **SMALL)
    assert [scan.scan_id for scan in listing.scans][:2] == [
        "sub-synthetic001_ses-1_task-pain",
        "sub-synthetic001_ses-2_task-pain",
    ]
    assert listing.of_scans is not None
    assert listing.of_scans["fiqr"].map(float).between(0, 100).all()
    assert "fiqr" not in listing.participants
    assert len(list(tmp_path.glob("*/sessions.json"))) == 1


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"kind": "pain"}, "cohort.kind: found 'pain'; accepted: classes, severity"),
        ({"kind": "response"}, "'effect'; accepted: moderator, prognostic, site.* for response"),
        ({"target_effect": 1.2}, "a correlation from 0 to 0.95 for severity"),
        ({"planted": "site", "n_sites": 1}, "2 or more where sites matter"),
        ({"icc": 1.5, "n_groups": 5}, r"(?s)2 faults.*n_groups.*icc"),
    ],
)
def test_names_what_is_out_of_range(parameters, said):
    with pytest.raises(CohortError, match=said):
        TargetDesign(**parameters)
