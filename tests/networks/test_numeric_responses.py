"""Closed forms of numeric responses: the same as of two groups where these are equal."""

import pytest
import torch
from toy_heads import NumberHead

from fmnet.networks.closed_form import VoxelPath, build_prior_cnn, build_scale_space
from fmnet.networks.feature_weighting import VARIANCE_FLOOR, product_t_values, t_values
from fmnet.networks.fine_path import FinePath
from fmnet.networks.labelings import read_labelings
from fmnet.networks.path_sums import path_fractions, weigh_paths
from fmnet.networks.paths import Path, Views
from fmnet.networks.prior_cnn import log_variance_ratio
from fmnet.networks.product_path import ProductForm

SHAPE = (2, 7, 8, 9)
TRAIN, UNSEEN = torch.arange(24), torch.arange(24, 30)
FOLDS = torch.arange(24) % 3


@pytest.fixture(scope="module")
def responses():
    """Of 30 people: three responses, the last one of no scan's concern."""
    return torch.randn(30, 3, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def scans(responses):
    """Scans of two contrasts in which two responses show, and a corner outside the brain."""
    images = torch.randn(30, *SHAPE, generator=torch.Generator().manual_seed(1))
    images[:, 0, 3:5, 3:6, 4:6] += 1.5 * responses[:, :1, None, None]
    images[:, 1, 3:6, 5:7, 1:4] += 1.5 * responses[:, 1:2, None, None]
    images[:, :, :2, :2] = 0
    return images


@pytest.fixture
def features():
    features = torch.randn(18, 11, generator=torch.Generator().manual_seed(0)) + 0.5
    features[:, 3] = 0
    return features


def build(n_scores, make=build_scale_space, **settings):
    return make(SHAPE, 6.0, head=NumberHead(n_scores), **settings)


def fitted(scans, responses, folds=FOLDS, **settings):
    network = build(responses.shape[1], **settings)
    network.backbone.fit(scans[TRAIN], responses[TRAIN], folds)
    return network.eval()


def test_t_is_that_of_a_regression_with_a_floor(features):
    response = torch.randn(18, generator=torch.Generator().manual_seed(4))
    with_ones = torch.stack([torch.ones(18), response], 1)
    coefficients = torch.linalg.lstsq(with_ones, features).solution
    square = (response - response.mean()).square().sum()
    error = ((features - with_ones @ coefficients).square().mean(0) + VARIANCE_FLOOR) / square
    torch.testing.assert_close(t_values(features, response), coefficients[1] / error.sqrt())


def test_two_equal_groups_are_a_response(features):
    labels = torch.arange(18) % 2
    torch.testing.assert_close(t_values(features, labels * 3.0 - 7), t_values(features, labels))
    products = [product_t_values(features, own) for own in (labels * 3.0 - 7, labels)]
    torch.testing.assert_close(*products)


def test_t_of_products_is_t_of_what_was_multiplied(features):
    response = torch.randn(18, generator=torch.Generator().manual_seed(4))
    response[5] = torch.nan
    first, second = torch.triu_indices(11, 11, 1)
    expected = t_values(features[:, first] * features[:, second], response)
    torch.testing.assert_close(product_t_values(features, response)[first, second], expected)


def test_t_of_many_responses_are_those_of_each(features):
    many = torch.randn(5, 18, generator=torch.Generator().manual_seed(4))
    many[2, :4], many[3] = torch.nan, torch.nan
    expected = torch.stack([t_values(features, own) for own in many])
    torch.testing.assert_close(read_labelings(many).t_values(features), expected)
    assert not expected[3].any()  # of nobody it is known


def test_scans_whose_response_is_not_known_have_no_say_in_slopes(features):
    response = torch.randn(18, generator=torch.Generator().manual_seed(4))
    response[:6] = torch.nan
    other = features.clone()
    other[:6] = features[:6].flip(0)  # the same spread
    torch.testing.assert_close(t_values(features, response), t_values(other, response))
    strange = features * torch.where(response.isnan(), 3.0, 1.0)[:, None]
    assert t_values(strange, response).abs().sum() < 0.9 * t_values(features, response).abs().sum()


def test_a_response_has_no_ratio_of_variances(features):
    responses = torch.randn(1, 4, 18)
    assert not log_variance_ratio(features[None], responses).any()


PATHS = ("focal", "distributed", "fine", "contrast_products", "voxel_pairs", "prior")


@pytest.mark.parametrize("name", PATHS)
def test_scores_of_responses_are_those_of_one_at_a_time(name, scans, responses):
    network = build(1, build_prior_cnn, paths=[name], whitening=3.0)
    path = network.backbone.paths[name]
    if name == "voxel_pairs":  # so few that they must be looked for
        path.form = ProductForm(12, False, 40, 12)
        path.weight = torch.nn.Parameter(torch.zeros(len(path.bands), 40))
        path.first, path.second = (torch.zeros(len(path.bands), 40).long() for _ in range(2))
    mask = network.backbone._prepare(scans[TRAIN])
    views = Views(scans, network.backbone.stem(scans))
    many = torch.cat([responses[TRAIN].T.roll(number, 1) for number in range(3)])
    many[1, :5] = torch.nan
    given = views.rows(TRAIN), many, mask, views.rows(UNSEEN)
    expected = Path.scores_of_labelings(path, *given)
    found = path.scores_of_labelings(*given)
    torch.testing.assert_close(found, expected, rtol=5e-5, atol=5e-5)
    assert expected.std(0).median() > 0.05 * expected.std()


@pytest.mark.parametrize("n_folds", [1, 3])
@pytest.mark.parametrize("n_scores", [1, 3])
def test_several_orders_of_responses_are_fitted_at_once(n_scores, n_folds, scans, responses):
    folds = torch.arange(24) % n_folds
    orders = torch.stack([responses[TRAIN, :n_scores], responses[TRAIN, :n_scores].flip(0)])
    inside = torch.zeros(SHAPE[1:], dtype=torch.bool)
    inside[2:, 3:] = True
    networks = [fitted(scans, own, folds) for own in orders]
    with torch.no_grad():
        expected = torch.stack([network(scans[UNSEEN]) for network in networks])
    given = scans[TRAIN], orders, folds
    backbone = build(n_scores).backbone
    found = backbone.scores_of_labelings(*given, scans[UNSEEN])
    assert found.shape == (2, 6, n_scores)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    weights = [network.backbone.voxel_weights(scans[TRAIN]) for network in networks]
    each = torch.stack(weights)[..., inside].view(2, n_scores, 2, -1)
    written = backbone.weights_of_labelings(*given, inside)
    torch.testing.assert_close(written, each, rtol=1e-4, atol=1e-5)


def test_several_scores_are_those_of_each_alone(scans, responses):
    with torch.no_grad():
        together = fitted(scans, responses)(scans[UNSEEN])
        each = [fitted(scans, own[:, None])(scans[UNSEEN]) for own in responses.T]
    torch.testing.assert_close(together, torch.cat(each, 1), rtol=1e-4, atol=1e-4)


def test_what_scans_show_is_learned_and_units_do_not_matter(scans, responses):
    network = fitted(scans, responses)
    with torch.no_grad():
        scores = network(scans[UNSEEN])
        other = fitted(scans, responses * 40 - 3)(scans[UNSEEN])
    torch.testing.assert_close(scores, other, rtol=1e-3, atol=1e-3)
    for number in (0, 1):
        both = torch.stack([scores[:, number], responses[UNSEEN, number]])
        assert torch.corrcoef(both)[0, 1] > 0.8
    assert set(path_fractions(network)) == {
        "focal", "distributed", "contrast_products", "voxel_pairs",
    }  # fmt: skip


def test_who_has_no_response_is_left_out_of_what_is_told(scans, responses):
    """Their scans still count where the spread of voxels is estimated."""
    some = responses.clone()
    some[:8, 0] = torch.nan
    with torch.no_grad():
        scores = fitted(scans, some)(scans[UNSEEN])
        every = fitted(scans, responses)(scans[UNSEEN])
    assert scores.isfinite().all()
    torch.testing.assert_close(scores[:, 1:], every[:, 1:], rtol=1e-4, atol=1e-4)
    assert torch.corrcoef(torch.stack([scores[:, 0], responses[UNSEEN, 0]]))[0, 1] > 0.7


def test_a_response_of_nobody_scores_nobody(scans, responses):
    empty = torch.full_like(responses[:, :1], torch.nan)
    with torch.no_grad():
        scores = fitted(scans, torch.cat([empty, responses[:, :1]], 1))(scans[UNSEEN])
    assert not scores[:, 0].any()
    assert scores[:, 1].std() > 0.1


def test_equal_groups_as_numbers_are_learned_as_groups(scans):
    labels = torch.arange(24) % 2
    network = build_scale_space(SHAPE, 6.0)
    network.backbone.fit(scans[TRAIN], labels, FOLDS)
    number = fitted(scans, (torch.arange(30) % 2)[:, None] - 0.5)
    with torch.no_grad():
        expected, scores = network.eval()(scans[UNSEEN]), number(scans[UNSEEN])[:, 0]
    torch.testing.assert_close(scores, expected, rtol=1e-3, atol=1e-3)


def test_paths_are_weighed_by_numbers_as_by_equal_groups():
    labels = torch.arange(36) % 2
    unseen = torch.randn(7, 36, 4, generator=torch.Generator().manual_seed(0))
    unseen += torch.tensor([1.0, 0.8, 0.2, -3.0]) * labels[:, None]
    for found, expected in zip(
        weigh_paths(unseen, (labels * 5.0 + 2).expand(7, -1)),
        weigh_paths(unseen, labels.expand(7, -1)),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("n", [24, 80, 300])
def test_paths_that_do_not_go_along_with_numbers_count_rarely(n):
    """By one standard error: 0.16 of them; here 0.10 to 0.22, with 600 a width of +- 4 SE."""
    generator = torch.Generator().manual_seed(n)
    unseen = torch.randn(200, n, 4, generator=generator)
    gate = weigh_paths(unseen, torch.randn(200, n, generator=generator))[1]
    assert 0.10 < (gate[:, 1:] > 0).float().mean() < 0.22


def test_paths_are_weighed_by_those_whose_number_is_known():
    generator = torch.Generator().manual_seed(0)
    response = torch.randn(40, generator=generator)
    unseen = torch.randn(40, 3, generator=generator) + response[:, None]
    response[30:] = torch.nan
    for found, expected in zip(
        weigh_paths(unseen, response), weigh_paths(unseen[:30], response[:30]), strict=True
    ):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", [VoxelPath, FinePath])
def test_linear_paths_rise_where_the_response_does(kind, scans, responses):
    settings = (2, 3.0, 10.0) if kind is VoxelPath else ()
    path = kind(SHAPE, *settings)
    bands = torch.stack([scans, scans], 1)
    path.fit(Views(scans, bands), responses[:, 0], torch.ones(SHAPE[1:]))
    weight = path.weight.detach().reshape(-1, *SHAPE)[0]
    assert weight[0, 3:5, 3:6, 4:6].mean() > 2 * weight.abs().mean()
