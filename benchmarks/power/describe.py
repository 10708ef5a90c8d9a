"""What a component was built with, as JSON can hold it, and a short name for that."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any


def describe(thing: Any) -> Any:
    """Turn dataclasses, partial functions and plain values into lists, dicts and plain values.

    Parameters
    ----------
    thing : object
        Of classes and functions, the dotted name is taken; of other objects, their attributes.
    """
    if thing is None or isinstance(thing, str | int | float):
        return thing
    if isinstance(thing, Path):
        return str(thing)
    if isinstance(thing, Mapping):
        return {str(key): describe(value) for key, value in thing.items()}
    if isinstance(thing, Sequence):
        return [describe(value) for value in thing]
    if isinstance(thing, partial):
        named = {str(k): describe(v) for k, v in thing.keywords.items()}
        return {"target": _name(thing.func), "args": describe(thing.args), **named}
    if isinstance(thing, type) or hasattr(thing, "__qualname__"):
        return _name(thing)
    if is_dataclass(thing):
        own = {field.name: describe(getattr(thing, field.name)) for field in fields(thing)}
        return {"target": _name(type(thing)), **own}
    return {"target": _name(type(thing)), **describe(vars(thing))}


def digest(*things: Any) -> str:
    """Name descriptions: 12 hexadecimal digits, others as soon as a setting is another."""
    text = json.dumps([describe(thing) for thing in things], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"
