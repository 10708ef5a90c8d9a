from dataclasses import replace

import numpy as np
import pytest

from benchmarks.power.summary import ORACLE
from benchmarks.signature.candidates import list_candidates
from benchmarks.signature.maps import DifferenceMaps
from benchmarks.signature.noise import (
    Spread,
    center_groups,
    contrast_of,
    product_with_itself,
    weigh_difference,
)
from benchmarks.signature.oracle_field import expect_field, smoothness_of
from benchmarks.signature.oracle_maps import OracleMaps
from benchmarks.signature.oracle_regions import pick_regions, sample_regions
from benchmarks.signature.truth import read_truth, score_map
from fmnet.synthetic.effects import draw_fields

MEAN_REGIMES = ["aligned", "shifted", "varied", "cortical_sheets"]


def precision(planted, regime, values):
    return score_map(values, read_truth(regime, planted, 15.0))["average_precision"]


@pytest.mark.parametrize("regime", MEAN_REGIMES)
def test_finds_regions_better_than_the_difference_of_groups(plant, regime):
    planted = plant(regime, scale=2.0)
    maps = OracleMaps(regime, 15.0, 8.0).make(planted)
    assert set(maps) == {ORACLE, "matched_filter"}
    t = precision(planted, regime, DifferenceMaps().make(planted)["t"])
    assert precision(planted, regime, maps[ORACLE]) > t


@pytest.mark.parametrize("regime", ["interaction", "two_contrasts"])
def test_finds_what_no_mean_shows(plant, regime):
    planted = plant(regime, scale=3.0)
    found = OracleMaps(regime, 15.0, 8.0).make(planted)[ORACLE]
    assert found.shape == planted.values.shape[1:]
    assert precision(planted, regime, found) > 0.5


def test_knows_nothing_where_nothing_is(plant):
    """What was planted is taken out again: where it was is then as good as any place."""
    found, by_chance = [], []
    for number in range(4):
        planted = plant("aligned", number, scale=1.0)
        plain = replace(planted, values=planted.background)
        maps = OracleMaps("aligned", 15.0, 8.0).make(plain)
        found.append(precision(planted, "aligned", maps[ORACLE]))
        by_chance.append(read_truth("aligned", planted, 15.0).mask.mean())
    assert np.mean(found) < 2 * np.mean(by_chance)


def test_field_is_expected_where_it_lies(plant, rng):
    planted = plant("widespread", scale=10.0)
    truth = read_truth("widespread", planted, 15.0)
    expected = score_map(expect_field(planted, rng)[None], truth)["correlation"]
    assert expected > 0.8
    assert expected > score_map(DifferenceMaps().make(planted)["t"], truth)["correlation"] - 0.05


def test_smoothness_is_that_of_a_field(made, rng):
    for width in (30.0, 45.0):
        fields = draw_fields(rng, made.grid, 8, width)
        found = np.mean([smoothness_of(one, made.grid) for one in fields])
        assert found == pytest.approx(width, rel=0.15)


def test_products_are_about_the_covariance(rng):
    """Beside the inverse of the whole covariance matrix."""
    axes = np.linalg.qr(rng.normal(size=(6, 2)))[0].T.astype(np.float32)
    weight, variance = np.arange(1, 7, dtype=np.float32), np.array([9.0, 4.0])
    spread = Spread(weight, axes, (1 - 0.5 / variance).astype(np.float32), 0.5)
    inverse = np.linalg.inv(axes.T * (variance - 0.5) @ axes + 0.5 * np.eye(6))
    rows = rng.normal(size=(3, 6)).astype(np.float32)
    found = product_with_itself(*spread.whitened(rows))
    expected = np.diag(rows * weight @ inverse @ (rows * weight).T)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_difference_of_backgrounds_is_not_known(made, plant):
    planted = plant("aligned")
    background, labels = planted.background[:, 0], planted.labels
    centred = center_groups(background, labels)
    assert np.abs(contrast_of(labels) @ centred).max() < 1e-3
    assert np.abs(contrast_of(labels) @ background).max() > 0.1


def test_fit_to_noise_is_as_large_as_it_is_taken_for(plant, rng):
    """Without an effect, and with other labels than those that the noise was calibrated by."""
    planted = plant("aligned", scale=1.0)
    plain = replace(planted, values=planted.background)
    shapes = list_candidates("aligned", planted.grid, 15.0, 8.0).shapes
    sizes = []
    for _ in range(6):
        own = replace(plain, labels=rng.permutation(plain.labels))
        evidence = weigh_difference(own, shapes, rng)
        sizes.append((evidence.fit**2 / evidence.size).mean())
    assert 0.4 < np.mean(sizes) < 2.0


def test_samples_add_up_to_the_number_of_regions(plant, rng):
    planted = plant("aligned")
    candidates = list_candidates("aligned", planted.grid, 15.0, 8.0)
    evidence = weigh_difference(planted, candidates.shapes, rng)
    assert sample_regions(evidence, candidates, rng).sum() == pytest.approx(candidates.count)


def test_picked_regions_are_one_for_each_place(made):
    candidates = list_candidates("aligned", made.grid, 15.0, 8.0)
    log_odds = np.full(len(candidates.middles), -50.0)
    first = 4
    far = int(np.flatnonzero(candidates.far_from(candidates.middles[[first]]))[0])
    log_odds[[first, far]] = [90.0, 30.0]
    found = pick_regions(log_odds, candidates)
    assert found[[first, far]] == pytest.approx([1.0, 1.0])
    assert found.sum() == pytest.approx(2.0, abs=1e-6)
