import numpy as np
import pytest
import torch
from monai.transforms import (
    Affine,
    Compose,
    Flip,
    GaussianSmooth,
    Lambda,
    OneOf,
    Orientation,
    RandAffine,
    RandAxisFlip,
    RandBiasField,
    RandCoarseDropout,
    RandFlip,
    RandFlipd,
    RandGaussianNoise,
    RandGaussianSmooth,
    RandRotate,
    RandRotate90,
    RandScaleIntensity,
    RandSpatialCrop,
    RandZoom,
)
from monai.transforms.utils import create_rotate, create_translate

from fmnet.errors import ConfigError, TrainingError
from fmnet.training.augmentation import (
    Augmentation,
    RandomSource,
    _move,
    _smooth,
    build_augmentation,
    check_augmentation,
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


def changed(transforms, images, *seeds, **settings):
    augmentation = build_augmentation(transforms=transforms, **settings)
    return augmentation(images, [RandomSource(seed) for seed in seeds])


USUAL = {
    "affine": RandAffine(prob=1, rotate_range=[0.1] * 3, translate_range=2, scale_range=[0.1] * 3),
    "noise": RandGaussianNoise(prob=0.5, std=0.3),
    "scale": RandScaleIntensity(factors=-3.0, prob=1),
    "smooth": RandGaussianSmooth(prob=1),
    "bias": RandBiasField(prob=1),
    "dropout": RandCoarseDropout(holes=2, spatial_size=3, prob=1),
    "zoom": RandZoom(prob=1, min_zoom=0.8, max_zoom=1.2),
    "fixed": Affine(translate_params=(1.0, 0.0, 0.0)),
    "some": Compose([RandGaussianNoise(prob=1), OneOf([RandGaussianSmooth(), RandBiasField()])]),
}


@pytest.mark.parametrize("name", USUAL)
def test_transforms_of_monai_change_each_scan_by_itself(name):
    images = torch.rand(2, 3, 2, 17, 18, 19)
    found = changed([USUAL[name]], images, 3, 4)
    assert found.shape == images.shape
    assert type(found) is torch.Tensor
    alone = changed([USUAL[name]], images[1:], 4)
    torch.testing.assert_close(found[1:], alone, atol=0, rtol=0)
    check_augmentation(build_augmentation(transforms=[USUAL[name]]), (2, 17, 18, 19))


def test_scans_stay_with_their_labels():
    """Each scan has a value of its own, which a transform of the batch's axes would move."""
    images = torch.arange(1.0, 7.0)[None, :, None, None, None, None].expand(1, 6, 2, 7, 8, 9)
    found = changed([RandFlip(prob=1, spatial_axis=0)], images, 0, mirror=True)
    torch.testing.assert_close(found, images)
    found = changed([RandGaussianNoise(prob=1, std=0.01)], images, 0)
    torch.testing.assert_close(found.mean((2, 3, 4, 5)), images[..., 0, 0, 0, 0], atol=0.01, rtol=0)
    assert found[0, 0].std() > 0.005
    assert not torch.equal(found[0, 0] - 1, found[0, 1] - 2)  # each its own


def test_mirror_that_is_asked_for_flips_the_axis_that_is_named():
    images = torch.rand(1, 3, 2, 7, 8, 9)
    found = changed([RandFlip(prob=1, spatial_axis=0)], images, 0, mirror=True)
    torch.testing.assert_close(found, images.flip(3))


def test_transforms_follow_the_built_in_changes_of_the_batch():
    images = torch.rand(1, 3, 2, 17, 18, 19)
    light = {"probability": 1.0, "noise_sd": 0.1, "scale_range": 0.1}
    doubled = changed([Lambda(lambda image: 2 * image)], images, 3, **light)
    torch.testing.assert_close(doubled, 2 * Augmentation(**light)(images, [RandomSource(3)]))


MIRRORS = {
    "a flip, however rare": RandFlip(prob=0.001, spatial_axis=0),
    "front and back": RandFlip(spatial_axis=1),
    "any axis": RandAxisFlip(prob=0.1),
    "always": Flip(spatial_axis=0),
    "quarter turns": RandRotate90(prob=0.1),
    "half turns": RandAffine(prob=0.1, rotate_range=[0, 0, np.pi]),
    "turns": RandRotate(range_z=np.pi),
    "a negative scale": RandAffine(prob=0.1, scale_range=[(-1.01, 0.2), 0, 0]),
    "a fixed one": Affine(scale_params=(-1.0, 1.0, 1.0)),
    "an order of axes": Orientation("LPS"),
    "a function": Lambda(lambda image: image.flip(1)),
    "among others": Compose([RandGaussianNoise(), OneOf([RandZoom(), RandFlip()])]),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MIRRORS)
def test_what_mirrors_a_brain_is_refused_unless_asked_for(name):
    with pytest.raises(
        ConfigError, match=r"transforms\[1\]: found \w+ with settings that can mirror"
    ):
        build_augmentation(transforms=[RandGaussianNoise(), MIRRORS[name]])
    assert build_augmentation(transforms=[MIRRORS[name]], mirror=True) is not None


@pytest.mark.parametrize("transform", [RandFlipd(["image"]), torch.nn.Identity(), len, RandFlip])
def test_other_callables_are_refused(transform):
    with pytest.raises(ConfigError, match=r"transforms\[0\]: found a .*a transform of monai"):
        build_augmentation(transforms=[transform])


def test_what_changes_the_shape_is_refused_before_and_while_it_trains():
    augmentation = build_augmentation(transforms=[RandSpatialCrop((5, 5, 5), random_size=False)])
    with pytest.raises(ConfigError, match=r"shape \(2, 5, 5, 5\) from one of shape \(2, 7, 8"):
        check_augmentation(augmentation, (2, 7, 8, 9))
    with pytest.raises(TrainingError, match="transforms that keep the shape"):
        augmentation(torch.rand(1, 2, 2, 7, 8, 9), [RandomSource(0)])


def test_what_can_not_be_applied_is_refused():
    augmentation = build_augmentation(transforms=[RandSpatialCrop((50, 50, 50, 50))])
    with pytest.raises(ConfigError, match="can't be applied to a scan of shape"):
        check_augmentation(augmentation, (2, 7, 8, 9))


def test_volumes_of_a_window_are_moved_alike():
    volume = torch.rand(1, 2, 1, 17, 18, 19)
    windows = volume.expand(1, 2, 12, 17, 18, 19)  # (M, B, T, X, Y, Z)
    found = changed([USUAL["affine"]], windows, 0)
    torch.testing.assert_close(found, found[:, :, :1].expand_as(found))
    assert not torch.allclose(found, windows)
