from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from fmnet.data.cohort import relabel
from fmnet.networks.backbones import (
    ClosedFormBackbone,
    ScoreNetwork,
    build_linear,
    build_small_cnn,
    mean_gradient,
)
from fmnet.networks.closed_form import build_scale_space
from fmnet.training.fit import FoldTask, train_on_folds
from fmnet.training.voxel_weights import weights_of_labelings, weights_of_trained

BUILD = partial(build_scale_space, bands_mm=[[0.0, 12.0], [8.0, 24.0]])


@pytest.fixture
def task(build_data, fold, rng):
    values = rng.normal(1, 2, size=(30, 2, 210))
    values[1::2, 0, 40:70] += 2
    data = build_data(values)
    settings = replace(data.settings, fwhm_mm=6.0)
    return FoldTask(replace(data, settings=settings), fold, 3, "a")


@pytest.fixture
def labelings(task, rng):
    labels = task.scans.labels
    return np.stack([labels, *(rng.permutation(labels) for _ in range(2))])


def trained_on(trainable, task, labels):
    scans = task.scans.relabel(relabel(task.scans.cohort, labels))
    work = [FoldTask(scans, task.fold, task.seed, task.name)]
    (trained,) = train_on_folds(trainable, work, is_calibrated=False)
    return trained


@pytest.mark.parametrize(
    ("build", "max_epochs"),
    [(BUILD, 0), (BUILD, 1), (build_linear, 2)],
    ids=["closed_form", "fine_tuned", "linear"],
)
def test_weights_give_the_scores_of_what_is_linear(
    build, max_epochs, task, labelings, make_trainable
):
    build_network = partial(build, paths=["focal", "fine"]) if build is BUILD else build
    trainable = make_trainable(build_network=build_network, max_epochs=max_epochs)
    found = weights_of_labelings(trainable, task, labelings)
    assert found.shape == (3, 2, 210)
    for weights, labels in zip(found, labelings, strict=True):
        trained = trained_on(trainable, task, labels)
        scores = trained.scores(task.test_rows)
        expected = (task.scans.values[task.test_rows] * weights).sum(axis=(1, 2))
        spread = scores.std()
        np.testing.assert_allclose(expected - expected[0], scores - scores[0], atol=1e-3 * spread)


def test_of_others_it_is_the_mean_gradient_over_those_who_were_learned_from(
    task, labelings, make_trainable
):
    trainable = make_trainable(
        build_network=partial(build_small_cnn, channels=[4, 6]), max_epochs=1
    )
    (found,) = weights_of_labelings(trainable, task, labelings[1:2])
    trained = trained_on(trainable, task, labelings[1])
    images = trained.scans.inputs(task.scans.rows(task.fold.train))
    gradient = mean_gradient(trained.network, torch.from_numpy(images)).numpy()
    expected = trained.preparation.weights_of_maps(gradient[:, task.scans.grid.mask])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-7)
    assert np.abs(found).max() > 0


class Means(ClosedFormBackbone):
    """Multiplies scans by the difference of the groups' means, and bends the score."""

    def __init__(self, shape):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape))

    @torch.no_grad()
    def fit(self, images, labels, folds):
        self.weight.copy_(images[labels == 1].mean(0) - images[labels == 0].mean(0))

    def forward(self, image):
        return (image * self.weight).flatten(1).sum(1, keepdim=True).mul(0.01).tanh()


def test_a_closed_form_of_ones_own_is_fitted_one_labeling_at_a_time(
    task, labelings, make_trainable
):
    trainable = make_trainable(build_network=lambda shape: ScoreNetwork(Means(shape)), max_epochs=0)
    found = weights_of_labelings(trainable, task, labelings)
    for weights, labels in zip(found, labelings, strict=True):
        trained = trained_on(trainable, task, labels)
        expected = weights_of_trained(trained, task.scans.rows(task.fold.train))
        np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=1e-7)


def test_networks_of_series_have_no_weights(make_trainable, task, labelings):
    series = replace(task, scans=SimpleNamespace(reads_series=True))
    assert weights_of_labelings(make_trainable(), series, labelings) is None
