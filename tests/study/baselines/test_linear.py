from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from fmnet.data.folds import Fold
from fmnet.data.grid import Grid
from fmnet.study.baselines.base import BaselineData, score_fold
from fmnet.study.baselines.constant import Dummy
from fmnet.study.baselines.linear import LinearSvm, LogisticRidge

PEOPLE = [f"sub-{number:02}" for number in range(30)]
FOLD = Fold(
    0, 0, tuple(PEOPLE[:20]), tuple(PEOPLE[20:]), (tuple(PEOPLE[:10]), tuple(PEOPLE[10:20]))
)


def make_data(values) -> BaselineData:
    mask = np.zeros((7, 8, 9), dtype=bool)
    mask[1:6, 1:7, 1:8] = True
    return BaselineData(
        SimpleNamespace(
            labels=np.arange(30) % 2,
            participant_ids=PEOPLE,
            grid=Grid(mask, np.diag([4.0, 4.0, 4.0, 1.0]), "MNI152"),
            listing=SimpleNamespace(contrasts=("a",)),
        ),
        values,
    )


@pytest.fixture
def values():
    values = np.random.default_rng(0).normal(size=(30, 1, 210)).astype(np.float32)
    values[1::2, :, :40] += 1
    return values


def test_dummy_scores_everybody_alike(values):
    scores = score_fold(Dummy(), make_data(values), FOLD)
    assert set(scores.score) == {0.0}
    assert scores.probability == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("model", [LinearSvm(), LogisticRidge()])
def test_finds_a_plain_effect(values, model):
    data = make_data(values)
    scores = score_fold(model, data, FOLD)
    assert scores.score.shape == scores.probability.shape == (10,)
    assert roc_auc_score(data.labels[20:], scores.score) > 0.9
    assert np.mean((scores.probability - data.labels[20:]) ** 2) < 0.15


def test_ridge_in_the_kernel_is_ridge_on_the_voxels(values):
    data, train, test = make_data(values), np.arange(20), np.arange(20, 30)
    features = data.features(train, 0.0)
    features = features / np.sqrt((features[train] ** 2).sum(axis=1).mean())
    plain = LogisticRegression(C=0.5, class_weight="balanced", max_iter=1000, tol=1e-8)
    plain.fit(features[train], data.labels[train])
    np.testing.assert_allclose(
        LogisticRidge().scores(data, train, test, (0.0, 0.5)),
        plain.decision_function(features[test]),
        atol=2e-3,
    )


def test_svm_does_not_see_the_test_fold(values):
    spoilt = values.copy()
    spoilt[20:] += 50
    settings = LinearSvm(fwhm_mm=(0.0, 8.0))
    assert settings.choose(make_data(values), FOLD) == settings.choose(make_data(spoilt), FOLD)
    changed = make_data(values)
    changed.labels = np.where(np.arange(30) < 20, changed.labels, 1 - changed.labels)
    np.testing.assert_array_equal(
        score_fold(settings, make_data(values), FOLD).score,
        score_fold(settings, changed, FOLD).score,
    )


def test_smoothing_is_chosen_where_it_helps():
    mask = make_data(np.zeros((30, 1, 210), np.float32)).cohort.grid.mask
    rng = np.random.default_rng(3)
    values = rng.normal(size=(30, 1, 210)).astype(np.float32)
    blob = np.zeros((7, 8, 9), np.float32)
    blob[1:6, 1:7, 1:5] = 0.45
    values[1::2] += blob[mask]
    fwhm_mm, _ = LinearSvm(fwhm_mm=(0.0, 12.0)).choose(make_data(values), FOLD)
    assert fwhm_mm == 12.0


def test_missing_voxels_do_no_harm(values):
    values[::3, :, 100:150] = np.nan
    assert np.isfinite(score_fold(LinearSvm(), make_data(values), FOLD).score).all()


@pytest.mark.parametrize("c", [0.01, 10.0])
@pytest.mark.parametrize("model", [LinearSvm(), LogisticRidge()])
def test_weights_score_as_the_model_does(values, model, c):
    """Of images far from a norm of 1, two channels, and voxels that some scans lack."""
    values = np.concatenate([values, 300 * values[::-1] + 5], axis=1)
    values[::3, :, 100:120] = np.nan
    data, train, test = make_data(values), np.arange(20), np.arange(20, 30)
    weight, bias = model.weights(data, train, (8.0, c))
    assert weight.shape == (2, 210)
    np.testing.assert_allclose(
        data.features(train, 8.0)[test] @ weight.ravel() + bias,
        model.scores(data, train, test, (8.0, c)),
        atol=1e-4,
    )
