"""Read signatures and descriptions from source files, without importing what they define.

Help and the report of a misspelt key need names, defaults and sentences, which stand in the source;
importing the function would import torch, Lightning and MONAI first.
"""

import ast
import builtins
import inspect
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

#: Modules whose names are imported to evaluate annotations: they take no time.
LIGHT = ("typing", "collections.abc", "pathlib", "annotated_types", "fmnet.types", "builtins")
#: Default value that the source states by more than a literal.
UNKNOWN = object()
#: Packages whose decorators leave signatures as they are.
TRUSTED = ("fmnet", "torch", "pytorch_lightning", "monai", "sklearn", "nilearn")
#: Decorators of others that do so, too.
HARMLESS = ("dataclass", "dataclasses.dataclass", "final", "staticmethod", "abstractmethod")
#: How many names may stand for one another.
MAX_STEPS = 12

Definition = ast.FunctionDef | ast.ClassDef


@dataclass(frozen=True)
class SourceSignature:
    """What the source says of a function or class.

    Parameters
    ----------
    parameters : dict
        By name, as `inspect.signature` gives them; of a default that is no literal, `UNKNOWN`.
    annotations : dict
        By name, with the module in whose words they are written.
    summary : str
        First paragraph of the docstring.
    descriptions : dict
        What the docstring says of each parameter.
    """

    parameters: dict[str, inspect.Parameter] = field(default_factory=dict)
    annotations: dict[str, tuple["_Module", ast.expr]] = field(default_factory=dict)
    summary: str = ""
    descriptions: dict[str, str] = field(default_factory=dict)

    @cached_property
    def hints(self) -> dict[str, Any]:
        """Evaluate annotations, as far as they are made of plain types."""
        hints = {}
        for name, (module, annotation) in self.annotations.items():
            with suppress(NameError, TypeError, AttributeError, SyntaxError):
                hints[name] = _evaluate(module, annotation)
        return hints


@cache
def read_signature(name: str) -> SourceSignature | None:
    """Read what the source of a function or class says of it.

    Parameters
    ----------
    name : str
        Dotted, as a configuration's ``_target_``.

    Returns
    -------
    SourceSignature or None
        None if there is no source, or if it can't be told without running it.
    """
    try:
        located = _locate(name)
        return None if located is None else _signature(*located)
    except (OSError, SyntaxError, UnicodeError):
        return None


@dataclass(frozen=True)
class _Module:
    name: str
    is_package: bool
    definitions: dict[str, ast.stmt]
    stars: list[str]

    def absolute(self, statement: ast.ImportFrom) -> str:
        """Name the module that a statement imports from."""
        if not statement.level:
            return statement.module or ""
        parts = self.name.split(".")
        kept = parts[: len(parts) - statement.level + self.is_package]
        return ".".join([*kept, *([statement.module] if statement.module else [])])


@cache
def _read_module(name: str) -> _Module | None:
    path = _file_of(name)
    if path is None:
        return None
    definitions: dict[str, ast.stmt] = {}
    stars: list[str] = []
    is_package = path.name == "__init__.py"
    module = _Module(name, is_package, definitions, stars)
    for statement in _statements(ast.parse(path.read_bytes()).body):
        if isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                if alias.name == "*":
                    stars.append(module.absolute(statement))
                definitions[alias.asname or alias.name] = statement
        elif isinstance(statement, Definition):
            definitions[statement.name] = statement
        elif isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    definitions[target.id] = statement
    return module


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """List the statements of a module, those under conditions too."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try):
            yield from _statements([*statement.body, *statement.orelse])


def _file_of(name: str) -> Path | None:
    """Find the file of a module; of packages, only the outermost is looked up by Python."""
    top, *rest = name.split(".")
    spec = None
    with suppress(ValueError, ImportError):  # __main__ has none
        spec = find_spec(top)
    if spec is None or spec.origin is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin.endswith(".py") else None
    for folder in spec.submodule_search_locations or ():
        base = Path(folder, *rest)
        for path in (base / "__init__.py", base.with_name(f"{base.name}.py")):
            if path.is_file():
                return path
    return None


def _locate(name: str, n_steps: int = 0) -> tuple[_Module, Definition] | None:
    """Find where a dotted name is defined, through what modules import from one another."""
    parent, _, own = name.rpartition(".")
    module = _read_module(parent) if parent and n_steps < MAX_STEPS else None
    return None if module is None else _locate_in(module, own, n_steps)


def _locate_in(module: _Module, own: str, n_steps: int) -> tuple[_Module, Definition] | None:
    statement = module.definitions.get(own)
    if isinstance(statement, Definition):
        return module, statement
    if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Name):
        is_near = n_steps < MAX_STEPS
        return _locate_in(module, statement.value.id, n_steps + 1) if is_near else None
    if isinstance(statement, ast.ImportFrom):
        return _locate(
            f"{module.absolute(statement)}.{_imported_name(statement, own)}", n_steps + 1
        )
    for star in module.stars:
        if (located := _locate(f"{star}.{own}", n_steps + 1)) is not None:
            return located
    return None


def _imported_name(statement: ast.ImportFrom, own: str) -> str:
    return next(one.name for one in statement.names if (one.asname or one.name) == own)


def _signature(module: _Module, node: Definition) -> SourceSignature | None:
    decorators = [ast.unparse(one).split("(")[0] for one in node.decorator_list]
    if not module.name.startswith(TRUSTED) and not set(decorators) <= set(HARMLESS):
        return None
    if isinstance(node, ast.FunctionDef):
        return _followed(module, _of_function(module, node))
    own = {one.name: one for one in node.body if isinstance(one, ast.FunctionDef)}
    bases = [_signature_of_base(module, base) for base in node.bases]
    if "__new__" in own or node.keywords or (None in bases and "__init__" not in own):
        return None  # what it takes is decided by what runs
    inherited = [base for base in bases if base is not None]
    descriptions = {
        name: text for base in reversed(inherited) for name, text in base.descriptions.items()
    }
    read: SourceSignature | None
    if "__init__" in own:
        read = _of_function(module, own["__init__"])
        first = next(iter(read.parameters), "")
        read.parameters.pop(first, None)
    elif any("dataclass" in name for name in decorators):
        read = _of_dataclass(module, node, inherited)
    else:
        read = inherited[0] if inherited else SourceSignature()
    docstring = inspect.cleandoc(ast.get_docstring(node) or "")
    descriptions |= read.descriptions | read_descriptions(docstring)
    read = SourceSignature(
        read.parameters, read.annotations, _first_paragraph(docstring), descriptions
    )
    return _followed(module, read)


def _followed(module: _Module, read: SourceSignature) -> SourceSignature:
    """Put what another function or class says in the place of descriptions that refer to it."""
    for name, text in read.descriptions.items():
        if (refers := re.fullmatch(r"(?:.*, s|S)ee `([\w.]+)`\.?", text)) is None:
            continue
        other = refers[1]
        located = _locate(other) if "." in other else _locate_in(module, other, 0)
        described = None if located is None else _signature(*located)
        if described is not None and name in described.parameters:
            read.descriptions[name] = described.descriptions.get(name, text)
    return read


def _signature_of_base(module: _Module, base: ast.expr) -> SourceSignature | None:
    text = ast.unparse(base).split("[")[0]
    if text in ("object", "ABC", "Protocol", "Generic"):
        return SourceSignature()
    located = _locate_in(module, text, 0) if text.isidentifier() else None
    return None if located is None else _signature(*located)


def _of_function(module: _Module, node: ast.FunctionDef) -> SourceSignature:
    docstring = inspect.cleandoc(ast.get_docstring(node) or "")
    read = SourceSignature(
        summary=_first_paragraph(docstring), descriptions=read_descriptions(docstring)
    )
    given = node.args
    usual = [*given.posonlyargs, *given.args]
    lacking: list[ast.expr | None] = [None] * (len(usual) - len(given.defaults))
    kinds = inspect.Parameter
    for argument, default in zip(usual, [*lacking, *given.defaults], strict=True):
        is_positional = argument in given.posonlyargs
        kind = kinds.POSITIONAL_ONLY if is_positional else kinds.POSITIONAL_OR_KEYWORD
        _add(read, module, argument.arg, argument.annotation, default, kind)
    if given.vararg:
        _add(read, module, given.vararg.arg, None, None, kinds.VAR_POSITIONAL)
    for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        _add(read, module, argument.arg, argument.annotation, default, kinds.KEYWORD_ONLY)
    if given.kwarg:
        _add(read, module, given.kwarg.arg, None, None, kinds.VAR_KEYWORD)
    return read


def _of_dataclass(
    module: _Module, node: ast.ClassDef, bases: list[SourceSignature]
) -> SourceSignature:
    read = SourceSignature()
    for base in reversed(bases):
        read.parameters.update(base.parameters)
        read.annotations.update(base.annotations)
    usual, by_name = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    is_by_name = any("kw_only=True" in ast.unparse(one) for one in node.decorator_list)
    for one in node.body:
        if not isinstance(one, ast.AnnAssign) or not isinstance(one.target, ast.Name):
            continue
        kind_of_field = ast.unparse(one.annotation)
        if "ClassVar" in kind_of_field:
            continue
        if kind_of_field.endswith("KW_ONLY"):
            is_by_name = True
            continue
        default, kind = one.value, by_name if is_by_name else usual
        if isinstance(default, ast.Call) and ast.unparse(default.func) == "field":
            given = {word.arg: word.value for word in default.keywords}
            if "init" in given and ast.unparse(given["init"]) == "False":
                continue
            if "kw_only" in given and ast.unparse(given["kw_only"]) == "True":
                kind = by_name
            default = given.get("default", given.get("default_factory"))
        _add(read, module, one.target.id, one.annotation, default, kind)
    for name in [name for name, one in read.parameters.items() if one.kind is by_name]:
        read.parameters[name] = read.parameters.pop(name)  # after all others
    return read


def _add(
    read: SourceSignature,
    module: _Module,
    name: str,
    annotation: ast.expr | None,
    default: ast.expr | None,
    kind: Any,
) -> None:
    value: Any = inspect.Parameter.empty
    if default is not None:
        try:
            value = ast.literal_eval(default)
        except ValueError:
            value = UNKNOWN
    read.parameters[name] = inspect.Parameter(name, kind, default=value)
    read.annotations.pop(name, None)
    if annotation is not None:
        read.annotations[name] = (module, annotation)


class _Names(dict[str, Any]):
    """Names of a module, as far as they stand for plain types."""

    def __init__(self, module: _Module, n_steps: int = 0) -> None:
        super().__init__()
        self.module, self.n_steps = module, n_steps

    def __missing__(self, name: str) -> Any:
        statement = self.module.definitions.get(name)
        if isinstance(statement, ast.ImportFrom):
            source, imported = self.module.absolute(statement), _imported_name(statement, name)
            if source in LIGHT:
                return getattr(import_module(source), imported)
            other = _read_module(source) if self.n_steps < MAX_STEPS else None
            if other is not None:  # packages import their own parts from themselves
                return _Names(other, self.n_steps + 1)[imported]
        if isinstance(statement, ast.Assign):
            return _evaluate(self.module, statement.value)
        builtin = getattr(builtins, name, None)
        if statement is None and isinstance(builtin, type):
            return builtin
        raise NameError(name)


def _evaluate(module: _Module, annotation: ast.expr) -> Any:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    code = compile(ast.Expression(annotation), module.name, "eval")
    return eval(code, {"__builtins__": {}}, _Names(module))  # of types alone


def _first_paragraph(docstring: str) -> str:
    return " ".join(docstring.split("\n\n")[0].split())


def read_descriptions(docstring: str) -> dict[str, str]:
    """Read what a docstring says of parameters.

    Parameters
    ----------
    docstring : str
        In numpydoc's form, without common indentation.

    Returns
    -------
    dict
        Parameter to its description, in one line.
    """
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-+$|\Z)", docstring, re.M | re.S)
    described: dict[str, str] = {}
    names: list[str] = []
    for line in section[1].splitlines() if section else []:
        if line[:1].strip():
            names = [name.strip(" *") for name in line.split(" : ")[0].split(",")]
        elif line.strip():
            for name in names:
                described[name] = f"{described.get(name, '')} {line.strip()}".strip()
    return described
