import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from map_fixtures import noise, open_source

from fmnet.bold.amplitude import alff, falff, list_frequencies, power_density, temporal_sd
from fmnet.bold.settings import CleaningSettings
from fmnet.errors import VolumeError


def periodogram(series, t_r):
    """Power density from its definition, a sum of waves for each frequency."""
    n = len(series)
    times = np.arange(n)
    rows = []
    for k in range(1, (n + 1) // 2):
        wave = np.exp(-2j * np.pi * k * times / n)
        rows.append(2 * t_r / n * np.abs(wave @ series) ** 2)
    return np.array(rows)


@pytest.mark.parametrize("n", [40, 41])
def test_power_is_the_periodogram(rng, n):
    series = rng.normal(size=(n, 3)).astype(np.float32)
    found = power_density(series, np.arange(5, 5 + n), 1.7)
    np.testing.assert_allclose(found, periodogram(series, 1.7), rtol=1e-4, atol=1e-5)
    assert len(list_frequencies(np.arange(n), 1.7)) == len(found)


def test_power_of_all_frequencies_is_the_variance(rng):
    """Parseval: the density, summed over the bins' width, gives back the variance."""
    series = rng.normal(size=(51, 2)).astype(np.float32)
    kept = np.arange(51)
    width = list_frequencies(kept, 2.0)[0]
    total = power_density(series, kept, 2.0).sum(axis=0) * width
    np.testing.assert_allclose(total, series.var(axis=0), rtol=1e-5)


def test_alff_and_falff_by_definition(rng, grid):
    run = open_source(grid, noise(rng, grid, 80), t_r=2.5)
    frequency = np.arange(1, 40) / (80 * 2.5)
    amplitude = np.sqrt(periodogram(run.cleaned() - run.cleaned().mean(axis=0), 2.5))
    band = (frequency >= 0.01) & (frequency <= 0.1)
    np.testing.assert_allclose(alff(run), amplitude[band].mean(axis=0), rtol=1e-3)
    np.testing.assert_allclose(
        falff(run), amplitude[band].sum(axis=0) / amplitude.sum(axis=0), rtol=1e-3
    )


def test_temporal_sd_is_in_percent(rng, grid):
    values = noise(rng, grid)
    expected = 100 * values.std(axis=0) / values.mean(axis=0)
    np.testing.assert_allclose(temporal_sd(open_source(grid, values)), expected, rtol=1e-4)


def test_noise_has_the_same_amplitude_in_runs_of_any_length(rng, grid):
    short, long = (
        np.median(alff(open_source(grid, 1000 + 10 * rng.normal(size=(n, grid.n_voxels)))))
        for n in (100, 400)
    )
    assert short == pytest.approx(long, rel=0.05)


@given(first=st.integers(0, 5), n_out=st.integers(1, 25), seed=st.integers(0, 99))
def test_missing_volumes_move_no_wave(first, n_out, seed):
    """A wave of one frequency keeps its place and its amplitude, whatever is left out."""
    rng = np.random.default_rng(seed)
    n, k = 100, 7
    places = np.arange(first, first + n)
    inner = rng.choice(np.arange(1, n - 1), n_out, replace=False)
    kept = np.delete(places, inner)
    wave = np.sin(2 * np.pi * k * places / n + 1.0)[:, None].astype(np.float32)
    whole = power_density(wave, places, 2.0)[:, 0]
    rest = power_density(np.delete(wave, inner, axis=0), kept, 2.0)[:, 0]
    assert rest.argmax() == whole.argmax() == k - 1
    # what is left of the wave's power is in proportion to what is left of the run
    assert rest[k - 1] / whole[k - 1] == pytest.approx(len(kept) / n, rel=0.12)


def test_scrubbing_changes_falff_of_noise_little(rng, grid):
    values = 1000 + 10 * rng.normal(size=(200, grid.n_voxels))
    kept = np.delete(np.arange(200), rng.choice(np.arange(1, 199), 40, replace=False))
    whole, scrubbed = (
        np.median(falff(open_source(grid, values, kept=k))) for k in (np.arange(200), kept)
    )
    assert scrubbed == pytest.approx(whole, rel=0.02)


def test_nothing_is_made_of_nothing(rng, grid):
    values = noise(rng, grid)
    values[:, 3], values[:, 5] = 1000, np.nan
    for measure in (alff, falff):
        found = measure(open_source(grid, values))
        assert np.flatnonzero(np.isnan(found)).tolist() == [3, 5]


def test_band_without_frequency_is_refused(rng, grid):
    cleaning = CleaningSettings(low_hz=0.011, high_hz=0.012)
    run = open_source(grid, noise(rng, grid, 20), cleaning=cleaning)
    with pytest.raises(VolumeError, match=r"run-1: found no frequency .*0\.011 Hz to 0\.012 Hz"):
        alff(run)


def test_band_without_limits_is_everything(rng, grid):
    run = open_source(grid, noise(rng, grid), cleaning=CleaningSettings(low_hz=None, high_hz=None))
    np.testing.assert_allclose(falff(run), 1, rtol=1e-6)
