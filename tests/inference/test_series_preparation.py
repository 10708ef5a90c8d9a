import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from fmnet.errors import BundleError
from fmnet.inference.preparation import (
    PreparationSettings,
    SeriesPreparation,
    fit_preparation,
    read_preparation,
)


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
def test_disk_and_back_is_identical(grid, tmp_path, window):
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
