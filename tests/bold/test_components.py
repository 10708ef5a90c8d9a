import warnings

import numpy as np
import pytest

from fmnet.bold.components import find_networks
from fmnet.errors import CohortError

K, V = 4, 700


@pytest.fixture
def planted(rng):
    """Four networks, each in voxels of its own but for a few: (K, V)."""
    maps = np.zeros((K, V))
    for number, one in enumerate(maps):
        one[60 * number : 60 * number + 70] = rng.uniform(0.5, 2, size=70)
    return maps


@pytest.fixture
def series(planted, rng):
    """Eight scans of 60 to 67 volumes in which they come and go; the first is the strongest."""
    strength = np.array([2, 1.6, 1.3, 1])
    return [
        (rng.normal(size=(60 + n, K)) * strength @ planted + rng.normal(size=(60 + n, V))).astype(
            np.float32
        )
        for n in range(8)
    ]


def likeness(maps, others):
    return np.corrcoef(maps, others)[: len(maps), len(maps) :]


def test_planted_networks_are_found(series, planted):
    maps = find_networks(series, K, seed=0)
    r = likeness(maps, planted)
    assert maps.shape == (K, V)
    assert maps.dtype == np.float32
    assert sorted(np.abs(r).argmax(axis=1)) == [0, 1, 2, 3]
    assert r.max(axis=1).min() > 0.9  # with the longer tail positive


def test_the_network_that_explains_most_comes_first(series, planted):
    assert list(likeness(find_networks(series, K, 0), planted).argmax(axis=1)) == [0, 1, 2, 3]


def test_maps_have_a_standard_deviation_of_1(series):
    np.testing.assert_allclose(find_networks(series, K, 0).std(axis=1), 1, rtol=1e-5)


def test_scale_offset_and_order_do_not_matter(series, rng):
    expected = find_networks(series, K, 0)
    scale, offset = rng.uniform(0.1, 50, size=V), rng.uniform(-500, 500, size=V)
    changed = [(one * scale + offset).astype(np.float32) for one in series[::-1]]
    np.testing.assert_allclose(find_networks(changed, K, 0), expected, atol=0.02)


def test_each_scan_counts_the_same_however_long_it_is(series):
    longer = [np.tile(series[0], (5, 1)), *series[1:]]
    np.testing.assert_allclose(find_networks(longer, K, 0), find_networks(series, K, 0), atol=0.02)


def test_same_seed_same_networks(series):
    np.testing.assert_array_equal(find_networks(series, K, 3), find_networks(series, K, 3))


@pytest.mark.parametrize("missing", [0.0, np.nan, 7.5])
def test_voxels_that_some_scans_lack_are_told_by_the_others(series, missing):
    whole = find_networks(series, K, 0)[:, 10:40]
    for one in series[:3]:
        one[:, 10:40] = missing
    maps = find_networks(series, K, 0)[:, 10:40]
    assert np.corrcoef(maps[0], whole[0])[0, 1] > 0.9
    assert maps[0].mean() == pytest.approx(whole[0].mean(), rel=0.15)


@pytest.mark.parametrize("missing", [0.0, np.nan])
def test_voxels_that_most_scans_lack_are_left_out(series, missing):
    for one in series[:5]:
        one[:, 10:40] = missing
    maps = find_networks(series, K, 0)
    assert not maps[:, 10:40].any()
    inside = np.delete(maps, slice(10, 40), axis=1)
    assert inside.any(axis=0).all()
    np.testing.assert_allclose(inside.std(axis=1), 1, rtol=1e-5)


def test_a_voxel_known_at_some_times_alone_is_missing(series):
    for one in series:
        one[3, 20] = np.nan
    assert not find_networks(series, K, 0)[:, 20].any()


def test_one_scan_is_enough(series, planted):
    r = likeness(find_networks(series[:1], K, 0), planted)
    assert np.abs(r).max(axis=1).min() > 0.85


def test_no_warning_escapes_where_there_are_no_networks(rng):
    noise = [rng.normal(size=(30, V)).astype(np.float32) for _ in range(4)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        maps = find_networks(noise, 8, 0)
    np.testing.assert_array_equal(maps, find_networks(noise, 8, 0))
    assert np.isfinite(maps).all()


def test_all_short_scans_are_named_together(series):
    short = [series[0][:4], series[1], series[2][:3]]
    with pytest.raises(CohortError, match=r"(?s)scan 1 of 3: found 4 volumes.*scan 3 of 3") as info:
        find_networks(short, K, 0)
    assert len(info.value.faults) == 2


def test_more_networks_than_the_scans_hold_are_refused(planted, rng):
    poor = [(rng.normal(size=(40, K)) @ planted).astype(np.float32)] * 3
    with pytest.raises(CohortError, match="found 4 independent components; accepted: at least 9"):
        find_networks(poor, 9, 0)


@pytest.mark.parametrize(
    ("series", "found"), [([], "no scans"), ([np.zeros((20, 9), np.float32)] * 3, "0 independent")]
)
def test_nothing_to_look_at_is_refused(series, found):
    with pytest.raises(CohortError, match=found):
        find_networks(series, 2, 0)
