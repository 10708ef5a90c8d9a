from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from map_fixtures import noise, open_source
from scipy.stats import friedmanchisquare

from fmnet.bold import measures
from fmnet.bold.measures import (
    MAX_R,
    MIN_VOXELS,
    Seed,
    alff,
    correlate,
    falff,
    kendall_w,
    list_frequencies,
    power_density,
    reho,
    seed_voxels,
    temporal_sd,
)
from fmnet.bold.settings import CleaningSettings
from fmnet.data.grid import Grid
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


def w_by_loops(series, grid):
    """Kendall's W from Friedman's test: chi2 = K (n - 1) W."""
    n = len(series)
    places = {tuple(place): k for k, place in enumerate(np.argwhere(grid.mask))}
    w = np.full(len(places), np.nan)
    for (x, y, z), own in places.items():
        near = [
            places[x + i, y + j, z + k]
            for i in (-1, 0, 1)
            for j in (-1, 0, 1)
            for k in (-1, 0, 1)
            if (x + i, y + j, z + k) in places
        ]
        near = [voxel for voxel in near if np.isfinite(series[:, voxel]).all()]
        if len(near) >= MIN_VOXELS and own in near:
            chi2, _ = friedmanchisquare(*series[:, near])  # volumes are treatments
            w[own] = chi2 / (len(near) * (n - 1))
    return w


def test_is_kendalls_w_of_each_neighbourhood(rng, grid):
    series = noise(rng, grid, 12).astype(np.float32)
    np.testing.assert_allclose(kendall_w(series, grid), w_by_loops(series, grid), rtol=1e-4)


def test_voxels_without_data_are_no_neighbours(rng, grid):
    series = noise(rng, grid, 12).astype(np.float32)
    gone = rng.choice(grid.n_voxels, grid.n_voxels // 3, replace=False)
    series[:, gone] = np.nan
    found = kendall_w(series, grid)
    np.testing.assert_allclose(found, w_by_loops(series, grid), rtol=1e-4)
    assert np.isnan(found[gone]).all()
    assert np.isfinite(found).any()


def test_all_alike_is_one(rng, grid):
    wave = rng.normal(size=30)
    series = (wave[:, None] * rng.uniform(1, 5, grid.n_voxels)).astype(np.float32)
    np.testing.assert_allclose(kendall_w(series, grid), 1, rtol=1e-5)


def test_blocks_change_nothing(rng, grid, monkeypatch):
    run = open_source(grid, noise(rng, grid, 15))
    whole = reho(run)
    monkeypatch.setattr(measures, "BLOCK", 10)
    np.testing.assert_array_equal(reho(run), whole)


def test_smoother_series_are_more_alike(rng, grid):
    series = noise(rng, grid, 40)
    shared = rng.normal(size=(40, 1))
    rough, smooth = (
        np.nanmean(kendall_w((series + a * shared).astype(np.float32), grid)) for a in (0, 20)
    )
    assert smooth > rough + 0.1
    assert rough == pytest.approx(1 / 20, abs=0.04)  # 1/K of independent series


CENTRE = (0.0, -20.0, 10.0)  # voxel (3, 3, 4)


def voxel_at(grid, place):
    return int(np.flatnonzero((np.argwhere(grid.mask) == place).all(axis=1))[0])


def test_is_fishers_z_of_the_correlation(rng, grid):
    series = noise(rng, grid).astype(np.float32)
    voxels = np.array([2, 40, 41])
    found = correlate(series, voxels)
    seed = series[:, voxels].mean(axis=1)
    for voxel in range(grid.n_voxels):
        r = np.corrcoef(seed, series[:, voxel])[0, 1]
        assert found[voxel] == pytest.approx(np.arctanh(r), abs=1e-3)


def test_seed_lies_where_its_coordinates_say(grid):
    assert seed_voxels(grid, CENTRE).tolist() == [voxel_at(grid, (3, 3, 4))]
    assert seed_voxels(grid, (-20.0, -20.0, 10.0)).tolist() == [voxel_at(grid, (2, 3, 4))]


def test_left_is_left_and_right_is_right(rng, grid):
    """A wave right of the middle couples with a seed there, not with its mirror image."""
    values = noise(rng, grid, 80)
    right = (np.argwhere(grid.mask) @ grid.affine[:3, :3].T + grid.affine[:3, 3])[:, 0] > 0
    values[:, right] += 60 * rng.normal(size=(80, 1))
    found = Seed("right", (40.0, -20.0, 10.0)).correlation(open_source(grid, values))
    assert found[right].min() > 1
    assert np.abs(found[~right]).max() < 0.6
    mirrored = Seed("left", (-40.0, -20.0, 10.0)).correlation(open_source(grid, values))
    assert np.abs(mirrored[right]).max() < 0.6


def test_sphere_on_a_fine_grid():
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-20, -30, -10)
    grid = Grid(np.ones((21, 26, 23), bool), affine, "MNI152")
    places = np.argwhere(grid.mask)[seed_voxels(grid, (2.0, 4.0, 6.0))] * 2 + affine[:3, 3]
    distance = np.linalg.norm(places - [2, 4, 6], axis=1)
    assert distance.max() <= 6
    assert len(places) == 123  # points of a lattice within three steps of one of them


def test_nearest_voxels_on_a_coarse_grid(grid):
    between = seed_voxels(grid, (10.0, -20.0, 10.0))
    assert between.tolist() == [voxel_at(grid, (3, 3, 4)), voxel_at(grid, (4, 3, 4))]


def test_seed_of_one_voxel_is_no_infinity(rng, grid):
    found = Seed("one", CENTRE).correlation(open_source(grid, noise(rng, grid)))
    assert found.max() == pytest.approx(np.arctanh(MAX_R), rel=1e-5)


def test_no_data_is_no_value(rng, grid):
    values = noise(rng, grid)
    values[:, 1], values[:, 7] = np.nan, 1000
    found = Seed("one", CENTRE).correlation(open_source(grid, values))
    assert np.flatnonzero(np.isnan(found)).tolist() == [1, 7]


def test_seed_outside_the_brain_is_refused(rng, grid):
    run = open_source(grid, noise(rng, grid))
    with pytest.raises(VolumeError, match=r"seed 'far' at \(90, 100, 0\) mm, outside the mask"):
        Seed("far", (90.0, 100.0, 0.0)).correlation(run)


def test_seed_without_data_is_refused(rng, grid):
    values = noise(rng, grid)
    values[:, voxel_at(grid, (3, 3, 4))] = np.nan
    with pytest.raises(VolumeError, match=r"run-1: found data in 0% of the 1 voxels of seed 'pcc'"):
        Seed("pcc", CENTRE).correlation(open_source(grid, values))


def test_seed_needs_a_run_in_mni_space(rng, grid):
    own = replace(grid, space="own")
    with pytest.raises(VolumeError, match=r"seed 'pcc' .* in space 'own'"):
        Seed("pcc", CENTRE).correlation(open_source(own, noise(rng, own)))
