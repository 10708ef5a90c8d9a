import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from fmnet.baselines.labelings import aucs_of_labelings, fit_logistic
from fmnet.baselines.linear import LinearSvm, LogisticRidge, ShrinkageLda

MODELS = (LinearSvm(), LogisticRidge(), ShrinkageLda(fraction=(0.02, 0.3, 1.0)))


@pytest.fixture
def labelings():
    rng = np.random.default_rng(5)
    return np.stack([rng.permutation(np.arange(23) < 11) for _ in range(4)]).astype(np.int64)


@pytest.fixture
def scans(labelings):
    """Standardised features of training scans and others, some without variance."""
    rng = np.random.default_rng(6)
    features = rng.normal(size=(30, 400)).astype(np.float32)
    features[:23][labelings[0] == 1, :30] += 1
    features[:, 7] = 0
    return features[:23], features[23:]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.title)
def test_scores_of_labelings_are_those_of_one_at_a_time(model, scans, labelings):
    train, others = scans
    settings = model.settings[:3]
    found = model._score(train, labelings, others, settings)
    assert found.shape == (3, 4, 7)
    for n, labels in enumerate(labelings):
        lines = model._fit(train, labels, settings)
        expected = [others @ weight + bias for weight, bias in lines]
        np.testing.assert_allclose(found[:, n], expected, rtol=2e-4, atol=2e-5)


def test_aucs_are_those_of_scikit_learn(labelings):
    scores = np.random.default_rng(0).integers(0, 9, size=(2, 4, 23)).astype(float)
    found = aucs_of_labelings(scores, labelings)
    for one, row in zip(found, scores, strict=True):
        expected = [roc_auc_score(*pair) for pair in zip(labelings, row, strict=True)]
        np.testing.assert_allclose(one, expected)


@pytest.mark.parametrize("c", [0.01, 1.0, 100.0])
def test_logistic_regression_is_that_of_scikit_learn(c, labelings):
    features = np.random.default_rng(1).normal(size=(23, 60)) / 8
    each, bias = fit_logistic(features @ features.T, labelings, c)
    for n, labels in enumerate(labelings):
        model = LogisticRegression(C=c, class_weight="balanced", solver="newton-cg", tol=1e-10)
        model.fit(features, labels)
        np.testing.assert_allclose(each[n] @ features, model.coef_[0], atol=1e-5)
        assert bias[n] == pytest.approx(model.intercept_[0], abs=1e-5)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.title)
@pytest.mark.parametrize("is_harmonised", [False, True])
def test_weights_of_labelings_give_the_scores_of_the_model(
    model, is_harmonised, build_data, fold, rng
):
    """Up to a constant; every setting is chosen anew, and several widths are among those chosen."""
    values = rng.normal(1, 2, size=(30, 2, 210))
    values[1::2, 0, 40:70] += 1.5
    data = build_data(values)
    if is_harmonised:
        data = data.harmonised(lambda values, train: values - values[train].mean(axis=0))
    labelings = np.stack([data.labels, *(rng.permutation(data.labels) for _ in range(5))])
    found = model.weights_of_labelings(data, fold, labelings)
    scores = model.scores_of_labelings(data, fold, labelings)
    maps = data.values[data.rows(fold.test)]
    expected = np.tensordot(found, maps, axes=([1, 2], [1, 2]))
    assert found.shape == (6, 2, 210)
    for own, score in zip(expected, scores, strict=True):
        np.testing.assert_allclose(own - own[0], score - score[0], atol=1e-4 * score.std())
