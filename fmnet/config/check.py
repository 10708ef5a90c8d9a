"""Compose a configuration and report everything that is wrong with it at once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.types import Override
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig
from omegaconf.base import Node
from omegaconf.errors import OmegaConfBaseException

from fmnet.config.overrides import check_overrides, parse_overrides, single, values_of
from fmnet.config.signatures import check_call, check_node
from fmnet.errors import ConfigError, Fault

Schema = Callable[..., Any]


def check_config(
    config_dir: Path, config_name: str, overrides: list[str], schema: Schema
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
    with initialize_config_dir(str(config_dir), version_base="1.3"):
        parsed, faults = parse_overrides(overrides)
        try:
            good, more = check_overrides(config_name, parsed)
        except HydraException as error:
            raise ConfigError([*faults, _compose_fault(config_name, error)]) from error
        faults += more
        first: DictConfig | None = None
        for lines in _each_value_once(good):
            try:
                composed = compose(config_name, overrides=lines)
            except (HydraException, OmegaConfBaseException) as error:
                faults.append(_compose_fault(config_name, error))
                continue
            first = composed if first is None else first
            faults += check_composed(composed, schema)
    if faults or first is None:
        raise ConfigError(dict.fromkeys(faults))
    return first


def check_composed(config: DictConfig, schema: Schema) -> list[Fault]:
    """Check a composed configuration against the signatures of all that it names."""
    faults: list[Fault] = []
    missing: set[str] = set()
    values = {
        str(key): _plain(config, key, str(key), faults, missing)
        for key in config
        if key not in {"hydra", "_target_"}
    }
    faults += [
        Fault(path, "nothing", "a value", f"set it: {path}=VALUE") for path in sorted(missing)
    ]
    top = check_call(schema, values, "", is_partial=True)
    faults += [fault for fault in top if fault.where not in missing]
    return faults + check_node(values, "", missing)


def _each_value_once(overrides: list[Override]) -> list[list[str]]:
    """One composition for the first values of all sweeps, one more for each further value."""
    lines = [single(item) for item in overrides]
    variants = [lines]
    for place, item in enumerate(overrides):
        for value in values_of(item)[1:]:
            variants.append([*lines[:place], single(item, value), *lines[place + 1 :]])
    return variants


def _plain(
    parent: DictConfig | ListConfig, key: Any, path: str, faults: list[Fault], missing: set[str]
) -> Any:
    """Resolve a node to plain values; what can't be resolved becomes a fault."""
    raw = parent._get_node(key)
    if isinstance(raw, Node) and raw._is_missing():
        missing.add(path)
        return None
    try:
        node = parent[key]
    except OmegaConfBaseException as error:
        if "hydra:" in repr(raw):  # known only while a job runs
            return "1"
        reason = str(error).splitlines()[0]
        faults.append(Fault(path, reason, "a reference to a key that exists", "correct it"))
        missing.add(path)
        return None
    if isinstance(node, DictConfig):
        return {str(n): _plain(node, n, f"{path}.{n!s}", faults, missing) for n in node}
    if isinstance(node, ListConfig):
        return [
            _plain(node, index, f"{path}[{index}]", faults, missing) for index in range(len(node))
        ]
    return node


def _compose_fault(config_name: str, error: Exception) -> Fault:
    reason = " ".join(str(error).split())
    return Fault(config_name, reason, "a configuration that composes", "correct the overrides")
