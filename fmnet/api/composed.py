"""Compose the configuration of a study from plain values: the packaged one is the only source."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from fmnet.config.check import check_composed, check_config
from fmnet.config.primary import PRIMARIES, config_dir
from fmnet.earlier import current_targets
from fmnet.errors import ConfigError, Fault

#: Words that Hydra reads as something else than themselves unless they are quoted.
SPECIAL = {"null", "none", "true", "false", "nan", "inf"}
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
#: Components that are called later, with what a study knows then.
CALLED_LATER = {"network", "optimizer", "scheduler", "trainer", "folds"}


def compose_study(settings: Mapping[str, Any]) -> DictConfig:
    """Compose the configuration of a study.

    Parameters
    ----------
    settings : dict
        Values by the keys of ``fmnet train``: ``{"trainer.max_epochs": 3, "optimizer": "sgd"}``. A
        component of one's own is a class or function, a `functools.partial` of one with plain
        settings, or a dict with ``_target_``.

    Raises
    ------
    ConfigError
        With all that is wrong: unknown keys, options, types.
    """
    own = {key: value for key, value in settings.items() if is_component(value)}
    lines = (f"{key}={in_hydra(value)}" for key, value in settings.items() if key not in own)
    config = DictConfig(OmegaConf.to_container(_composed(tuple(lines)), resolve=True))
    for key, value in own.items():
        OmegaConf.update(config, key, described(key, value), merge=False, force_add=True)
    train = PRIMARIES["train"]
    if own and (faults := check_composed(config, train.schema, train.passed)):
        raise ConfigError(dict.fromkeys(faults))
    return DictConfig(current_targets(OmegaConf.to_container(config)))


@lru_cache(maxsize=32)
def _composed(lines: tuple[str, ...]) -> DictConfig:
    """Compose and check once for all folds of a cross-validation."""
    train = PRIMARIES["train"]
    return check_config(config_dir(), train.name, list(lines), train.schema, False, train.passed)


def is_component(value: Any) -> bool:
    """Tell what is built, and not taken as it is."""
    return callable(value) or (isinstance(value, Mapping) and "_target_" in value)


def described(key: str, value: Any) -> Any:
    """Describe a component as a configuration does, by its dotted name and plain settings."""
    name = key.rpartition(".")[2]
    if isinstance(value, Mapping):
        settings = {str(own): described(str(own), one) for own, one in value.items()}
        late = {"_partial_": True} if "_target_" in settings and name in CALLED_LATER else {}
        return late | settings
    if isinstance(value, list | tuple):
        return [described(key, one) for one in value]
    if not callable(value):
        return value
    function: Callable[..., Any] = value.func if isinstance(value, partial) else value
    keywords = value.keywords if isinstance(value, partial) else {}
    dotted = f"{function.__module__}.{getattr(function, '__qualname__', '')}"
    if (isinstance(value, partial) and value.args) or "<" in dotted or dotted.endswith("."):
        found = f"{value!r:.99}, which has no name to be found by again"
        accepted = "a function or class at the top level of a module, settings by keyword"
        raise ConfigError(Fault(key, found, accepted, "write it into a module, and import it"))
    return described(key, {"_target_": dotted, **keywords})


def in_hydra(value: Any) -> str:
    """Write a plain value as an override of Hydra's states it."""
    if isinstance(value, np.generic):  # as grid searches give them
        value = value.item()
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{in_hydra(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple | set):
        return "[" + ",".join(map(in_hydra, value)) + "]"
    text = str(value)
    if PLAIN.fullmatch(text) and text.lower() not in SPECIAL:
        return text
    # backslashes stand for themselves, but before a quote and at the end
    escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), text)
    return f"'{escaped}'"
