from functools import partial

import numpy as np
import pandas as pd
import pytest

from benchmarks.coverage import Coverage, draw_maps
from fmnet.inference.preparation import PreparationSettings
from fmnet.networks.closed_form import build_scale_space


@pytest.fixture
def suite():
    network = partial(build_scale_space, voxel_size_mm=12, bands_mm=[(12, 32)], paths=["focal"])
    return Coverage(
        build_network=network,
        preparation=PreparationSettings(voxel_size_mm=12),
        groups=[[11, 13]],
        effect_sizes=[2.0],
        n_cohorts=2,
        n_new=15,
        levels=[0.7],
    )


def test_maps_differ_by_what_is_planted():
    one, other = (
        draw_maps(12, np.array([1, 0, 1]), size, np.random.SeedSequence(1)) for size in (0.0, 3.0)
    )
    np.testing.assert_array_equal(one.values[1], other.values[1])
    assert np.abs(one.values[2] - other.values[2]).max() > 0.5


def test_cohorts_are_scored_once_and_tabulated(suite, tmp_path):
    lines = suite.run(tmp_path)
    assert "cohorts below 70 % of the positive group, 11/13 people, effect 2" in lines[-4]
    kept = sorted(tmp_path.glob("scores-*/*.json"))
    assert [path.name for path in kept] == ["11-13-2.0-0.json", "11-13-2.0-1.json"]
    sets = pd.read_csv(tmp_path / "sets.tsv", sep="\t")
    own = sets[sets["rule"] == "fmnet"]
    assert own["n_cohorts"].tolist() == [2, 2]
    assert own["auc"].min() > 0.6
    times = [path.stat().st_mtime_ns for path in kept]
    suite.run(tmp_path)
    assert [path.stat().st_mtime_ns for path in kept] == times
