import numpy as np
import pytest
import torch
from torch import nn

from fmnet.data.resample import smooth_values
from fmnet.inference.preparation import PreparationSettings, fit_preparation
from fmnet.networks.backbones import ScoreNetwork, linear_network
from fmnet.signature.surrogate import explained_variance, fit_surrogate
from fmnet.training.fit import predict_scores

N = 36
FWHM_MM = 30.0


class Scored(nn.Module):
    """Applies a function to a weighted sum of voxels."""

    def __init__(self, weight, function):
        super().__init__()
        self.weight, self.function = nn.Parameter(torch.from_numpy(weight)), function

    def forward(self, image):
        return self.function(image.flatten(1) @ self.weight.flatten())[:, None]


@pytest.fixture
def values(grid, rng):
    return (3 + 2 * rng.normal(size=(N, 2, grid.n_voxels))).astype(np.float32)


@pytest.fixture
def preparation(grid, values):
    settings = PreparationSettings(fwhm_mm=FWHM_MM)
    return fit_preparation(smooth_values(values, grid, FWHM_MM), grid, ("a", "b"), settings)


@pytest.fixture
def weight(grid, rng):
    return grid.unmask(rng.normal(size=(2, grid.n_voxels)).astype(np.float32))


@pytest.fixture
def units():
    return [f"person{number}" for number in range(N)]


def test_of_a_linear_network_it_is_the_network(preparation, values, weight, units):
    network = linear_network(weight, 0.4)
    found = fit_surrogate(network, preparation, values, units, 0)
    assert found.r2 == pytest.approx(1, abs=1e-6)
    assert found.slope == pytest.approx(1, abs=1e-3)
    assert found.kind == "mean gradient"
    scores = predict_scores(network, preparation.prepare(values))
    assert np.allclose((found.weights * values).sum((1, 2)) + found.intercept, scores, atol=1e-3)
    inputs = preparation.prepare(values[:5])
    mask = preparation.grid.mask
    assert np.allclose(found.scores(inputs, mask), scores[:5], atol=1e-3)
    assert explained_variance([(found, network, inputs)], mask) == pytest.approx(1, abs=1e-5)


def test_a_bent_score_is_followed_as_far_as_a_line_can(preparation, values, weight, units):
    network = ScoreNetwork(Scored(weight / 30, torch.tanh))
    found = fit_surrogate(network, preparation, values, units, 0)
    assert 0.5 < found.r2 < 0.999
    assert 0.8 < found.slope < 1.2


def test_what_no_line_follows_is_said(preparation, values, weight, units):
    found = fit_surrogate(ScoreNetwork(Scored(weight, torch.square)), preparation, values, units, 0)
    assert found.r2 < 0.3


def test_networks_without_gradients_get_a_ridge(preparation, values, weight, units, rng):
    direction = rng.normal(size=(2, values.shape[2])).astype(np.float32)
    values += direction * rng.normal(scale=9, size=(N, 1, 1)).astype(np.float32)
    network = ScoreNetwork(Scored(weight, lambda score: torch.round(score).detach()))
    found = fit_surrogate(network, preparation, values, units, 0)
    assert found.kind == "ridge"
    assert found.r2 > 0.5


def test_people_unseen_tell_what_is_explained_fold_by_fold(preparation, values, weight, units):
    bent = ScoreNetwork(Scored(weight / 30, torch.tanh))
    found = fit_surrogate(bent, preparation, values[:20], units[:20], 0)
    mask, inputs = preparation.grid.mask, preparation.prepare(values[20:])
    scores, guessed = predict_scores(bent, inputs), found.scores(inputs, mask)
    expected = 1 - np.square(scores - guessed).mean() / scores.var()
    assert explained_variance([(found, bent, inputs)], mask) == pytest.approx(expected, rel=1e-5)
    # a second fold whose network scores upside down, which its surrogate knows nothing of
    other = ScoreNetwork(Scored(-weight / 30, torch.tanh))
    both = explained_variance([(found, bent, inputs), (found, other, inputs)], mask)
    assert both < 0 < expected


def test_families_are_never_split(preparation, values, weight):
    values[N // 2 :] = values[: N // 2]  # twins, as like as two scans of one person
    network = ScoreNetwork(Scored(weight, lambda score: torch.sin(9 * score)))
    alone = [f"person{number}" for number in range(N)]
    family = [f"family{number % (N // 2)}" for number in range(N)]
    apart = fit_surrogate(network, preparation, values, alone, 0)
    together = fit_surrogate(network, preparation, values, family, 0)
    assert apart.r2 > 0.4
    assert together.r2 < 0.1


def test_the_choice_is_made_on_others_than_those_that_r2_is_of(preparation, values, weight, units):
    # a score that scans don't tell: choosing among forms on the same people would flatter
    network = ScoreNetwork(Scored(weight, lambda score: torch.sin(50 * score)))
    r2 = [fit_surrogate(network, preparation, values, units, seed).r2 for seed in range(5)]
    assert np.mean(r2) < 0.02


def test_scores_all_alike_explain_nothing(preparation, values, weight, units):
    found = fit_surrogate(linear_network(weight * 0, 0.4), preparation, values, units, 0)
    assert (found.r2, found.slope) == (0, 0)
    assert found.intercept == pytest.approx(0.4)
    assert not found.weights.any()
