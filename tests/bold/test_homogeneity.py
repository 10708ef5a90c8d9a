import numpy as np
import pytest
from map_fixtures import noise, open_source
from scipy.stats import friedmanchisquare

from fmnet.bold import homogeneity
from fmnet.bold.homogeneity import MIN_VOXELS, kendall_w, reho


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
    monkeypatch.setattr(homogeneity, "BLOCK", 10)
    np.testing.assert_array_equal(reho(run), whole)


def test_smoother_series_are_more_alike(rng, grid):
    series = noise(rng, grid, 40)
    shared = rng.normal(size=(40, 1))
    rough, smooth = (
        np.nanmean(kendall_w((series + a * shared).astype(np.float32), grid)) for a in (0, 20)
    )
    assert smooth > rough + 0.1
    assert rough == pytest.approx(1 / 20, abs=0.04)  # 1/K of independent series
