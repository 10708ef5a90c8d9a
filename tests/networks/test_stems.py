import numpy as np
import pytest
import torch

from fmnet.errors import CohortError
from fmnet.networks.stems import (
    DualRegression,
    Frames,
    LearnedSeeds,
    TemporalFilters,
    inverse_sd,
    networks_of,
    standardised,
)

SHAPE = (7, 8, 9)
BUILT = {
    "seeds": lambda: LearnedSeeds(SHAPE, 3),
    "filters": lambda: TemporalFilters(3, 6),
    "regression": lambda: DualRegression(SHAPE, 3),
    "frames": lambda: Frames(3),
}
STEMS = pytest.mark.parametrize("name", BUILT)
MAKES_MAPS = pytest.mark.parametrize("name", ["seeds", "filters", "regression"])


class OneAtATime:
    """Scans as from a disk: each is made when it is asked for."""

    def __init__(self, scans):
        self.scans = scans

    def __len__(self):
        return len(self.scans)

    def __getitem__(self, place):
        if not 0 <= place < len(self.scans):
            raise IndexError(place)
        return self.scans[place].clone()


@pytest.fixture
def series():
    """Three scans; the first layer is outside, one voxel is constant, one scan lacks another."""
    series = torch.randn(3, 40, *SHAPE, generator=torch.Generator().manual_seed(0))
    series[:, :, 0] = 0
    series[:, :, 3, 3, 3] = 7.3
    series[1, :, 1, 2, 3] = 0
    return series


@pytest.fixture
def scans():
    generator = torch.Generator().manual_seed(1)
    scans = [torch.randn(20 + n, *SHAPE, generator=generator) for n in range(5)]
    for scan in scans:
        scan[:, 0] = 0
    return scans


@STEMS
def test_any_length_gives_as_many_maps(name, series):
    stem = BUILT[name]()
    assert stem.n_maps == 3
    for n_volumes in (2, 11, 40):
        maps = stem(series[:, :n_volumes])
        assert maps.shape == (3, 3, *SHAPE)
        assert torch.isfinite(maps).all()


@STEMS
def test_what_is_outside_stays_0(name, series):
    maps = BUILT[name]()(series)
    assert not maps[:, :, 0].any()
    assert not maps[1, :, 1, 2, 3].any()
    assert maps[0, :, 1, 2, 3].all()


@MAKES_MAPS
def test_what_does_not_vary_counts_as_missing(name, series):
    assert not BUILT[name]()(series)[:, :, 3, 3, 3].any()


@STEMS
def test_maps_do_not_depend_on_the_rest_of_the_batch(name, series):
    stem = BUILT[name]()
    with torch.no_grad():
        torch.testing.assert_close(stem(series)[1:2], stem(series[1:2]), atol=1e-5, rtol=1e-5)


@STEMS
def test_a_scan_without_data_has_empty_maps(name):
    assert not BUILT[name]()(torch.zeros(2, 12, *SHAPE)).any()


@MAKES_MAPS
def test_gradients_are_finite_where_nothing_varies(name, series):
    series.requires_grad_()
    stem = BUILT[name]()
    stem(series).square().sum().backward()
    gradients = [series.grad, *(weight.grad for weight in stem.parameters())]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert series.grad[:, :, 3, 3, 2].any()


@pytest.mark.parametrize("name", ["seeds", "filters"])
def test_gradients_of_weights_are_those_of_small_steps(name, series):
    stem = BUILT[name]().double()
    series = series.double()[:1, :10, 2:4, 2:4, 2:4]  # the constant voxel is there
    weight = stem.weight.detach()
    if name == "seeds":
        weight = weight[:, 2:4, 2:4, 2:4].contiguous()

    def maps(weight):
        return torch.func.functional_call(stem, {"weight": weight}, (series,))

    assert torch.autograd.gradcheck(maps, weight.requires_grad_())


@STEMS
def test_start_reads_scans_one_at_a_time(name, scans, series):
    stem, other = BUILT[name](), BUILT[name]()
    stem.fit(OneAtATime(scans))
    other.fit(scans)
    torch.testing.assert_close(stem(series), other(series), atol=0, rtol=0)


@pytest.mark.parametrize("name", ["seeds", "regression"])
def test_start_is_outside_empty(name, scans):
    stem = BUILT[name]()
    stem.fit(scans)
    weight = stem.weight if name == "seeds" else stem.networks
    assert not weight[:, 0].any()
    assert weight[:, 1:].all()


def test_networks_are_found_where_half_of_the_scans_have_data(scans):
    for scan in scans[:3]:
        scan[:, 2, 3, 4] = 0
    for scan in scans[:2]:
        scan[:, 2, 3, 5] = 0
    networks = networks_of(scans, 3, seed=0)
    assert not networks[:, 2, 3, 4].any()
    assert networks[:, 2, 3, 5].all()


def test_scans_too_short_for_a_start_are_named(scans):
    with pytest.raises(CohortError, match="training scan 2 of 2: found 3 volumes"):
        networks_of([scans[0], scans[1][:3]], 3, seed=0)


def test_frames_are_from_the_middles_of_equal_parts(series):
    taken = Frames(4)(series)
    torch.testing.assert_close(taken, series[:, [5, 15, 25, 35]], atol=0, rtol=0)


def test_frames_of_a_short_run_come_more_than_once(series):
    taken = Frames(4)(series[:, :2])
    torch.testing.assert_close(taken, series[:, [0, 0, 1, 1]], atol=0, rtol=0)


def test_courses_are_standardised(series):
    courses = series[:, :, 2, 2] * 5 + 3
    z = standardised(courses)
    values = courses.numpy()
    expected = (values - values.mean(1, keepdims=True)) / values.std(1, keepdims=True)
    np.testing.assert_allclose(z.numpy(), expected, atol=1e-4)


def test_rounding_is_no_spread():
    # a mean of 0.1 is not exact
    assert not inverse_sd(torch.full((1, 1000, 1), 0.1)).any()
