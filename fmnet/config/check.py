"""Compose a configuration and report everything that is wrong with it at once."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig
from omegaconf.base import Node
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from fmnet.config.jobs import register_resolvers
from fmnet.config.signatures import (
    check_call,
    check_node,
    needed_keys,
    parameter_names,
    signature_of,
    suggest,
)
from fmnet.earlier import instead_of
from fmnet.errors import ConfigError, Fault

Schema = Callable[..., Any] | str
#: What Hydra raises for overrides or files that it can't compose.
CANT_COMPOSE = (HydraException, OmegaConfBaseException, YAMLError, ValueError)
#: Options of hydra/launcher that an extra installs.
LAUNCHERS = ("submitit_local", "submitit_slurm")


@contextmanager
def initialised(folder: Path, own: Path | None = None) -> Iterator[None]:
    """Let Hydra compose from a folder, and then from one of the user's own, if there is one."""
    setup_globals()
    register_resolvers()
    with initialize_config_dir(str(folder), version_base="1.3"):
        if own is not None:  # as Hydra does with --config-dir
            path = create_config_search_path(str(folder))
            path.prepend("command-line", f"file://{own}", SearchPathQuery(provider="schema"))
            GlobalHydra.instance().clear()
            Hydra.create_main_hydra2("fmnet", path)
        yield


def check_config(
    config_dir: Path,
    config_name: str,
    overrides: list[str],
    schema: Schema,
    is_sweep: bool = True,
    passed: tuple[str, ...] = (),
    own: Path | None = None,
) -> DictConfig:
    """Compose a configuration; no file but those in `config_dir` and `own` is opened.

    Parameters of `schema`, a function or its dotted name, are the top-level keys, except those
    `passed` by the command. `overrides` are those of the command line; with `is_sweep` they may
    stand for several values, as under ``--multirun``. Files of the user's `own` folder come after
    those of the same name in `config_dir`.

    What the source files tell is checked first. Only if nothing is wrong so far, what a schema and
    targets stand for is imported, which can take seconds, and checked once more; else only in the
    parts in which overrides name targets, or targets that have no source.

    Returns
    -------
    DictConfig
        As composed; of a sweep, the first.

    Raises
    ------
    ConfigError
        With all faults: dotted path, what was found, what is accepted.
    """
    _compose.cache_clear()
    with initialised(config_dir, own):
        parsed, faults = parse_overrides(overrides, needed_keys(schema))
        try:
            good, more = check_overrides(config_name, parsed, needed_keys(schema))
        except CANT_COMPOSE as error:
            raise ConfigError([*faults, _compose_fault(config_name, error)]) from error
        faults += more if is_sweep else [*more, *refuse_sweeps(good)]
        composed: list[DictConfig] = []
        # the first values of all sweeps together, then each further value by itself
        firsts = [single(item) for item in good]
        variants = [firsts] + [
            [*firsts[:i], single(item, value), *firsts[i + 1 :]]
            for i, item in enumerate(good)
            for value in values_of(item)[1:]
        ]
        for lines in variants:
            try:
                composed.append(_compose(config_name, *lines))
            except CANT_COMPOSE as error:
                faults.append(_compose_fault(config_name, error))
        unread: set[str] = set()
        for one in composed:
            faults += check_composed(one, schema, passed, unread=unread)
        parts = _imported_parts(own, good, unread) if faults else None
        if parts is None or parts:
            for one in composed:
                faults += check_composed(one, schema, passed, parts)
    if faults or not composed:
        raise ConfigError(dict.fromkeys(faults))
    return composed[0]


def _imported_parts(own: Path | None, overrides: list[Override], unread: set[str]) -> set[str]:
    """Name the top-level keys in which an override says more than what the source can tell."""
    parts = set()
    for item in overrides:
        key, values = item.key_or_group, values_of(item)
        top = re.split(r"[./@]", key)[0]
        files = [f"{key}/{value}.yaml" for value in values]
        is_own = own is not None and any((own / name).is_file() for name in files)
        is_unread = any(re.split(r"[.\[]", path)[0] == top for path in unread)
        if is_own or is_unread or "_target_" in (item.input_line or ""):
            parts.add(top)
    return parts


def check_composed(
    config: DictConfig,
    schema: Schema,
    passed: tuple[str, ...] = (),
    parts: Collection[str] | None = None,
    unread: set[str] | None = None,
) -> list[Fault]:
    """Check a composed configuration against the signatures of all that it names.

    With `parts`, only these top-level keys; with a set of `unread` paths nothing is imported, and
    it is told which targets have no source.
    """
    faults: list[Fault] = []
    unjudged: set[str] = set()
    values = {
        str(key): _plain(config, key, str(key), faults, unjudged)
        for key in config
        if key not in {"hydra", "_target_"} and (parts is None or key in parts)
    }
    imports = unread is None
    signature = signature_of(schema, imports)
    top = check_call(signature, values, "", is_partial=True, passed=passed, imports=imports)
    faults += [fault for fault in top if fault.where not in unjudged]
    for name in needed_keys(schema) if parts is None else ():
        if name not in values and name not in passed:
            options = ", ".join(f"{name}={option}" for option in group_options(name))
            action = f"don't remove {name}: nothing runs without it"
            faults.append(Fault(name, "nothing", options or f"{name}=VALUE", action))
    return faults + check_node(values, "", unjudged, unread)


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


def parse_overrides(
    texts: Iterable[str], needed: Collection[str] = ()
) -> tuple[list[Override], list[Fault]]:
    """Parse overrides, each on its own; `needed` names keys that a plain word may stand for."""
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    overrides, faults = [], []
    for text in texts:
        try:
            overrides += parser.parse_overrides([text])
        except HydraException as error:
            faults.append(_unreadable(text, str(error).splitlines()[0], needed))
    return overrides, faults


def _unreadable(text: str, reason: str, needed: Collection[str]) -> Fault:
    """Say what is wrong with an argument; a word alone is mostly a file or folder to read."""
    if "=" in text or text.startswith("~"):
        return Fault(text, reason, "key=value", "quote special characters")
    found, accepted = "a word without '='", "arguments of the form key=value"
    if text.split(".")[0].lstrip("+") in needed:
        return Fault(text, found, accepted, f"write {text}=VALUE")
    if "cohort" in needed:
        is_table = text.endswith((".tsv", ".csv"))
        meant = (
            f"cohort=table cohort.images={text}" if is_table else f"cohort=bids cohort.root={text}"
        )
    else:
        meant = f"{next(iter(needed), 'key')}={text}"
    return Fault(text, found, accepted, f"did you mean {meant}?")


def check_overrides(
    config_name: str, overrides: list[Override], needed: Collection[str] = ()
) -> tuple[list[Override], list[Fault]]:
    """Tell overrides that the configuration can take from those that it can't.

    Groups that are `needed` can't be left out. Hydra has to be initialised.
    """
    paths = [item for item in overrides if item.key_or_group == "hydra.searchpath"]
    groups = set(_list("", ObjectType.GROUP, paths))
    chosen = [item for item in overrides if item.key_or_group in groups and not item.is_delete()]
    wrong = {id(item): _group_faults(item, paths, needed) for item in chosen}
    faults = [fault for found in wrong.values() for fault in found]
    free = [item for item in overrides if _is_free(item) and item not in chosen]
    free.sort(key=lambda item: "." in item.key_or_group)  # a launcher comes before its settings
    first = [*paths, *(item for item in chosen if not wrong[id(item)])]
    good, more = _composable(config_name, [], [*first, *(i for i in free if i not in paths)])
    faults += more
    base = _compose(config_name, *(single(item) for item in good if not item.is_delete()))
    values = []
    for item in overrides:
        if item not in chosen and item not in free:
            if (fault := _key_fault(item.key_or_group, base)) is None:
                values.append(item)
                continue
            chosen_before = [str(value) for value in values_of(item)]
            action = instead_of(item.key_or_group, chosen_before) or fault.action
            faults.append(replace(fault, action=action))
    good, more = _composable(config_name, good, values)
    # Hydra applies overrides in the order in which they were given.
    return [item for item in overrides if item in good], [*faults, *more]


def _composable(
    config_name: str, kept: list[Override], candidates: list[Override]
) -> tuple[list[Override], list[Fault]]:
    """Keep what composes; only if something doesn't, try the candidates one after another."""
    if _failure(config_name, [*kept, *candidates]) is None:
        return [*kept, *candidates], []
    faults = []
    for item in candidates:
        error = _failure(config_name, [*kept, item])
        if error is None:
            kept = [*kept, item]
        else:
            faults.append(_composing_fault(config_name, kept, item, error))
    return kept, faults


def _composing_fault(
    config_name: str, kept: list[Override], item: Override, error: Exception
) -> Fault:
    """Say why an override can't be composed; of Hydra's own, what there is in its place."""
    key = item.key_or_group
    if _is_hydra(key) and not item.is_delete():
        if options := group_options(key):
            if set(map(str, values_of(item))) - set(options):
                name = str(values_of(item)[0])
                action = suggest(name, options)
                if name in LAUNCHERS:
                    action = "install what it needs: pip install 'fmnet[slurm]'"
                return Fault(key, f"option '{name}'", ", ".join(options), action)
        elif not item.is_add():
            lines = [single(one) for one in kept]
            base = compose(config_name, overrides=lines, return_hydra_config=True)
            if fault := _key_fault(key.replace("/", "."), base):
                return fault
    reason = " ".join(f"{error} {error.__cause__ or ''}".split())
    line = item.input_line or key
    return Fault(line, reason, "an override that composes", "correct it")


@cache  # cleared by `check_config`: the same is asked for several times, and takes a while
def _compose(config_name: str, *overrides: str) -> DictConfig:
    return compose(config_name, overrides=list(overrides))


def _failure(config_name: str, overrides: list[Override]) -> Exception | None:
    try:
        _compose(config_name, *map(single, overrides))
    except CANT_COMPOSE as error:
        return error
    return None


def values_of(override: Override) -> list[Any]:
    """List the values that an override stands for: one, or those of a sweep."""
    if override.is_sweep_override():
        swept = override.value()
        if isinstance(swept, IntervalSweep):  # which can't be listed: its ends stand for it
            return [str(swept.start), str(swept.end)]
        return list(override.sweep_string_iterator())
    return [override.get_value_element_as_str()]


def refuse_sweeps(overrides: Iterable[Override]) -> list[Fault]:
    """Report overrides with several values, or a launcher of jobs, where one run was asked for."""
    action = "add -m to run them all, write [a,b] for a list, or quote the value"
    launchers = [
        Fault(item.key_or_group, "a launcher for one run", "a launcher for a multirun", "add -m")
        for item in overrides
        if item.key_or_group == "hydra/launcher" and values_of(item) != ["basic"]
    ]
    return launchers + [
        Fault(item.key_or_group, "several values", "one value", action)
        for item in overrides
        if item.is_sweep_override()
    ]


def single(override: Override, value: Any = None) -> str:
    """Write an override for one value, by default the first that it stands for."""
    line = override.input_line or ""
    if not override.is_sweep_override():
        return line
    key = line.split("=", 1)[0]
    return f"{key}={values_of(override)[0] if value is None else value}"


def _is_free(override: Override) -> bool:
    """Tell overrides that need no place in the config: additions, deletions, Hydra's own."""
    is_addition = override.is_add() or override.is_force_add()
    return is_addition or _is_hydra(override.key_or_group) or bool(override.is_delete())


def _is_hydra(key: str) -> bool:
    return key.split(".")[0].split("/")[0] == "hydra"


def group_options(group: str, paths: Collection[Override] = ()) -> list[str]:
    """List the options of a group; none if there is no such group."""
    return _list(group, ObjectType.CONFIG, paths)


def _group_faults(
    override: Override, paths: list[Override], needed: Collection[str]
) -> list[Fault]:
    group = override.key_or_group
    options = group_options(group, paths)
    if any(value.startswith("{") for value in values_of(override)):
        action = f"write key by key, +{group}._target_=..., or choose an option"
        return [Fault(group, "settings in place of an option", ", ".join(options), action)]
    # a group takes several options as a list: logger=[csv,tensorboard]
    texts = [text for value in values_of(override) for text in value.strip("[]").split(",")]
    faults = []
    for name in (text.strip(" '\"") for text in texts):
        if name in options:
            continue
        if name not in {"null", "none"}:
            action = instead_of(group, [name]) or suggest(name, options)
        elif "none" in options:
            action = f"write {group}=none"
        else:
            is_needed = group in needed
            action = "choose one of these" if is_needed else f"leave the group out with ~{group}"
        faults.append(Fault(group, f"option '{name}'", ", ".join(options), action))
    return faults


def _key_fault(key: str, base: DictConfig) -> Fault | None:
    node: Any = base
    path = key.split(".")
    for depth, step in enumerate(path):
        stem = ".".join(path[:depth])
        if not isinstance(node, DictConfig):
            return Fault(key, "no such key", f"{stem}, which has no keys", f"set {stem}")
        listed = [str(name) for name in node if name != "hydra" and str(name)[0] != "_"]
        if step not in node.keys():  # noqa: SIM118 ("in" denies keys whose value is missing)
            settable = _target_parameters(node, bool(node.get("_partial_")))
            names = [*listed, *(name for name in settable if name not in listed)]
            accepted = ", ".join(f"{stem}.{name}" if stem else name for name in names)
            if stem == "hydra.launcher" and not names:
                action = "add hydra/launcher=submitit_slurm"
                return Fault(key, "no such key", "nothing here", action)
            is_new = step in _target_parameters(node, False)
            found = "a key that the configuration doesn't list" if is_new else "no such key"
            action = f"write +{key}=VALUE" if is_new else suggest(step, names)
            return Fault(key, found, accepted or "nothing here", action)
        node = node._get_node(step)
    return None


def _target_parameters(node: DictConfig, is_partial: bool) -> list[str]:
    raw = node._get_node("_target_", validate_access=False)
    name = raw._value() if isinstance(raw, Node) else None
    return parameter_names(name, is_partial) if isinstance(name, str) else []


def _list(group: str, kind: ObjectType, paths: Iterable[Override]) -> list[str]:
    loader, lines = GlobalHydra.instance().config_loader(), [single(item) for item in paths]
    names = loader.get_group_options(group, kind, config_name=None, overrides=lines)
    return [name for name in names if name != "hydra"]
