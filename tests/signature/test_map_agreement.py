import numpy as np
import pytest

from fmnet.signature import map_agreement
from fmnet.signature.map_agreement import (
    agreement_of_maps,
    compare_maps,
    correlation_matrix,
    standard_weights,
)


def test_weights_are_multiplied_by_the_spread_of_known_values(rng):
    values = rng.normal(size=(9, 2, 7)).astype(np.float32)
    values[:4, 0, 3] = np.nan
    values[:, 1, 2] = np.nan
    values[1:, 1, 5] = np.nan
    weights = rng.normal(size=(3, 2, 7))
    found = standard_weights(weights, values)
    known = np.ones((2, 7), bool)
    known[1, [2, 5]] = False
    expected = weights[:, known] * np.nanstd(values[:, known].astype(float), axis=0)
    np.testing.assert_allclose(found[:, known], expected, rtol=1e-6)
    assert (found[:, ~known] == 0).all()


def test_a_far_mean_costs_the_spread_no_digits(rng):
    values = (1e4 + rng.normal(size=(30, 1, 5))).astype(np.float32)
    found = standard_weights(np.ones((1, 5)), values)
    np.testing.assert_allclose(found, values.astype(float).std(axis=0), rtol=1e-6)


def test_correlations_are_of_voxels_of_all_contrasts_and_of_regions_of_each(rng):
    one, other = rng.normal(size=(2, 3, 2, 12))
    regions = np.array([0, 0, 4, 4, 4, 1, 1, 9, 9, 9, 9, 0])
    found = compare_maps(one, other, regions)
    for k in range(3):
        r = np.corrcoef(one[k].ravel(), other[k].ravel())[0, 1]
        assert found["voxel_r"][k] == pytest.approx(r)
        means = [
            [values[c, regions == name].mean() for c in (0, 1) for name in (1, 4, 9)]
            for values in (one[k], other[k])
        ]
        assert found["region_r"][k] == pytest.approx(np.corrcoef(*means)[0, 1])
    assert "region_r" not in compare_maps(one, other)


def test_top_voxels_count_as_shared_where_their_signs_are_equal():
    one, other = np.zeros((2, 1, 2, 40))  # the top are 4 of 80
    one[0, 0, :4] = 5, -6, 7, 8
    other[0, 0, :3] = 1, -1, -1
    other[0, 1, 7] = 3
    assert compare_maps(one, other)["dice"] == pytest.approx([0.5])
    other[0] = one[0]
    assert compare_maps(one, other)["dice"] == pytest.approx([1.0])


def test_voxels_without_weight_are_no_top():
    one, other = np.zeros((2, 1, 1, 80))
    one[0, 0, :2] = 1.0  # of the top four, two are nothing
    other[0, 0, :4] = 1.0
    assert compare_maps(one, other)["dice"] == pytest.approx([2 * 2 / 6])


def test_intraclass_correlations_are_those_of_a_published_example():
    """Shrout and Fleiss (1979), table 2: six targets, four judges."""
    ratings = np.array(
        [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    )
    found = agreement_of_maps(ratings.T[:, None, :])
    assert found["icc"] == pytest.approx(0.7148, abs=1e-4)
    assert found["icc_agreement"] == pytest.approx(0.2898, abs=1e-4)
    assert found["n_maps"] == 4


def test_scale_and_offset_are_no_matter_to_r_but_to_icc(rng):
    one = rng.normal(size=(1, 1, 200))
    larger, shifted = compare_maps(one, 3 * one), compare_maps(one, one + 2)
    assert larger["voxel_r"] == pytest.approx([1.0])
    assert larger["icc"] == pytest.approx([2 * 3 / (1 + 9)])  # twice the covariance over both SS
    assert shifted["icc"] == pytest.approx([1.0])
    assert shifted["icc_agreement"][0] < 0.5


def test_a_map_that_is_the_same_everywhere_agrees_with_nothing(rng):
    flat, other = np.full((2, 1, 1, 30), 0.1)
    other[0, 0] = rng.normal(size=30)
    found = compare_maps(flat, other, np.arange(30) // 5)
    assert found["voxel_r"] == [0]
    assert found["region_r"] == [0]
    both = compare_maps(flat * 0, flat * 0, np.arange(30) // 5)
    assert all(values == [0] for values in both.values())


def test_correlations_of_many_voxels_are_summed_up_in_blocks(rng, monkeypatch):
    maps = 50 + rng.normal(size=(4, 2, 21)) + rng.normal(size=(2, 21))
    maps[3] = 0.1
    monkeypatch.setattr(map_agreement, "BLOCK", 10)
    found = correlation_matrix(maps)
    expected = np.corrcoef(maps[:3].reshape(3, -1))
    np.testing.assert_allclose(found[:3, :3], expected, rtol=1e-9)
    assert (found[3] == 0).all()


def test_several_maps_agree_by_the_mean_over_pairs(rng):
    maps = rng.normal(size=(3, 2, 30)) + rng.normal(size=(2, 30))
    found, matrix = agreement_of_maps(maps, np.arange(30) // 4), correlation_matrix(maps)
    assert found["voxel_r"] == pytest.approx(matrix[np.triu_indices(3, 1)].mean())
    pairs = [compare_maps(maps[i][None], maps[k][None]) for i, k in ((0, 1), (0, 2), (1, 2))]
    assert found["dice"] == pytest.approx(np.mean([pair["dice"] for pair in pairs]))
    assert set(found) == {"voxel_r", "region_r", "dice", "icc", "icc_agreement", "n_maps"}
    assert "region_r" not in agreement_of_maps(maps)
