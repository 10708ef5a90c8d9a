"""Check values against the signature of what they are passed to, as source or once imported."""

import inspect
import json
import logging
import types
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from hydra.utils import get_object
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import SchemaError

from fmnet.config.source import read_signature
from fmnet.earlier import current_name, instead_of, instead_of_value
from fmnet.errors import Fault

#: Keys that speak to Hydra, not to the target.
RESERVED = ("_target_", "_partial_", "_convert_", "_recursive_", "_args_")
#: Types that a configuration can spell, in words.
WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a path",
    type(None): "null",
}
LIMITS = {
    "ge": "at least {}",
    "gt": "above {}",
    "le": "at most {}",
    "lt": "below {}",
    "min_length": "{} or more of them",
    "max_length": "{} at most",
}
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
#: No conversions; infinity and NaN, which YAML can spell, are no settings.
STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)
Signature = tuple[dict[str, inspect.Parameter], dict[str, Any]]


def check_node(
    node: Any, path: str, unjudged: set[str], unread: set[str] | None = None
) -> list[Fault]:
    """Check every target below a node of the configuration.

    `node` is of plain dicts, lists and values at a dotted `path`; values at `unjudged` paths are
    unknown here, or reported elsewhere. With a set of `unread` paths nothing is imported: targets
    are looked up in their source, and the paths of those that can't be are added to the set.
    """
    faults: list[Fault] = []
    if isinstance(node, dict):
        if "_target_" in node:
            faults += _check_target(node, path, unjudged, unread)
        for key, child in node.items():
            faults += check_node(child, f"{path}.{key}" if path else str(key), unjudged, unread)
    elif isinstance(node, list):
        for index, child in enumerate(node):
            faults += check_node(child, f"{path}[{index}]", unjudged, unread)
    return faults


def check_call(
    signature: Signature,
    values: dict[str, Any],
    path: str,
    is_partial: bool,
    passed: Collection[str] = (),
    imports: bool = True,
) -> list[Fault]:
    """Check named values against a signature.

    `path` is for messages; with `is_partial` further arguments come later; parameters `passed` by
    the caller can't be set by the configuration. Without `imports`, it is not checked what targets
    make.
    """
    parameters, hints = signature
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    kinds = {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    names = [name for name, p in parameters.items() if p.kind not in kinds and name not in passed]
    # of a part that is called later, what has no default comes with that call
    empty = inspect.Parameter.empty
    settable = [
        name
        for name in names
        if not (path and is_partial) or name in values or parameters[name].default is not empty
    ]
    prefix = f"{path}." if path else ""
    faults = [
        Fault(
            f"{prefix}{key}",
            "no such key",
            ", ".join(f"{prefix}{name}" for name in settable),
            instead_of(f"{prefix}{key}") or _suggest_key(key, settable, path),
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
    for key, value in values.items():
        if key in hints and not (value is None and parameters[key].default is None):
            faults += _value_faults(f"{prefix}{key}", value, hints[key], imports)
    return faults


def describe(annotation: Any) -> str:
    """Say in words what values an annotation allows."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in WORDS:
        return WORDS[annotation]
    if origin is Annotated:
        metadata = [
            one for item in arguments[1:] for one in (item if hasattr(item, "__iter__") else [item])
        ]
        limits = [
            words.format(getattr(one, attribute))
            for one in metadata
            for attribute, words in LIMITS.items()
            if hasattr(one, attribute)
        ]
        return ", ".join([describe(arguments[0]), *limits])
    if origin is Literal:
        return ", ".join(repr(value) for value in arguments)
    if origin in {Union, types.UnionType}:
        return " or ".join(describe(part) for part in arguments)
    if origin in {list, tuple, Sequence} and arguments:
        return f"a list, each {describe(arguments[0])}"
    return getattr(annotation, "__name__", "a value")


def parameter_names(target: str, is_partial: bool = False) -> list[str]:
    """Name the parameters of what a dotted name stands for; none if it can't be told.

    Of what is called later, `is_partial`, those without a default come with that call, and are
    left out. Nothing is imported unless the source doesn't tell.
    """
    read = read_signature(current_name(target))
    try:
        parameters = _signature(_locate(target))[0] if read is None else read.parameters
    except Exception:  # noqa: BLE001 (reported when the target itself is checked)
        return []
    return [
        name
        for name, p in parameters.items()
        if p.kind in NAMED and not (is_partial and p.default is inspect.Parameter.empty)
    ]


def signature_of(schema: Callable[..., Any] | str, imports: bool = True) -> Signature:
    """Give the parameters and annotations of a function, by name without importing it if told so.

    By name, a function of fmnet that the source tells of.
    """
    if isinstance(schema, str):
        if not imports and (read := read_signature(schema)) is not None:
            return read.parameters, read.hints
        module, _, name = schema.rpartition(".")
        schema = getattr(import_module(module), name)
    return _signature(schema)


def needed_keys(schema: Callable[..., Any] | str) -> list[str]:
    """Name the parameters without a default."""
    parameters, _ = signature_of(schema, imports=False)
    empty = inspect.Parameter.empty
    return [name for name, p in parameters.items() if p.kind in NAMED and p.default is empty]


def suggest(name: str, names: Iterable[str]) -> str:
    """Propose the name that was probably meant."""
    close = get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else "choose one of these"


def _suggest_key(key: str, names: list[str], path: str) -> str:
    """Propose a key; one that is like none was perhaps left over from another target."""
    action = suggest(key, names)
    is_left_over = path and action == "choose one of these"
    return f"{action}, or take it out with ~{path}.{key}" if is_left_over else action


def _locate(name: str) -> Any:
    logger = logging.getLogger("hydra.utils")  # would print what is reported as a fault
    before, logger.disabled = logger.disabled, True
    try:
        target = get_object(current_name(name))
    finally:
        logger.disabled = before
    if not callable(target):
        raise TypeError("it can't be called")
    return target


def _check_target(
    node: dict[str, Any], path: str, unjudged: set[str], unread: set[str] | None
) -> list[Fault]:
    name = str(node["_target_"])
    values = {key: value for key, value in node.items() if key not in RESERVED}
    is_partial = bool(node.get("_partial_"))
    if unread is not None:
        if (read := read_signature(current_name(name))) is None:
            unread.add(path)
            return []
        signature = (read.parameters, read.hints)
        faults = check_call(signature, values, path, is_partial, imports=False)
        return [fault for fault in faults if fault.where not in unjudged]
    try:
        target = _locate(name)
    except Exception as error:  # noqa: BLE001 (importing a module can raise anything)
        reason = " ".join(str(error).split())
        found = f"'{name}', which can't be imported or called ({reason})"
        accepted = "a dotted name of a function or class"
        return [Fault(f"{path}._target_", found, accepted, "correct it or install its package")]
    # a component may name packages of which it needs one
    packages: tuple[str, ...] = getattr(target, "needs_package", ())
    if packages and not any(find_spec(package) is not None for package in packages):
        lacking = packages[0]
        options = f"another option for {path.split('.')[0]}"
        action = f"run 'pip install {lacking}' or choose {options}"
        found = f"{lacking}, which is not installed"
        return [Fault(path, found, "a component whose packages are installed", action)]
    faults = check_call(_signature(target), values, path, is_partial)
    return [fault for fault in faults if fault.where not in unjudged]


def _signature(target: Any) -> Signature:
    function = target.__init__ if inspect.isclass(target) else target
    hints: dict[str, Any] = {}
    # each annotation by itself, so that one that can't be resolved costs no other
    for name, annotation in getattr(function, "__annotations__", {}).items():
        one = types.SimpleNamespace(
            __annotations__={name: annotation}, __globals__=getattr(function, "__globals__", {})
        )
        with suppress(NameError, TypeError):
            hints |= get_type_hints(one, include_extras=True)
    hints.pop("return", None)
    try:
        return dict(inspect.signature(target).parameters), hints
    except ValueError:  # written in C, without a signature: whatever is given is accepted
        return {"settings": inspect.Parameter("settings", inspect.Parameter.VAR_KEYWORD)}, {}


def _value_faults(where: str, value: Any, annotation: Any, imports: bool) -> list[Fault]:
    checks = (_component_faults, *([_made_faults] if imports else []), _type_faults)
    return next(filter(None, (check(where, value, annotation) for check in checks)), [])


def _component_faults(where: str, value: Any, annotation: Any) -> list[Fault]:
    """Report nulls and plain values among named components."""
    members = [annotation, *get_args(annotation)]
    wanted = [get_args(one)[1] for one in members if get_origin(one) is dict]
    if not isinstance(value, dict) or len(wanted) != 1 or not _is_component(wanted[0]):
        return []
    accepted = "a component, which names its _target_"
    return [
        Fault(
            path,
            json.dumps(part),
            accepted,
            f"set {path}._target_" if isinstance(part, dict) else f"leave it out with ~{path}",
        )
        for path, part in ((f"{where}.{name}", part) for name, part in value.items())
        if not isinstance(part, dict) or "_target_" not in part
    ]


def _made_faults(where: str, value: Any, annotation: Any) -> list[Fault]:
    """Report a target that makes something else than what is asked for, as far as it says so.

    Where a base class of our own is asked for, what a target makes has to derive from it.
    """
    members = get_args(annotation) if _is_union(annotation) else (annotation,)
    if fault := _partial_fault(where, value, members):
        return [fault]
    wanted = [one for one in members if one is not type(None)]
    if not isinstance(value, dict) or "_target_" not in value or not all(map(_is_class, wanted)):
        return []
    try:
        target = _locate(str(value["_target_"]))
    except Exception:  # noqa: BLE001 (reported when the target itself is checked)
        return []
    if value.get("_partial_"):
        made: list[Any] = [partial]
    elif inspect.isclass(target):
        made = [target]
    else:
        returned = Any
        with suppress(NameError, TypeError, AttributeError):
            returned = get_type_hints(target).get("return", Any)
        made = list(get_args(returned)) if _is_union(returned) else [returned]
    known = [one for one in made if _is_class(one)]
    if len(known) < len([one for one in made if one is not type(None)]):
        return []  # it doesn't say what it makes
    if any(
        issubclass(*pair) for one in known for cls in wanted for pair in ((one, cls), (cls, one))
    ):
        return []
    names = " or a ".join(f"{one.__module__}.{one.__qualname__}" for one in wanted)
    found = f"{value['_target_']}, which makes another thing"
    described = (inspect.getdoc(wanted[0]) or "").split("\n")[0].rstrip(".")
    accepted = f"a {names} ({described[:1].lower()}{described[1:]})"
    return [Fault(f"{where}._target_", found, accepted, f"choose one of the options for {where}")]


def _partial_fault(where: str, value: Any, members: Iterable[Any]) -> Fault | None:
    """Report a class that lacks arguments where something is asked for that is called later."""
    is_called = any(get_origin(one) is Callable for one in members)
    if not is_called or not isinstance(value, dict) or "_partial_" in value:
        return None
    try:
        target = _locate(str(value["_target_"]))
        parameters, _ = _signature(target)
    except Exception:  # noqa: BLE001 (reported when the target itself is checked)
        return None
    empty = inspect.Parameter.empty
    lacks = any(
        p.kind in NAMED and p.default is empty and name not in value
        for name, p in parameters.items()
    )
    if not (inspect.isclass(target) and lacks):
        return None
    action = f"write +{where}._partial_=true"
    return Fault(f"{where}._partial_", "nothing", "true: what it lacks comes later", action)


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in {Union, types.UnionType}


def _is_class(annotation: Any) -> bool:
    """Tell classes that can be compared from protocols, plain types and what is no class."""
    is_protocol = getattr(annotation, "_is_protocol", False)
    return _is_component(annotation) and isinstance(annotation, type) and not is_protocol


def _is_component(annotation: Any) -> bool:
    """Tell what only a target can make from what a configuration can spell."""
    if isinstance(annotation, type):
        return annotation not in WORDS and annotation not in {dict, list, tuple, Any}
    return get_origin(annotation) is Callable


def _type_faults(where: str, value: Any, annotation: Any) -> list[Fault]:
    if _holds_target(value):
        return []
    try:
        adapter = TypeAdapter(annotation, config=STRICT)
        adapter.validate_json(json.dumps(value))
    except (PydanticUserError, SchemaError):  # a class of our own, a protocol: can't be judged
        return []
    except ValidationError as error:
        kinds = [one["type"] for one in error.errors()]
        if len(kinds) > 1 and "needs_python_object" in kinds:
            return []  # a union such as ArrayLike, with members that pydantic can't judge
        accepted = describe(annotation)
        action = instead_of_value(value) or f"set {where} to {accepted}"
        return [Fault(where, json.dumps(value), accepted, action)]
    return []


def _holds_target(value: Any) -> bool:
    if isinstance(value, dict):
        return "_target_" in value or any(map(_holds_target, value.values()))
    return isinstance(value, list) and any(map(_holds_target, value))
