from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from fmnet.networks.backbones import build_small_cnn
from fmnet.training.augmentation import build_augmentation
from fmnet.training.datamodule import Examples
from fmnet.training.fit import Trainable, fit_network, predict_scores
from fmnet.training.loggers import build_csv_logger, build_tensorboard_logger
from fmnet.training.recipe import Recipe
from fmnet.training.trainer import build_trainer


def make_examples(n=12, seed=0, effect=4.0) -> Examples:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    images = rng.normal(size=(n, 1, 7, 8, 9)).astype(np.float32)
    images[labels == 1, :, 4:, 2:5, 2:5] += effect
    return Examples(images, labels)


def make_trainable(tmp_path, **changes) -> Trainable:
    settings = {
        "build_network": partial(build_small_cnn, channels=[4, 6]),
        "recipe": Recipe(max_epochs=8, batch_size=4, learning_rate=1e-2),
        "build_trainer": build_trainer,
        "build_augmentation": build_augmentation,
        "log_dir": tmp_path,
    }
    return Trainable(**(settings | changes))


def test_learns_a_plain_effect(tmp_path):
    fitted = fit_network(make_trainable(tmp_path), make_examples(), None, 8, 0, "a")
    new = make_examples(seed=1)
    scores = predict_scores(fitted.network, new.images)
    assert scores.shape == (12,)
    assert roc_auc_score(new.labels, scores) > 0.9
    assert not fitted.network.training


def test_same_seed_same_network_other_seed_another(tmp_path):
    trainable = make_trainable(tmp_path)
    images = make_examples(seed=1).images
    scores = [
        predict_scores(fit_network(trainable, make_examples(), None, 2, seed, "a").network, images)
        for seed in (5, 5, 6)
    ]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert abs(scores[0] - scores[2]).max() > 1e-3


def test_validation_never_changes_the_weights(tmp_path):
    trainable = make_trainable(tmp_path)
    alone = fit_network(trainable, make_examples(), None, 3, 0, "a")
    watched = fit_network(trainable, make_examples(), make_examples(seed=2), 3, 0, "b")
    for one, other in zip(alone.network.parameters(), watched.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0)
    assert len(watched.losses) == 3
    assert not alone.losses


def test_loss_is_weighted_by_class(tmp_path):
    labels = np.array([1] + [0] * 11)
    examples = Examples(make_examples().images, labels)
    trainable = make_trainable(tmp_path)
    fitted = fit_network(trainable, examples, examples, 1, 0, "a")
    scores = torch.from_numpy(predict_scores(fitted.network, examples.images))
    per_scan = torch.nn.functional.softplus(
        torch.where(torch.from_numpy(labels) == 1, -scores, scores)
    )
    expected = (per_scan * torch.tensor([11.0] + [1.0] * 11)).mean()
    assert fitted.losses[0] == pytest.approx(expected.item(), rel=1e-4)


def test_epochs_are_reported(tmp_path):
    seen = []
    fit_network(make_trainable(tmp_path), make_examples(), None, 3, 0, "a", lambda: seen.append(1))
    assert len(seen) == 3


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_loggers_write_their_files(tmp_path):
    trainable = make_trainable(tmp_path, build_loggers=(build_csv_logger, build_tensorboard_logger))
    fit_network(trainable, make_examples(), make_examples(seed=2), 2, 0, "repeat-0_fold-0")
    lines = (tmp_path / "csv" / "repeat-0_fold-0" / "metrics.csv").read_text().splitlines()
    assert {"train_loss", "val_loss", "val_auc"} <= set(lines[0].split(","))
    assert list((tmp_path / "tensorboard" / "repeat-0_fold-0").glob("events.*"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_in_bf16_learns_too(tmp_path):
    on_gpu = partial(build_trainer, accelerator="gpu", precision="bf16-mixed")
    trainable = make_trainable(tmp_path, build_trainer=on_gpu)
    fitted = fit_network(trainable, make_examples(), None, 8, 0, "a")
    new = make_examples(seed=1)
    scores = predict_scores(fitted.network, new.images)
    assert roc_auc_score(new.labels, scores) > 0.9
