import numpy as np
import pandas as pd
import pytest

from benchmarks.power.regions import Brain
from benchmarks.signature.maps import LinearMaps, t_map
from benchmarks.signature.truth import TOP, TruthPart, read_truth, score_map
from fmnet.baselines.linear import ShrinkageLda


def test_mask_is_where_regions_are(plant):
    planted = plant("aligned")
    truth = read_truth("aligned", planted, 15.0)
    changed = (planted.values != planted.background).any(axis=0)
    np.testing.assert_array_equal(truth.mask, changed)
    np.testing.assert_array_equal(truth.difference != 0, changed)


def test_shifted_regions_count_where_they_would_be_without_a_shift(plant):
    planted = plant("shifted")
    truth = read_truth("shifted", planted, 15.0)
    balls = Brain(planted.grid).balls(planted.effect.centres, 15.0)
    np.testing.assert_array_equal(truth.mask, balls.any(axis=0)[None])


@pytest.mark.parametrize(("regime", "n_contrasts"), [("interaction", 1), ("two_contrasts", 2)])
def test_interactions_move_no_mean(plant, regime, n_contrasts):
    truth = read_truth(regime, plant(regime), 15.0)
    assert truth.mask.shape[0] == n_contrasts
    assert truth.mask.any(axis=1).all()
    assert not truth.difference.any()


def test_of_what_is_everywhere_the_largest_part_counts(plant):
    truth = read_truth("widespread", plant("widespread"), 15.0)
    assert truth.mask.mean() == pytest.approx(TOP, abs=0.01)
    size = np.abs(truth.difference)
    assert size[truth.mask].min() >= size[~truth.mask].max()


def test_the_truth_itself_has_the_best_figures(plant, rng):
    truth = read_truth("aligned", plant("aligned"), 15.0)
    best = score_map(truth.difference, truth)
    assert best == pytest.approx({"average_precision": 1.0, "correlation": 1.0})
    sizes = score_map(np.abs(truth.difference), truth)
    assert np.isnan(sizes["correlation"])
    noise = rng.normal(size=truth.difference.shape)
    assert score_map(noise, truth)["average_precision"] < 0.3


def test_t_map_is_that_of_scipy(rng):
    from scipy.stats import ttest_ind

    values, labels = rng.normal(size=(11, 2, 5)).astype(np.float32), np.arange(11) % 2
    values[:, 1, 3] = 0
    found = t_map(values, labels)
    expected = ttest_ind(values[labels == 1], values[labels == 0]).statistic
    expected[1, 3] = 0
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_maps_of_a_linear_model_find_a_strong_effect(plant):
    planted = plant("aligned", scale=6.0)
    maps = LinearMaps(ShrinkageLda(fwhm_mm=(0.0,), fraction=(0.1,)), 3).make(planted)
    truth = read_truth("aligned", planted, 15.0)
    assert {one.shape for one in maps.values()} == {truth.mask.shape}
    found = {kind: score_map(values, truth) for kind, values in maps.items()}
    assert found["standard_pattern"]["correlation"] > 0.5
    assert found["standard_weights"]["average_precision"] > 3 * truth.mask.mean()


def test_summary_compares_with_the_oracle():
    rows = pd.DataFrame(
        [
            {"regime": "aligned", "draw": draw, "maker": maker, "map": kind}
            | {"average_precision": value + draw / 10, "correlation": 0.5}
            for draw in (0, 1)
            for maker, kind, value in [("oracle", "oracle", 0.8), ("network", "z", 0.4)]
        ]
    )
    part = TruthPart(drawn="z", wanted=0.9)
    tables = part.summarise(rows)
    table = tables["truth"].set_index("map")
    assert table.loc["z", "of_oracle"] == pytest.approx(0.45 / 0.85)
    assert table.loc["z", "average_precision"] == pytest.approx(0.45)
    (goal,) = part.goals(tables)
    assert not goal.is_reached
