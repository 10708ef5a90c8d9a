import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnet.data.grid import Grid
from fmnet.data.nifti import ras_order
from fmnet.data.resample import (
    are_voxels,
    build_interpolation,
    build_lookup,
    coordinates,
    linear_weights,
    place_on_grid,
)
from fmnet.data.volume import Volume

SHAPE = (7, 8, 9)


def some_grid():
    affine = np.diag([17.0, 18, 19, 1])
    affine[:3, 3] = [-41, -51, -61]
    mask = np.ones((5, 6, 7), dtype=bool)
    mask[0, :3, 2] = False
    return Grid(mask, affine, "MNI152")


def volume_of(seed, affine, shape=SHAPE):
    rng = np.random.default_rng(seed)
    data = rng.normal(9000, 100, size=shape).astype(np.float32)
    data[rng.random(shape) < 0.2] = 0
    return Volume(data[None], affine, "MNI152")


def place(volume, grid):
    data = volume.data[0]
    order, affine = ras_order(data.shape, volume.affine)
    places = coordinates(grid, affine)
    support = data != 0
    if are_voxels(places):
        return build_lookup(places, order, support)
    return build_interpolation(linear_weights(places, data.shape), order, support)


@given(
    seed=st.integers(0, 2**16),
    angles=st.tuples(*[st.floats(-0.3, 0.3)] * 3),
    edges=st.tuples(*[st.floats(11, 31)] * 3),
    shift=st.tuples(*[st.floats(-30, 30)] * 3),
)
def test_interpolates_as_maps_are_placed(seed, angles, edges, shift):
    grid = some_grid()
    affine = np.eye(4)
    affine[:3, :3] = nib.eulerangles.euler2mat(*angles) * edges
    affine[:3, 3] = affine[:3, :3] @ -np.array([3, 3.5, 4]) + shift
    volume = volume_of(seed, affine)
    placement = place(volume, grid)
    values = placement.apply(volume.data[0].ravel(order="F"))
    expected = place_on_grid(volume, grid)[0]
    # where the share of data is one half but for rounding, either answer is right
    assert (np.isfinite(expected) != placement.known).mean() < 0.02
    both = np.isfinite(expected) & placement.known
    np.testing.assert_allclose(values[both], expected[both], rtol=1e-5)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_voxels_that_coincide_are_looked_up_as_maps_are_placed(step):
    grid = some_grid()
    affine = grid.affine @ np.diag([1 / step, 1 / step, 1 / step, 1])
    affine[:3, 3] -= 2 * affine[:3, :3].sum(axis=1)
    volume = volume_of(step, affine, (11, 12, 13))
    placement = place(volume, grid)
    assert placement.apply(np.zeros(11 * 12 * 13, np.int16)).dtype == np.int16
    values = placement.apply(volume.data[0].ravel(order="F"))
    expected = place_on_grid(volume, grid)[0]
    np.testing.assert_array_equal(placement.known, np.isfinite(expected))
    np.testing.assert_allclose(values[placement.known], expected[placement.known], rtol=1e-6)


def test_background_never_mixes_in(rng):
    grid = some_grid()
    affine = np.diag([13.0, 13, 13, 1])
    affine[:3, 3] = [-40, -45, -50]
    volume = volume_of(3, affine)
    placement = place(volume, grid)
    noisy = np.where(volume.data[0] == 0, np.nan, volume.data[0])
    values = placement.apply(noisy.ravel(order="F"))
    assert np.isfinite(values[placement.known]).all()


def test_one_slice_is_no_obstacle():
    places = np.array([[0.5, 1.0, 0.0], [0.5, 1.0, 0.5]])
    weights = linear_weights(places, (3, 4, 1))
    np.testing.assert_allclose(weights.sum(axis=1), [1, 0])
