"""Compose the configuration of a study from plain values: the packaged one is the only source."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fmnet.config.check import check_config
from fmnet.config.primary import PRIMARIES, config_dir
from fmnet.earlier import current_targets

#: Words that Hydra reads as something else than themselves unless they are quoted.
SPECIAL = {"null", "none", "true", "false", "nan", "inf"}
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")


def compose_study(settings: Mapping[str, Any]) -> DictConfig:
    """Compose the configuration of a study.

    Parameters
    ----------
    settings : dict
        Values by the keys of ``fmnet train``: ``{"trainer.max_epochs": 3, "network": "densenet"}``.

    Raises
    ------
    ConfigError
        With all that is wrong: unknown keys, options, types.
    """
    plain = _composed(tuple(f"{key}={in_hydra(value)}" for key, value in settings.items()))
    return DictConfig(current_targets(OmegaConf.to_container(plain, resolve=True)))


@lru_cache(maxsize=32)
def _composed(lines: tuple[str, ...]) -> DictConfig:
    """Compose and check once for all folds of a cross-validation."""
    train = PRIMARIES["train"]
    return check_config(config_dir(), train.name, list(lines), train.schema, False, train.passed)


def in_hydra(value: Any) -> str:
    """Write a plain value as an override of Hydra's states it."""
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
