import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from fmnet.data.grid import Grid
from fmnet.errors import BundleError
from fmnet.inference.preparation import (
    PreparationSettings,
    SeriesPreparation,
    fit_preparation,
    fit_standard,
    read_preparation,
    standardise,
    window_starts,
)

SETTINGS = PreparationSettings(fwhm_mm=0.0)


def small_grid() -> Grid:
    mask = np.zeros((7, 8, 9), dtype=bool)
    mask[1:6, 2:7, 1:8] = True
    return Grid(mask, np.diag([4.0, 5.0, 6.0, 1.0]), "MNI152")


def draw(n: int, grid: Grid, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(3, 2, (n, 2, grid.n_voxels)).astype(np.float32)


def test_training_voxels_get_mean_0_and_sd_1():
    values = draw(20, small_grid())
    standard = fit_preparation(values, small_grid(), ("a", "b"), SETTINGS).standardise(values)
    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(standard.std(axis=0), 1, atol=1e-4)


def test_images_lie_on_the_grid_and_are_0_outside():
    grid = small_grid()
    values = draw(5, grid)
    preparation = fit_preparation(values, grid, ("a", "b"), SETTINGS)
    images = preparation.images(values)
    assert images.shape == (5, *preparation.input_shape) == (5, 2, 7, 8, 9)
    assert images.dtype == np.float32
    assert (images[:, :, ~grid.mask] == 0).all()
    np.testing.assert_array_equal(images[:, :, grid.mask], preparation.standardise(values))


def test_missing_voxel_becomes_the_mean():
    values = draw(6, small_grid())
    preparation = fit_preparation(values, small_grid(), ("a", "b"), SETTINGS)
    values[2, 1, 5] = np.nan
    assert preparation.standardise(values)[2, 1, 5] == 0


def test_voxel_that_few_training_scans_cover_is_left_out():
    values = draw(6, small_grid())
    values[:4, 0, 3] = np.nan
    preparation = fit_preparation(values, small_grid(), ("a", "b"), SETTINGS)
    assert preparation.weight[0, 3] == 0
    assert preparation.weight[1, 3] > 0
    assert (preparation.standardise(draw(3, small_grid(), 1))[:, 0, 3] == 0).all()


def test_voxel_without_spread_does_not_explode():
    values = draw(6, small_grid())
    values[:, 0, 3] = 1.5
    preparation = fit_preparation(values, small_grid(), ("a", "b"), SETTINGS)
    assert abs(preparation.standardise(values + 1)[:, 0, 3]).max() < 10


def test_batch_and_single_scan_agree():
    grid = small_grid()
    settings = PreparationSettings(fwhm_mm=9.0)
    values = draw(4, grid)
    preparation = fit_preparation(values, grid, ("a", "b"), settings)
    whole = preparation.prepare(values)
    for row, scan in enumerate(values):
        np.testing.assert_array_equal(preparation.prepare(scan), whole[row])


@given(st.integers(0, 1000), st.integers(2, 6))
def test_disk_and_back_is_identical(tmp_path_factory, seed, n):
    folder = tmp_path_factory.mktemp("preparation")
    values = draw(n, small_grid(), seed)
    written = fit_preparation(values, small_grid(), ("a", "b"), PreparationSettings())
    written.write(folder)
    read = read_preparation(folder)
    np.testing.assert_array_equal(read.standardise(values), written.standardise(values))
    np.testing.assert_array_equal(read.grid.affine, written.grid.affine)
    assert (read.contrasts, read.fwhm_mm, read.grid.space) == (("a", "b"), 8.0, "MNI152")


def test_truncated_arrays_are_refused(tmp_path):
    written = fit_preparation(draw(3, small_grid()), small_grid(), ("a", "b"), SETTINGS)
    written.write(tmp_path)
    arrays = tmp_path / "preparation.safetensors"
    arrays.write_bytes(arrays.read_bytes()[:-10])
    with pytest.raises(BundleError, match="preparation that can't be read"):
        read_preparation(tmp_path)


def test_contrasts_that_do_not_fit_are_refused(tmp_path):
    written = fit_preparation(draw(3, small_grid()), small_grid(), ("a", "b"), SETTINGS)
    written.write(tmp_path)
    settings = json.loads((tmp_path / "preparation.json").read_text())
    settings["contrasts"] = ["a"]
    (tmp_path / "preparation.json").write_text(json.dumps(settings))
    with pytest.raises(BundleError, match=r"arrays of shape \(2, 175\), not \(1, 175\)"):
        read_preparation(tmp_path)


@pytest.fixture
def values(grid, rng):
    return rng.normal(size=(23, grid.n_voxels)).astype(np.float32)


@pytest.fixture
def whole(grid):
    return SeriesPreparation(grid, ("bold",), 0.5, 0)


@pytest.fixture
def written(whole, tmp_path):
    whole.write(tmp_path)
    return tmp_path


def test_places_volumes_on_the_grid(whole, grid, values):
    images = whole.images(values)
    assert images.shape == (23, 7, 8, 9)
    assert images.dtype == np.float32
    assert np.array_equal(images[:, grid.mask], values)
    assert not images[:, ~grid.mask].any()


def test_voxel_that_some_volumes_lack_is_zero_at_all_times(whole, grid, values):
    values[20:, 5] = np.nan
    images = whole.images(values)[:, grid.mask]
    assert not images[:, 5].any()
    assert np.array_equal(images[:, 6], values[:, 6])


def test_whole_run_is_one_window(whole, values):
    assert whole.input_shape == (2, 7, 8, 9)
    assert np.array_equal(whole.inputs(values), whole.images(values)[None])


@given(n=st.integers(2, 40), window=st.integers(2, 40))
def test_windows_hold_every_volume_in_order(grid, n, window):
    preparation = SeriesPreparation(grid, ("bold",), 0.5, window)
    numbered = np.repeat(np.arange(1, n + 1, dtype=np.float32)[:, None], grid.n_voxels, axis=1)
    assert preparation.input_shape == (window, 7, 8, 9)
    if n < window:
        with pytest.raises(ValueError, match=f"a run of {n} volumes"):
            preparation.inputs(numbered)
        return
    windows = preparation.inputs(numbered)
    assert windows.shape[1:] == (window, 7, 8, 9)
    numbers = windows[..., grid.mask][..., 0]
    assert set(numbers.ravel()) == set(range(1, n + 1))
    assert (np.diff(numbers, axis=1) == 1).all()
    assert len(windows) == -(-n // window)


def test_inputs_of_maps_are_one(grid, rng):
    maps = rng.normal(size=(5, 2, grid.n_voxels)).astype(np.float32)
    settings = PreparationSettings(voxel_size_mm=12, fwhm_mm=0.0)
    preparation = fit_preparation(maps, grid, ("alff", "reho"), settings)
    inputs = preparation.inputs(maps[3])
    assert np.array_equal(inputs, preparation.prepare(maps[3:4]))


@pytest.mark.parametrize("window", [0, 31])
def test_series_preparation_to_disk_and_back_is_identical(grid, tmp_path, window):
    written = SeriesPreparation(grid, ("bold",), 0.4, window)
    written.write(tmp_path)
    found = read_preparation(tmp_path)
    assert isinstance(found, SeriesPreparation)
    assert found.grid.digest == grid.digest
    assert found.grid.space == grid.space
    assert (found.contrasts, found.min_coverage) == (("bold",), 0.4)
    assert found.window_volumes == window


def test_file_without_kind_is_of_maps(grid, rng, tmp_path):
    maps = rng.normal(size=(5, 1, grid.n_voxels)).astype(np.float32)
    settings = PreparationSettings(voxel_size_mm=12)
    fit_preparation(maps, grid, ("pain",), settings).write(tmp_path)
    assert "kind" not in json.loads((tmp_path / "preparation.json").read_text())
    assert read_preparation(tmp_path).input_shape == (1, 7, 8, 9)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"kind": "surface"}, "'kind' that is not one of maps, series"),
        ({"window_volumes": -1}, "'window_volumes' that is not a whole number from 0"),
        ({"window_volumes": 3.5}, "'window_volumes' that is not a whole number from 0"),
        ({"contrasts": ["a", "b"]}, "2 names for one series"),
        ({"affine": [[1.0], [2.0, 3.0]]}, "a preparation that can't be read"),
    ],
)
def test_field_that_is_wrong_is_named(written, change, found):
    path = written / "preparation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BundleError, match=found):
        read_preparation(written)


@pytest.mark.parametrize(
    ("mask", "found"),
    [(np.zeros((3, 4, 5), np.uint8), "with 0 voxels"), (np.ones(9, np.uint8), "a mask of shape")],
)
def test_mask_that_can_not_be_used_is_refused(written, mask, found):
    save_file({"mask": mask}, written / "preparation.safetensors")
    with pytest.raises(BundleError, match=found):
        read_preparation(written)


def test_tensors_are_standardised_as_arrays_are(rng):
    values = rng.normal(5, 3, size=(7, 2, 9)).astype(np.float32)
    values[3, 1, 4:6] = np.nan
    mean, weight = fit_standard(values)
    expected = standardise(values, mean, weight)
    assert np.isfinite(expected).all()
    assert not expected[3, 1, 4:6].any()
    assert np.isnan(values[3, 1, 4])
    tensors = (torch.from_numpy(one) for one in (values, mean, weight))
    np.testing.assert_array_equal(standardise(*tensors).numpy(), expected)


@given(window=st.integers(1, 60), more=st.integers(0, 300))
def test_as_few_windows_as_cover_the_run_are_spread_evenly(window, more):
    n_volumes = window + more
    starts = window_starts(n_volumes, window)
    assert {start + k for start in starts for k in range(window)} == set(range(n_volumes))
    assert starts[0] == 0
    assert starts[-1] == n_volumes - window
    assert (len(starts) - 1) * window < n_volumes
    steps = [after - before for before, after in pairwise(starts)]
    assert not steps or max(steps) - min(steps) <= 1


@pytest.mark.parametrize("n_volumes", [1, 137])
def test_no_window_is_the_whole_run(n_volumes):
    assert window_starts(n_volumes, 0) == [0]


def test_the_last_window_is_not_a_shorter_one():
    assert window_starts(101, 50) == [0, 25, 51]


@pytest.mark.parametrize(("n_volumes", "window"), [(49, 50), (0, 0)])
def test_run_shorter_than_a_window_is_refused(n_volumes, window):
    with pytest.raises(ValueError, match=f"a run of {n_volumes} volumes holds no window"):
        window_starts(n_volumes, window)
