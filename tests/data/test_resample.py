import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nilearn.image import resample_img

from fmnet.data.grid import Grid
from fmnet.data.nifti import ras_order, read_volume, volume_from_image
from fmnet.data.resample import (
    are_voxels,
    build_interpolation,
    build_lookup,
    coordinates,
    linear_weights,
    place_on_grid,
    smooth_values,
    weights_before_smoothing,
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


@pytest.fixture(scope="module")
def fine_grid():
    """41 x 35 x 31 voxels of 2 x 3 x 4 mm, all of them in the mask."""
    return Grid(np.ones((41, 35, 31), dtype=bool), np.diag([2.0, 3, 4, 1]), "MNI152")


def world(grid):
    """World coordinates of the in-mask voxels: (V, 3), in mm."""
    return np.argwhere(grid.mask) @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def ramp(coordinates):
    """Evaluate a linear function of the place that is nowhere 0."""
    return coordinates @ np.array([2.0, 3.0, -1.0]) + 1000


def affine_of(voxel_size_mm, origin_mm=(0.0, 0.0, 0.0)):
    affine = np.diag([*voxel_size_mm, 1.0])
    affine[:3, 3] = origin_mm
    return affine


# placing a map ---------------------------------------------------------------------------------


def test_matching_grid_keeps_values_exactly(grid, rng):
    data = rng.normal(size=(2, *grid.shape)).astype(np.float32)
    for affine in (grid.affine, grid.affine + 1e-6 * np.eye(4)):
        placed = place_on_grid(Volume(data, affine, "MNI152"), grid)
        np.testing.assert_array_equal(placed, data[:, grid.mask])


def test_resampling_agrees_with_the_shortcut(grid, rng):
    data = rng.normal(size=(1, *grid.shape)).astype(np.float32)
    nearly = grid.affine.copy()
    nearly[0, 3] += 2e-4
    placed = place_on_grid(Volume(data, nearly, "MNI152"), grid)
    np.testing.assert_allclose(placed, data[:, grid.mask], atol=1e-4)


@given(
    voxel_size_mm=st.tuples(*[st.floats(4, 15)] * 3),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    order=st.permutations(range(3)),
    tilt=st.floats(-0.3, 0.3),
)
def test_linear_ramp_is_exact_on_any_grid(voxel_size_mm, signs, order, tilt):
    mask = np.zeros((7, 8, 9), dtype=bool)
    mask[1:6, 1:7, 1:8] = True
    mask[1, 1, 1] = False
    grid = Grid(mask, affine_of((5, 5, 5), (-15, -17, -20)), "MNI152")
    turn = np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = (turn @ np.diag(np.array(voxel_size_mm) * signs))[:, list(order)]
    shape = [int(np.ceil(100 / voxel_size_mm[axis])) for axis in order]
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)  # centred on 0
    voxels = np.indices(shape).reshape(3, -1).T
    data = ramp(voxels @ affine[:3, :3].T + affine[:3, 3]).reshape(shape).astype(np.float32)
    volume = volume_from_image(nib.Nifti1Image(data, affine), "MNI152", "ramp")
    np.testing.assert_allclose(place_on_grid(volume, grid)[0], ramp(world(grid)), rtol=1e-5)


@pytest.mark.parametrize("voxel_size_mm", [(20, 20, 20), (10, 10, 10), (7, 8, 9)])
@pytest.mark.parametrize("sign", [1, -1], ids=["RAS", "LAS"])
def test_right_stays_right(tmp_path, write_map, grid, voxel_size_mm, sign):
    shape = [int(280 / size) for size in voxel_size_mm]
    affine = affine_of((sign * voxel_size_mm[0], *voxel_size_mm[1:]))
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    coordinates = np.indices(shape).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]
    distance = np.linalg.norm(coordinates - [40, 20, 10], axis=1)  # to the right and in front
    data = (0.1 + np.exp(-((distance / 25) ** 2))).reshape(shape).astype(np.float32)
    volume = read_volume(write_map(tmp_path / "blob.nii.gz", data, affine), "MNI152")
    values = place_on_grid(volume, grid)[0]
    np.testing.assert_array_equal(world(grid)[values.argmax()], [40, 20, 10])


@pytest.mark.parametrize("voxel_size_mm", [20, 13])
def test_background_of_nan_and_of_zero_give_the_same_values(grid, rng, voxel_size_mm):
    data = rng.normal(size=(1, 9, 10, 11)).astype(np.float32)
    brain = rng.random(data.shape) < 0.8
    brain[:, :3] = False
    affine = affine_of((voxel_size_mm,) * 3, (-60, -80, -70))
    zero, nan = (np.where(brain, data, np.float32(fill)) for fill in (0, np.nan))
    from_zero = place_on_grid(Volume(zero, affine, "MNI152"), grid)
    from_nan = place_on_grid(Volume(nan, affine, "MNI152"), grid)
    np.testing.assert_array_equal(from_zero, from_nan)
    assert 0 < np.isnan(from_nan).sum() < from_nan.size


def test_edge_is_not_diluted_by_background(grid):
    data = np.zeros((1, 30, 31, 32), dtype=np.float32)
    data[:, 4:15, 5:30, 6:30] = 5
    volume = Volume(data, affine_of((6, 7, 8), (-90, -100, -110)), "MNI152")
    placed = place_on_grid(volume, grid)
    known = placed[np.isfinite(placed)]
    assert 0 < known.size < placed.size
    np.testing.assert_allclose(known, 5, rtol=1e-6)


def test_infinite_value_is_no_data(grid):
    data = np.ones((1, *grid.shape), dtype=np.float32)
    data[0, 3, 3, 3] = np.inf
    placed = grid.unmask(place_on_grid(Volume(data, grid.affine, "MNI152"), grid)[0])
    assert np.isnan(placed[3, 3, 3])
    assert np.isnan(placed).sum() == 1


def test_outside_the_map_there_is_no_data(grid):
    data = np.ones((1, 3, 8, 9), dtype=np.float32)
    affine = grid.affine.copy()
    affine[0, 3] += 3 * 20
    placed = place_on_grid(Volume(data, affine, "MNI152"), grid)[0]
    x = world(grid)[:, 0]
    np.testing.assert_array_equal(np.isfinite(placed), (x >= 0) & (x <= 40))


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("distance_mm", [-2000, 2000])
def test_map_beside_the_grid_has_no_data_in_it(grid, rng, axis, distance_mm):
    affine = affine_of((10, 11, 12))
    affine[axis, 3] = distance_mm
    data = rng.normal(size=(1, 5, 6, 7)).astype(np.float32)
    assert np.isnan(place_on_grid(Volume(data, affine, "MNI152"), grid)).all()


@pytest.mark.parametrize("tilt", [0.0, 0.2])
@pytest.mark.parametrize("voxel_size_mm", [(20, 20, 20), (2, 2.5, 3.3), (31, 7, 9)])
def test_values_are_those_of_nilearn(grid, rng, voxel_size_mm, tilt):
    affine = affine_of(voxel_size_mm, grid.affine[:3, 3])
    affine[0, 1] += tilt
    data = rng.normal(size=(1, 41, 37, 39)).astype(np.float32)
    resampled = resample_img(
        nib.Nifti1Image(data[0], affine), grid.affine, grid.shape, "linear", force_resample=True
    )
    placed = place_on_grid(Volume(data, affine, "MNI152"), grid)[0]
    known = np.isfinite(placed)
    covered = world(grid)[known] - affine[:3, 3] <= np.array(voxel_size_mm) * 34
    inside = covered.all(axis=1)  # at the edge, nilearn mixes in the background
    assert inside.sum() > 50
    expected = np.asarray(resampled.dataobj)[grid.mask][known]
    np.testing.assert_allclose(placed[known][inside], expected[inside], atol=1e-6)


# smoothing -------------------------------------------------------------------------------------


@given(
    fwhm_mm=st.floats(1, 200),
    constant=st.floats(-1e3, 1e3).filter(lambda value: abs(value) > 1e-3),
    missing=st.sets(st.integers(0, 100), max_size=60),
)
def test_constant_stays_constant_at_edges_and_beside_missing_voxels(
    grid, fwhm_mm, constant, missing
):
    values = np.full((2, grid.n_voxels), constant, dtype=np.float32)
    values[1, sorted(missing)] = np.nan
    smoothed = smooth_values(values, grid, fwhm_mm)
    np.testing.assert_allclose(smoothed, values, rtol=1e-5)


def test_nan_stays_nan_and_stays_alone(grid, rng):
    values = rng.normal(size=(3, grid.n_voxels)).astype(np.float32)
    values[1, [0, 50, grid.n_voxels - 1]] = np.nan
    smoothed = smooth_values(values, grid, 30)
    np.testing.assert_array_equal(np.isnan(smoothed), np.isnan(values))
    assert smoothed.dtype == np.float32


def test_whole_map_of_nan_stays_nan(grid):
    values = np.full(grid.n_voxels, np.nan, dtype=np.float32)
    assert np.isnan(smooth_values(values, grid, 30)).all()


def test_missing_voxel_has_no_say(grid, rng):
    values = rng.normal(size=grid.n_voxels).astype(np.float32)
    values[40] = np.nan
    far = values.copy()
    far[40] = 1e6
    neighbours = smooth_values(values, grid, 40)
    assert np.nanmax(np.abs(neighbours)) < 10
    assert np.nanmax(np.abs(smooth_values(far, grid, 40))) > 1e4


@pytest.mark.parametrize(("axis", "steps"), [(0, 6), (1, 4), (2, 3)])
def test_width_is_the_one_stated_in_mm_along_each_axis(fine_grid, axis, steps):
    point = np.zeros(fine_grid.shape, dtype=np.float32)
    centre = [20, 17, 15]
    point[tuple(centre)] = 1
    fwhm_mm = 2 * steps * fine_grid.voxel_size_mm[axis]  # 24 mm, half of it on each side
    assert fwhm_mm == 24
    smoothed = smooth_values(point.reshape(-1), fine_grid, fwhm_mm).reshape(fine_grid.shape)
    beside = list(centre)
    beside[axis] += steps
    assert smoothed[tuple(beside)] / smoothed[tuple(centre)] == pytest.approx(0.5, abs=0.01)


def test_width_0_changes_nothing(grid, rng):
    values = rng.normal(size=(2, grid.n_voxels)).astype(np.float32)
    np.testing.assert_array_equal(smooth_values(values, grid, 0), values)


def test_smoothing_leaves_its_input_alone(grid, rng):
    values = rng.normal(size=(2, grid.n_voxels)).astype(np.float32)
    before = values.copy()
    smoothed = smooth_values(values, grid, 30)
    np.testing.assert_array_equal(values, before)
    assert smoothed.std() < 0.8 * values.std()


@pytest.mark.parametrize("fwhm_mm", [0.0, 30.0])
def test_weights_of_smoothed_maps_become_those_of_maps(grid, rng, fwhm_mm):
    weights, values = rng.normal(size=(2, 3, 2, grid.n_voxels)).astype(np.float32)
    expected = (smooth_values(values, grid, fwhm_mm) * weights).sum(axis=-1)
    found = (values * weights_before_smoothing(weights, grid, fwhm_mm)).sum(axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
