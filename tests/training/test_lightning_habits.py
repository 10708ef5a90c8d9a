"""What Lightning's users expect of callbacks, schedulers, clipping and losses, by configuration."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from pytorch_lightning.callbacks import Callback
from run_fixtures import run_unreported, study_settings
from training_fixtures import make_cohort

from fmnet.config.check import check_config
from fmnet.config.jobs import register_resolvers
from fmnet.data.folds import Fold, build_folds
from fmnet.errors import ConfigError
from fmnet.studies.study import run_study
from fmnet.training.compute import plan_compute
from fmnet.training.fit import FoldTask, Trainable, train_on_folds
from fmnet.training.loggers import build_csv_logger
from fmnet.training.trainer import asked, check_training

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
PEOPLE = tuple(f"sub-{number:02}" for number in range(24))
FOLD = Fold(0, 0, PEOPLE[:18], PEOPLE[18:], (PEOPLE[:8], PEOPLE[8:18]))
NETWORK = ["network=small_cnn", "network.channels=[4,6]", "optimizer.lr=0.01"]


class Watch(Callback):
    """Notes, in a list that all copies share, what a callback meets in each training."""

    seen: ClassVar[list] = []

    def on_before_zero_grad(self, trainer, module, optimizer):
        if norms := [p.grad.norm() for p in module.parameters() if p.grad is not None]:
            Watch.seen.append(("norm", float(torch.stack(norms).norm())))

    def on_train_epoch_end(self, trainer, module):
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        Watch.seen.append(("epoch", metrics, trainer.optimizers[0].param_groups[0]["lr"]))


def settings_of(*overrides):
    """Check and build what a command line says about training."""
    check_config(CONFIGS, "train", [*overrides, "run_dir=out"], run_study, False)
    register_resolvers()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("train", overrides=[*overrides, "run_dir=out"])
    names = ("network", "trainer", "optimizer", "scheduler", "loss", "callbacks", "compute")
    return {
        name: instantiate(config[name], _convert_="all") for name in names if name in config
    } | {"batch_size": config.batch_size}


def planned(folder, *overrides, scans=None, build_loggers=()) -> Trainable:
    """Go the way of a study up to the first training."""
    found = settings_of(*overrides)
    callbacks = tuple(found["callbacks"].values())
    scheduler = found.get("scheduler")
    check_training(found["trainer"], found["optimizer"], scheduler, callbacks)
    trainable = Trainable(
        found["network"],
        found["trainer"],
        asked(found["trainer"]).get("max_epochs"),
        found["optimizer"],
        scheduler,
        found.get("loss"),
        callbacks,
        found["batch_size"],
        build_loggers=build_loggers,
        log_dir=folder / "logs",
    )
    return plan_compute(trainable, found["compute"], scans or make_cohort(24))


def train(folder, *overrides, **more):
    scans = make_cohort(24, effect=1.0)
    trainable = planned(folder, *NETWORK, *overrides, scans=scans, **more)
    return train_on_folds(trainable, [FoldTask(scans, FOLD, 0, "fold")])[0]


@pytest.fixture(autouse=True)
def watched():
    Watch.seen.clear()
    return Watch.seen


WATCH = f"+callbacks.watch._target_={__name__}.Watch"


def epochs_of(seen):
    return [one[1:] for one in seen if one[0] == "epoch"]


def test_losses_and_auc_are_logged_by_their_usual_names(tmp_path, watched):
    trained = train(tmp_path, "trainer.max_epochs=3", WATCH)
    metrics = [found for found, _ in epochs_of(watched)]
    assert len(metrics) == 3 * 2 + trained.n_epochs
    inner = [metrics[:3], metrics[3:6]]
    assert all(set(one) == {"train/loss", "val/loss", "val/auroc"} for one in metrics[:6])
    mean = np.mean([[one["val/loss"] for one in part] for part in inner], axis=0)
    np.testing.assert_allclose(trained.inner_loss, mean, rtol=1e-5)
    assert all(set(one) == {"train/loss"} for one in metrics[6:])


def test_a_network_alone_is_enough(tmp_path):
    """``network=resnet`` trains for up to 20 epochs; the default is fitted in closed form."""
    shape = (33, 34, 35)
    scans = make_cohort(12, shape=shape)
    assert planned(tmp_path, "network=resnet", scans=scans).longest == 20
    assert planned(tmp_path, scans=scans).longest == 0


def test_early_stopping_ends_the_choice_of_an_inner_fold(tmp_path, watched):
    stop = ["callbacks=early_stopping", "callbacks.early_stopping.patience=1"]
    options = ["trainer.max_epochs=12", "optimizer.lr=0.1", *stop, WATCH]
    trained = train(tmp_path, *options)
    losses = [found["val/loss"] for found, _ in epochs_of(watched) if "val/loss" in found]
    lengths, best, waited, n = [], np.inf, 0, 0
    for loss in losses:  # the rule itself, written down once more
        n, waited = n + 1, 0 if loss < best else waited + 1
        best = min(best, loss)
        if waited == 1 or n == 12:
            lengths.append(n)
            best, waited, n = np.inf, 0, 0
    assert len(lengths) == 2
    assert min(lengths) < 12
    assert len(trained.inner_loss) == min(lengths)
    assert trained.n_epochs == trained.inner_loss.argmin() + 1


def test_checkpoints_lie_below_the_logs_of_the_run(tmp_path):
    train(tmp_path, "trainer.max_epochs=2", "callbacks=model_checkpoint")
    found = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.ckpt"))
    folder = Path("logs/checkpoints")
    assert [path.parent for path in found] == [folder / "fold_inner-0", folder / "fold_inner-1"]
    kept = torch.load(tmp_path / found[0], weights_only=True)
    assert any(name.startswith("network.backbone.") for name in kept["state_dict"])


def test_learning_rates_are_logged_where_there_is_a_logger(tmp_path):
    options = ["trainer.max_epochs=2", "callbacks=learning_rate", "scheduler=cosine"]
    train(tmp_path, *options, build_loggers=(build_csv_logger,))
    table = pd.read_csv(tmp_path / "logs" / "csv" / "fold_inner-0" / "metrics.csv")
    rates = 0.01 * (1 + np.cos(np.pi * np.arange(2) / 2)) / 2
    np.testing.assert_allclose(table["lr-AdamW"].dropna(), rates)
    train(tmp_path, *options)  # without one it has nothing to do


def test_a_progress_bar_is_shown_on_a_terminal_if_asked_for(tmp_path, capsys, monkeypatch):
    asked_for = ("trainer.max_epochs=1", "callbacks=progress_bar")
    train(tmp_path, *asked_for)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    train(tmp_path, *asked_for)
    assert "Epoch" in capsys.readouterr().out


def test_gradients_are_clipped_and_accumulated(tmp_path, watched):
    # 10 and 8 people to learn from in the inner folds, 18 in all; what the last step leaves is new
    train(tmp_path, "trainer.max_epochs=1", "batch_size=2", WATCH)
    free = [one[1] for one in watched if one[0] == "norm"]
    watched.clear()
    options = ["trainer.gradient_clip_val=0.05", "trainer.accumulate_grad_batches=2"]
    train(tmp_path, "trainer.max_epochs=1", "batch_size=2", *options, WATCH)
    clipped = [one[1] for one in watched if one[0] == "norm"]
    assert (len(free), len(clipped)) == (4 + 3 + 8, 2 + 1 + 4)
    assert max(free) > 0.1
    assert max(clipped) < 0.05 + 1e-4


@pytest.mark.parametrize("limit", ["2", "0.5"])
def test_epochs_may_be_cut_short(tmp_path, watched, limit):
    options = ["batch_size=2", f"trainer.limit_train_batches={limit}"]
    train(tmp_path, "trainer.max_epochs=2", *options, WATCH)
    metrics = [found for found, _ in epochs_of(watched)]
    assert all(np.isfinite(found["train/loss"]) for found in metrics)
    n_steps = sum(one[0] == "norm" for one in watched)
    assert n_steps < 2 * (5 + 4) + (len(metrics) - 4) * 9 - 3  # the first step has no gradient yet


def test_rates_that_waited_for_a_loss_are_repeated_on_all_subjects(tmp_path, watched):
    """One inner fold halves after each epoch that isn't better; the whole training has no loss."""
    options = ["scheduler=plateau", "scheduler.patience=0", "+scheduler.threshold=0.5"]
    trained = train(tmp_path, "trainer.max_epochs=4", *options, WATCH)
    rates = [rate for _, rate in epochs_of(watched)]
    inner, whole = np.array([rates[:4], rates[4:8]]), np.array(rates[8:])
    assert inner.min() < 0.01
    assert len(whole) == trained.n_epochs
    np.testing.assert_allclose(whole, np.exp(np.log(inner).mean(axis=0))[: len(whole)])


@pytest.mark.parametrize(("overrides", "expected"), [([], 20), (["trainer.max_epochs=40"], 40)])
def test_cosine_ends_with_the_longest_training(overrides, expected):
    found = settings_of(*NETWORK, "scheduler=cosine", *overrides)
    assert found["scheduler"].keywords["T_max"] == expected


class Doubled(torch.nn.Module):
    """Twice the usual loss, averaged by itself."""

    def forward(self, outputs, target):
        assert outputs.shape == target.shape == (len(target), 1)
        return 2 * torch.nn.functional.binary_cross_entropy_with_logits(outputs, target)


def test_loss_of_ones_own(tmp_path):
    usual = train(tmp_path, "trainer.max_epochs=2")
    torch_own = train(tmp_path, "trainer.max_epochs=2", "+loss._target_=torch.nn.BCEWithLogitsLoss")
    np.testing.assert_allclose(torch_own.inner_loss, usual.inner_loss, rtol=1e-5)
    doubled = train(tmp_path, "trainer.max_epochs=1", f"+loss._target_={__name__}.Doubled")
    # equally many of both groups, so that weights by class change nothing; Adam ignores a factor
    np.testing.assert_allclose(doubled.inner_loss[0], 2 * usual.inner_loss[0], rtol=1e-2)
    focal = train(tmp_path, "trainer.max_epochs=1", "loss=focal")
    assert focal.inner_loss[0] < usual.inner_loss[0]


def test_other_optimisers(tmp_path):
    for name in ("sgd", "adamw"):
        assert np.isfinite(train(tmp_path, "trainer.max_epochs=1", f"optimizer={name}").inner_loss)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["trainer.max_epochs=-1"], r"trainer\.max_epochs: found -1; accepted: a whole number"),
        (["+trainer.max_steps=5"], r"trainer\.max_steps: found 5.*set trainer\.max_epochs"),
        (["+trainer.num_sanity_val_steps=2"], r"num_sanity_val_steps: found 2.*leave it out"),
        (["+trainer.limit_val_batches=2"], r"trainer\.limit_val_batches: found 2"),
        (["+trainer.check_val_every_n_epoch=2"], r"check_val_every_n_epoch: found 2; accepted: 1"),
        (["+trainer.default_root_dir=x"], r"trainer\.default_root_dir: .*set run_dir"),
        (["trainer.precision=16-true"], r"trainer\.precision: found 16-true; accepted: 32-true, b"),
        (["optimizer.lr=0.0"], r"optimizer\.lr: found 0; accepted: a number, above 0"),
        (["optimizer.weight_decay=-1.0"], r"optimizer: found settings that it refuses \(Invalid"),
        (["scheduler=cosine", "scheduler.T_max=null"], r"scheduler.*T_max"),
        (
            ["callbacks=early_stopping", "callbacks.early_stopping.monitor=val_loss"],
            r"EarlyStopping\.monitor: found val_loss; accepted: train/loss, val/loss or val/auroc",
        ),
        (
            ["callbacks=early_stopping", "callbacks.early_stopping.monitor=val/auc"],
            r"monitor: found val/auc; accepted: train/loss, val/loss, val/auroc",
        ),
        (
            ["+callbacks.f._target_=pytorch_lightning.callbacks.LearningRateFinder"],
            r"callbacks, LearningRateFinder: found .*compare values of optimizer\.lr",
        ),
        (
            [
                "+callbacks.f._target_=pytorch_lightning.callbacks.StochasticWeightAveraging",
                "+callbacks.f.swa_lrs=0.01",
            ],
            "use EMAWeightAveraging",
        ),
        (
            ["callbacks=model_checkpoint", "+callbacks.model_checkpoint.dirpath=/tmp/elsewhere"],
            r"ModelCheckpoint\.dirpath: found /tmp/elsewhere.*leave dirpath out",
        ),
    ],
)
def test_what_can_not_be_served_is_refused_by_name(tmp_path, overrides, said):
    with pytest.raises(ConfigError, match=said):
        planned(tmp_path, *NETWORK, *overrides)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["callbacks=early_stopping"], r"callbacks \(EarlyStopping\)"),
        (["scheduler=cosine"], "a scheduler"),
        (["loss=focal"], "a loss of one's own"),
        (["trainer.gradient_clip_val=1.0"], r"trainer\.gradient_clip_val, which clips"),
        (["trainer.accumulate_grad_batches=2"], r"trainer\.accumulate_grad_batches"),
        (["optimizer._target_=torch.optim.Adafactor", "~optimizer.fused"], "optimiser Adafactor"),
    ],
)
def test_stacking_refuses_what_it_can_not_serve(tmp_path, overrides, said):
    with pytest.raises(ConfigError, match=rf"compute\.n_stacked: found .*{said}"):
        planned(tmp_path, *NETWORK, *overrides, "compute.n_stacked=4")
    assert planned(tmp_path, *NETWORK, *overrides).n_stacked == 1


@pytest.mark.parametrize("option", ["callbacks=early_stopping", "scheduler=cosine"])
def test_what_changes_nothing_is_refused(tmp_path, option):
    with pytest.raises(ConfigError, match=r"none where no epoch is trained"):
        planned(tmp_path, option)


def test_stacks_come_to_what_the_plain_loop_comes_to(tmp_path):
    plain = train(tmp_path, "trainer.max_epochs=3")
    stacked = train(tmp_path, "trainer.max_epochs=3", "compute.n_stacked=2")
    np.testing.assert_allclose(stacked.inner_loss, plain.inner_loss, atol=1e-5)
    assert stacked.n_epochs == plain.n_epochs
    rows = np.arange(24)
    np.testing.assert_allclose(stacked.scores(rows), plain.scores(rows), atol=1e-5)


def test_a_whole_study_with_all_of_them(study_root, tmp_path):
    named = "callbacks=[early_stopping,model_checkpoint,learning_rate,progress_bar]"
    options = ["trainer.gradient_clip_val=1.0", "loss=focal", "scheduler=plateau", named]
    found = settings_of(*NETWORK, "trainer.max_epochs=2", *options)
    run_dir = tmp_path / "run"
    names = ("network", "trainer", "optimizer", "scheduler", "loss", "callbacks")
    settings = {name: found[name] for name in names} | {"baselines": {}}
    settings["folds"] = partial(build_folds, n_splits=2, n_repeats=1, inner_splits=2, seed=0)
    run_unreported(**study_settings(study_root, run_dir, **settings))
    assert json.loads((run_dir / "metrics.json").read_text("utf-8"))["n_epochs"]
    assert list((run_dir / "logs" / "checkpoints" / "repeat-0_fold-0_inner-1").glob("*.ckpt"))
