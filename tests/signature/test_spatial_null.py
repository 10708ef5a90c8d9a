import tracemalloc

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist
from scipy.stats import binom, pearsonr

from fmnet.data.grid import Grid
from fmnet.data.resample import coordinates
from fmnet.data.template import build_grid
from fmnet.signature.regions import coordinate_regions
from fmnet.signature.spatial_null import N_AT_ONCE, spatial_p, spatial_tests, surrogate_maps


@pytest.fixture(scope="module")
def coarse():
    """The brain at 12 mm, 1,100 voxels or so."""
    return build_grid(12)


def smooth_field(grid, generator, fwhm_mm):
    """A stationary field on the grid, cut from a larger one: (V,)."""
    sigma = np.broadcast_to(fwhm_mm, 3) / 2.355 / np.array(grid.voxel_size_mm)
    edge = int(np.ceil(3 * sigma.max()))
    noise = generator.normal(size=[length + 2 * edge for length in grid.shape])
    return gaussian_filter(noise, sigma)[edge:-edge, edge:-edge, edge:-edge][grid.mask]


def neighbours_alike(values, grid, axis):
    """Correlation of neighbouring voxels along an axis."""
    volume = np.full(grid.shape, np.nan)
    volume[grid.mask] = values
    one = np.moveaxis(volume, axis, 0)
    both = np.isfinite(one[1:]) & np.isfinite(one[:-1])
    return np.corrcoef(one[1:][both], one[:-1][both])[0, 1]


def test_random_maps_are_as_smooth_along_each_axis(coarse, rng):
    values = smooth_field(coarse, rng, (14, 40, 22))
    drawn = np.concatenate(list(surrogate_maps(values, coarse, 40, seed=1)))
    wanted = [neighbours_alike(values, coarse, axis) for axis in range(3)]
    assert wanted[0] < wanted[2] < wanted[1]
    for axis in range(3):
        mean = np.mean([neighbours_alike(one, coarse, axis) for one in drawn])
        assert mean == pytest.approx(wanted[axis], abs=0.06)


def test_random_maps_have_mean_and_sd_and_are_unrelated_to_the_map(grid, rng):
    values = 5 + 2 * smooth_field(grid, rng, 50)
    n = N_AT_ONCE + 3
    drawn = np.concatenate(list(surrogate_maps(values, grid, n, seed=1)))
    assert drawn.shape == (n, grid.n_voxels)
    assert drawn.dtype == np.float32
    np.testing.assert_allclose(drawn.mean(axis=1), values.mean(), rtol=1e-4)
    np.testing.assert_allclose(drawn.std(axis=1), values.std(), rtol=1e-4)
    between = np.corrcoef(np.vstack([drawn, values]))[np.triu_indices(n + 1, 1)]
    assert np.abs(between).max() < 0.9
    assert abs(between.mean()) < 0.1
    again = np.concatenate(list(surrogate_maps(values, grid, n, seed=1)))
    np.testing.assert_array_equal(drawn, again)


def test_a_map_with_missing_voxels_has_random_maps_everywhere(coarse, rng):
    values = smooth_field(coarse, rng, 30)
    values[: coarse.n_voxels // 3] = np.nan
    (drawn,) = surrogate_maps(values, coarse, 8, seed=1)
    assert np.isfinite(drawn).all()
    alike = np.mean([neighbours_alike(one, coarse, 1) for one in drawn])
    assert alike == pytest.approx(neighbours_alike(values, coarse, 1), abs=0.08)


def test_a_constant_map_is_like_no_other(grid, rng):
    found = spatial_p(np.ones(grid.n_voxels), smooth_field(grid, rng, 50), grid, n=19)
    assert found.r == 0
    assert found.p == 1


def test_unrelated_smooth_maps_are_rarely_called_alike(coarse, rng):
    widths = [18, 30, (20, 40, 20)]
    p, naive = [], []
    for number in range(60):
        one = smooth_field(coarse, rng, widths[number % 3])
        others = np.array([smooth_field(coarse, rng, width) for width in widths])
        p += [test.p for test in spatial_tests(one, others, coarse, n=19, seed=number)]
        naive += [pearsonr(one, other).pvalue for other in others]
    assert binom.ppf(0.001, len(p), 0.05) <= sum(np.array(p) <= 0.05)
    assert sum(np.array(p) <= 0.05) <= binom.ppf(0.999, len(p), 0.05)
    assert np.mean(np.array(naive) <= 0.05) > 0.3


def test_maps_that_share_half_of_their_variance_are_called_alike(coarse, rng):
    shared, one, other = (smooth_field(coarse, rng, 20) for _ in range(3))
    found = spatial_p(shared + one, shared + other, coarse, n=199)
    assert found.p == 1 / 200
    assert found.r > 0.3
    opposite = spatial_p(shared + one, -shared - other, coarse, n=199)
    assert (opposite.r, opposite.p) == (-found.r, found.p)


def test_voxels_that_one_map_lacks_count_in_neither(coarse, rng):
    one, other = smooth_field(coarse, rng, 20), smooth_field(coarse, rng, 20)
    part = np.where(np.arange(coarse.n_voxels) % 3 == 0, np.nan, other)
    known = np.isfinite(part)
    found = spatial_p(one, part, coarse, n=19)
    assert found.n_voxels == known.sum()
    assert found.r == pytest.approx(np.corrcoef(one[known], part[known])[0, 1])
    assert found.null.shape == (19,)


def test_memory_grows_with_voxels_and_not_with_pairs_of_them():
    mask = np.ones((27, 28, 29), bool)
    grid = Grid(mask, np.diag([4.0, 4, 4, 1]), "MNI152")
    values = smooth_field(grid, np.random.default_rng(2), 12)
    tracemalloc.start()
    for _ in surrogate_maps(values, grid, 32, seed=1):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6  # V x V of float32 would be 1.9 GB


@pytest.mark.slow
def test_spread_agrees_with_brainsmash_on_parcels():
    base = pytest.importorskip("brainsmash.mapgen.base")
    grid, generator = build_grid(8), np.random.default_rng(4)
    labels = np.unique(coordinate_regions(grid, 200)[grid.mask], return_inverse=True)[1]
    counts = np.bincount(labels)

    def parcels(maps):
        return np.array([np.bincount(labels, one) / counts for one in maps])  # (N, R)

    def spread(drawn, others):
        return np.corrcoef(np.vstack([drawn, others]))[: len(drawn), len(drawn) :].std()

    centres = parcels(coordinates(grid, np.eye(4)).T).T
    ratios = []
    for seed in range(2):
        values = smooth_field(grid, generator, 24)
        others = parcels([smooth_field(grid, generator, 24) for _ in range(20)])
        ours = parcels(np.concatenate(list(surrogate_maps(values, grid, 100, seed))))
        brain = base.Base(parcels([values])[0], cdist(centres, centres), seed=seed)
        ratios.append(spread(ours, others) / spread(brain(n=25), others))
    assert np.mean(ratios) == pytest.approx(1, abs=0.2)
