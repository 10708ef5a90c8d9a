import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from fmnet.networks.closed_form import build_scale_space
from fmnet.networks.fine_path import RIDGE, WHITENING, FinePath
from fmnet.networks.paths import Path, Views

SHAPE = (2, 7, 8, 9)
N = 30


@pytest.fixture
def labels():
    return torch.arange(N) % 2


@pytest.fixture
def mask():
    mask = torch.ones(SHAPE[1:])
    mask[:, 0] = 0
    return mask


@pytest.fixture
def images(mask):
    """Scans that differ in two broad patterns above all."""
    generator = torch.Generator().manual_seed(0)
    broad = torch.randn(N, 2, generator=generator) @ torch.randn(2, 1008, generator=generator)
    own = torch.randn(N, *SHAPE, generator=generator)
    return (own + 3 * broad.reshape(N, *SHAPE)) * mask


@pytest.fixture
def pattern(mask):
    """A checkerboard: nothing of it is left after smoothing."""
    x, y, z = torch.meshgrid(*(torch.arange(size) for size in SHAPE[1:]), indexing="ij")
    return ((-1.0) ** (x + y + z) * mask).expand(SHAPE)


def as_views(images):
    return Views(images, images[:, None])


def fitted(images, labels, mask):
    path = FinePath(SHAPE)
    path.fit(as_views(images), labels, mask)
    return path.requires_grad_(False)


def test_a_fine_pattern_is_found_below_broad_ones(images, labels, mask, pattern):
    images = images + 0.3 * labels[:, None, None, None, None] * pattern
    path = fitted(images[:20], labels[:20], mask)
    assert roc_auc_score(labels[20:], path(as_views(images[20:]))) > 0.9
    found = np.corrcoef(path.weight.flatten(), pattern.flatten())[0, 1]
    difference = images[:20][labels[:20] == 1].mean(0) - images[:20][labels[:20] == 0].mean(0)
    assert found > 1.5 * np.corrcoef(difference.flatten(), pattern.flatten())[0, 1]


def test_weights_are_the_inverse_square_of_the_covariance(images, labels, mask):
    """Worked out over voxels, where the path does it over scans."""
    path = fitted(images, labels, mask)
    inside = mask.bool().expand(SHAPE)
    centred = (images[:, inside] - images[:, inside].mean(0)).numpy().astype(float)
    z = centred / centred.std(0)
    variance, axes = np.linalg.eigh(z @ z.T)
    typical = variance.sum() / (N - 1) / WHITENING
    left = (axes * np.sqrt(typical / (typical + variance.clip(0)))) @ axes.T @ z
    scale = 1 / centred.std(0) / left.std(0)
    z = centred * scale
    covariance = z.T @ z
    ridge = RIDGE * np.trace(covariance) / (N - 1) * np.eye(len(scale))
    one, other = (z[(labels == value).numpy()].mean(0) for value in (1, 0))
    once = np.linalg.solve(covariance + ridge, one - other)
    expected = np.linalg.solve(covariance + ridge, once) * scale
    given = path.weight[inside].numpy()
    np.testing.assert_allclose(given / given.std(), expected / expected.std(), atol=1e-3)


def test_voxels_outside_the_mask_have_no_weight(images, labels, mask):
    path = fitted(images + 1, labels, mask)
    assert not path.weight[:, :, 0].any()
    assert path.weight[:, :, 1:].all()


def test_the_mean_training_scan_is_scored_by_nothing(images, labels, mask):
    path = fitted(images + 7, labels, mask)
    spread = path(as_views(images + 7)).std()
    assert path(as_views((images + 7).mean(0, keepdim=True))).abs().item() < 1e-4 * spread


def test_many_labelings_at_once_give_what_one_at_a_time_does(images, mask):
    generator = torch.Generator().manual_seed(3)
    labelings = torch.stack([torch.randperm(20, generator=generator) % 2 for _ in range(4)])
    labelings[0, :7] = 1  # unequal groups as well
    train, unseen = as_views(images[:20]), as_views(images[20:])
    found = FinePath(SHAPE).scores_of_labelings(train, labelings, mask, unseen)
    expected = Path.scores_of_labelings(FinePath(SHAPE), train, labelings, mask, unseen)
    rounding = 2e-4 * expected.std().item()
    torch.testing.assert_close(found, expected.detach(), atol=rounding, rtol=0)


def test_a_voxel_that_hardly_differs_in_training_does_not_rule(images, labels, mask):
    """A new scan may well differ in it, as where coverage ends."""
    images[:, 0, 3, 4, 5] *= 1e-3
    weight = fitted(images, labels, mask).weight.abs()
    assert weight[0, 3, 4, 5] < weight.mean()


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_units_do_not_matter(images, labels, mask, factor):
    plain, scaled = (fitted(images * k, labels, mask) for k in (1, factor))
    torch.testing.assert_close(
        scaled(as_views(images * factor)), plain(as_views(images)), rtol=1e-3, atol=1e-5
    )


def test_scans_that_are_all_alike_have_no_weight(labels, mask):
    path = fitted(torch.ones(N, *SHAPE), labels, mask)
    assert not path.weight.any()
    assert not path.bias.any()


def test_the_default_network_takes_it_by_name(images, labels):
    network = build_scale_space(SHAPE, paths=["focal", "fine"])
    assert list(network.backbone.paths) == ["focal", "fine"]
    network.backbone.fit(images, labels, torch.arange(N) // 10)
    assert torch.isfinite(network(images)).all()


def test_it_is_not_part_of_the_default():
    assert "fine" not in build_scale_space(SHAPE).backbone.paths
