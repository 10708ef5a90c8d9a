import numpy as np
import pytest
import torch

from fmnet.data.grid import Grid
from fmnet.data.resample import smooth_values
from fmnet.networks.scale_space import ScaleSpace

SHAPE = (9, 10, 11)


@pytest.fixture
def mask():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[1:8, 2:9, 1:9] = True
    mask[3, 4, 5] = False
    return mask


@pytest.fixture
def images(mask):
    values = np.random.default_rng(0).normal(size=(2, 3, *SHAPE)).astype(np.float32)
    return values * mask


def build(mask, bands, voxel_size_mm=4.0):
    stem = ScaleSpace((3, *SHAPE), bands, voxel_size_mm)
    stem.mask.copy_(torch.from_numpy(mask))
    return stem


def test_bands_are_differences_of_the_smoothing_used_elsewhere(mask, images):
    grid = Grid(mask, np.diag([4.0, 4.0, 4.0, 1.0]), "MNI152")
    found = build(mask, [(0, 12), (8, 16)])(torch.from_numpy(images)).numpy()
    smoothed = {w: smooth_values(images[..., mask], grid, float(w)) for w in (0, 8, 12, 16)}
    # SciPy cuts its kernel off at four standard deviations
    np.testing.assert_allclose(found[:, 0][..., mask], smoothed[0] - smoothed[12], atol=1e-3)
    np.testing.assert_allclose(found[:, 1][..., mask], smoothed[8] - smoothed[16], atol=1e-3)


def test_nothing_lies_outside_the_mask_and_nothing_there_counts(mask, images):
    stem = build(mask, [(6, 16)])
    image, spoilt = torch.from_numpy(images), torch.from_numpy(images + np.float32(100) * ~mask)
    torch.testing.assert_close(stem(spoilt), stem(image))
    assert not stem(image).numpy()[..., ~mask].any()


def test_a_constant_has_no_band(mask):
    constant = torch.ones(1, 3, *SHAPE)
    assert build(mask, [(6, 16), (8, 40)])(constant).abs().max() < 1e-5


def test_widths_are_in_mm(mask, images):
    at_4_mm = build(mask, [(8, 16)], voxel_size_mm=4)
    at_2_mm = build(mask, [(4, 8)], voxel_size_mm=2)
    image = torch.from_numpy(images)
    torch.testing.assert_close(at_4_mm(image), at_2_mm(image))


def test_axes_are_not_mixed_up(mask):
    image = torch.zeros(1, 3, *SHAPE)
    image[0, :, 4, 5, 6] = 1
    found = build(np.ones(SHAPE, dtype=bool), [(0, 12)])(image)[0, 0, 0]
    assert np.unravel_index(int(found.argmax()), SHAPE) == (4, 5, 6)
    assert found[3, 5, 6] < found[2, 5, 6] < 0
    torch.testing.assert_close(found[3, 5, 6], found[4, 4, 6], rtol=0.2, atol=1e-3)


@pytest.mark.parametrize("band", [0, 1])
def test_weights_of_a_band_become_those_of_the_scan(band, mask, images):
    stem, weights = build(mask, [(0, 12), (8, 16)]), torch.randn(3, *SHAPE)
    image = torch.from_numpy(images)
    expected = (stem(image)[:, band] * weights).flatten(1).sum(1)
    found = (image * stem.weights_of_image(weights, band)).flatten(1).sum(1)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
