"""Check command-line overrides one by one, where Hydra would stop at the first fault."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.base import Node
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from fmnet.config.signatures import parameter_names, suggest
from fmnet.earlier import instead_of
from fmnet.errors import Fault

#: What Hydra raises for overrides or files that it can't compose.
CANT_COMPOSE = (HydraException, OmegaConfBaseException, YAMLError, ValueError)
#: Options of hydra/launcher that an extra installs.
LAUNCHERS = ("submitit_local", "submitit_slurm")


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

    Parameters
    ----------
    config_name : str
        Primary config; Hydra has to be initialised.
    overrides : list of Override
        As parsed.
    needed : collection of str
        Groups that can't be left out.

    Returns
    -------
    tuple of list
        Usable overrides, and the faults of the others.
    """
    paths = [item for item in overrides if item.key_or_group == "hydra.searchpath"]
    groups = set(_list("", ObjectType.GROUP, paths))
    chosen = [item for item in overrides if item.key_or_group in groups and not _is_deletion(item)]
    wrong = {id(item): _group_faults(item, paths, needed) for item in chosen}
    faults = [fault for found in wrong.values() for fault in found]
    free = [item for item in overrides if _is_free(item) and item not in chosen]
    free.sort(key=lambda item: "." in item.key_or_group)  # a launcher comes before its settings
    first = [*paths, *(item for item in chosen if not wrong[id(item)])]
    good, more = _composable(config_name, [], [*first, *(i for i in free if i not in paths)])
    faults += more
    base = compose(config_name, overrides=[single(item) for item in good if not _is_deletion(item)])
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
    if _is_hydra(key) and not _is_deletion(item):
        if options := group_options(key):
            if set(map(str, values_of(item))) - set(options):
                return _option_fault(key, str(values_of(item)[0]), options)
        elif not item.is_add():
            lines = [single(one) for one in kept]
            base = compose(config_name, overrides=lines, return_hydra_config=True)
            if fault := _key_fault(key.replace("/", "."), base):
                return fault
    reason = " ".join(f"{error} {error.__cause__ or ''}".split())
    line = item.input_line or key
    return Fault(line, reason, "an override that composes", "correct it")


def _option_fault(group: str, name: str, options: list[str]) -> Fault:
    action = suggest(name, options)
    if name in LAUNCHERS:
        action = "install what it needs: pip install 'fmnet[slurm]'"
    return Fault(group, f"option '{name}'", ", ".join(options), action)


def _failure(config_name: str, overrides: list[Override]) -> Exception | None:
    try:
        compose(config_name, overrides=[single(item) for item in overrides])
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
    return (
        _is_hydra(override.key_or_group)
        or override.is_add()
        or override.is_force_add()
        or _is_deletion(override)
    )


def _is_hydra(key: str) -> bool:
    return key.split(".")[0].split("/")[0] == "hydra"


def _is_deletion(override: Override) -> bool:
    return bool(override.is_delete())


def group_options(group: str, paths: Collection[Override] = ()) -> list[str]:
    """List the options of a group; none if there is no such group."""
    return _list(group, ObjectType.CONFIG, paths)


def _group_faults(
    override: Override, paths: list[Override], needed: Collection[str]
) -> list[Fault]:
    group = override.key_or_group
    options = group_options(group, paths)
    # a group takes several options as a list: logger=[csv,tensorboard]
    texts = [text for value in values_of(override) for text in value.strip("[]").split(",")]
    names = [text.strip(" '\"") for text in texts]
    return [
        Fault(
            group,
            f"option '{name}'",
            ", ".join(options),
            _group_action(group, name, options, group in needed),
        )
        for name in names
        if name not in options
    ]


def _group_action(group: str, name: str, options: list[str], is_needed: bool) -> str:
    if name != "null":
        return instead_of(group, [name]) or suggest(name, options)
    if is_needed:
        return f"write {group}=none" if "none" in options else "choose one of these"
    return f"leave the group out with ~{group}"


def _key_fault(key: str, base: DictConfig) -> Fault | None:
    node: Any = base
    parts = key.split(".")
    for depth, part in enumerate(parts):
        if not isinstance(node, DictConfig):
            stem = ".".join(parts[:depth])
            return Fault(key, "no such key", f"{stem}, which has no keys", f"set {stem}")
        listed = [str(name) for name in node if name != "hydra" and str(name)[0] != "_"]
        if part not in node.keys():  # noqa: SIM118 ("in" denies keys whose value is missing)
            settable = _target_parameters(node, bool(node.get("_partial_")))
            more = [name for name in settable if name not in listed]
            names, stem = [*listed, *more], ".".join(parts[:depth])
            accepted = ", ".join(f"{stem}.{name}" if stem else name for name in names)
            if stem == "hydra.launcher" and not names:
                return Fault(
                    key, "no such key", "nothing here", "add hydra/launcher=submitit_slurm"
                )
            is_new = part in _target_parameters(node, False)
            found = "a key that the configuration doesn't list" if is_new else "no such key"
            action = f"write +{key}=VALUE" if is_new else suggest(part, names)
            return Fault(key, found, accepted or "nothing here", action)
        node = node._get_node(part)
    return None


def _target_parameters(node: DictConfig, is_partial: bool) -> list[str]:
    raw = node._get_node("_target_", validate_access=False)
    name = raw._value() if isinstance(raw, Node) else None
    return parameter_names(name, is_partial) if isinstance(name, str) else []


def _list(group: str, kind: ObjectType, paths: Iterable[Override]) -> list[str]:
    loader, lines = GlobalHydra.instance().config_loader(), [single(item) for item in paths]
    names = loader.get_group_options(group, kind, config_name=None, overrides=lines)
    return [name for name in names if name != "hydra"]
