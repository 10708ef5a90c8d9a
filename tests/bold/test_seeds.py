from dataclasses import replace

import numpy as np
import pytest
from map_fixtures import noise, open_source

from fmnet.bold.seeds import MAX_R, Seed, correlate, seed_voxels
from fmnet.data.grid import Grid
from fmnet.errors import VolumeError

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
