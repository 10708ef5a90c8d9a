import copy

import numpy as np
import pytest
import torch
from torch import nn

from fmnet.errors import FmnetError
from fmnet.networks.backbones import ScoreNetwork, build_small_cnn, linear_network
from fmnet.networks.closed_form import build_scale_space
from fmnet.networks.monai_networks import build_monai
from fmnet.signature.attribution import (
    frozen,
    gradients,
    group_attribution,
    incompleteness,
    integrated_gradients,
    occlusion,
    region_curve,
)
from fmnet.training.fit import predict_scores

SHAPE = (2, 7, 8, 9)


class Step(nn.Module):
    """Counts voxels above a threshold: no gradient tells of it."""

    def __init__(self, is_detached):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.is_detached = is_detached

    def forward(self, image):
        steps = torch.sign(image).flatten(1).sum(1, keepdim=True)
        return steps.detach() if self.is_detached else steps * self.weight


class Pairs(nn.Module):
    """Multiplies neighbours along z, and adds voxels."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(SHAPE, generator=torch.Generator().manual_seed(2)))

    def forward(self, image):
        products = image[..., 1:] * image[..., :-1] * self.weight[..., 1:]
        return (products.flatten(1).sum(1) + (image * self.weight).flatten(1).sum(1))[:, None]


@pytest.fixture
def inputs(rng):
    return rng.normal(size=(11, *SHAPE)).astype(np.float32)


@pytest.fixture
def regions(rng):
    """Numbers in no order, the first of them none."""
    return rng.choice([0, 9, 4, 2], size=SHAPE[1:])


@pytest.fixture
def closed_form():
    """A default network with products that count."""
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(24, *SHAPE, generator=generator), torch.arange(24) % 2
    images[labels == 1, 0, 2:5, 2:5, 2:5] += 1
    network = build_scale_space(SHAPE, voxel_size_mm=8.0).eval()
    network.backbone.fit(images, labels, torch.arange(24) // 8)
    with torch.no_grad():
        network.backbone.gate.fill_(0.3)
    return network


def linear(rng, bias=0.7):
    return linear_network(rng.normal(size=SHAPE).astype(np.float32), bias)


def small_cnn():
    torch.manual_seed(0)
    return build_small_cnn(SHAPE)


def test_of_a_linear_network_each_voxel_adds_its_weight_times_its_value(rng, inputs):
    network = linear(rng)
    weight = network.backbone[1].weight.detach().numpy().reshape(SHAPE)
    assert np.allclose(integrated_gradients(network, inputs), inputs * weight, atol=1e-6)
    assert np.allclose(gradients(network, inputs), np.broadcast_to(weight, inputs.shape))


def test_one_step_is_exact_for_products(inputs, closed_form):
    for network in (ScoreNetwork(Pairs()), closed_form):
        found = integrated_gradients(network, inputs, n_steps=1)
        assert incompleteness(network, inputs, found) < 1e-4


@pytest.mark.parametrize("build", [small_cnn, lambda: monai("ViT"), lambda: monai("resnet10")])
def test_parts_add_up_to_the_score(inputs, build):
    network = build()
    found = integrated_gradients(network, inputs[:2], n_steps=600)
    difference = predict_scores(network.eval(), inputs[:2]) - predict_scores(
        network, np.zeros((1, *SHAPE), np.float32)
    )
    missing = np.abs(found.sum((1, 2, 3, 4)) - difference).max() / np.abs(difference).mean()
    assert missing < 0.0101
    assert incompleteness(network, inputs[:2], found) == pytest.approx(missing, abs=1e-3)


def monai(name):
    settings = {
        "ViT": {"patch_size": 4, "num_layers": 1, "hidden_size": 6, "mlp_dim": 8, "num_heads": 2},
        "resnet10": {"widen_factor": 0.0625},
    }
    torch.manual_seed(0)
    return build_monai(SHAPE, name, settings[name], 8)


def test_another_baseline_is_left_out_in_place_of_the_mean(inputs, closed_form):
    found = integrated_gradients(closed_form, inputs, baseline=inputs[4])
    assert not found[4].any()
    scores = predict_scores(closed_form, inputs)
    assert np.allclose(found.sum((1, 2, 3, 4)), scores - scores[4], atol=1e-4)
    assert incompleteness(closed_form, inputs, found, inputs[4]) < 1e-4
    assert incompleteness(closed_form, inputs, found) > 0.01


def test_a_group_map_adds_up_to_the_difference_of_mean_scores(inputs, closed_form):
    labels = np.array([1, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0])
    shown = group_attribution(integrated_gradients(closed_form, inputs), labels)
    scores = predict_scores(closed_form, inputs)
    expected = scores[labels == 1].mean() - scores[labels == 0].mean()
    assert shown.shape == SHAPE
    assert shown.sum() == pytest.approx(expected, rel=1e-3)


def test_networks_stay_as_they_were(inputs, regions):
    network = small_cnn().train()
    next(network.parameters()).requires_grad_(False)
    network.backbone.net[0].eval()
    before = copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    integrated_gradients(network, inputs[:2], n_steps=5)
    gradients(network, inputs[:2])
    occlusion(network, inputs[:2], regions)
    region_curve(network, inputs[:2], regions == 4, [1])
    with pytest.raises(KeyError, match="of a caller"), frozen(network):
        raise KeyError("of a caller")
    assert [module.training for module in network.modules()] == modes
    asked = [parameter.requires_grad for parameter in network.parameters()]
    assert asked == [False] + [True] * (len(asked) - 1)
    assert all(parameter.grad is None for parameter in network.parameters())
    for name, values in network.state_dict().items():
        assert torch.equal(values, before[name]), name


@pytest.mark.parametrize(
    ("is_detached", "found"), [(True, "a network without them"), (False, "0 everywhere")]
)
def test_networks_without_gradients_are_left_to_occlusion(inputs, regions, is_detached, found):
    network = ScoreNetwork(Step(is_detached))
    with pytest.raises(FmnetError, match=f"{found}.*explain it by occlusion"):
        integrated_gradients(network, inputs)
    lost = occlusion(network, inputs, regions)
    signs = np.sign(inputs).sum(1)
    assert np.allclose(lost[:, 1], signs[:, regions == 4].sum(1), atol=1e-4)


def test_gradients_that_are_not_finite_are_refused(rng, inputs):
    network = linear(rng)
    with torch.no_grad():
        network.backbone[1].weight[0, 3] = torch.nan
    with pytest.raises(FmnetError, match="some that are not finite"):
        integrated_gradients(network, inputs)


@pytest.mark.parametrize("name", ["linear", "closed form", "small_cnn"])
def test_occlusion_is_what_the_score_loses(rng, inputs, regions, closed_form, name):
    built = {"linear": linear(rng), "closed form": closed_form, "small_cnn": small_cnn().eval()}
    network = built[name]
    found = occlusion(network, inputs, regions)
    assert found.shape == (11, 3)
    assert found.dtype == np.float32
    scores = predict_scores(network, inputs)
    for column, number in enumerate((2, 4, 9)):
        without = np.where(regions == number, np.float32(0), inputs)
        lost = scores - predict_scores(network, without)
        assert np.allclose(found[:, column], lost, atol=1e-4), number


def test_occlusion_takes_no_further_scores_where_they_add_up(rng, inputs, regions, monkeypatch):
    monkeypatch.setattr("captum.attr.FeatureAblation", None)
    assert occlusion(linear(rng), inputs, regions).shape == (11, 3)
    with pytest.raises(TypeError, match="not callable"):
        occlusion(ScoreNetwork(Pairs()), inputs, regions)


def test_a_curve_follows_a_region_of_one_contrast(rng, inputs, regions):
    network, region = linear(rng), np.zeros(SHAPE, bool)
    region[1] = regions == 4
    inputs[2][region] = 0  # has no data there
    weight = network.backbone[1].weight.detach().numpy().reshape(SHAPE)[region].sum()
    curve = region_curve(network, inputs, region, [-2, 0, 1.5])
    known = np.arange(11) != 2
    means = inputs[:, region].mean(1)
    wanted = means.mean() + np.array([-2, 0, 1.5]) * means.std()
    scores = predict_scores(network, inputs)[:, None]
    expected = scores + weight * (wanted - means[:, None])
    assert np.allclose(curve[known], expected[known], atol=1e-4)
    assert np.allclose(curve[2], scores[2])
