import pytest
import torch

from fmnet.training.augmentation import build_augmentation

LIGHT = {
    "probability": 1.0,
    "shift_voxels": 1.0,
    "rotation_deg": 3.0,
    "noise_sd": 0.1,
    "scale_range": 0.1,
    "smooth_voxels": 0.5,
}


def blob_on_the_left() -> torch.Tensor:
    image = torch.zeros(2, 17, 18, 19)
    image[:, 2:6, 7:11, 7:11] = 1
    return image


def test_none_when_the_probability_is_0():
    assert build_augmentation(probability=0.0) is None


def test_changes_values_but_not_shape_or_type():
    image = blob_on_the_left()
    augmented = build_augmentation(**LIGHT)(image.clone())
    assert augmented.shape == image.shape
    assert augmented.dtype == torch.float32
    assert not torch.equal(augmented, image)


@pytest.mark.parametrize("seed", range(8))
def test_left_stays_left(seed):
    augment = build_augmentation(**LIGHT, seed=seed)
    for _ in range(5):
        image = augment(blob_on_the_left())
        mirrored = image.flip(1)
        assert image[:, 2:6, 7:11, 7:11].mean() > 0.3
        assert mirrored[:, 2:6, 7:11, 7:11].mean().abs() < 0.1


def test_same_seed_same_changes():
    one, other = (build_augmentation(**LIGHT, seed=3)(blob_on_the_left()) for _ in range(2))
    torch.testing.assert_close(one, other, atol=0, rtol=0)
