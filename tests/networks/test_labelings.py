from unittest.mock import patch

import pytest
import torch

from fmnet.networks import labelings as module
from fmnet.networks.closed_form import build_scale_space
from fmnet.networks.feature_weighting import t_values
from fmnet.networks.labelings import read_labelings
from fmnet.networks.path_sums import PathSum
from fmnet.networks.paths import Views
from fmnet.networks.product_path import ProductForm

PATHS = ("focal", "distributed", "contrast_products", "voxel_pairs")
SHAPE = (2, 7, 8, 9)


def labelings_of(n, n_labelings, n_positive):
    ranks = torch.rand(n_labelings, n, generator=torch.Generator().manual_seed(3)).argsort(1)
    return (ranks < n_positive).long()


@pytest.fixture(scope="module")
def scans():
    """Scans of two contrasts with an effect, and a corner outside the brain."""
    images = torch.randn(25, *SHAPE, generator=torch.Generator().manual_seed(1))
    images[:13, :, 3:5, 3:6, 4:6] += 0.8
    images[:, :, :2, :2] = 0
    return images


@pytest.mark.parametrize("n_positive", [9, 7])
def test_t_values_of_labelings_are_those_of_each(n_positive):
    features = torch.randn(18, 11, generator=torch.Generator().manual_seed(0)) + 0.5
    features[:, 3] = 0
    labels = labelings_of(18, 5, n_positive)
    expected = torch.stack([t_values(features, own) for own in labels])
    torch.testing.assert_close(read_labelings(labels).t_values(features), expected)


@pytest.mark.parametrize("n_positive", [10, 8])
@pytest.mark.parametrize("block", [500, 2**19])
@pytest.mark.parametrize("name", PATHS)
def test_scores_of_labelings_are_those_of_one_at_a_time(name, block, n_positive, scans):
    backbone = build_scale_space(SHAPE, 6.0, paths=[name], whitening=3.0).backbone
    assert isinstance(backbone, PathSum)
    path = backbone.paths[name]
    if name == "voxel_pairs":  # so few that they must be looked for
        path.form = ProductForm(12, False, 40, 12)
        path.weight = torch.nn.Parameter(torch.zeros(len(path.bands), 40))
        path.first, path.second = (torch.zeros(len(path.bands), 40).long() for _ in range(2))
    mask = (scans != 0).any(0).any(0).float()
    views = Views(scans, backbone.stem(scans))
    train, unseen = views.rows(torch.arange(20)), views.rows(torch.arange(20, 25))
    labels = labelings_of(20, 6, n_positive)
    expected = super(type(path), path).scores_of_labelings(train, labels, mask, unseen)
    with patch.object(module, "BLOCK", block):
        found = path.scores_of_labelings(train, labels, mask, unseen)
    # t-values agree to 1e-6, of which the path of pairs takes the twelfth power
    tolerance = 5e-5 if name == "voxel_pairs" else 1e-5
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    assert expected.std(0).min() > 0.01


def test_products_are_looked_for_again_where_none_was_found_at_first():
    z = torch.randn(18, 30, generator=torch.Generator().manual_seed(2))
    first, second = torch.triu_indices(30, 30, 1)
    labels, n_calls = read_labelings(labelings_of(18, 1, 9)), 0
    draw_bound = module._draw_bound

    def too_high_at_first(*given):
        nonlocal n_calls
        n_calls += 1
        return draw_bound(*given) + (1e6 if n_calls == 1 else 0)

    with patch.object(module, "_draw_bound", too_high_at_first):
        best, t = module._largest_products(z.T.contiguous(), first, second, labels, 5)
    expected = labels.t_values(z[:, first] * z[:, second])
    assert set(best[0].tolist()) == set(expected[0].abs().topk(5).indices.tolist())
    torch.testing.assert_close(t, expected.gather(1, best))
    assert n_calls > 1


@pytest.mark.parametrize("n_folds", [1, 3])
def test_sums_of_paths_are_fitted_for_all_labelings_at_once(n_folds, scans):
    network = build_scale_space(SHAPE, 6.0)
    labels = labelings_of(20, 4, 10)
    folds = torch.arange(20) % n_folds
    expected = []
    for own in labels:
        network.backbone.fit(scans[:20], own, folds)
        expected.append(network(scans[20:]))
    found = network.backbone.scores_of_labelings(scans[:20], labels, folds, scans[20:])
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-5, atol=1e-5)
