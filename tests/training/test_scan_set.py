import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from cohort_fixtures import with_labels
from series_fixtures import fitted_series, make_grid, write_series

from fmnet.data.resample import smooth_values
from fmnet.data.scans import Series
from fmnet.errors import ConfigError
from fmnet.inference.preparation import PreparationSettings
from fmnet.networks.backbones import build_small_cnn
from fmnet.networks.series import build_learned_seeds
from fmnet.training.scan_set import MapScans, Memo, SeriesScans

SEEDS = partial(build_learned_seeds, n_seeds=2, backbone="small_cnn")
LENGTHS = [40 + row for row in range(30)]
TRAIN = np.arange(20)


@pytest.fixture
def maps(build_data):
    """Maps of two contrasts with holes, smoothed for the network."""
    values = np.random.default_rng(1).normal(size=(30, 2, 210))
    values[::3, 0, 50:90] = np.nan
    return replace(build_data(values), settings=PreparationSettings(fwhm_mm=6.0))


@pytest.fixture
def bold(build_data):
    """Thirty scans with time series of 40 to 69 volumes, which no network reads yet."""
    return replace(build_data(), series=tuple(Series((), (n,), 2.0) for n in LENGTHS))


def test_fit_prepares_scans_as_the_training_scans_ask_for(maps):
    fitted = maps.fit(TRAIN)
    smoothed = smooth_values(maps.values, maps.grid, 6.0)
    mean, sd = np.nanmean(smoothed[TRAIN], axis=0), np.nanstd(smoothed[TRAIN], axis=0)
    expected = np.nan_to_num((smoothed[[25, 3]] - mean) / sd)
    found = fitted.inputs(np.array([25, 3]))
    assert (found.shape, found.dtype) == ((2, 2, 7, 8, 9), np.float32)
    np.testing.assert_allclose(found[:, :, maps.grid.mask], expected, atol=1e-4)
    assert maps.preparation is None


def test_fits_and_other_labels_share_the_smoothed_scans(maps):
    one, other = maps.fit(TRAIN), maps.relabel(with_labels(maps, 1 - maps.labels).cohort).fit(TRAIN)
    assert one.values is other.values
    assert other.labels.tolist() == (1 - maps.labels).tolist()


def test_other_values_are_smoothed_anew(maps):
    before = maps.smoothed(6.0)
    for other in (
        replace(maps, values=maps.values + 1),
        maps.replace(maps.cohort, maps.values + 1),
    ):
        np.testing.assert_allclose(other.smoothed(6.0), before + 1, atol=1e-5)


def test_subset_keeps_what_belongs_to_its_participants(bold):
    bold.smoothed(8.0)
    chosen = bold.subset(("sub-07", "sub-03"))
    assert sorted(chosen.participant_ids) == ["sub-03", "sub-07"]
    for name in chosen.participant_ids:
        (row,), (place,) = bold.rows((name,)), chosen.rows((name,))
        assert chosen.series[place] is bold.series[row]
        np.testing.assert_array_equal(chosen.values[place], bold.values[row])
        np.testing.assert_array_equal(chosen.smoothed(8.0)[place], bold.smoothed(8.0)[row])
    assert chosen.memo is not bold.memo


def test_harmonised_within_each_fit(maps):
    def centre(values, train):
        return values - np.nanmean(values[train], axis=0)

    fitted = maps.harmonised(centre).fit(TRAIN)
    np.testing.assert_allclose(fitted.preparation.mean, 0, atol=1e-6)
    np.testing.assert_allclose(fitted.inputs(TRAIN), maps.fit(TRAIN).inputs(TRAIN), atol=1e-4)


def test_features_are_inputs_of_the_same_width(maps):
    found = maps.features(TRAIN, 6.0).reshape(30, 2, -1)
    expected = maps.fit(TRAIN).inputs(np.arange(30))[:, :, maps.grid.mask]
    np.testing.assert_array_equal(found, expected)


def test_a_preparation_fitted_elsewhere_is_used_as_it_is(maps):
    fitted = maps.fit(TRAIN)
    other = replace(maps, settings=PreparationSettings(fwhm_mm=0.0))
    prepared = other.prepared_by(fitted.preparation)
    np.testing.assert_array_equal(prepared.inputs(TRAIN), fitted.inputs(TRAIN))


def test_inner_folds_part_the_training_scans(maps, fold):
    for train, held_out in maps.inner_rows(fold):
        assert sorted([*train, *held_out]) == list(range(20))


def test_network_of_maps_reads_maps(bold):
    assert bold.for_network(partial(build_small_cnn, channels=[3])) is bold
    assert not bold.reads_series


def test_network_of_series_reads_series(bold):
    scans = bold.for_network(partial(SEEDS, window_volumes=40))
    assert isinstance(scans, SeriesScans)
    assert scans.reads_series
    assert scans.series is bold.series
    assert scans.input_shape == (40, *bold.grid.shape)
    assert scans.memo is bold.memo
    assert isinstance(bold, MapScans)


def test_series_stay_with_their_scans(bold):
    scans = bold.for_network(SEEDS)
    for other in (
        scans.relabel(scans.cohort),
        scans.replace(scans.cohort, scans.values + 1),
        scans.harmonised(lambda values, train: values),
        scans.fit(TRAIN),
    ):
        assert other.series is scans.series
        assert other.reads_series
    given = scans.replace(scans.cohort, scans.values, scans.series[::-1])
    assert given.series == scans.series[::-1]
    assert scans.fit(TRAIN).preparation.contrasts == ("bold",)


def test_maps_are_no_input_of_a_network_of_series(build_data):
    with pytest.raises(ConfigError, match=r"network: found one that reads time series; accepted"):
        build_data().for_network(SEEDS)


def test_every_scan_shorter_than_the_window_is_named(bold):
    with pytest.raises(ConfigError) as caught:
        bold.for_network(partial(SEEDS, window_volumes=44))
    names = [f"sub-{row:02}" for row in range(4)]
    assert [fault.participant_id for fault in caught.value.faults] == names
    assert "sub-03: found 43 volumes after cleaning; accepted: 44 or more" in str(caught.value)


def test_scans_count_alike_whatever_their_number_of_windows(tmp_path):
    grid, rng = make_grid(), np.random.default_rng(0)
    runs = [rng.normal(size=(n, grid.n_voxels)).astype(np.float32) for n in (4, 11, 8)]
    series = [write_series(tmp_path, f"s{k}", [run]) for k, run in enumerate(runs)]
    scans = fitted_series(series, [0, 1, 0], window_volumes=4)
    found = scans.scores(lambda windows: windows[:, 0, 1, 1, 1], np.array([2, 1]))
    place = np.flatnonzero(grid.mask.ravel() & (np.arange(grid.mask.size) == 1 * 42 + 1 * 7 + 1))
    voxel = int(grid.mask.ravel()[: place[0]].sum())
    expected = [runs[2][[0, 4], voxel].mean(), runs[1][[0, 3, 7], voxel].mean()]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_what_was_learned_stays_where_scans_are_the_same(bold):
    assert bold.relabel(bold.cohort).memo is bold.memo
    assert bold.harmonised(lambda values, train: values).memo is bold.memo
    assert bold.replace(bold.cohort, bold.values, bold.series[::-1]).memo is not bold.memo
    assert replace(bold, values=bold.values).memo is not bold.memo


def test_other_processes_compute_anew(bold):
    bold.memo.get("large", lambda: [np.zeros(10_000_000)])
    copy = pickle.loads(whole := pickle.dumps(bold))
    assert len(whole) < 1_000_000
    assert [one.n_volumes for one in copy.series] == LENGTHS


@pytest.fixture
def calls():
    return []


@pytest.fixture
def ask(calls):
    """Ask a memo for an array of 1000 bytes, noting what is computed."""

    def ask(memo, key):
        def compute():
            calls.append(key)
            return [np.zeros(125)]

        return memo.get(key, compute)

    return ask


def test_memo_computes_once(ask, calls):
    memo = Memo()
    assert ask(memo, "a") is ask(memo, "a")
    assert calls == ["a"]


def test_memo_forgets_what_was_not_used_for_longest(ask, calls):
    memo = Memo(limit=2000)
    for key in "abacab":
        ask(memo, key)
    assert calls == list("abcb")


def test_memo_keeps_what_it_gives_though_it_is_too_large(ask, calls):
    memo = Memo(limit=1)
    for key in "aab":
        ask(memo, key)
    assert calls == list("ab")
