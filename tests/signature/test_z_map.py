"""The module is imported as such: a function of it is called test_by_labels."""

import numpy as np
import pytest
from cohort_fixtures import PEOPLE, list_cohort
from scipy.ndimage import gaussian_filter
from scipy.stats import binom

from fmnet.baselines.base import Dummy
from fmnet.baselines.linear import LinearSvm
from fmnet.data.folds import Fold
from fmnet.data.grid import Grid
from fmnet.signature import z_map


@pytest.fixture(scope="module")
def box():
    """A grid whose mask is no box."""
    mask = np.ones((7, 8, 9), dtype=bool)
    mask[:2, :2] = False
    return Grid(mask, np.diag([4.0, 4.0, 4.0, 1.0]), "MNI152")


def draw(n, grid, rng, power=1):
    """Smooth maps whose voxels differ in SD and mean; powers have long tails, as weights do."""
    noise = gaussian_filter(rng.normal(size=(n, 2, *grid.shape)), (0, 0, 1, 1, 1))
    noise = (noise[..., grid.mask] / noise.std()) ** power
    sizes = np.linspace(0.5, 3, grid.n_voxels)
    return (noise * sizes + sizes).astype(np.float32)


def judge(maps, grid, **settings):
    return z_map.test_by_labels(maps[0], iter(np.array_split(maps[1:], 3)), grid, **settings)


def test_a_planted_blob_is_found_at_its_place_with_its_sign(box, rng):
    maps = draw(100, box, rng)
    place = np.zeros(box.shape, bool)
    place[4:6, 2:4, 5:8] = True
    maps[0, 1, place[box.mask]] -= 20
    test = judge(maps, box)
    for by in ("fwe", "cluster"):
        found = box.unmask(z_map.thresholded(test, 0.05, by))
        assert (found[1][place] < 0).all()
        assert not found[0].any()
        assert (found[1] != 0).sum() <= place.sum() + 3
    assert test.n_permutations == 99
    assert (np.abs(test.z) > test.threshold_fwe).sum() == (test.p_fwe <= 0.05).sum()
    fdr = box.unmask(z_map.thresholded(test, 0.05, "fdr"))
    assert (fdr[1][place] < 0).all()


def test_under_the_null_hypothesis_no_more_is_found_than_said(box, rng):
    """Any voxel or cluster in 5 of 100 cohorts; within the central 99.9 % of the binomial."""
    n, found = 150, {"fwe": 0, "cluster": 0, "fdr": 0}
    for _ in range(n):
        test = judge(draw(20, box, rng, power=3), box, cluster_z=1.5)
        for by in found:
            found[by] += int(z_map.thresholded(test, 0.05, by).any())
    low, high = binom.interval(0.999, n, 0.05)
    assert low <= found["fwe"] <= high
    assert low <= found["cluster"] <= high
    assert found["fdr"] <= high


def test_p_values_are_fractions_of_maps_that_reach_as_far(box, rng):
    """Worked out map by map, without a stream."""
    maps = draw(30, box, rng)
    test = judge(maps, box, cluster_z=1.5)
    z = (maps - maps.mean(0)) / maps.std(0)
    size = np.abs(z)
    np.testing.assert_allclose(test.z, z[0], atol=1e-4)
    largest = size.max(axis=(1, 2))
    reached = (largest[:, None, None] >= size[0] - 1e-5).mean(0)
    np.testing.assert_allclose(test.p_fwe, reached, atol=1e-6)
    pooled = np.sort(size[1:].ravel())
    p = (1 + len(pooled) - np.searchsorted(pooled, size[0].ravel())) / (1 + len(pooled))
    order = np.argsort(p)
    adjusted = np.minimum.accumulate((p[order] * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1]
    np.testing.assert_allclose(test.p_fdr.ravel()[order], np.minimum(adjusted, 1), rtol=2e-2)


def test_the_unit_of_a_voxel_does_not_matter(box, rng):
    maps = draw(40, box, rng)
    units = rng.uniform(0.8, 1.2, size=maps.shape[1:])
    one, other = judge(maps, box), judge((maps * units).astype(np.float32), box)
    np.testing.assert_allclose(one.z, other.z, atol=1e-3)


def test_clusters_of_either_sign_are_apart(box):
    z = np.zeros(box.shape, np.float32)
    z[3, 3, 3:5], z[3, 3, 5:8] = [3, 4], [-3.5, -5, -3]
    z[5, 6, 1] = 2.9
    masses = box.unmask(z_map._cluster_masses(z[box.mask][None], box, 3.0))[0]
    np.testing.assert_allclose(masses[3, 3], [0, 0, 0, 7, 7, 11.5, 11.5, 11.5, 0])
    assert masses.sum() == pytest.approx(2 * 7 + 3 * 11.5)


def test_voxels_that_never_vary_and_few_orders_give_no_finding(box, rng):
    maps = draw(10, box, rng)
    maps[:, 0] = 0
    maps[1:, 1, 5] = 0  # no order of the labels gives it a weight, save the observed one
    maps[0, 1, 5] = 1e-3
    test = judge(maps, box)
    assert np.isfinite(test.z).all()
    assert not test.z[0].any()
    assert (test.p_fdr[0] == 1).all()
    assert abs(test.z[1, 5]) < 1
    assert test.threshold_fwe == np.inf


def test_no_orders_at_all_find_nothing(box, rng):
    test = z_map.test_by_labels(draw(1, box, rng)[0], iter([]), box)
    assert test.n_permutations == 0
    assert not test.z.any()
    assert (test.p_fwe == 1).all()


@pytest.fixture
def final():
    """Thirty people in two inner folds, of two sites."""
    return Fold(0, 0, PEOPLE, (), (PEOPLE[:16], PEOPLE[16:]))


def cohort_of(box, sites):
    return list_cohort(np.arange(30) % 2, box, site=sites)


def test_labels_are_exchanged_within_sites_and_inner_folds(box, final):
    sites = np.array(["a", "b"]).repeat(2)[np.arange(30) % 4]
    cohort = cohort_of(box, sites)
    orders = z_map.permuted_labelings(cohort, final, 25, 0)
    assert orders.folds is None
    assert orders.labelings.shape == (25, 30)
    assert len({one.tobytes() for one in orders.labelings}) == 25
    for site in "ab":
        for part in (slice(0, 16), slice(16, 30)):
            own = np.flatnonzero(sites == site)
            own = own[(own >= part.start) & (own < part.stop)]
            counts = orders.labelings[:, own].sum(axis=1)
            assert set(counts) == {cohort.labels[own].sum()}
    again = z_map.permuted_labelings(cohort, final, 25, 0)
    np.testing.assert_array_equal(again.labelings, orders.labelings)
    assert (z_map.permuted_labelings(cohort, final, 25, 1).labelings != again.labelings).any()


def test_folds_move_along_where_cells_are_too_small(box):
    cohort = cohort_of(box, [f"site-{number // 4}" for number in range(30)])
    fold = Fold(0, 0, PEOPLE, (), tuple((person,) for person in PEOPLE))
    orders = z_map.permuted_labelings(cohort, fold, 5, 0)
    assert len(orders.folds) == 5
    assert all(sorted(one.train) == sorted(PEOPLE) for one in orders.folds)


@pytest.mark.parametrize("is_moved", [False, True])
def test_weights_come_some_at_a_time(is_moved, build_data, final, monkeypatch):
    monkeypatch.setattr(z_map, "TOGETHER", 4)
    data, model = build_data(), LinearSvm(fwhm_mm=(0.0,), c=(0.1, 1.0))
    orders = z_map.permuted_labelings(data.cohort, final, 6, 0)
    if is_moved:
        orders = z_map.LabelOrders(orders.labelings, (final,) * 6)
    found = list(orders.weights(model, data, final))
    assert [len(one) for one in found] == ([1] * 6 if is_moved else [4, 2])
    expected = model.weights_of_labelings(data, final, orders.labelings)
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-5, atol=1e-8)


def test_a_model_without_weights_gives_none(build_data, final):
    data = build_data()
    orders = z_map.permuted_labelings(data.cohort, final, 3, 0)
    assert list(orders.weights(Dummy(), data, final)) == []
