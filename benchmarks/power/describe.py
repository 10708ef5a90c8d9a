"""What a component was built with and what it runs, as JSON can hold it; a short name for that."""

import ast
import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

#: How names of files of weights end.
WEIGHTS = (".safetensors", ".pt", ".pth", ".ckpt")
#: Modules of which there is no file in Python that says what they do.
BUILT_IN = ("builtins", "abc", "typing", "")


def describe(thing: Any) -> Any:
    """Turn dataclasses, partial functions and plain values into lists, dicts and plain values.

    Parameters
    ----------
    thing : object
        Of classes and functions, the dotted name is taken; of other objects, their attributes; of
        files of weights, the name and what is in them.
    """
    if isinstance(thing, str | Path) and str(thing).endswith(WEIGHTS) and Path(thing).is_file():
        return {"file": str(thing), "sha256": hash_file(Path(thing))}
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


def hash_file(path: Path) -> str:
    """SHA-256 of what is in a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def code_digest(*roots: Path) -> str:
    """Name the state of code: of Python what runs, without comments; of other files, their bytes.

    Parameters
    ----------
    roots : Path
        Files, or folders with all that is below.
    """
    files = {
        path
        for root in roots
        for path in ([root] if root.is_file() else root.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    parts = [
        f"{path.name} {_what_runs(path) if path.suffix == '.py' else hash_file(path)}"
        for path in sorted(files)
    ]
    return digest(parts)


def source_files(*things: Any) -> list[Path]:
    """Find the files in which functions, partial functions and classes with their bases stand."""
    plain = [thing.func if isinstance(thing, partial) else thing for thing in things]
    classes = [base for one in plain if isinstance(one, type) for base in one.__mro__]
    found = [one for one in [*plain, *classes] if getattr(one, "__module__", "") not in BUILT_IN]
    files = [inspect.getsourcefile(one) for one in dict.fromkeys(found)]
    return [Path(file) for file in files if file]


def _what_runs(path: Path) -> str:
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", [])
        first = next(iter(body), None) if isinstance(body, list) else None
        if isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str):
            body.pop(0)  # a docstring
    return ast.dump(tree)


def _name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"
