from dataclasses import replace

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from outcome_fixtures import TwoNumbers, scans_with, severity_with_signal
from sklearn.linear_model import Ridge

from fmnet.baselines.base import score_fold
from fmnet.baselines.outcomes import (
    OutcomeColumns,
    OutcomeCoverage,
    OutcomeDummy,
    OutcomeShortcut,
    VoxelRidge,
    correlations,
    ridge_scores,
)
from fmnet.baselines.shortcuts import FileGrid, Roughness, Scale
from fmnet.crossval.fold_loop import Pipeline
from fmnet.data.folds import build_folds
from fmnet.targets.severity import Severity


@pytest.fixture
def two_numbers():
    """Thirty people with two numbers, the second unknown of every fourth."""
    rng = np.random.default_rng(3)
    value, other, values = *rng.normal(size=(2, 30)), rng.normal(size=(30, 2, 210))
    values[:, 0, :30] += value[:, None]
    values[:, 1, 30:60] += other[:, None]
    other[::4] = np.nan
    return scans_with({"value": value, "other": other}, values, target=TwoNumbers())


def test_ridge_is_that_of_scikit_learn_on_those_whose_response_is_known():
    rng = np.random.default_rng(0)
    x, others, y = rng.normal(size=(9, 5)), rng.normal(size=(4, 5)), rng.normal(size=(9, 3))
    y[[0, 3], 1] = np.nan
    y[:, 2] = np.nan
    scores = ridge_scores(x @ x.T, others @ x.T, y, [0.1, 7.0])
    assert scores.shape == (2, 4, 3)
    for k, penalty in enumerate((0.1, 7.0)):
        for column in (0, 1):
            known = ~np.isnan(y[:, column])
            own = x[known] - x[known].mean(axis=0)
            alpha = penalty * (own**2).sum() / known.sum()
            expected = Ridge(alpha).fit(x[known], y[known, column]).predict(others)
            np.testing.assert_allclose(scores[k, :, column], expected, atol=1e-10)
        assert (scores[k, :, 2] == 0).all()


def test_scans_that_are_all_alike_score_the_mean():
    nothing = np.zeros((6, 6))
    scores = ridge_scores(nothing, nothing[:2], np.arange(6.0)[:, None], [0.1])
    np.testing.assert_allclose(scores, 2.5)


def test_correlations_are_of_what_is_known():
    rng = np.random.default_rng(1)
    scores, responses = rng.normal(size=(2, 8, 3)), rng.normal(size=(8, 3))
    responses[:3, 1] = np.nan
    responses[:, 2] = 4.0
    found = correlations(scores, responses)
    for k in range(2):
        assert found[k, 0] == pytest.approx(np.corrcoef(scores[k, :, 0], responses[:, 0])[0, 1])
        pair = scores[k, 3:, 1], responses[3:, 1]
        assert found[k, 1] == pytest.approx(np.corrcoef(*pair)[0, 1])
        assert found[k, 2] == 0


def test_many_outcomes_at_once_score_as_one_by_one(two_numbers):
    fold = build_folds(two_numbers.cohort, n_repeats=1)[1]
    model, rng = VoxelRidge(fwhm_mm=(0.0, 8.0)), np.random.default_rng(5)
    orders = [two_numbers.outcomes]
    orders += [two_numbers.outcomes.take(rng.permutation(30)) for _ in range(6)]
    together = model.scores_of_responses(two_numbers, fold, orders)
    assert together.shape == (7, len(fold.test), 2)
    alone = [
        score_fold(model, two_numbers.with_outcomes(one), fold, is_calibrated=False).score
        for one in orders
    ]
    np.testing.assert_allclose(together, alone, atol=1e-6)
    chosen = {model.choose(two_numbers.with_outcomes(one), fold) for one in orders}
    assert len(chosen) > 1


def test_voxel_ridge_finds_what_maps_show_and_prefers_what_predicts():
    data = severity_with_signal(n=60, effect=0.7)
    folds = build_folds(data.cohort, n_repeats=1)
    scores = {fold: score_fold(VoxelRidge(fwhm_mm=(0.0, 8.0)), data, fold) for fold in folds}
    r = [
        np.corrcoef(one.score[:, 0], data.outcomes["value"][data.rows(fold.test)])[0, 1]
        for fold, one in scores.items()
    ]
    assert np.mean(r) > 0.6
    named = scores[folds[0]].outputs
    assert {"value", "value_low", "value_high"} <= set(named)
    assert (named["value_low"] < named["value_high"]).all()


def test_weights_score_scans(two_numbers):
    train, test = np.arange(20), np.arange(20, 30)
    model, choice = VoxelRidge(), (8.0, 1.0)
    weights, bias = model.weights(two_numbers, train, choice)
    assert (weights.shape, bias.shape) == ((2, 2, 210), (2,))
    features = two_numbers.features(train, 8.0)[test].reshape(10, 2, 210)
    scores = np.tensordot(features, weights, axes=([1, 2], [1, 2])) + bias
    expected = model.scores(two_numbers, train, test, choice)
    np.testing.assert_allclose(scores, expected, atol=1e-4)


@pytest.mark.parametrize("fwhm_mm", [0.0, 8.0])
def test_weights_of_responses_are_of_maps_as_they_come(two_numbers, fwhm_mm):
    fold = build_folds(two_numbers.cohort, n_repeats=1)[0]
    model = VoxelRidge(fwhm_mm=(fwhm_mm,), penalty=(1.0,))
    orders = [two_numbers.outcomes, two_numbers.outcomes.take(np.arange(30)[::-1])]
    weights = model.weights_of_responses(two_numbers, fold, orders)
    assert weights.shape == (2, 2, 2, 210)
    scores = model.scores_of_responses(two_numbers, fold, orders)
    maps = two_numbers.values[two_numbers.rows(fold.test)]
    found = np.einsum("ncv,lkcv->lnk", maps, weights)
    gap = scores - found
    np.testing.assert_allclose(gap - gap.mean(axis=1, keepdims=True), 0, atol=1e-3)


def test_dummy_gives_everybody_what_the_null_model_does():
    data = severity_with_signal()
    fold = build_folds(data.cohort, n_repeats=1)[0]
    found = score_fold(OutcomeDummy(), data, fold)
    assert (found.score == np.zeros((6, 1))).all()
    assert np.ptp(found.outputs["value"]) == 0
    mean = data.outcomes["value"][data.rows(fold.train)].mean()
    assert found.outputs["value"][0] == pytest.approx(mean, rel=1e-6)


def test_columns_predict_without_what_is_predicted():
    rng = np.random.default_rng(2)
    age = rng.normal(50, 8, 40)
    value = age + rng.normal(0, 4, 40)
    texts = [f"{one:.1f}" for one in age]
    texts[3] = texts[30] = ""
    columns = {"age": texts, "FIQ-R": [f"{v:.1f}" for v in value], "sex": ["f", "m"] * 20}
    data = scans_with({"value": value}, target=Severity(column="FIQ-R"), **columns)
    fold = build_folds(data.cohort, n_repeats=1)[0]
    model = OutcomeColumns(columns=["age", "sex", "fiqr"])
    assert list(model.source.table(data).columns) == ["age", "sex"]
    score = score_fold(model, data, fold).score[:, 0]
    assert np.corrcoef(score, value[data.rows(fold.test)])[0, 1] > 0.7
    assert model.describe("covariates") == ("symptoms", "covariates only")
    lack = OutcomeColumns(columns=["FIQ-R"]).lacks(data)
    assert lack == "no column FIQ-R that differs between people"


def test_gaps_of_columns_are_filled_by_training_people():
    texts = [str(30 + k) for k in range(30)]
    texts[4] = texts[25] = ""
    data = scans_with({"value": np.arange(30.0)}, age=texts)
    train = np.arange(20)
    features = OutcomeColumns(columns=["age"]).features(data, train, 0.0)
    known = np.delete(np.arange(30.0, 50.0), 4)
    filled = np.append(known, np.median(known))
    expected = (np.median(known) - filled.mean()) / filled.std()
    assert features[25, 0] == pytest.approx(expected)


def test_shortcuts_see_what_their_tables_show():
    rng = np.random.default_rng(4)
    value = rng.normal(size=40)
    values = rng.normal(size=(40, 1, 210)) * np.exp(value)[:, None, None]
    grids = ["one" if v > 0 else "other" for v in value]
    values[value > 0, 0, 5:9] = np.nan
    data = scans_with({"value": value}, values, file_grids=grids)
    fold = build_folds(data.cohort, n_repeats=1)[0]
    truth = value[data.rows(fold.test)]
    for model in (OutcomeShortcut(shortcut=Scale()), OutcomeShortcut(shortcut=FileGrid())):
        assert np.corrcoef(score_fold(model, data, fold).score[:, 0], truth)[0, 1] > 0.7
        assert model.model_kind == "shortcut"
    assert np.corrcoef(score_fold(OutcomeCoverage(), data, fold).score[:, 0], truth)[0, 1] > 0.7
    plain = severity_with_signal()
    assert OutcomeShortcut(shortcut=FileGrid()).lacks(plain) == "files that are written differently"
    assert OutcomeCoverage().lacks(plain) == "scans that differ in coverage"
    rough = OutcomeShortcut(shortcut=Roughness())
    assert rough.describe("roughness") == ("shortcut", "roughness only")


def test_what_was_multiplied_is_kept_for_other_outcomes(two_numbers, monkeypatch):
    fold = build_folds(two_numbers.cohort, n_repeats=1)[0]
    model = VoxelRidge(fwhm_mm=(0.0,))
    before = score_fold(model, two_numbers, fold, is_calibrated=False).score
    again = two_numbers.with_outcomes(two_numbers.outcomes.take(np.arange(30)[::-1]))
    monkeypatch.setattr(VoxelRidge, "features", None)
    after = score_fold(model, again, fold, is_calibrated=False).score
    assert np.abs(after - before).max() > 0.01


def test_configured_ones_serve_targets_and_no_two_groups(build_data):
    configured = instantiate(OmegaConf.load("configs/baselines/outcomes.yaml"), _convert_="object")
    assert all(one.is_for_outcomes for one in configured.values())
    usual = set(OmegaConf.load("configs/baselines/default.yaml"))
    assert set(configured) - usual == {"voxel_ridge"}
    pipeline = Pipeline(None, configured, None, 0)
    data = severity_with_signal(age=[str(30 + k) for k in range(30)])
    assert set(pipeline.usable(data)) == {
        "dummy",
        "covariates",
        "voxel_ridge",
        "scale",
        "roughness",
    }
    assert not pipeline.usable(build_data())
    exportable = [name for name, one in configured.items() if one.is_exportable]
    assert exportable == ["voxel_ridge"]


def test_sites_are_harmonised_by_training_people_of_each_fold(two_numbers):
    """What is kept of scans as they are isn't taken for that of harmonised ones."""
    fold = build_folds(two_numbers.cohort, n_repeats=1)[0]
    model = VoxelRidge(fwhm_mm=(0.0,), penalty=(1.0,))
    plain = score_fold(model, two_numbers, fold, is_calibrated=False).score
    other = replace(two_numbers).harmonised(lambda values, train: values[:, ::-1])
    changed = score_fold(model, other, fold, is_calibrated=False).score
    np.testing.assert_allclose(changed, plain, atol=1e-5)  # the order of channels alone
    third = two_numbers.harmonised(lambda values, train: values * np.float32([[[1], [0]]]))
    assert np.abs(score_fold(model, third, fold, is_calibrated=False).score - plain).max() > 0.01
