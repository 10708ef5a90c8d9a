from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fmnet.errors import ConfigError
from fmnet.networks.backbones import build_small_cnn
from fmnet.study.baselines.constant import Dummy
from fmnet.study.baselines.linear import LinearSvm, LogisticRidge, ShrinkageLda
from fmnet.study.baselines.shortcuts import Coverage
from fmnet.study.crossval import Pipeline
from fmnet.study.final import export_choice, exportable_linear, fit_linear

SVM, RIDGE = LinearSvm((0.0, 8.0), (0.1, 1.0)), LogisticRidge((8.0, 0.0), (1.0, 0.1))
LDA = ShrinkageLda((8.0, 0.0), (0.1, 1.0))
EVERYTHING = {"dummy": Dummy(), "svm": SVM, "coverage": Coverage(), "logistic_ridge": RIDGE}

TITLES = {"network": "small CNN", "svm": "svm", "logistic_ridge": "logistic ridge"}


def pipeline_of(baselines) -> Pipeline:
    return Pipeline(SimpleNamespace(build_network=build_small_cnn), baselines, None, 0)


def test_baseline_can_not_take_the_name_of_the_network():
    with pytest.raises(ConfigError, match="baselines: found one named 'network'; accepted: any"):
        pipeline_of({"network": Dummy()})


@pytest.fixture
def data(build_study):
    """Two channels, the second in another unit; some scans lack voxels, some voxels all scans."""
    values = np.random.default_rng(1).normal(size=(30, 2, 210))
    values[1::2, :, :40] += 1
    values[:, 1] = 30 * values[:, 1] + 7
    values[::3, 0, 50:90] = np.nan
    values[:, 1, 200:] = np.nan
    return build_study(values)


@pytest.mark.parametrize("model", [SVM, RIDGE, LDA])
def test_network_scores_new_maps_as_the_baseline_does(data, fold, model):
    final = fit_linear("name", model, data, fold)
    scans = data.baseline_data
    choice = fwhm_mm, setting = model.choose(scans, fold)
    assert final.preparation.fwhm_mm == fwhm_mm
    assert (final.c, final.screen) == ((None, setting) if model is LDA else (setting, None))
    assert final.preparation.input_shape == (2, 7, 8, 9)
    expected = model.scores(scans, scans.rows(fold.train), scans.rows(fold.test), choice)
    images = final.preparation.prepare(scans.values[scans.rows(fold.test)])
    with torch.no_grad():
        found = final.network(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.ptp(expected) > 0.1


def test_preparation_keeps_what_the_study_asks_of_a_map(data, fold):
    settings = replace(data.smoothed.settings, min_coverage=0.7)
    asked = replace(data, smoothed=replace(data.smoothed, settings=settings))
    assert fit_linear("name", SVM, asked, fold).preparation.min_coverage == 0.7


def test_linear_models_of_voxels_alone_can_be_exported(data):
    found = exportable_linear(pipeline_of(EVERYTHING | {"shrinkage_lda": LDA}), data)
    assert list(found) == ["svm", "logistic_ridge", "shrinkage_lda"]


@pytest.mark.parametrize(
    ("aucs", "model", "why"),
    [
        (
            {"network": 0.9, "svm": 0.7, "logistic_ridge": 0.8},
            "network",
            "that of the logistic ridge, 0.8",
        ),
        (
            {"network": 0.7, "svm": 0.8, "logistic_ridge": 0.8},
            "svm",
            "larger than that of the small CNN",
        ),
        ({"network": 0.8, "svm": 0.7, "logistic_ridge": 0.8}, "logistic_ridge", "the simpler"),
    ],
)
def test_best_of_those_that_can_be_exported_is_named(data, aucs, model, why):
    models = {name: {"auc": auc} for name, auc in aucs.items()}
    found = export_choice(pipeline_of(EVERYTHING), data, models, TITLES)
    assert found["model"] == model
    assert why in found["why"]
    assert found["among"] == ["network", "svm", "logistic_ridge"]


def test_network_is_exported_where_it_stands_alone(data):
    found = export_choice(pipeline_of({"dummy": Dummy()}), data, {"network": {"auc": 0.4}}, TITLES)
    assert (found["model"], found["among"]) == ("network", ["network"])
