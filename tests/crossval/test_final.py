from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from fmnet.baselines.base import Dummy
from fmnet.baselines.linear import LinearSvm, LogisticRidge, ShrinkageLda
from fmnet.baselines.shortcuts import Coverage
from fmnet.crossval.final import export_choice, exportable_linear, fit_linear, judge_choice
from fmnet.crossval.fold_loop import Pipeline
from fmnet.errors import ConfigError
from fmnet.networks.backbones import build_small_cnn

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
    scans = data
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
    asked = replace(data, settings=replace(data.settings, min_coverage=0.7))
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
    models = {
        name: {"auc": auc, "auc_ci": [auc - 0.1, auc + 0.1], "auc_logit_se": 0.3}
        for name, auc in aucs.items()
    }
    found = export_choice(pipeline_of(EVERYTHING), data, scores_of(*aucs), models, TITLES)
    assert found["model"] == model
    assert why in found["why"]
    assert found["among"] == ["network", "svm", "logistic_ridge"]
    assert found["auc_corrected"] <= models[model]["auc"]
    asked = found["if_asked"]
    assert {name: one["among"] for name, one in asked.items()} == {
        "network": ["network"],
        "linear": ["svm", "logistic_ridge"],
    }
    # what was settled on beforehand is not corrected
    assert asked["network"]["auc_corrected"] == aucs["network"]
    assert asked["network"]["auc_corrected_ci"] == models["network"]["auc_ci"]


def scores_of(*models) -> pd.DataFrame:
    """Out-of-fold scores of pure noise, two test folds of ten people."""
    rng = np.random.default_rng(2)
    people = [f"sub-{k:02}" for k in range(20)]
    rows = {
        "participant_id": people, "scan_id": people, "repeat": 0, "fold": np.arange(20) // 10,
        "label": np.arange(20) % 2,
    }  # fmt: skip
    tables = [pd.DataFrame(rows | {"model": one, "score": rng.normal(size=20)}) for one in models]
    return pd.concat(tables, ignore_index=True)


def test_network_is_exported_where_it_stands_alone(data):
    models = {"network": {"auc": 0.4, "auc_ci": [0.3, 0.5]}}
    pipeline = pipeline_of({"dummy": Dummy()})
    found = export_choice(pipeline, data, scores_of("network"), models, TITLES)
    assert (found["model"], found["among"]) == ("network", ["network"])
    assert (found["auc_corrected"], found["auc_corrected_ci"]) == (0.4, [0.3, 0.5])
    assert list(found["if_asked"]) == ["network"]


def permuted(**models):
    return {
        name: {"observed": observed, "p": 0.01, "null": null}
        for name, (observed, null) in models.items()
    }


def exported_of(name, *among):
    asked = {"network": {"model": "network", "among": ["network"]}}
    return {"model": name, "among": list(among), "if_asked": asked}


def test_model_that_is_exported_is_tested_against_the_largest_of_all_it_was_chosen_among():
    models = permuted(
        network=(0.7, [0.6, 0.8, 0.5]), svm=(0.75, [0.7, 0.4, 0.4]), ridge=(0.6, [0.3, 0.3, 0.75])
    )
    metrics = {
        "exported": exported_of("svm", "network", "svm", "ridge"),
        "permutation": {"n": 3, "models": models},
    }
    judge_choice(metrics)
    chosen = metrics["permutation"]["chosen"]
    assert chosen["null"] == [0.7, 0.8, 0.75]
    assert (chosen["observed"], chosen["among"]) == (0.75, ["network", "svm", "ridge"])
    assert chosen["p"] == metrics["exported"]["p"] == 3 / 4  # a tie counts
    assert metrics["exported"]["if_asked"]["network"]["p"] == 2 / 4
    # one that is not the largest in the repeats that were permuted has a p-value of its own
    metrics["exported"] = exported_of("ridge", "network", "svm", "ridge")
    judge_choice(metrics)
    assert metrics["permutation"]["chosen"]["p"] == 3 / 4
    assert metrics["exported"]["p"] == 1.0


def test_permutations_of_before_that_left_a_model_out_give_no_p_of_the_choice():
    chosen = {"p": 0.01}
    metrics = {
        "exported": exported_of("svm", "network", "svm", "shrinkage_lda"),
        "permutation": {
            "n": 1, "models": permuted(network=(0.7, [0.6]), svm=(0.8, [0.6])), "chosen": chosen,
        },
    }  # fmt: skip
    judge_choice(metrics)
    assert "chosen" not in metrics["permutation"]
    assert "p" not in metrics["exported"]
    assert metrics["exported"]["not_permuted"] == ["shrinkage_lda"]
    assert metrics["exported"]["if_asked"]["network"]["p"] == 1 / 2
    untested = {"exported": exported_of("svm", "network", "svm")}
    judge_choice(untested)
    assert "p" not in untested["exported"]
