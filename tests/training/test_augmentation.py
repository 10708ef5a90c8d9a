import pytest
import torch
from monai.transforms import Affine, GaussianSmooth
from monai.transforms.utils import create_rotate, create_translate

from fmnet.training.augmentation import (
    Augmentation,
    RandomSource,
    _move,
    _smooth,
    build_augmentation,
)

LIGHT = Augmentation(1.0, 1.0, 3.0, 0.1, 0.1, 0.5)


def blobs_on_the_left(n=3) -> torch.Tensor:
    images = torch.zeros(1, n, 2, 17, 18, 19)
    images[..., 2:6, 7:11, 7:11] = 1
    return images


def test_none_when_the_probability_is_0():
    assert build_augmentation(probability=0.0) is None
    assert build_augmentation(probability=0.5, noise_sd=0.1) == Augmentation(0.5, noise_sd=0.1)


def test_changes_values_but_not_shape_or_type():
    images = blobs_on_the_left()
    augmented = LIGHT(images.clone(), [RandomSource(0)])
    assert augmented.shape == images.shape
    assert augmented.dtype == torch.float32
    assert not torch.equal(augmented[0, 0], augmented[0, 1])


@pytest.mark.parametrize("seed", range(8))
def test_left_stays_left(seed):
    source = RandomSource(seed)
    for _ in range(3):
        images = LIGHT(blobs_on_the_left(), [source])
        assert images[..., 2:6, 7:11, 7:11].mean() > 0.3
        assert images.flip(3)[..., 2:6, 7:11, 7:11].mean().abs() < 0.1


def test_same_seed_same_changes():
    one, other = (LIGHT(blobs_on_the_left(), [RandomSource(3)]) for _ in range(2))
    torch.testing.assert_close(one, other, atol=0, rtol=0)


def test_a_training_draws_the_same_beside_others():
    alone = LIGHT(blobs_on_the_left(), [RandomSource(3)])
    beside = LIGHT(
        torch.cat([blobs_on_the_left(), blobs_on_the_left()]), [RandomSource(4), RandomSource(3)]
    )
    torch.testing.assert_close(beside[1:], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("place", "setting"), [(0, "shift_voxels"), (3, "noise_sd")])
def test_about_as_many_are_changed_as_asked_for(place, setting):
    augmentation = Augmentation(0.3, **{setting: 0.7})
    images = blobs_on_the_left(n=200)
    changed = augmentation(images, [RandomSource(0)]) != images
    assert 0.2 < changed.flatten(2).any(dim=2).float().mean() < 0.4


def test_moves_as_monai_does():
    image = torch.rand(1, 1, 7, 8, 9)
    angles, shift = (0.1, -0.2, 0.05), (1.0, -0.5, 0.25)
    theirs = Affine(rotate_params=angles, translate_params=shift, padding_mode="zeros")
    expected, _ = theirs(image[0])
    matrix = create_rotate(3, angles) @ create_translate(3, shift)
    found = _move(image, torch.as_tensor(matrix, dtype=torch.float32)[None])[0]
    torch.testing.assert_close(found, expected.as_tensor(), atol=1e-4, rtol=1e-4)


def test_smooths_as_monai_does():
    images = torch.rand(2, 3, 9, 10, 11)
    sigmas = torch.tensor([[0.8, 0.6, 0.9], [0.5, 1.0, 0.7]])
    smoothed = _smooth(images, sigmas)
    for image, sigma, found in zip(images, sigmas, smoothed, strict=True):
        expected = GaussianSmooth(tuple(sigma.tolist()), approx="sampled")(image)
        torch.testing.assert_close(found, torch.as_tensor(expected), atol=5e-3, rtol=1e-2)
