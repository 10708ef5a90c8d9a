from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from fmnet.data.maps import Series
from fmnet.errors import ConfigError
from fmnet.networks.backbones import build_small_cnn
from fmnet.networks.series import build_learned_seeds

SEEDS = partial(build_learned_seeds, n_seeds=2, backbone="small_cnn")
LENGTHS = [40 + row for row in range(30)]


@pytest.fixture
def bold_study(build_study):
    """Study data of thirty people with time series of 40 to 69 volumes, which nobody reads."""
    data = build_study()
    stored = [
        replace(one, series=Series((), (n,), 2.0))
        for one, n in zip(data.cohort.stored, LENGTHS, strict=True)
    ]
    return replace(data, cohort=replace(data.cohort, stored=tuple(stored)))


def test_network_of_maps_reads_maps(bold_study):
    data = bold_study.for_network(partial(build_small_cnn, channels=[3]))
    assert data is bold_study
    assert data.smoothed.series == ()


def test_network_of_series_reads_series(bold_study):
    smoothed = bold_study.for_network(partial(SEEDS, window_volumes=40)).smoothed
    assert smoothed.series == bold_study.cohort.series
    assert smoothed.input_shape == (40, *bold_study.cohort.grid.shape)
    assert bold_study.smoothed.series == ()


def test_series_stay_with_their_people(bold_study):
    data = bold_study.for_network(SEEDS)
    people = tuple(data.cohort.participant_ids[row] for row in (3, 7))
    assert [one.n_volumes for one in data.subset(people).smoothed.series] == [43, 47]
    relabelled = data.relabelled(data.cohort)
    assert relabelled.smoothed.series == data.smoothed.series


def test_maps_are_no_input_of_a_network_of_series(build_study):
    with pytest.raises(ConfigError, match=r"network: found one that reads time series; accepted"):
        build_study().for_network(SEEDS)


def test_every_scan_shorter_than_the_window_is_named(bold_study):
    with pytest.raises(ConfigError) as caught:
        bold_study.for_network(partial(SEEDS, window_volumes=44))
    people = [f"sub-{row:02}" for row in range(4)]
    assert [fault.participant_id for fault in caught.value.faults] == people
    assert "sub-03: found 43 volumes after cleaning; accepted: 44 or more" in str(caught.value)


def test_fits_differ_by_nothing_but_who_trains(bold_study):
    smoothed = bold_study.for_network(SEEDS).smoothed
    one, other = (smoothed.fit(np.arange(n)) for n in (10, 20))
    assert one.series is other.series
    assert one.preparation.contrasts == ("bold",)
