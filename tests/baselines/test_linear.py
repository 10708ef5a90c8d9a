from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_ind
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from fmnet.baselines.base import Dummy, score_fold
from fmnet.baselines.linear import (
    LinearSvm,
    LogisticRidge,
    ShrinkageLda,
    fit_shrinkage_lda,
    ledoit_wolf_dual,
)
from fmnet.data.folds import Fold
from fmnet.data.grid import Grid
from fmnet.training.scan_set import MapScans

LABELS = np.arange(30) % 2
PEOPLE = [f"sub-{number:02}" for number in range(30)]
FOLD = Fold(
    0, 0, tuple(PEOPLE[:20]), tuple(PEOPLE[20:]), (tuple(PEOPLE[:10]), tuple(PEOPLE[10:20]))
)


def make_data(values, labels=LABELS) -> MapScans:
    mask = np.zeros((7, 8, 9), dtype=bool)
    mask[1:6, 1:7, 1:8] = True
    return MapScans(
        SimpleNamespace(
            labels=labels,
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


@pytest.mark.parametrize("model", [LinearSvm(), LogisticRidge(), ShrinkageLda()])
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


@pytest.mark.parametrize("model", [LinearSvm(fwhm_mm=(0.0, 8.0)), ShrinkageLda((0.0, 8.0))])
def test_nothing_is_learned_from_the_test_fold(values, model):
    """Neither choices nor weights, of which the screen is a part, change with its scans."""
    data, spoilt, train = make_data(values), values.copy(), np.arange(20)
    spoilt[20::2] += 50
    choice = model.choose(data, FOLD)
    assert choice == model.choose(make_data(spoilt), FOLD)
    for one, other in zip(
        model.weights(data, train, choice),
        model.weights(make_data(spoilt), train, choice),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    swapped = np.where(np.arange(30) < 20, LABELS, 1 - LABELS)
    changed = make_data(values, swapped)
    np.testing.assert_array_equal(
        score_fold(model, make_data(values), FOLD).score, score_fold(model, changed, FOLD).score
    )


@settings(max_examples=10, deadline=None)
@given(n_one=st.integers(4, 9), n_other=st.integers(5, 17), seed=st.integers(0, 99))
def test_lda_is_that_of_scikit_learn(n_one, n_other, seed):
    rng = np.random.default_rng(seed)
    labels = np.repeat([1, 0], [n_one, n_other])
    spread = rng.uniform(0.3, 3, 23)
    features = (rng.normal(size=(len(labels), 23)) + rng.normal(size=(len(labels), 1))) * spread
    features[labels == 1, :5] += 1
    plain = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=[0.5, 0.5])
    plain.fit(features, labels)
    weight, bias = fit_shrinkage_lda(features[labels == 1], features[labels == 0])
    np.testing.assert_allclose(weight, plain.coef_[0], rtol=1e-6, atol=1e-8)
    assert bias == pytest.approx(plain.intercept_[0], abs=1e-8)


@pytest.mark.parametrize("n_features", [1, 7, 80])
def test_shrinkage_is_that_of_scikit_learn(n_features):
    rng = np.random.default_rng(n_features)
    features = rng.normal(size=(9, n_features)) @ rng.normal(size=(n_features, n_features))
    features -= features.mean(axis=0)
    expected = ledoit_wolf_shrinkage(features, assume_centered=True)
    assert ledoit_wolf_dual(features) == pytest.approx(expected)


def test_lda_keeps_the_voxels_with_the_largest_t(values):
    data, train = make_data(values), np.arange(20)
    weight, _ = ShrinkageLda().weights(data, train, (0.0, 0.1))
    t = np.abs(ttest_ind(values[1:20:2, 0], values[0:20:2, 0]).statistic)
    assert set(np.flatnonzero(weight)) == set(np.argsort(-t)[:21])
    weight, _ = ShrinkageLda().weights(data, train, (0.0, 0.0001))
    assert np.flatnonzero(weight).tolist() == [t.argmax()]


def test_lda_chooses_its_screen_on_inner_folds():
    """Few voxels that tell the groups apart, or all of them a little; ties go to the first."""
    rng = np.random.default_rng(0)
    focal = rng.normal(size=(30, 1, 210)).astype(np.float32)
    broad = focal.copy()
    focal[1::2, :, :2] += 2
    broad[1::2] += rng.choice([-0.4, 0.4], 210).astype(np.float32)
    model = ShrinkageLda(fwhm_mm=(0.0,), fraction=(1.0, 0.01))
    assert model.choose(make_data(focal), FOLD) == (0.0, 0.01)
    assert model.choose(make_data(broad), FOLD) == (0.0, 1.0)
    alike = ShrinkageLda(fwhm_mm=(4.0, 0.0), fraction=(0.5, 0.1))
    assert alike.choose(make_data(np.ones_like(focal)), FOLD) == (4.0, 0.5)


@pytest.mark.parametrize("train", [[0, 1, 2, 3], [0, 2, 4, 1]])
def test_lda_scores_where_a_group_has_one_or_two_scans(values, train):
    values[:, :, :7] = 0
    data, test = make_data(values), np.arange(20, 30)
    scores = ShrinkageLda().scores(data, np.array(train), test, (0.0, 1.0))
    assert np.isfinite(scores).all()
    assert np.ptp(scores) > 0


def test_single_option_is_chosen_without_a_fit(values, monkeypatch):
    monkeypatch.setattr(LinearSvm, "_score", lambda *_: pytest.fail("fitted"))
    assert LinearSvm(fwhm_mm=(8.0,), c=(0.5,)).choose(make_data(values), FOLD) == (8.0, 0.5)


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


@pytest.mark.parametrize("setting", [0.01, 1.0])
@pytest.mark.parametrize("model", [LinearSvm(), LogisticRidge(), ShrinkageLda()])
def test_weights_score_as_the_model_does(values, model, setting):
    """Of images far from a norm of 1, two channels, and voxels that some scans lack."""
    values = np.concatenate([values, 300 * values[::-1] + 5], axis=1)
    values[::3, :, 100:120] = np.nan
    data, train, test = make_data(values), np.arange(20), np.arange(20, 30)
    weight, bias = model.weights(data, train, (8.0, setting))
    assert weight.shape == (2, 210)
    np.testing.assert_allclose(
        data.features(train, 8.0)[test] @ weight.ravel() + bias,
        model.scores(data, train, test, (8.0, setting)),
        atol=1e-4,
    )
