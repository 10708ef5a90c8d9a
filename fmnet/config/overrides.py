"""Check command-line overrides one by one, where Hydra would stop at the first fault."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig

from fmnet.errors import Fault


def parse_overrides(texts: Iterable[str]) -> tuple[list[Override], list[Fault]]:
    """Parse overrides, each on its own."""
    parser, overrides, faults = OverridesParser.create(), [], []
    for text in texts:
        try:
            overrides.append(parser.parse_override(text))
        except HydraException as error:
            reason = str(error).splitlines()[0]
            faults.append(Fault(text, reason, "key=value", "quote special characters"))
    return overrides, faults


def check_overrides(
    config_name: str, overrides: list[Override]
) -> tuple[list[Override], list[Fault]]:
    """Tell overrides that the configuration can take from those that it can't.

    Parameters
    ----------
    config_name : str
        Primary config; Hydra has to be initialised.
    overrides : list of Override
        As parsed.

    Returns
    -------
    tuple of list
        Usable overrides, and the faults of the others.
    """
    groups = set(_list("", ObjectType.GROUP))
    good = [item for item in overrides if _is_free(item)]
    faults: list[Fault] = []
    chosen = [item for item in overrides if item.key_or_group in groups and not _is_free(item)]
    for item in chosen:
        wrong = [fault for name in values_of(item) if (fault := _group_fault(item, name))]
        faults += wrong
        good += [] if wrong else [item]
    base = compose(config_name, overrides=[single(item) for item in good if not _is_deletion(item)])
    for item in overrides:
        if item not in chosen and not _is_free(item):
            fault = _key_fault(item.key_or_group, base)
            faults += [fault] if fault else []
            good += [] if fault else [item]
    return good, faults


def values_of(override: Override) -> list[Any]:
    """List the values that an override stands for: one, or those of a sweep."""
    if override.is_sweep_override():
        return list(override.sweep_string_iterator())
    return [override.get_value_element_as_str()]


def single(override: Override, value: Any = None) -> str:
    """Write an override for one value, by default the first that it stands for."""
    line = override.input_line or ""
    if not override.is_sweep_override():
        return line
    key = line.split("=", 1)[0]
    return f"{key}={values_of(override)[0] if value is None else value}"


def suggest(name: str, names: Iterable[str]) -> str:
    """Propose the name that was probably meant."""
    close = get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else "choose one of these"


def _is_free(override: Override) -> bool:
    """Tell overrides that need no place in the config: additions, deletions, Hydra's own."""
    is_hydra = override.key_or_group.split(".")[0].split("/")[0] == "hydra"
    return is_hydra or override.is_add() or override.is_force_add() or _is_deletion(override)


def _is_deletion(override: Override) -> bool:
    return bool(override.is_delete())


def _group_fault(override: Override, name: str) -> Fault | None:
    group = override.key_or_group
    options = _list(group, ObjectType.CONFIG)
    if name.strip("'\"") in {*options, "null"}:
        return None
    return Fault(group, f"option '{name}'", ", ".join(options), suggest(name, options))


def _key_fault(key: str, base: DictConfig) -> Fault | None:
    node: Any = base
    parts = key.split(".")
    for depth, part in enumerate(parts):
        if not isinstance(node, DictConfig):
            return None if depth else Fault(key, "no such key", "", "")
        names = [str(name) for name in node if name != "hydra" and str(name)[0] != "_"]
        if part not in node.keys():  # noqa: SIM118 ("in" denies keys whose value is missing)
            stem = ".".join(parts[:depth])
            accepted = ", ".join(f"{stem}.{name}" if stem else name for name in names)
            return Fault(key, "no such key", accepted or "nothing here", suggest(part, names))
        node = node._get_node(part)
    return None


def _list(group: str, kind: ObjectType) -> list[str]:
    loader = GlobalHydra.instance().config_loader()
    return [name for name in loader.get_group_options(group, kind) if name != "hydra"]
