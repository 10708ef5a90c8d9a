from functools import partial

import numpy as np
import pytest

from fmnet.baselines.base import Dummy
from fmnet.baselines.connectivity import Connectivity
from fmnet.baselines.linear import LinearSvm, ShrinkageLda
from fmnet.baselines.shortcuts import Columns, Coverage
from fmnet.crossval.fold_loop import Pipeline, TrainedNetwork
from fmnet.errors import ConfigError
from fmnet.networks.backbones import build_small_cnn
from fmnet.networks.closed_form import build_scale_space
from fmnet.training.fit import Trainable

BASELINES = {
    "dummy": Dummy(),
    "svm_narrow": LinearSvm(fwhm_mm=(0.0,)),
    "svm_broad": LinearSvm(fwhm_mm=(16.0,)),
    "lda": ShrinkageLda(),
    "questionnaires": Columns(columns=["fiq"]),
    "motion": Columns(columns=["mean_fd"]),
    "coverage": Coverage(),
    "tangent": Connectivity("tangent"),
}


def pipeline_of(build=build_scale_space, baselines=BASELINES) -> Pipeline:
    return Pipeline(Trainable(build), baselines, lambda _: [], 0)


def test_models_say_what_they_are_whatever_their_name():
    kinds, _ = pipeline_of().describe([0, 0])
    assert kinds == {
        "network": "closed form",
        "dummy": "chance",
        "svm_narrow": "linear",
        "svm_broad": "linear",
        "lda": "linear",
        "questionnaires": "symptoms",
        "motion": "shortcut",
        "coverage": "shortcut",
        "tangent": "connectivity",
    }


def test_network_that_takes_a_gradient_step_is_one_of_gradients():
    kinds, titles = pipeline_of().describe([0, 3])
    assert (kinds["network"], titles["network"]) == ("gradient", "scale space (fine-tuned)")
    build = partial(build_small_cnn, channels=[4])
    kinds, titles = pipeline_of(build, {}).describe([2])
    assert (kinds, titles) == ({"network": "gradient"}, {"network": "small CNN"})


def test_titles_tell_models_of_one_kind_apart():
    _, titles = pipeline_of().describe([0])
    assert titles["lda"] == "shrinkage LDA"
    assert titles["svm_narrow"] == "linear SVM (svm narrow)"
    assert titles["svm_broad"] == "linear SVM (svm broad)"
    assert titles["motion"] == "motion only"


def test_another_model_is_no_network():
    with pytest.raises(ConfigError, match=r"baselines: found one named 'network'"):
        pipeline_of(baselines={"network": Dummy()})


def test_reruns_keep_the_baselines_asked_for():
    again = pipeline_of().rerun(["lda", "absent"], seed=7)
    assert (list(again.baselines), again.seed) == (["lda"], 7)


def test_network_weighs_voxels_of_maps_whatever_its_own_smoothing(build_data, fold, rng):
    """Weights give its scores, up to a constant, from maps that nobody has smoothed."""
    data, build = build_data(), partial(build_scale_space, paths=["focal", "fine"])
    labelings = np.stack([data.labels, rng.permutation(data.labels)])
    network = TrainedNetwork(Trainable(build, max_epochs=0), 3, "further", fwhm_mm=6.0)
    weights = network.weights_of_labelings(data, fold, labelings)
    scores = network.scores_of_labelings(data, fold, labelings)
    found = np.tensordot(weights, data.values[data.rows(fold.test)], axes=([1, 2], [1, 2]))
    away, expected = (one - one.mean(axis=1, keepdims=True) for one in (found, scores))
    np.testing.assert_allclose(away, expected, atol=1e-4 * expected.std())
