from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from cohort_fixtures import with_labels
from training_fixtures import make_cohort, make_training

from fmnet.networks.backbones import ClosedFormBackbone, ScoreNetwork, build_small_cnn
from fmnet.networks.closed_form import build_prior_cnn, build_scale_space
from fmnet.networks.rebuild import check_network
from fmnet.training.compute import Compute, plan_compute
from fmnet.training.fit import (
    ADAMW,
    TrainedFold,
    fit_closed_form,
    fit_networks,
    is_closed_form,
    split_units,
)

BUILD = partial(build_scale_space, bands_mm=[[0.0, 12.0], [8.0, 24.0]])


@pytest.fixture
def cohort():
    return make_cohort(n=24, effect=1.0)


def test_networks_without_a_closed_form_stay_as_they_are(cohort):
    network = build_small_cnn(cohort.preparation.input_shape, channels=[4, 6])
    before = {name: values.clone() for name, values in network.state_dict().items()}
    fit_closed_form(network, make_training(cohort))
    assert not is_closed_form(network)
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())


def test_only_training_scans_are_looked_at(cohort):
    train = np.arange(16)
    values, labels = cohort.values.copy(), cohort.labels.copy()
    values[16:] = 1e6
    labels[16:] = 1 - labels[16:]
    spoilt = with_labels(cohort, labels, values=values)
    one, other = (
        fit_closed_form(BUILD(data.preparation.input_shape), make_training(data, train=train))
        for data in (cohort, spoilt)
    )
    assert all(
        torch.equal(values, other.state_dict()[name]) for name, values in one.state_dict().items()
    )


def test_scans_of_one_family_are_left_out_together():
    labels = np.arange(24) // 2 % 2
    units = [f"family-{number // 2}" for number in range(24)]
    folds = split_units(labels, units, 0)
    assert (folds[::2] == folds[1::2]).all()
    assert [set(labels[folds == number]) for number in range(3)] == [{0, 1}] * 3


def test_folds_depend_on_the_seed_alone():
    labels, units = np.arange(24) % 2, [str(number) for number in range(24)]
    np.testing.assert_array_equal(split_units(labels, units, 5), split_units(labels, units, 5))
    assert (split_units(labels, units, 5) != split_units(labels, units, 6)).any()


def test_too_few_subjects_to_leave_any_out():
    assert not split_units(np.array([0, 0, 0, 1, 1]), list("abcde"), 0).any()


def test_without_epochs_the_network_is_as_fitted(make_trainable, cohort):
    trainable = make_trainable(build_network=BUILD, max_epochs=0)
    rounds = []
    training = make_training(cohort, np.arange(16, 24), n_epochs=0, train=np.arange(16))
    done = fit_networks(trainable, [training], rounds.append)[0]
    expected = fit_closed_form(BUILD(cohort.preparation.input_shape), training)
    assert rounds == [1]
    assert (done.first_epoch, len(done.losses), done.scores[0].shape) == (0, 1, (8,))
    for name, values in expected.state_dict().items():
        torch.testing.assert_close(done.network.state_dict()[name], values)
    assert not done.network.training


def test_epochs_go_on_from_the_fit(make_trainable, cohort):
    build_optimizer = partial(ADAMW, lr=1e-5)
    trainable = make_trainable(build_network=BUILD, build_optimizer=build_optimizer)
    training = make_training(cohort, np.arange(16, 24), n_epochs=2, train=np.arange(16))
    done = fit_networks(trainable, [training])[0]
    assert (done.first_epoch, len(done.losses)) == (0, 3)
    moved = np.abs(done.scores[2] - done.scores[0]).max()
    assert 0 < moved < 0.1


def test_fitted_networks_are_trained_together_as_one_at_a_time(make_trainable, cohort):
    build_optimizer = partial(ADAMW, lr=1e-4)
    trainings = [
        make_training(cohort, np.arange(16, 24), n_epochs=2, seed=seed, train=np.arange(16))
        for seed in range(2)
    ]
    trainable = make_trainable(build_network=BUILD, build_optimizer=build_optimizer)
    alone, together = (fit_networks(replace(trainable, n_stacked=n), trainings) for n in (1, 2))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one.scores[2], other.scores[2], atol=1e-5)


def test_a_loss_of_ones_own_is_weighted_before_the_first_epoch_too(make_trainable, cohort):
    train = np.r_[np.arange(12), 12, 14]  # more of one class
    training = make_training(cohort, np.arange(16, 24), n_epochs=0, train=train)
    by_loss = [
        fit_networks(make_trainable(build_network=BUILD, max_epochs=0, loss=loss), [training])[0]
        for loss in (None, torch.nn.BCEWithLogitsLoss())
    ]
    assert by_loss[0].losses == pytest.approx(by_loss[1].losses)


def test_no_tensor_of_a_fit_lies_elsewhere_than_its_scans(cohort):
    """Whatever is made without saying where would lie where there is no data."""
    training = make_training(cohort)
    images = torch.from_numpy(cohort.inputs(training.train))
    labels, folds = torch.from_numpy(cohort.labels), torch.arange(24) % 3
    one, other = (build_prior_cnn(cohort.preparation.input_shape).backbone for _ in range(2))
    check_network(build_prior_cnn, cohort.preparation.input_shape)  # which reads the CNN
    one.fit(images, labels, folds)
    labelings = torch.stack([labels, labels.roll(1), labels.roll(2)])
    inside = torch.ones(images.shape[2:], dtype=torch.bool)
    with torch.no_grad(), torch.device("meta"):
        other.fit(images, labels, folds)
        scores = other(images)
        many = other.scores_of_labelings(images, labelings, folds, images)
        weights = other.weights_of_labelings(images, labelings, folds, inside)
    for name, values in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], values)
    torch.testing.assert_close(many[0], scores[:, 0], atol=1e-4, rtol=1e-4)
    own, largest = one.voxel_weights(images)[:, inside], weights[0].abs().max()
    torch.testing.assert_close(weights[0], own, atol=float(largest) * 1e-4, rtol=1e-4)


class Spy(ClosedFormBackbone):
    """Notes where it is fitted and where it scores."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.fitted_on, self.scored_on = [], []

    def fit(self, images, labels, folds):
        self.fitted_on.append({images.device.type, labels.device.type, folds.device.type})

    def forward(self, image):
        self.scored_on.append(image.device.type)
        return torch.zeros(len(image), 1)


class SpyNetwork(ScoreNetwork):
    """Says that it lies where it was last sent, and stays where it is."""

    lies_on = "cpu"

    def to(self, device, **settings):
        self.lies_on = torch.device(device).type
        return self

    def parameters(self, recurse=True):
        return iter([torch.empty(1, device=self.lies_on)])


def test_fit_and_scores_are_computed_on_the_device_of_the_trainer(make_trainable, cohort):
    network = SpyNetwork(Spy())
    trainable = make_trainable(
        build_network=lambda _: network, max_epochs=0, device=torch.device("meta")
    )
    training = make_training(cohort, np.arange(16, 24), n_epochs=0, train=np.arange(16))
    fit_networks(trainable, [training])
    assert network.backbone.fitted_on == [{"meta"}]
    assert (set(network.backbone.scored_on), network.lies_on) == ({"meta"}, "cpu")
    network.backbone.scored_on.clear()
    fold = TrainedFold(network, cohort, 0, np.zeros(1), None, device=torch.device("meta"))
    fold.scores(np.arange(3))
    assert (set(network.backbone.scored_on), network.lies_on) == ({"meta"}, "cpu")


def test_without_a_gpu_all_is_computed_on_the_processor(make_trainable, cohort):
    trainable = make_trainable(build_network=BUILD, max_epochs=0)
    assert plan_compute(trainable, Compute(), cohort).device.type == "cpu"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_fits_as_the_processor_does(make_trainable, cohort):
    trainable = make_trainable(build_network=build_prior_cnn, max_epochs=0)
    training = make_training(cohort, np.arange(16, 24), n_epochs=0, train=np.arange(16))
    here, there = (
        fit_networks(replace(trainable, device=torch.device(name)), [training])[0]
        for name in ("cpu", "cuda")
    )
    np.testing.assert_allclose(here.scores[0], there.scores[0], atol=1e-3, rtol=1e-3)
    assert {one.device.type for one in there.network.parameters()} == {"cpu"}
