from dataclasses import replace
from functools import partial
from shutil import which

import numpy as np
import pandas as pd
import pytest
import torch
from cohort_fixtures import with_labels
from monai.networks.nets import Classifier
from pytorch_lightning import Trainer
from sklearn.metrics import roc_auc_score
from torch import nn
from torchmetrics.classification import BinaryAccuracy
from training_fixtures import make_cohort, make_training

from fmnet.networks.backbones import ScoreNetwork, build_densenet, build_resnet, build_small_cnn
from fmnet.networks.heads import Head
from fmnet.training.augmentation import Augmentation
from fmnet.training.fit import ADAMW, fit_networks, predict_scores
from fmnet.training.loggers import build_csv_logger, build_tensorboard_logger

ALL = np.arange(12)


def fit_one(trainable, training, *on_epoch):
    return fit_networks(trainable, [training], *on_epoch)[0]


def assert_same_weights(one, other, **tolerance):
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, **tolerance)


def test_learns_a_plain_effect(make_trainable):
    fitted = fit_one(make_trainable(), make_training(make_cohort(), n_epochs=8))
    new = make_cohort(seed=1)
    scores = predict_scores(fitted.network, new.inputs(ALL))
    assert scores.shape == (12,)
    assert roc_auc_score(new.labels, scores) > 0.9
    assert not fitted.network.training


def test_same_seed_same_network_other_seed_another(make_trainable):
    images = make_cohort(seed=1).inputs(ALL)
    scores = [
        predict_scores(
            fit_one(make_trainable(), make_training(make_cohort(), seed=seed)).network, images
        )
        for seed in (5, 5, 6)
    ]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert abs(scores[0] - scores[2]).max() > 1e-3


def test_validation_never_changes_the_weights(make_trainable):
    cohort = make_cohort(n=20)
    alone = fit_one(make_trainable(), make_training(cohort, train=ALL))
    watched = fit_one(make_trainable(), make_training(cohort, np.arange(12, 20), train=ALL))
    assert_same_weights(alone.network, watched.network, atol=0, rtol=0)
    assert len(watched.losses) == 3
    assert not alone.losses


def test_loss_is_weighted_by_class(make_trainable):
    labels = np.array([1] + [0] * 11)
    cohort = make_cohort(labels=labels)
    fitted = fit_one(make_trainable(), make_training(cohort, ALL, n_epochs=1))
    scores = torch.from_numpy(predict_scores(fitted.network, cohort.inputs(ALL)))
    per_scan = torch.nn.functional.softplus(
        torch.where(torch.from_numpy(labels) == 1, -scores, scores)
    )
    expected = (per_scan * torch.tensor([11.0] + [1.0] * 11)).mean()
    assert fitted.losses[0] == pytest.approx(expected.item(), rel=1e-4)
    np.testing.assert_allclose(fitted.scores[0], scores, atol=1e-5)


def test_epochs_are_reported(make_trainable):
    seen = []
    fit_one(make_trainable(), make_training(make_cohort()), seen.append)
    assert seen == [1, 1, 1]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("n_stacked", [1, 2])
def test_loggers_write_their_files(make_trainable, tmp_path, n_stacked):
    build_loggers = (build_csv_logger, build_tensorboard_logger)
    trainable = make_trainable(build_loggers=build_loggers, n_stacked=n_stacked)
    cohort = make_cohort(n=20)
    lengths = {"fold-0": 2, "fold-1": 3}
    fit_networks(
        trainable,
        [make_training(cohort, np.arange(12, 20), n, 0, name) for name, n in lengths.items()],
    )
    for name, n_epochs in lengths.items():
        table = pd.read_csv(tmp_path / "csv" / name / "metrics.csv")
        for metric in ("train/loss", "val/loss", "val/auroc"):
            assert table[["epoch", metric]].dropna()["epoch"].tolist() == list(range(n_epochs))
        assert list((tmp_path / "tensorboard" / name).glob("events.*"))


NETWORKS = {
    "small_cnn": (partial(build_small_cnn, channels=[4, 6]), 1e-5),
    "resnet": (partial(build_resnet, channels=[4, 5, 6, 7]), 5e-3),
    "densenet": (partial(build_densenet, init_features=4, growth_rate=2, layers=[1, 2]), 5e-3),
    "densenet_batch": (
        partial(build_densenet, init_features=4, growth_rate=2, layers=[1, 2], norm="batch"),
        5e-3,
    ),
}


@pytest.mark.parametrize(("build_network", "tolerance"), NETWORKS.values(), ids=NETWORKS)
def test_trained_together_as_one_at_a_time(make_trainable, build_network, tolerance):
    """Other seeds, labels, preparations and lengths; 12 scans each, and one with 11.

    Weights are not compared: those that a normalisation takes out again follow rounding errors.
    """
    cohort = make_cohort(n=20, shape=(31, 32, 33))
    shifted = replace(cohort.preparation, mean=cohort.preparation.mean + 0.1)
    other = with_labels(cohort, 1 - cohort.labels, preparation=shifted)
    trainings = [
        make_training(cohort, np.arange(12, 20), 3, 0, "a", ALL),
        make_training(other, np.arange(3), 3, 1, "b", np.arange(8, 20)),
        make_training(cohort, np.arange(12, 20), 3, 2, "c", np.arange(11)),
        make_training(cohort, np.arange(12, 20), 2, 3, "d", ALL),
    ]
    trainable = make_trainable(build_network=build_network, build_optimizer=ADAMW)
    together = fit_networks(replace(trainable, n_stacked=3), trainings)
    for alone, one in zip(fit_networks(trainable, trainings), together, strict=True):
        np.testing.assert_allclose(alone.losses, one.losses, atol=tolerance)
        for mine, theirs in zip(alone.scores, one.scores, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=tolerance)
        np.testing.assert_allclose(
            predict_scores(one.network, cohort.inputs(ALL)),
            predict_scores(alone.network, cohort.inputs(ALL)),
            atol=tolerance,
        )


class Softmax(Head):
    """Two logits, one for each class: all that another kind of outcome takes."""

    n_outputs = 2

    def forward(self, outputs):
        return outputs[..., 1] - outputs[..., 0]

    def loss(self, outputs, target, balance, function=None):
        assert function is None
        log_p = outputs.float().log_softmax(dim=-1)
        picked = log_p.gather(-1, target[..., None])[..., 0]
        return -picked * torch.where(target == 1, balance, 1.0)

    def balance(self, target):
        return torch.tensor(2.0 if target.float().mean() < 0.4 else 1.0)

    def metrics(self):
        return {"accuracy": BinaryAccuracy(threshold=0.0)}


def build_softmax(input_shape) -> ScoreNetwork:
    head = Softmax()
    backbone = Classifier(input_shape, head.n_outputs, channels=(4, 6), strides=(2, 2))
    return ScoreNetwork(backbone, head)


@pytest.mark.parametrize("n_stacked", [1, 2])
def test_another_head_is_one_class(make_trainable, tmp_path, n_stacked):
    trainable = make_trainable(
        build_network=build_softmax, build_loggers=(build_csv_logger,), n_stacked=n_stacked
    )
    cohort = make_cohort(n=20, effect=8.0)
    trainings = [
        make_training(cohort, np.arange(12, 20), 8, seed, str(seed), ALL) for seed in range(2)
    ]
    for fitted in fit_networks(trainable, trainings):
        assert fitted.losses[-1] < fitted.losses[0]
        scores = predict_scores(fitted.network, cohort.inputs(np.arange(12, 20)))
        np.testing.assert_allclose(fitted.scores[-1], scores, atol=1e-5)
        assert roc_auc_score(cohort.labels[12:], scores) == 1
    table = pd.read_csv(tmp_path / "csv" / "1" / "metrics.csv")
    assert table["val/accuracy"].dropna().between(0, 1).all()


def test_augmentation_is_each_trainings_own(make_trainable):
    cohort = make_cohort()
    light = Augmentation(0.5, 1.0, 3.0, 0.1, 0.1, 0.5)
    trainable = make_trainable(augmentation=light)
    trainings = [make_training(cohort, ALL, seed=seed, name=str(seed)) for seed in range(3)]
    together = fit_networks(replace(trainable, n_stacked=3), trainings)
    for alone, one in zip(fit_networks(trainable, trainings), together, strict=True):
        np.testing.assert_allclose(alone.losses, one.losses, rtol=1e-3)
    plain = fit_networks(make_trainable(), trainings)
    assert abs(np.subtract(plain[0].losses, together[0].losses)).max() > 1e-3


@pytest.mark.parametrize("n_stacked", [1, 2])
def test_streamed_as_if_resident(make_trainable, n_stacked):
    cohort = make_cohort(n=20)
    trainings = [
        make_training(cohort, np.arange(12, 20), seed=seed, train=ALL) for seed in range(2)
    ]
    trainable = make_trainable(n_stacked=n_stacked)
    resident = fit_networks(trainable, trainings)
    streamed = fit_networks(replace(trainable, is_resident=False), trainings)
    for one, other in zip(resident, streamed, strict=True):
        assert_same_weights(one.network, other.network, atol=0, rtol=0)
        assert one.losses == other.losses


def test_channels_last_gives_the_same_up_to_rounding(make_trainable):
    training = make_training(make_cohort(), ALL)
    plain = fit_one(make_trainable(), training)
    other = fit_one(make_trainable(is_channels_last=True), training)
    np.testing.assert_allclose(plain.losses, other.losses, rtol=1e-3)
    assert all(one.is_contiguous() for one in other.network.parameters())


@pytest.mark.slow
@pytest.mark.skipif(which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_gives_the_same_up_to_rounding(make_trainable):
    trainings = [make_training(make_cohort(), ALL, seed=seed) for seed in range(2)]
    trainable = make_trainable()
    compiled = fit_networks(replace(trainable, n_stacked=2, is_compiled=True), trainings)
    for plain, other in zip(fit_networks(trainable, trainings), compiled, strict=True):
        np.testing.assert_allclose(plain.losses, other.losses, rtol=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("n_stacked", [1, 4])
def test_gpu_in_bf16_learns_too(make_trainable, n_stacked):
    on_gpu = partial(Trainer, accelerator="gpu", precision="bf16-mixed")
    trainable = make_trainable(build_trainer=on_gpu, n_stacked=n_stacked)
    trainings = [make_training(make_cohort(), n_epochs=8, seed=seed) for seed in range(4)]
    new = make_cohort(seed=1)
    for fitted in fit_networks(trainable, trainings):
        scores = predict_scores(fitted.network, new.inputs(ALL))
        assert roc_auc_score(new.labels, scores) > 0.9


class Total(nn.Module):
    """Scores by the sum of all voxels."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.full((1,), 2.0))

    def forward(self, image):
        return self.scale * image.flatten(1).sum(dim=1, keepdim=True)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_batches_do_not_matter(rng, batch_size):
    images = rng.normal(size=(7, 2, 5, 6, 7)).astype(np.float32)
    found = predict_scores(ScoreNetwork(Total()), images, batch_size)
    assert (found.shape, found.dtype) == ((7,), np.float32)
    np.testing.assert_allclose(found, 2 * images.reshape(7, -1).sum(axis=1), rtol=1e-4, atol=1e-4)


def test_nothing_is_kept_for_a_gradient(rng):
    network = ScoreNetwork(Total())
    predict_scores(network, rng.normal(size=(2, 1, 5, 6, 7)).astype(np.float32))
    assert network.backbone.scale.grad is None
