"""Networks trained for targets other than two groups: what losses read, and what comes out."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from series_fixtures import make_series_cohort
from toy_heads import NumberHead, RankHead, ThreeGroups
from training_fixtures import make_cohort, make_training

from fmnet.errors import ConfigError
from fmnet.networks.backbones import build_small_cnn
from fmnet.networks.closed_form import build_scale_space
from fmnet.networks.series import build_frames, build_learned_seeds
from fmnet.targets.base import Null
from fmnet.training.compute import Compute, plan_compute
from fmnet.training.data import MapData, build_data
from fmnet.training.fit import (
    FoldTask,
    fit_networks,
    predict_scores,
    scores_of_labelings,
    train_on_folds,
)
from fmnet.training.loggers import build_csv_logger
from fmnet.training.scan_set import MapScans
from fmnet.training.voxel_weights import weights_of_labelings

CNN = partial(build_small_cnn, channels=[4, 6])
FORM = partial(build_scale_space, bands_mm=[[0.0, 12.0], [8.0, 24.0]])
TRAIN, HELD_OUT = np.arange(20), np.arange(20, 30)


class Toy(SimpleNamespace):
    """A target of responses that are given, and of losses that are read as they are."""

    is_within = False

    def fit_null(self, outcomes, train):
        del outcomes, train
        return Null(self.responses, self.losses)

    def is_known(self, outcomes):
        return np.ones(len(outcomes), dtype=bool)

    def strata(self, outcomes):
        return ["all"] * len(outcomes)

    def fit_link(self, scores, outcomes):
        del outcomes
        return SimpleNamespace(scores=scores)

    @property
    def n_scores(self):
        return self.responses.shape[1]


def toy(scans, losses, responses=None):
    """The same scans for a target, fitted."""
    losses = losses.astype(np.float32)
    target = Toy(losses=losses, responses=losses if responses is None else responses)
    return replace(scans, target=target, null=target.fit_null(None, None))


def drawn(n=30):
    """Maps whose place of one effect goes along with a number."""
    rng = np.random.default_rng(3)
    scans, number = make_cohort(n=n, effect=0.0), rng.normal(size=(n, 1)).astype(np.float32)
    values = scans.values.copy()
    values[:, :, 150:220] += 3 * number[:, :, None]
    return replace(scans, values=values), number


def grouped(n=30):
    group = np.arange(n) % 3
    scans = make_cohort(n=n, effect=0.0)
    values = scans.values.copy()
    for number in range(3):
        values[group == number, :, 100 * number : 100 * number + 90] += 2
    responses = np.eye(3, dtype=np.float32)[group] - np.float32(1 / 3)
    return replace(scans, values=values), group, responses


@pytest.mark.parametrize("n_stacked", [1, 2])
def test_numbers_are_learned_where_they_are_known(n_stacked, make_trainable, tmp_path):
    scans, number = drawn()
    some = number.copy()
    some[::7] = np.nan
    build = partial(CNN, head=NumberHead())
    trainable = make_trainable(
        build_network=build,
        max_epochs=12,
        n_stacked=n_stacked,
        build_loggers=(build_csv_logger,),
    )
    one = make_training(toy(scans, some), HELD_OUT, 12, 0, "0", TRAIN)
    other = replace(one, seed=1, name="1", scans=toy(scans, -some))
    for fitted, sign in zip(fit_networks(trainable, [one, other]), (1, -1), strict=True):
        scores = predict_scores(fitted.network, scans.inputs(HELD_OUT))
        assert scores.shape == (10, 1)
        np.testing.assert_allclose(fitted.scores[-1], scores, atol=1e-4)
        assert np.corrcoef(sign * scores[:, 0], number[HELD_OUT, 0])[0, 1] > 0.8
        assert fitted.losses[-1] < 0.5 * fitted.losses[0]
    table = pd.read_csv(tmp_path / "csv" / "1" / "metrics.csv")
    assert {"val/loss", "val/mse", "train/loss"} <= set(table.columns)


@pytest.mark.parametrize("n_stacked", [1, 2])
def test_groups_are_balanced_by_as_many_weights(n_stacked, make_trainable):
    scans, group, _ = grouped()
    trainable = make_trainable(build_network=partial(CNN, head=ThreeGroups()), n_stacked=n_stacked)
    data = toy(scans, group[:, None])
    trainings = [make_training(data, HELD_OUT, 8, seed, str(seed), TRAIN) for seed in (0, 1)]
    for fitted in fit_networks(trainable, trainings):
        assert fitted.scores[-1].shape == (10, 3)
        assert (fitted.scores[-1].argmax(1) == group[HELD_OUT]).mean() > 0.7


@pytest.mark.parametrize("n_stacked", [1, 2])
def test_a_loss_may_compare_the_scans_of_a_batch(n_stacked, make_trainable):
    scans, number = drawn()
    trainable = make_trainable(
        build_network=partial(CNN, head=RankHead()), batch_size=10, n_stacked=n_stacked
    )
    trainings = [
        make_training(toy(scans, -number), HELD_OUT, 8, seed, str(seed), TRAIN) for seed in (0, 1)
    ]
    together = fit_networks(trainable, trainings)
    for fitted in together:
        assert np.corrcoef(fitted.scores[-1][:, 0], number[HELD_OUT, 0])[0, 1] > 0.7
    alone = fit_networks(replace(trainable, n_stacked=1), trainings)
    np.testing.assert_allclose(together[1].losses, alone[1].losses, rtol=1e-3, atol=1e-3)


def test_a_users_loss_reads_the_same(make_trainable):
    scans, number = drawn()
    trainable = make_trainable(
        build_network=partial(CNN, head=NumberHead()), loss=torch.nn.L1Loss()
    )
    (fitted,) = fit_networks(
        trainable, [make_training(toy(scans, number), HELD_OUT, 8, train=TRAIN)]
    )
    scores = fitted.scores[-1]
    np.testing.assert_allclose(
        fitted.losses[-1], np.abs(scores - number[HELD_OUT]).mean(), rtol=1e-4
    )


def test_batches_hold_what_losses_read(make_trainable):
    scans, group, _ = grouped()
    both = np.stack([group, np.arange(30)], 1)
    trainings = [make_training(toy(scans, own), train=TRAIN) for own in (both, -both)]
    data = build_data(trainings, 4, None, False)
    assert isinstance(data, MapData)
    rows = torch.tensor([[3, 5, 0], [7, 1, 2]])
    label = data.maps[rows]["label"]
    assert label.shape == (2, 3, 2)
    assert label[0].tolist() == both[[3, 5, 0]].tolist()
    assert label[1].tolist() == (-both[[7, 1, 2]]).tolist()
    assert trainings[0].label(np.array([4])).tolist() == [[1, 4]]


@pytest.mark.parametrize("max_epochs", [0, 2])
def test_closed_forms_learn_responses_of_each_score(max_epochs, make_trainable, fold):
    scans, group, responses = grouped()
    trainable = make_trainable(
        build_network=partial(FORM, head=ThreeGroups()), max_epochs=max_epochs
    )
    task = FoldTask(replace(toy(scans, group[:, None], responses), null=None), fold, 3, "a")
    (trained,) = train_on_folds(trainable, [task])
    scores = trained.scores(task.test_rows)
    assert scores.shape == (10, 3)
    assert (scores.argmax(1) == group[task.test_rows]).mean() > 0.8
    assert trained.calibration.scores.shape == (20, 3)
    assert np.isfinite(trained.inner_loss).all()


def test_orders_of_responses_are_scored_and_weighed_at_once(make_trainable, fold):
    scans, group, responses = grouped()
    trainable = make_trainable(build_network=partial(FORM, head=ThreeGroups()), max_epochs=0)
    task = FoldTask(replace(toy(scans, group[:, None], responses), null=None), fold, 3, "a")
    orders = np.stack([responses, np.roll(responses, 1, axis=0)])
    found = scores_of_labelings(trainable, task, orders)
    assert found.shape == (2, 10, 3)
    weights = weights_of_labelings(trainable, task, orders)
    assert weights.shape == (2, 3, 1, scans.grid.n_voxels)
    for order, own in zip(orders, found, strict=True):
        again = replace(task, scans=replace(toy(scans, group[:, None], order), null=None))
        (trained,) = train_on_folds(trainable, [again], is_calibrated=False)
        np.testing.assert_allclose(own, trained.scores(task.test_rows), atol=1e-3)


@pytest.mark.parametrize(
    "build",
    [
        partial(build_learned_seeds, n_seeds=2, window_volumes=10),
        partial(build_frames, n_frames=3, backbone="scale_space"),
    ],
)
def test_series_are_learned_for_several_scores(build, make_trainable, tmp_path):
    scans = make_series_cohort(tmp_path, window_volumes=10)
    responses = np.stack([scans.labels - 0.5, np.arange(12) / 6 - 1], 1).astype(np.float32)
    data = toy(scans, responses)
    trainable = make_trainable(build_network=partial(build, head=NumberHead(2)), max_epochs=1)
    (fitted,) = fit_networks(
        trainable, [make_training(data, np.arange(8, 12), 1, train=np.arange(8))]
    )
    assert [scores.shape for scores in fitted.scores] == [(4, 2), (4, 2)]
    assert np.isfinite(fitted.losses).all()


class Learned(NumberHead):
    """Shifts its score by a number that it learns."""

    def __init__(self):
        super().__init__()
        self.shift = torch.nn.Parameter(torch.zeros(1))

    def forward(self, outputs):
        return outputs + self.shift

    def loss(self, outputs, target, balance, function=None):
        return super().loss(self(outputs), target, balance, function)


def test_what_a_head_learns_is_learned_with_its_network(make_trainable):
    scans, number = drawn()
    data: MapScans = toy(scans, number + 5)
    trainable = make_trainable(build_network=partial(CNN, head=Learned()))
    (fitted,) = fit_networks(trainable, [make_training(data, None, 4, train=TRAIN)])
    assert fitted.network.head.shift.item() > 0.05
    with pytest.raises(ConfigError, match="a head that learns numbers of its own"):
        plan_compute(trainable, Compute(n_stacked=2), data)
