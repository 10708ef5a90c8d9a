"""Plain values become the packaged configuration, and nothing else."""

import inspect
from functools import partial

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from torch.nn import BCEWithLogitsLoss

import fmnet
from fmnet.api.composed import compose_study, in_hydra
from fmnet.config.entry import build
from fmnet.errors import ConfigError
from fmnet.networks.backbones import build_small_cnn

ELSEWHERE = {"run_dir": "somewhere"}


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        -0.25,
        1e-7,
        "plain",
        "null",
        "1e3",
        "two words",
        "it's",
        "C:\\maps\\",
        "a\\'b",
        "[x]",
        "a=b,c",
        "Schöne Grüße",
        "",
        [1, "b c", None],
        {"node": "subjectLevel", "res": 2},
        [],
    ],
)
def test_hydra_reads_back_what_was_written(value):
    (override,) = OverridesParser.create().parse_overrides([f"key={in_hydra(value)}"])
    assert OmegaConf.to_container(OmegaConf.create({"key": override.value()})) == {"key": value}


@pytest.mark.parametrize("value", [np.float64(-0.25), np.int32(3), np.bool_(True), np.str_("a b")])
def test_values_of_numpy_are_pythons(value):
    assert in_hydra(value) == in_hydra(value.item())


def test_defaults_are_those_of_the_configuration():
    """One source of defaults: what `fmnet.study` names is what `fmnet train` does."""
    config = compose_study(ELSEWHERE)
    own = {name: one.default for name, one in inspect.signature(fmnet.study).parameters.items()}
    assert own["n_splits"] == config.folds.n_splits
    assert own["n_repeats"] == config.folds.n_repeats
    assert own["n_permutations"] == config.permutation.n
    named = compose_study(ELSEWHERE | {key: own[key] for key in ("network", "baselines")})
    assert named == config
    model = fmnet.SignatureClassifier()
    assert config.preparation == compose_study(ELSEWHERE | model._settings()).preparation
    assert model.inner_splits == config.folds.inner_splits
    assert model.random_state == config.seed


def test_tells_all_faults_at_once():
    with pytest.raises(ConfigError, match="2 faults") as caught:
        compose_study(ELSEWHERE | {"trainer.max_epoch": 3, "optimizer": "adam"})
    assert "max_epochs" in str(caught.value)
    assert "adamw" in str(caught.value)


def test_functions_and_classes_are_components():
    network = partial(build_small_cnn, channels=[3, 5])
    config = compose_study(ELSEWHERE | {"network": network, "loss": BCEWithLogitsLoss})
    made = build(OmegaConf.create({"network": config.network, "loss": config.loss}))
    assert made["network"].func is build_small_cnn
    assert made["network"].keywords == {"channels": [3, 5]}
    assert isinstance(made["loss"], BCEWithLogitsLoss)
    by_name = {"_target_": "fmnet.networks.backbones.build_small_cnn", "channels": [3, 5]}
    assert compose_study(ELSEWHERE | {"network": by_name}).network == config.network


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("network", lambda shape: None, "top level of a module"),
        ("network", partial(build_small_cnn, (1, 7, 8, 9)), "settings by keyword"),
        ("network", partial(build_small_cnn, channel=[3]), r"network\.channel"),
        ("loss", {"_target_": "fmnet.nowhere.Loss"}, "nowhere"),
    ],
)
def test_says_which_component_is_wrong(key, value, message):
    with pytest.raises(ConfigError, match=message):
        compose_study(ELSEWHERE | {key: value})
