import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fmnet.errors import CohortError
from fmnet.networks.stems import (
    FLOOR,
    DualRegression,
    Frames,
    LearnedSeeds,
    TemporalFilters,
    band_passes,
    gauss_jordan_inverse,
    inverse_sd,
    networks_of,
    ridged_inverse,
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

    def __getitem__(self, index):
        if not 0 <= index < len(self.scans):
            raise IndexError(index)
        return self.scans[index].clone()


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
def test_fit_reads_scans_one_at_a_time(name, scans, series):
    stem, other = BUILT[name](), BUILT[name]()
    stem.fit(OneAtATime(scans))
    other.fit(scans)
    torch.testing.assert_close(stem(series), other(series), atol=0, rtol=0)


@pytest.mark.parametrize("name", ["seeds", "regression"])
def test_fit_is_empty_outside(name, scans):
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


def test_scans_too_short_for_a_fit_are_named(scans):
    with pytest.raises(CohortError, match="training scan 2 of 2: found 3 volumes"):
        networks_of([scans[0], scans[1][:3]], 3, seed=0)


def test_frames_are_from_the_middles_of_equal_parts(series):
    taken = Frames(4)(series)
    torch.testing.assert_close(taken, series[:, [5, 15, 25, 35]], atol=0, rtol=0)


def test_frames_of_a_short_run_come_more_than_once(series):
    taken = Frames(4)(series[:, :2])
    torch.testing.assert_close(taken, series[:, [0, 0, 1, 1]], atol=0, rtol=0)


def test_time_series_are_standardised(series):
    time_series = series[:, :, 2, 2] * 5 + 3
    z = standardised(time_series)
    values = time_series.numpy()
    expected = (values - values.mean(1, keepdims=True)) / values.std(1, keepdims=True)
    np.testing.assert_allclose(z.numpy(), expected, atol=1e-4)


def test_rounding_is_no_variance():
    # a mean of 0.1 is not exact
    assert not inverse_sd(torch.full((1, 1000, 1), 0.1)).any()


@pytest.fixture
def seed_series():
    seed_series = torch.randn(2, 50, *SHAPE, generator=torch.Generator().manual_seed(0))
    seed_series[:, :, 0] = 0
    return seed_series


@pytest.fixture
def seeds():
    return LearnedSeeds(SHAPE, 3, seed=5)


def test_maps_are_correlations_with_the_weighted_sum_of_standardised_voxels(seeds, seed_series):
    with torch.no_grad():
        maps = seeds(seed_series).numpy()
    inside = seed_series[0, 0].numpy() != 0
    weight = seeds.weight.detach().numpy()[:, inside]
    for scan, own in zip(seed_series.numpy(), maps, strict=True):
        values = scan[:, inside]
        z = (values - values.mean(0)) / values.std(0)
        r = np.corrcoef((z @ weight.T).T, z.T)[:3, 3:]
        np.testing.assert_allclose(own[:, inside], np.arctanh(r), atol=1e-4)


def test_scale_and_offset_of_voxels_do_not_matter(seeds, seed_series):
    generator = torch.Generator().manual_seed(1)
    scale, offset = 10 * torch.rand(2, *SHAPE, generator=generator) + 0.1
    inside = (seed_series != 0).any(1, keepdim=True)
    changed = (seed_series * scale + offset) * inside
    torch.testing.assert_close(seeds(changed), seeds(seed_series), atol=1e-3, rtol=0)


def test_norm_of_weights_does_not_matter(seeds, seed_series):
    expected = seeds(seed_series)
    seeds.weight.data *= torch.tensor([0.01, 1, 300])[:, None, None, None]
    torch.testing.assert_close(seeds(seed_series), expected, atol=1e-4, rtol=0)


def test_a_seed_of_one_voxel_is_no_infinite_map(seeds, seed_series):
    seeds.weight.data.zero_()
    seeds.weight.data[:, 3, 4, 5] = 1
    maps = seeds(seed_series)
    assert torch.isfinite(maps).all()
    assert maps[:, :, 3, 4, 5].min() == maps.max()


def test_fitted_seeds_are_what_goes_together(seeds):
    generator = torch.Generator().manual_seed(2)
    planted = torch.zeros(3, *SHAPE)
    planted[0, 1:3, 1:4], planted[1, 4:6, 1:3, 3:7], planted[2, 3:6, 5:7, 1:5] = 1, 1, 1
    scans = [
        (torch.randn(40, 3, generator=generator) @ planted.flatten(1)).reshape(40, *SHAPE)
        + 0.5 * torch.randn(40, *SHAPE, generator=generator)
        for _ in range(6)
    ]
    seeds.fit(scans)
    r = np.corrcoef(seeds.weight.detach().flatten(1), planted.flatten(1))[:3, 3:]
    assert sorted(r.argmax(axis=1)) == [0, 1, 2]
    assert r.max(axis=1).min() > 0.9


def test_seeds_move_to_where_groups_differ():
    """Voxels go together in one group alone: a seed learns to lie where they do."""
    generator = torch.Generator().manual_seed(3)
    seed_series = torch.randn(12, 60, *SHAPE, generator=generator)
    labels = torch.arange(12) % 2
    seed_series[labels == 1, :, 2:4, 2:4, 2:4] += 2 * torch.randn(
        6, 60, 1, 1, 1, generator=generator
    )
    seeds = LearnedSeeds(SHAPE, 1)
    optimiser = torch.optim.Adam(seeds.parameters(), 0.1)
    differences = []
    for _ in range(30):
        corner = seeds(seed_series)[:, 0, 2:4, 2:4, 2:4].abs().mean((1, 2, 3))
        difference = corner[labels == 1].mean() - corner[labels == 0].mean()
        optimiser.zero_grad()
        (-difference).backward()
        optimiser.step()
        differences.append(difference.item())
    assert differences[0] < 0.4
    assert differences[-1] > differences[0] + 0.5
    inside = seeds.weight.detach()[0, 2:4, 2:4, 2:4].mean().abs()
    assert inside > 5 * seeds.weight.detach().mean().abs()


SMALL = (3, 4, 5)
N_FREQUENCIES = 1000


@pytest.fixture
def walks():
    walks = torch.randn(2, 50, *SMALL, generator=torch.Generator().manual_seed(0)).cumsum(1)
    walks[:, :, 0] = 0
    return walks


def response(filters):
    """Gain of each filter at each frequency from 0 to half the sampling rate."""
    return np.abs(np.fft.rfft(filters, 2 * N_FREQUENCIES, axis=1))


def tone(frequency, n_volumes=120):
    wave = torch.sin(2 * torch.pi * frequency * torch.arange(n_volumes) + 0.3)
    return wave[:, None, None, None] * torch.ones(SMALL)


@pytest.mark.parametrize("length", [1, 6, 33, 70])
def test_maps_are_the_power_of_filtered_series(walks, length):
    stem = TemporalFilters(3, length)
    stem.weight.data.normal_(generator=torch.Generator().manual_seed(1))
    filters = stem.weight.detach().double().numpy()
    filters /= np.linalg.norm(filters, axis=1, keepdims=True)
    with torch.no_grad():
        maps = stem(walks)
    for index in ((0, 1, 2, 3), (1, 2, 0, 4)):
        scan, *voxel = index
        values = walks[(scan, slice(None), *voxel)].double().numpy()
        values = values - values.mean()
        power = [np.square(np.convolve(values, one)).sum() / len(values) for one in filters]
        expected = np.log(power + FLOOR * values.var())
        np.testing.assert_allclose(maps[(scan, slice(None), *voxel)], expected, atol=1e-4)


def test_the_scale_of_a_voxel_adds_the_same_to_all_maps(walks):
    stem = TemporalFilters(4, 8)
    difference = (stem(7 * walks) - stem(walks))[:, :, 1:]
    torch.testing.assert_close(difference, torch.full_like(difference, 2 * np.log(7)))


def test_offset_and_norm_of_filters_do_not_matter(walks):
    stem = TemporalFilters(4, 8)
    expected = stem(walks)
    stem.weight.data *= 30
    inside = (walks != 0).any(1, keepdim=True)
    torch.testing.assert_close(stem(walks + 20 * inside), expected, atol=1e-3, rtol=0)


def test_beyond_what_the_cleaning_left_no_filter_sees_rounding():
    stem = TemporalFilters(5, 30)
    maps = stem(torch.stack([tone(0.03), tone(0.03) + 1e-6 * torch.randn(120, *SMALL)]))
    torch.testing.assert_close(maps[0], maps[1], atol=0.01, rtol=0)


def test_first_filters_lie_side_by_side():
    gain = response(band_passes(5, 40, 0.1, 0.35))
    middles = (gain**2 * np.linspace(0, 0.5, gain.shape[1])).sum(1) / (gain**2).sum(1)
    np.testing.assert_allclose(middles, [0.125, 0.175, 0.225, 0.275, 0.325], atol=0.01)
    assert gain[:, :100].max() < 0.05 * gain.max()  # below 0.05 cycles


@pytest.mark.parametrize(("low", "high"), [(0, 0.5), (0.1, 0.1), (0.02, 0.2)])
@pytest.mark.parametrize("length", [2, 7, 32])
def test_first_filters_have_a_norm_of_1(low, high, length):
    norms = np.linalg.norm(band_passes(4, length, low, high), axis=1)
    np.testing.assert_allclose(norms, 1, rtol=1e-5)


def test_a_tone_is_strongest_in_its_filter():
    stem = TemporalFilters(5, 40)
    for number in range(5):
        maps = stem(tone(0.05 + 0.1 * number)[None])
        assert (maps.argmax(1) == number).all()


def test_fitted_filters_cover_the_band_in_which_scans_fluctuate():
    generator = torch.Generator().manual_seed(2)
    scans = []
    for n_volumes in (150, 171, 200):
        spectrum = torch.fft.rfft(torch.randn(n_volumes, *SMALL, generator=generator), dim=0)
        frequency = torch.linspace(0, 0.5, len(spectrum))
        spectrum[(frequency < 0.02) | (frequency > 0.2)] = 0
        scans.append(30 * torch.fft.irfft(spectrum, n_volumes, dim=0))
        scans[-1][:, 0] = 0
    stem = TemporalFilters(3, 60)
    stem.fit(scans)
    peaks = response(stem.weight.detach().numpy()).argmax(1) * 0.5 / N_FREQUENCIES
    np.testing.assert_allclose(peaks, [0.05, 0.11, 0.17], atol=0.02)


def test_fit_without_any_fluctuation_leaves_the_whole_band():
    stem = TemporalFilters(3, 20)
    before = stem.weight.detach().clone()
    stem.fit([torch.zeros(30, *SMALL)])
    torch.testing.assert_close(stem.weight.detach(), before, atol=0.02, rtol=0)


@pytest.fixture
def regression():
    return DualRegression(SHAPE, 4, seed=5)


@pytest.fixture
def mixed():
    """Scans that hold what is looked for; the second has no data in a corner."""
    generator = torch.Generator().manual_seed(0)
    networks = DualRegression(SHAPE, 4, seed=5).networks
    time_series = torch.randn(2, 60, 4, generator=generator)
    mixed = torch.einsum("btk,kxyz->btxyz", time_series, networks)
    mixed += torch.randn(mixed.shape, generator=generator) + 5
    mixed[:, :, 0] = 0
    mixed[1, :, 3:, 5:, 4:] = 0
    return mixed


def least_squares(design, values):
    """Least squares with an intercept: coefficients of the design's columns."""
    design = np.column_stack([design, np.ones(len(design))])
    return np.linalg.lstsq(design, values, rcond=None)[0][:-1]


def test_both_stages_are_those_of_least_squares(regression, mixed):
    maps = regression(mixed).numpy()
    for scan, own in zip(mixed.double().numpy(), maps, strict=True):
        inside = scan.any(axis=0)
        networks = regression.networks.double().numpy()[:, inside]
        time_series = least_squares(networks.T, scan[:, inside].T).T  # (T, K)
        betas = least_squares(time_series / time_series.std(axis=0), scan[:, inside])
        np.testing.assert_allclose(own[:, inside], betas, atol=3e-3 * np.abs(betas).max())


def test_betas_have_the_unit_of_the_series(regression, mixed):
    torch.testing.assert_close(regression(3 * mixed), 3 * regression(mixed), atol=1e-3, rtol=1e-3)


def test_a_constant_of_a_volume_or_a_voxel_does_not_matter(regression, mixed):
    generator = torch.Generator().manual_seed(1)
    inside = (mixed != 0).any(1, keepdim=True)
    changed = mixed + 2 * torch.rand(*SHAPE, generator=generator)
    torch.testing.assert_close(
        regression(changed * inside), regression(mixed), atol=1e-2, rtol=1e-2
    )


def test_networks_that_are_alike_and_short_runs_give_finite_maps(regression, mixed):
    regression.networks[1] = regression.networks[0]
    regression.networks[2] = 0
    for n_volumes in (2, 3, 60):
        maps = regression(mixed[:, :n_volumes])
        assert torch.isfinite(maps).all()
        assert maps.abs().max() < 100
        assert not maps[:, 2].any()


def test_nothing_is_left_to_be_learned(regression):
    assert not list(regression.parameters())
    assert set(regression.state_dict()) == {"networks"}


def test_fit_takes_the_networks_of_the_scans(regression, mixed):
    regression.fit([*mixed])
    assert not regression.networks[:, 0].any()
    inside = regression.networks[:, 1:].flatten(1)
    np.testing.assert_allclose(inside.std(dim=1), 1, rtol=1e-2)


@given(size=st.integers(1, 12), seed=st.integers(0, 1000))
def test_inverse_is_that_of_torch(size, seed):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(3, size, 2 * size + 3, generator=generator, dtype=torch.float64)
    gram = rows @ rows.mT
    expected = torch.linalg.inv(gram)
    torch.testing.assert_close(gauss_jordan_inverse(gram), expected, atol=1e-8, rtol=1e-8)
    atol = 0.01 * float(expected.abs().max())
    torch.testing.assert_close(ridged_inverse(gram), expected, atol=atol, rtol=0)


def test_a_row_of_zeros_has_an_inverse_of_zeros():
    gram = torch.tensor([[[4.0, 0, 2], [0, 0, 0], [2, 0, 9]]])
    inverse = ridged_inverse(gram)
    assert not inverse[:, 1].any()
    kept = inverse[:, [0, 2]][:, :, [0, 2]]
    expected = torch.linalg.inv(torch.tensor([[[4.0, 2], [2, 9]]]))
    torch.testing.assert_close(kept, expected, atol=1e-4, rtol=1e-3)
