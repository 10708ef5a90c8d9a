"""Compose a configuration and report everything that is wrong with it at once."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.types import Override
from hydra.core.utils import setup_globals
from omegaconf import DictConfig, ListConfig
from omegaconf.base import Node
from omegaconf.errors import OmegaConfBaseException

from fmnet.config.overrides import (
    CANT_COMPOSE,
    check_overrides,
    group_options,
    parse_overrides,
    refuse_sweeps,
    single,
    values_of,
)
from fmnet.config.resolvers import register_resolvers
from fmnet.config.signatures import check_call, check_node, needed_keys
from fmnet.earlier import instead_of
from fmnet.errors import ConfigError, Fault

Schema = Callable[..., Any]


def check_config(
    config_dir: Path,
    config_name: str,
    overrides: list[str],
    schema: Schema,
    is_sweep: bool = True,
    passed: tuple[str, ...] = (),
) -> DictConfig:
    """Compose a configuration; no file but those in `config_dir` is opened.

    Parameters
    ----------
    config_dir : Path
        The ``configs`` folder, absolute.
    config_name : str
        Primary config.
    overrides : list of str
        As on the command line, sweeps included.
    schema : callable
        What the configuration is passed to: its signature names the top-level keys.
    is_sweep : bool
        Whether an override may stand for several values, as under ``--multirun``.
    passed : tuple of str
        Parameters of `schema` that are not the configuration's, since the script passes them.

    Returns
    -------
    DictConfig
        As composed; of a sweep, the first.

    Raises
    ------
    ConfigError
        With all faults: dotted path, what was found, what is accepted.
    """
    setup_globals()
    register_resolvers()
    with initialize_config_dir(str(config_dir), version_base="1.3"):
        parsed, faults = parse_overrides(overrides, needed_keys(schema))
        try:
            good, more = check_overrides(config_name, parsed, needed_keys(schema))
        except CANT_COMPOSE as error:
            raise ConfigError([*faults, _compose_fault(config_name, error)]) from error
        faults += more if is_sweep else [*more, *refuse_sweeps(good)]
        first: DictConfig | None = None
        for lines in _each_value_once(good):
            try:
                composed = compose(config_name, overrides=lines)
            except CANT_COMPOSE as error:
                faults.append(_compose_fault(config_name, error))
                continue
            first = composed if first is None else first
            faults += check_composed(composed, schema, passed)
    if faults or first is None:
        raise ConfigError(dict.fromkeys(faults))
    return first


def check_composed(config: DictConfig, schema: Schema, passed: tuple[str, ...] = ()) -> list[Fault]:
    """Check a composed configuration against the signatures of all that it names."""
    faults: list[Fault] = []
    unjudged: set[str] = set()
    values = {
        str(key): _plain(config, key, str(key), faults, unjudged)
        for key in config
        if key not in {"hydra", "_target_"}
    }
    top = check_call(schema, values, "", is_partial=True, passed=passed)
    faults += [fault for fault in top if fault.where not in unjudged]
    faults += [_absent(name) for name in needed_keys(schema) if name not in [*values, *passed]]
    return faults + check_node(values, "", unjudged)


def _absent(name: str) -> Fault:
    options = [f"{name}={option}" for option in group_options(name)]
    accepted = ", ".join(options) or f"{name}=VALUE"
    return Fault(name, "nothing", accepted, f"don't remove {name}: nothing runs without it")


def _each_value_once(overrides: list[Override]) -> list[list[str]]:
    """One composition for the first values of all sweeps, one more for each further value."""
    lines = [single(item) for item in overrides]
    variants = [lines]
    for place, item in enumerate(overrides):
        for value in values_of(item)[1:]:
            variants.append([*lines[:place], single(item, value), *lines[place + 1 :]])
    return variants


def _plain(
    parent: DictConfig | ListConfig, key: Any, path: str, faults: list[Fault], unjudged: set[str]
) -> Any:
    """Resolve a node to plain values; what can't be resolved becomes a fault."""
    raw = parent._get_node(key)
    if isinstance(raw, Node) and raw._is_missing():
        faults.append(Fault(path, "nothing", "a value", f"set it: {path}=VALUE"))
        unjudged.add(path)
        return None
    try:
        node = parent[key]
    except OmegaConfBaseException as error:
        unjudged.add(path)
        if "hydra:" in repr(raw):  # known only while a job runs
            return None
        reason = str(error).splitlines()[0]
        faults.append(Fault(path, reason, "a reference to a key that exists", "correct it"))
        return None
    if isinstance(node, DictConfig):
        return {str(n): _plain(node, n, f"{path}.{n!s}", faults, unjudged) for n in node}
    if isinstance(node, ListConfig):
        return [
            _plain(node, index, f"{path}[{index}]", faults, unjudged) for index in range(len(node))
        ]
    return node


def _compose_fault(config_name: str, error: Exception) -> Fault:
    reason = " ".join(str(error).split())
    named = re.findall(r"[\w.]+", reason)  # a file of before may choose a group of before
    action = next(filter(None, map(instead_of, named)), "correct the overrides")
    return Fault(config_name, reason, "a configuration that composes", action)
