import numpy as np
import pytest
import torch

from fmnet.networks.stems import FLOOR, TemporalFilters, band_passes

SHAPE = (3, 4, 5)
N_FREQUENCIES = 1000


@pytest.fixture
def series():
    series = torch.randn(2, 50, *SHAPE, generator=torch.Generator().manual_seed(0)).cumsum(1)
    series[:, :, 0] = 0
    return series


def response(filters):
    """Gain of each filter at each frequency from 0 to half the sampling rate."""
    return np.abs(np.fft.rfft(filters, 2 * N_FREQUENCIES, axis=1))


def tone(frequency, n_volumes=120):
    wave = torch.sin(2 * torch.pi * frequency * torch.arange(n_volumes) + 0.3)
    return wave[:, None, None, None] * torch.ones(SHAPE)


@pytest.mark.parametrize("length", [1, 6, 33, 70])
def test_maps_are_the_power_of_filtered_series(series, length):
    stem = TemporalFilters(3, length)
    stem.weight.data.normal_(generator=torch.Generator().manual_seed(1))
    filters = stem.weight.detach().double().numpy()
    filters /= np.linalg.norm(filters, axis=1, keepdims=True)
    with torch.no_grad():
        maps = stem(series)
    for place in ((0, 1, 2, 3), (1, 2, 0, 4)):
        scan, *voxel = place
        values = series[(scan, slice(None), *voxel)].double().numpy()
        values = values - values.mean()
        power = [np.square(np.convolve(values, one)).sum() / len(values) for one in filters]
        expected = np.log(power + FLOOR * values.var())
        np.testing.assert_allclose(maps[(scan, slice(None), *voxel)], expected, atol=1e-4)


def test_the_scale_of_a_voxel_adds_the_same_to_all_maps(series):
    stem = TemporalFilters(4, 8)
    difference = (stem(7 * series) - stem(series))[:, :, 1:]
    torch.testing.assert_close(difference, torch.full_like(difference, 2 * np.log(7)))


def test_offset_and_norm_of_filters_do_not_matter(series):
    stem = TemporalFilters(4, 8)
    expected = stem(series)
    stem.weight.data *= 30
    inside = (series != 0).any(1, keepdim=True)
    torch.testing.assert_close(stem(series + 20 * inside), expected, atol=1e-3, rtol=0)


def test_beyond_what_the_cleaning_left_no_filter_sees_rounding():
    stem = TemporalFilters(5, 30)
    maps = stem(torch.stack([tone(0.03), tone(0.03) + 1e-6 * torch.randn(120, *SHAPE)]))
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


def test_start_covers_the_band_in_which_scans_fluctuate():
    generator = torch.Generator().manual_seed(2)
    scans = []
    for n_volumes in (150, 171, 200):
        spectrum = torch.fft.rfft(torch.randn(n_volumes, *SHAPE, generator=generator), dim=0)
        frequency = torch.linspace(0, 0.5, len(spectrum))
        spectrum[(frequency < 0.02) | (frequency > 0.2)] = 0
        scans.append(30 * torch.fft.irfft(spectrum, n_volumes, dim=0))
        scans[-1][:, 0] = 0
    stem = TemporalFilters(3, 60)
    stem.fit(scans)
    peaks = response(stem.weight.detach().numpy()).argmax(1) * 0.5 / N_FREQUENCIES
    np.testing.assert_allclose(peaks, [0.05, 0.11, 0.17], atol=0.02)


def test_start_without_any_fluctuation_leaves_the_whole_band():
    stem = TemporalFilters(3, 20)
    before = stem.weight.detach().clone()
    stem.fit([torch.zeros(30, *SHAPE)])
    torch.testing.assert_close(stem.weight.detach(), before, atol=0.02, rtol=0)
