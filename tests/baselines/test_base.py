import pickle

import numpy as np
import pytest


@pytest.fixture
def data(build_bold):
    return build_bold()


def test_maps_have_no_series(build_data):
    data = build_data()
    assert data.series == data.subset(data.cohort.subset(np.arange(4)), np.arange(4)).series == ()


def test_series_stay_with_their_scans(data):
    rows = np.array([3, 8, 20])
    subset = data.subset(data.cohort.subset(rows), rows)
    assert subset.series == tuple(data.series[row] for row in rows)
    for other in (
        data.relabelled(data.cohort),
        data.replaced(data.cohort, data.values + 1),
        data.harmonised(lambda values, train: values),
    ):
        assert other.series is data.series


def test_other_series_can_be_given(data):
    other = data.replaced(data.cohort, data.values, data.series[::-1])
    assert other.series == data.series[::-1]


def test_what_was_learned_stays_where_scans_are_the_same(data):
    rows = np.arange(10)
    assert data.relabelled(data.cohort).memo is data.memo
    assert data.subset(data.cohort.subset(rows), rows).memo is not data.memo
    assert data.replaced(data.cohort, data.values, data.series[::-1]).memo is not data.memo


def test_other_processes_read_the_files_themselves(data):
    data.memo.get("large", lambda: [np.zeros(10_000_000)])
    copy = pickle.loads(whole := pickle.dumps(data))
    assert len(whole) < 1_000_000
    np.testing.assert_array_equal(copy.series[7].values(), data.series[7].values())
