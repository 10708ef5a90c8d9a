import numpy as np
import pytest
import torch
from signature_fixtures import write_small_cnn
from torch import nn

from fmnet.data.grid import Grid
from fmnet.data.resample import smooth_values
from fmnet.inference.preparation import (
    PreparationSettings,
    SeriesPreparation,
    fit_preparation,
)
from fmnet.networks import prior_path
from fmnet.networks.backbones import ScoreNetwork, build_linear, build_small_cnn, linear_network
from fmnet.networks.closed_form import build_prior_cnn
from fmnet.signature.linear import haufe_pattern, linear_part
from fmnet.training.fit import predict_scores

N, CONTRASTS = 24, ("pain", "rest")


@pytest.fixture
def values(grid):
    rng = np.random.default_rng(3)
    values = rng.normal(2, 3, size=(N, 2, grid.n_voxels)).astype(np.float32)
    values[12:, 0, 20:60] += 3
    return values


@pytest.fixture(params=[0.0, 8.0, 30.0])
def preparation(request, grid, values):
    settings = PreparationSettings(fwhm_mm=request.param)
    smoothed = smooth_values(values, grid, settings.fwhm_mm)
    return fit_preparation(smoothed, grid, CONTRASTS, settings)


def check_scores(part, values, expected):
    found = (values.astype(float) * part.weights).sum(axis=(1, 2)) + part.intercept
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.std(expected))


def test_weights_of_a_linear_network_give_its_scores(preparation, values, rng):
    weight = rng.normal(size=preparation.input_shape).astype(np.float32)
    part = linear_part(linear_network(weight, 0.7), preparation)
    scores = predict_scores(linear_network(weight, 0.7), preparation.prepare(values))
    assert part.fraction == 1
    check_scores(part, values, scores)


@pytest.mark.parametrize("has_products", [False, True])
def test_weights_of_paths_give_the_scores_of_the_linear_ones(
    has_products, preparation, values, tmp_path
):
    prior_path._pretrained.cache_clear()
    write_small_cnn(tmp_path / "own.safetensors")
    weights = str(tmp_path / "own.safetensors")
    network = build_prior_cnn(preparation.input_shape, 8.0, weights).eval()
    images, backbone = preparation.prepare(values), network.backbone
    labels, folds = torch.arange(N) // 12, torch.arange(N) % 3
    backbone.fit(torch.from_numpy(images), labels, folds)
    backbone.fraction.copy_(torch.tensor([0.2, 0.1, 0.2, 0.2, 0.1, 0.2]))
    backbone.gate.data.copy_(backbone.fraction)
    if not has_products:
        backbone.gate.data[-2:] = 0
    part = linear_part(network, preparation)
    scores = predict_scores(network, images)
    if has_products:
        assert part.fraction == pytest.approx(0.7)
        with torch.no_grad():
            linear = backbone.linear_scores(torch.from_numpy(images)).numpy()
        assert np.abs(scores - linear).max() > 0.1
        check_scores(part, values, linear)
    else:
        check_scores(part, values, scores)


def test_what_is_not_linear_has_no_linear_part(preparation, grid):
    assert linear_part(build_small_cnn(preparation.input_shape, [4]), preparation) is None
    bent = ScoreNetwork(nn.Sequential(nn.Flatten(), nn.Linear(2 * 504, 1), nn.Tanh()))
    assert linear_part(bent, preparation) is None
    series = SeriesPreparation(grid, ("bold",), 0.5, 2)
    assert linear_part(build_linear(series.input_shape), series) is None


def test_weights_lie_where_the_effect_is_and_not_at_its_mirror_image():
    """Voxels of unequal edges, an effect on the right alone."""
    grid = Grid(np.ones((7, 8, 9), bool), np.diag([4.0, 5.0, 6.0, 1.0]), "MNI152")
    values = np.random.default_rng(0).normal(size=(N, 1, 504)).astype(np.float32)
    right = np.zeros((7, 8, 9), bool)
    right[5, 1:3, 6:8] = True
    values[12:, :, right[grid.mask]] += 3
    fitted = fit_preparation(values, grid, ("a",), PreparationSettings(fwhm_mm=0.0))
    pattern = values[12:].mean(0) - values[:12].mean(0)
    part = linear_part(linear_network(grid.unmask(pattern), 0.0), fitted)
    volume = grid.unmask(part.weights)[0]
    assert volume[right].min() > np.abs(volume[::-1][right]).max()


def test_pattern_is_the_covariance_with_the_standardised_score(rng):
    values = rng.normal(size=(11, 2, 5)).astype(np.float32)
    scores = 3 * values[:, 1, 2] + rng.normal(size=11)
    found = haufe_pattern(values, scores)
    flat = values.reshape(11, -1)
    expected = [np.cov(one, scores)[0, 1] / scores.std(ddof=1) for one in flat.T]
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-4)
    np.testing.assert_allclose(haufe_pattern(2 * values, 5 * scores), 2 * found, rtol=1e-4)


def test_pattern_leaves_out_a_voxel_that_only_cancels_noise(rng):
    """The textbook's example: the weight of the second voxel is as large as that of the first."""
    signal, noise = rng.normal(size=(2, 4000))
    values = np.stack([signal + noise, noise], axis=1)[:, None].astype(np.float32)
    pattern = haufe_pattern(values, values[:, 0, 0] - values[:, 0, 1])
    assert pattern[0, 0] == pytest.approx(1, abs=0.1)
    assert pattern[0, 1] == pytest.approx(0, abs=0.1)


def test_scores_that_are_alike_have_no_pattern(rng):
    assert not haufe_pattern(rng.normal(size=(5, 1, 3)), np.ones(5)).any()
