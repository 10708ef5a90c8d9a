"""What earlier versions wrote is read, or refused by a sentence that says what to write instead."""

from pathlib import Path

import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

from fmnet import earlier
from fmnet.config.check import check_config
from fmnet.earlier import (
    current_config,
    current_name,
    current_targets,
    instead_of,
    instead_of_value,
)
from fmnet.errors import ConfigError
from fmnet.studies.study import run_study

CONFIGS = Path(__file__).resolve().parents[1] / "configs"

#: What configurations, documents, run folders and bundles of the first year named.
NAMED_BEFORE = """
fmnet.benchmark.corpus.run.Corpus
fmnet.benchmark.haxby.Entrant
fmnet.benchmark.haxby.Haxby
fmnet.benchmark.noise.NoiseBenchmark
fmnet.benchmark.permuting.PermutationSpeed
fmnet.benchmark.power.contender.Contender
fmnet.benchmark.power.power.PowerBenchmark
fmnet.benchmark.predicting.Predicting
fmnet.benchmark.preparing.Preparing
fmnet.benchmark.reading.Reading
fmnet.benchmark.rest.Contender
fmnet.benchmark.rest.RestBenchmark
fmnet.benchmark.setting.Setting
fmnet.benchmark.stem_costs.StemCosts
fmnet.benchmark.throughput.Throughput
fmnet.benchmark.training.TrainingSpeed
fmnet.benchmark.validity.measures.Coverage
fmnet.benchmark.validity.measures.Optimism
fmnet.benchmark.validity.measures.TypeOne
fmnet.benchmark.validity.null_studies.NullNetwork
fmnet.benchmark.validity.null_studies.Sentences
fmnet.benchmark.validity.probabilities.Calibrated
fmnet.benchmark.validity.validity.Validity
fmnet.bold.bold_cohort.read_bold
fmnet.bold.bold_cohort.read_synthetic_bold
fmnet.bold.settings.CleaningSettings
fmnet.bold.synthetic_design.BoldDesign
fmnet.config.jobs.JobReport
fmnet.data.bids.read_bids
fmnet.data.folds.build_folds
fmnet.data.folds.build_site_folds
fmnet.data.folds.read_folds
fmnet.data.image_table.read_image_table
fmnet.data.injected.read_injected
fmnet.data.synthetic.read_synthetic
fmnet.deploy.preparation.PreparationSettings
fmnet.networks.backbones.build_densenet
fmnet.networks.backbones.build_resnet
fmnet.networks.backbones.build_small_cnn
fmnet.networks.series.build_dual_regression
fmnet.networks.series.build_frames
fmnet.networks.series.build_learned_seeds
fmnet.networks.series.build_temporal_filters
fmnet.networks.signature.build_scale_space
fmnet.study.audit.audit.AuditPlan
fmnet.study.baselines.connectivity.Connectivity
fmnet.study.baselines.constant.Dummy
fmnet.study.baselines.covariates.Columns
fmnet.study.baselines.decoder.Frem
fmnet.study.baselines.decoder.SpaceNet
fmnet.study.baselines.estimator.Estimator
fmnet.study.baselines.expression.Expression
fmnet.study.baselines.linear.LinearSvm
fmnet.study.baselines.linear.LogisticRidge
fmnet.study.baselines.linear.ShrinkageLda
fmnet.study.baselines.shortcuts.Coverage
fmnet.study.baselines.shortcuts.FileGrid
fmnet.study.baselines.shortcuts.Roughness
fmnet.study.baselines.shortcuts.Scale
fmnet.study.baselines.shortcuts.TemporalSnr
fmnet.study.lockbox.LockBox
fmnet.lockbox.LockBox
fmnet.study.parts.Shard
fmnet.study.permutation.PermutationPlan
fmnet.study.sensitivity.learning_curve.LearningCurvePlan
fmnet.study.sensitivity.reruns.SensitivityPlan
fmnet.training.augmentation.build_augmentation
fmnet.training.compute.Compute
fmnet.training.loggers.build_csv_logger
fmnet.training.loggers.build_mlflow_logger
fmnet.training.loggers.build_tensorboard_logger
fmnet.training.loggers.build_wandb_logger
fmnet.training.trainer.build_trainer
fmnet.networks.linear_layer.build_linear
fmnet.networks.linear_map.build_linear
fmnet.networks.closed_form.build_scale_space
"""


@pytest.mark.parametrize("name", NAMED_BEFORE.split())
def test_what_was_named_before_is_there(name):
    assert callable(get_object(current_name(name)))


def test_names_of_now_and_of_others_stay():
    names = ["fmnet.study.run_study", "torch.nn.Linear", "fmnet.data.bids.read_bids", "x"]
    assert list(map(current_name, names)) == names


def test_targets_are_renamed_wherever_they_stand():
    old, now = "fmnet.study.baselines.constant.Dummy", "fmnet.baselines.base.Dummy"
    node = {"a": [{"_target_": old, "name": old}], "_target_": 3}
    assert current_targets(node) == {"a": [{"_target_": now, "name": old}], "_target_": 3}


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.setattr(
        earlier, "RENAMED", {"cleaning.scrub_mm": "cleaning.fd", "models.*.share": "models.*.part"}
    )
    monkeypatch.setattr(
        earlier, "REPLACED", {"task": "write trainer.*", "task=start": "leave it out", "a.b": "c"}
    )
    monkeypatch.setattr(earlier, "ADDED", {"loss": {"x": 1}, "cleaning.new": 0, "gone.new": 0})


@pytest.mark.parametrize(
    ("key", "options", "said"),
    [
        ("cleaning.scrub_mm", [], "write cleaning.fd, which it is called now"),
        ("models.svm.share", [], "write models.svm.part, which it is called now"),
        ("models.svm.share.deep", [], "write models.svm.part.deep, which it is called now"),
        ("task.rate", [], "write trainer.*"),
        ("task", ["start"], "leave it out"),
        ("task", ["other"], "write trainer.*"),
        ("a", [], ""),
        ("models.svm.c", [], ""),
    ],
)
def test_it_is_said_what_to_write_instead(tables, key, options, said):
    assert instead_of(key, options) == said


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("task=start", "a network that is fitted in closed form is trained no further"),
        ("task=classification", "is trained for up to 20 epochs"),
        ("task.max_epochs=5", "write trainer.max_epochs, and optimizer.lr=1e-5 for what"),
        ("task.learning_rate=1e-4", "to do: write optimizer.lr"),
        ("task.weight_decay=0", "to do: write optimizer.weight_decay"),
        ("task.batch_size=4", "to do: write batch_size"),
        ("task._target_=x", "write trainer.max_epochs, optimizer.lr, optimizer.weight_decay or"),
    ],
)
def test_what_task_held_has_other_keys(override, said):
    with pytest.raises(ConfigError, match=said):
        check_config(CONFIGS, "train", [override, "run_dir=out"], run_study)


@pytest.mark.parametrize(
    ("task", "command"),
    [
        ({"learning_rate": 1e-5, "max_epochs": 0}, ["network=scale_space"]),
        ({"learning_rate": 1e-3, "max_epochs": 20}, ["network=small_cnn"]),
        (
            {"learning_rate": 1e-4, "max_epochs": 5},
            ["network=scale_space", "trainer.max_epochs=5", "optimizer.lr=1e-4"],
        ),
    ],
)
def test_training_of_an_earlier_run_is_that_of_the_same_command_now(task, command):
    now = OmegaConf.to_container(check_config(CONFIGS, "train", command, run_study, False))
    trainer = {
        "_target_": "fmnet.training.trainer.build_trainer",
        "_partial_": True,
        "accelerator": "cpu",
        "devices": 1,
        "strategy": "auto",
        "precision": "32-true",
        "num_nodes": 1,
    }
    recipe = {"_target_": "fmnet.training.optimiser.Recipe", "weight_decay": 1e-2, "batch_size": 8}
    run = {"network": now["network"], "task": recipe | task, "trainer": trainer}
    names = ("network", "trainer", "optimizer", "callbacks", "batch_size")
    found = current_config(run)
    assert {name: found[name] for name in names} == {name: now[name] for name in names}
    assert not found["loss"] and not found["scheduler"]  # noqa: PT018


def test_settings_of_a_run_are_read_as_of_now(tables):
    run = {
        "cleaning": {"scrub_mm": 0.5, "_target_": "fmnet.deploy.quality.Reference"},
        "models": {"svm": {"share": [1, 2], "c": 1}},
        "seed": 3,
    }
    assert current_config(run) == {
        "cleaning": {"fd": 0.5, "_target_": "fmnet.inference.quality.Reference", "new": 0},
        "models": {"svm": {"part": [1, 2], "c": 1}},
        "seed": 3,
        "loss": {"x": 1},
    }
    assert run["cleaning"]["scrub_mm"] == 0.5, "what was given is changed"


def test_limit_of_displacement_is_said_by_its_name_of_now_and_read_from_runs_of_before():
    said = "write cohort.cleaning.fd_threshold, which it is called now"
    assert instead_of("cohort.cleaning.scrub_mm") == said
    before = {"cohort": {"cleaning": {"_target_": "fmnet.bold.settings.CleaningSettings"}}}
    before["cohort"]["cleaning"]["scrub_mm"] = 0.5
    now = current_config(before)["cohort"]["cleaning"]
    assert now == {"_target_": "fmnet.bold.settings.CleaningSettings", "fd_threshold": 0.5}


TASK = {"learning_rate": 1e-5, "weight_decay": 0.02, "batch_size": 4}


@pytest.mark.parametrize(
    ("network", "max_epochs", "optimizer", "batch_size", "now"),
    [
        ({"_target_": "fmnet.networks.signature.build_scale_space"}, 0, (1e-3, 1e-2), 8, None),
        ({"_target_": "x.build_frames", "backbone": "scale_space"}, 0, (1e-3, 1e-2), 8, None),
        ({"_target_": "x.build_scale_space"}, 5, (1e-5, 0.02), 4, 5),
        ({"_target_": "x.build_resnet"}, 20, (1e-5, 0.02), 4, None),
        ({"_target_": "x.build_frames", "backbone": "small_cnn"}, 7, (1e-5, 0.02), 4, 7),
    ],
)
def test_task_of_a_run_of_before_is_read(network, max_epochs, optimizer, batch_size, now):
    run = {"task": TASK | {"max_epochs": max_epochs}, "network": network, "trainer": {"devices": 1}}
    found = current_config(run)
    assert "task" not in found
    lr, weight_decay = optimizer
    adam = {"_target_": "torch.optim.AdamW", "_partial_": True, "fused": True}
    assert found["optimizer"] == adam | {"lr": lr, "weight_decay": weight_decay}
    assert found["batch_size"] == batch_size
    assert found["trainer"]["max_epochs"] == now
    assert found["trainer"]["devices"] == 1
    assert (found["loss"], found["scheduler"], found["callbacks"]) == (None, None, {})
    assert run["task"]["max_epochs"] == max_epochs, "what was given is changed"


def test_values_of_before_are_named_with_those_of_now():
    said = "write [focal, distributed, other], as they are called now"
    assert instead_of_value(["places", "whole", "other"]) == said
    assert instead_of_value(["focal", 3]) == instead_of_value(None) == ""
