import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnet.data.grid import Grid
from fmnet.errors import BundleError
from fmnet.inference.preparation import (
    PreparationSettings,
    fit_preparation,
    read_preparation,
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
