import pytest
import torch
from signature_fixtures import write_small_cnn

from fmnet.networks import prior_path
from fmnet.networks.backbones import ClosedFormBackbone, mean_gradient
from fmnet.networks.closed_form import build_prior_cnn, build_scale_space
from fmnet.networks.paths import Path, Views

SHAPE = (2, 7, 8, 9)
N = 24


@pytest.fixture
def weights(tmp_path):
    prior_path._pretrained.cache_clear()
    write_small_cnn(tmp_path / "own.safetensors")
    return str(tmp_path / "own.safetensors")


@pytest.fixture
def images():
    images = torch.randn(N, *SHAPE, generator=torch.Generator().manual_seed(5))
    images[12:, 0, 3:5, 4:6, 5:7] += 1.5
    images[..., 0] = 0  # outside the brain
    images[:, :, 2, 3, 4] = 0
    return images


@pytest.fixture
def labelings():
    """The first of unequal groups, the last of those that differ."""
    labels = torch.arange(N) // 12
    generator = torch.Generator().manual_seed(2)
    many = torch.stack([labels[torch.randperm(N, generator=generator)] for _ in range(19)])
    many[0, :7] = 1
    return torch.cat([many, labels[None]])


@pytest.mark.parametrize("name", ["prior", "fine", "focal", "distributed"])
def test_weights_of_labelings_are_those_of_one_at_a_time(name, images, labelings, weights):
    backbone = build_prior_cnn(SHAPE, 6.0, weights, paths=[name], whitening=3.0).backbone
    path, mask = backbone.paths[name], (images != 0).any(0).any(0).float()
    backbone.stem.mask.copy_(mask)
    views = Views(images, backbone.stem(images))
    found = path.weights_of_labelings(views, labelings, mask, backbone.stem)
    some = labelings[[0, 7, 19]]
    expected = Path.weights_of_labelings(path, views, some, mask, backbone.stem)
    assert expected.shape == (3, 2, 7 * 8 * 8 - 1)
    assert path.is_linear
    size = expected.abs().max().item()
    torch.testing.assert_close(found[[0, 7, 19]], expected, atol=2e-5 * size, rtol=1e-4)


@pytest.mark.parametrize("n_folds", [1, 3])
@pytest.mark.parametrize("settings", [{}, {"paths": ["voxel_pairs", "focal"]}])
def test_weights_of_sums_are_those_of_one_at_a_time(settings, n_folds, images, labelings, weights):
    backbone = build_prior_cnn(SHAPE, 6.0, weights, **settings).backbone
    folds, inside = torch.arange(N) % n_folds, torch.ones(SHAPE[1:], dtype=torch.bool)
    inside[6] = False
    some = labelings[[0, 7, 19]]
    found = backbone.weights_of_labelings(images, some, folds, inside)
    expected = ClosedFormBackbone.weights_of_labelings(backbone, images, some, folds, inside)
    assert expected.shape == (3, 2, 6 * 8 * 9)
    size = max(expected.abs().max().item(), 1e-6)
    torch.testing.assert_close(found, expected, atol=2e-5 * size, rtol=1e-4)


def test_voxel_weights_give_the_score_of_the_linear_paths(images, labelings, weights):
    backbone = build_prior_cnn(SHAPE, 6.0, weights).backbone
    backbone.fit(images, labelings[-1], torch.arange(N) % 3)
    backbone.gate.data.fill_(0.5)
    with torch.no_grad():
        whole, linear = backbone(images)[:, 0], backbone.linear_scores(images)
        backbone.gate[-2:] = 0  # the two paths of products
        without = backbone(images)[:, 0]
    weight = backbone.voxel_weights(images)
    scores = images.flatten(1) @ weight.flatten()
    torch.testing.assert_close(scores - scores[0], linear - linear[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(linear, without)
    assert (whole - linear).std() > 0.1


def test_products_alone_have_no_weights(images, labelings):
    backbone = build_scale_space(SHAPE, 6.0, paths=["voxel_pairs", "contrast_products"]).backbone
    inside = torch.ones(SHAPE[1:], dtype=torch.bool)
    folds = torch.arange(N) % 3
    assert backbone.weights_of_labelings(images, labelings, folds, inside) is None
    assert backbone.voxel_weights(images) is None


def test_mean_gradient_is_over_all_scans(images):
    found = mean_gradient(lambda image: image.flatten(1).square().sum(1), images)
    torch.testing.assert_close(found, 2 * images.mean(0))
