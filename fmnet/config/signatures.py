"""Check values against the signature of what they are passed to."""

import inspect
import json
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hydra.utils import get_object
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from fmnet.config.overrides import suggest
from fmnet.errors import Fault

#: Keys that speak to Hydra, not to the target.
RESERVED = ("_target_", "_partial_", "_convert_", "_recursive_", "_args_")
WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a path",
    type(None): "null",
}
Signature = tuple[dict[str, inspect.Parameter], dict[str, Any]]


def check_node(node: Any, path: str, missing: set[str]) -> list[Fault]:
    """Check every target below a node of the configuration.

    Parameters
    ----------
    node : object
        Plain dicts, lists and values.
    path : str
        Dotted path to it.
    missing : set of str
        Dotted paths of mandatory values that nobody gave; they are reported elsewhere.
    """
    faults: list[Fault] = []
    if isinstance(node, dict):
        if "_target_" in node:
            faults += _check_target(node, path, missing)
        for key, child in node.items():
            faults += check_node(child, f"{path}.{key}" if path else str(key), missing)
    elif isinstance(node, list):
        for index, child in enumerate(node):
            faults += check_node(child, f"{path}[{index}]", missing)
    return faults


def check_call(
    target: Callable[..., Any], values: dict[str, Any], path: str, is_partial: bool
) -> list[Fault]:
    """Check named values against the signature of a callable.

    Parameters
    ----------
    target : callable
        Function or class.
    values : dict
        What it is to be called with.
    path : str
        Dotted path, for messages.
    is_partial : bool
        Whether further arguments come later.
    """
    parameters, hints = _signature(target)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    names = [
        name for name, p in parameters.items() if p.kind not in {p.VAR_KEYWORD, p.VAR_POSITIONAL}
    ]
    prefix = f"{path}." if path else ""
    faults = [
        Fault(
            f"{prefix}{key}",
            "no such key",
            ", ".join(f"{prefix}{name}" for name in names),
            suggest(key, names),
        )
        for key in values
        if key not in names and not takes_any
    ]
    required = [name for name in names if parameters[name].default is inspect.Parameter.empty]
    if not is_partial:
        faults += [
            Fault(f"{prefix}{name}", "nothing", describe(hints.get(name)), f"set {prefix}{name}")
            for name in required
            if name not in values
        ]
    return faults + [
        fault
        for key, value in values.items()
        if key in hints and (fault := _type_fault(f"{prefix}{key}", value, hints[key]))
    ]


def describe(annotation: Any) -> str:
    """Say in words what values an annotation allows."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in WORDS:
        return WORDS[annotation]
    if origin is Literal:
        return ", ".join(repr(value) for value in arguments)
    if origin in {Union, types.UnionType}:
        return " or ".join(describe(part) for part in arguments)
    if origin in {list, tuple, Sequence} and arguments:
        return f"a list, each {describe(arguments[0])}"
    return getattr(annotation, "__name__", "a value")


def _check_target(node: dict[str, Any], path: str, missing: set[str]) -> list[Fault]:
    name = str(node["_target_"])
    try:
        target = get_object(name)
    except Exception as error:  # noqa: BLE001 (importing a module can raise anything)
        found = f"'{name}', which can't be imported ({error})".splitlines()[0]
        accepted = "a dotted name of a function or class"
        return [Fault(f"{path}._target_", found, accepted, "correct it or install its package")]
    values = {key: value for key, value in node.items() if key not in RESERVED}
    faults = check_call(target, values, path, bool(node.get("_partial_")))
    return [fault for fault in faults if fault.where not in missing]


def _signature(target: Callable[..., Any]) -> Signature:
    function = target.__init__ if inspect.isclass(target) else target
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError):
        hints = {}
    hints.pop("return", None)
    return dict(inspect.signature(target).parameters), hints


def _type_fault(where: str, value: Any, annotation: Any) -> Fault | None:
    if _holds_target(value):
        return None
    try:
        adapter = TypeAdapter(
            annotation, config=ConfigDict(strict=True, arbitrary_types_allowed=True)
        )
        adapter.validate_json(json.dumps(value))
    except PydanticUserError:  # an annotation that pydantic can't judge: a class of our own
        return None
    except ValidationError:
        accepted = describe(annotation)
        return Fault(where, json.dumps(value), accepted, f"set {where} to {accepted}")
    return None


def _holds_target(value: Any) -> bool:
    if isinstance(value, dict):
        return "_target_" in value or any(map(_holds_target, value.values()))
    return isinstance(value, list) and any(map(_holds_target, value))
