import numpy as np
import pytest
import torch
from scipy.stats import ttest_ind

from fmnet.networks import feature_weighting
from fmnet.networks.feature_weighting import fit_whitening, product_t_values, t_values, weigh


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    common = rng.normal(size=(20, 1)) * 5  # one broad pattern, in which all differ
    return torch.from_numpy(rng.normal(size=(20, 70)) + common).float()


@pytest.fixture
def labels():
    return torch.arange(20) % 2


def test_t_is_that_of_welch(features, labels, monkeypatch):
    monkeypatch.setattr(feature_weighting, "VARIANCE_FLOOR", 0.0)
    found = t_values(features, labels).numpy() * np.sqrt(9 / 10)  # population variances
    expected = ttest_ind(features[labels == 1], features[labels == 0], equal_var=False).statistic
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_products_are_compared_as_if_they_were_made(features, labels):
    found = product_t_values(features[:, :7], labels)
    products = features[:, :7, None] * features[:, None, :7]
    expected = t_values(products.flatten(1), labels).reshape(7, 7).fill_diagonal_(0)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_whitening_makes_the_broad_pattern_count_for_less(features):
    plain, white = (fit_whitening(features, strength, 20)[0](features) for strength in (0, 10))
    assert np.corrcoef(plain.T).shape == np.corrcoef(white.T).shape == (70, 70)
    apart = ~np.eye(70, dtype=bool)
    assert np.corrcoef(plain.T)[apart].mean() > 0.9
    assert np.corrcoef(white.T)[apart].mean() < 0.2


@pytest.mark.parametrize("strength", [0, 10])
def test_training_scans_come_out_with_unit_spread(features, strength):
    white = fit_whitening(features, strength, 20)[0](features)
    torch.testing.assert_close(white.mean(0), torch.zeros(70), atol=1e-5, rtol=0)
    torch.testing.assert_close(white.std(0, correction=0), torch.ones(70), atol=1e-4, rtol=0)


def test_whitened_training_scans_are_those_of_the_whitening(features):
    whitening, white = fit_whitening(features, 10, 20)
    torch.testing.assert_close(white, whitening(features), atol=1e-4, rtol=1e-4)


def test_weights_can_be_moved_back_before_the_whitening(features):
    whitening, _ = fit_whitening(features, 10, 20)
    weight = torch.linspace(-1, 1, 70)
    raw = whitening.unwhitened(weight)
    expected = whitening(features) @ weight
    torch.testing.assert_close((features - whitening.mean) @ raw, expected, atol=1e-3, rtol=1e-3)


def test_features_that_never_vary_are_left_out(features):
    features[:, 3] = 2.0
    whitening, _ = fit_whitening(features, 10, 20)
    assert not whitening(features + 5)[:, 3].any()


def test_labels_are_not_needed_and_few_axes_are_filled_up(features):
    whitening, _ = fit_whitening(features[:5], 10, 12)
    assert whitening.axes.shape == (70, 12)
    assert not whitening.axes[:, 5:].any()
    assert (whitening.shrink[:4] > 0).all()


def test_power_leaves_more_to_the_best():
    t = torch.tensor([4.0, -2.0, 1.0])
    torch.testing.assert_close(weigh(t, 1), t / t.norm())
    assert weigh(t, 5)[0] > 0.99
    assert weigh(t, 3)[1] < 0
    torch.testing.assert_close(weigh(t, 12).norm(), torch.tensor(1.0))


def test_no_evidence_is_no_weight():
    assert not weigh(torch.zeros(3), 3).any()
