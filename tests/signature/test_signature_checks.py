import numpy as np
import pytest
import torch

from fmnet.networks.backbones import ScoreNetwork, build_small_cnn, linear_network
from fmnet.networks.closed_form import build_scale_space
from fmnet.signature.checks import deletion_insertion, randomise_model

N = 40


@pytest.fixture
def labels():
    return np.arange(N) % 2


@pytest.fixture
def effect(grid):
    """One block, of which the first contrast tells."""
    effect = np.zeros((2, *grid.shape), np.float32)
    effect[0, 2:5, 2:5, 3:6] = 1
    return effect * grid.mask


@pytest.fixture
def inputs(grid, labels, effect, rng):
    noise = rng.normal(size=(N, 2, *grid.shape))
    return (noise + 0.8 * labels[:, None, None, None, None] * effect).astype(np.float32) * grid.mask


def fitted(inputs, labels):
    network = build_scale_space(inputs.shape[1:], voxel_size_mm=20.0, paths=("focal",)).eval()
    folds = torch.arange(N) // 2 % 3
    network.backbone.fit(torch.from_numpy(inputs), torch.from_numpy(labels), folds)
    return network


def test_a_map_is_gone_with_the_parameters(inputs, labels, grid):
    network = fitted(inputs, labels)
    before = {name: values.clone() for name, values in network.state_dict().items()}
    found = randomise_model(network, inputs, labels, grid, seed=0, n_null=99)
    assert found.passes
    assert found.p > 0.05
    assert not found.cascade
    assert len(found.draws) == 5
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())


def test_a_map_that_needs_no_parameters_fails(inputs, labels, grid):
    # all weights alike: shuffled ones are the same, and the map shows the scans
    network = linear_network(np.ones((2, *grid.shape), np.float32), 0.0)
    found = randomise_model(network, inputs, labels, grid, seed=0, n_null=99)
    assert not found.passes
    assert found.similarity == pytest.approx(1, abs=1e-4)
    assert found.p == pytest.approx(0.01)


def test_a_network_that_says_nothing_fails(inputs, labels, grid):
    network = linear_network(np.zeros((2, *grid.shape), np.float32), 0.0)
    assert not randomise_model(network, inputs, labels, grid, seed=0, n_draws=1, n_null=9).passes


def test_layers_are_shuffled_from_the_top_where_gradients_trained_them(inputs, labels, grid):
    torch.manual_seed(0)
    network = build_small_cnn((2, *grid.shape), channels=(3, 4))
    found = randomise_model(network, inputs[:8], labels[:8], grid, seed=0, n_draws=1, n_null=9)
    names = [name for name, module in network.named_modules() if not list(module.children())]
    order = [names.index(name) for name in found.cascade]
    assert len(order) > 1
    assert order == sorted(order, reverse=True)


def test_a_true_map_leaves_less_and_carries_more_than_random_ones(grid, inputs, labels, effect):
    def score(scans):
        return scans[:, effect > 0].mean(1)

    values = (effect * 1.0)[:, grid.mask]
    rival = -values[::-1]
    found = deletion_insertion(
        score, inputs, labels, values, grid, {"other contrast": rival}, 0, n_random=19
    )
    assert found["p"] == found["p_faithful"] == pytest.approx(0.05)
    own, other = found["map"], found["rivals"]["other contrast"]
    assert own["deletion"][0] == own["insertion"][-1] > 0.8
    assert own["insertion"][0] == own["deletion"][-1] == 0.5
    assert own["gap"] > 0.2 > other["gap"]
    assert own["gap"] == pytest.approx(own["insertion_area"] - own["deletion_area"])
    assert own["deletion_area"] == pytest.approx(np.mean(own["deletion"][1:]))
    assert own["faithful_gap"] > 0.5 > other["faithful_gap"]
    assert len(found["random"]) == 19
    assert np.std([one["gap"] for one in found["random"]]) > 0


def test_a_map_of_nothing_is_no_better_than_random_ones(grid, inputs, labels, effect, rng):
    def score(scans):
        return scans[:, effect > 0].mean(1)

    values = rng.normal(size=(2, grid.n_voxels)).astype(np.float32)
    values[effect[:, grid.mask] > 0] /= 100  # last where it matters
    found = deletion_insertion(score, inputs, labels, values, grid, {}, 0, n_random=19)
    assert min(found["p"], found["p_faithful"]) > 0.2
    assert found["rivals"] == {}


def test_a_map_is_true_to_a_model_that_is_wrong(grid, inputs, labels, effect):
    def score(scans):  # of the contrast that tells nothing
        return scans[:, effect[::-1] > 0].mean(1)

    values = effect[::-1][:, grid.mask] * np.float32(1)
    found = deletion_insertion(score, inputs, labels, values, grid, {}, 0, n_random=19)
    assert found["p_faithful"] == pytest.approx(0.05)
    assert found["map"]["faithful_gap"] > 0.5 > abs(found["map"]["gap"])


def test_shuffling_takes_any_network_of_scores(inputs, labels, grid):
    network = ScoreNetwork(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(inputs[0].size, 1))
    )
    found = randomise_model(network, inputs, labels, grid, seed=1, n_null=99)
    assert found.passes
    assert list(found.cascade) == ["backbone.1"]
