"""Resolve names in docstrings: a link where the site has a page, text where code has the name.

Docstrings write `weigh` or `fmnet.networks.feature_weighting.weigh`. Names that neither a page nor
the code knows are left to Sphinx, which warns of them.
"""

from functools import cache
from importlib import import_module
from inspect import isclass, signature
from typing import Any

from docutils import nodes
from sphinx.util.nodes import make_refnode


def _resolve(app: Any, env: Any, node: Any, content: nodes.Element) -> nodes.Element | None:
    if node.get("refdomain") != "py":
        return None
    name = node["reftarget"].lstrip("~.")
    known = env.get_domain("py").objects
    pages = [full for full in known if full == name or full.endswith(f".{name}")]
    if len(pages) == 1:
        entry = known[pages[0]]
        return make_refnode(
            app.builder, node["refdoc"], entry.docname, entry.node_id, content, pages[0]
        )
    documented = node["refdoc"].rsplit("/", 1)[-1]
    if not documented.startswith("fmnet."):  # first lines in a list, whose own pages are looked at
        return content
    places = [documented, node.get("py:module") or "", ""]
    if name in _parameters(documented) or any(_exists(place, name) for place in places):
        return content
    return None


@cache
def _object(dotted: str) -> Any:
    """Import what a dotted name stands for; None if there is no such thing."""
    parts = dotted.split(".")
    for n in range(len(parts), 0, -1):
        try:
            found: Any = import_module(".".join(parts[:n]))
            for name in parts[n:]:
                fields = getattr(found, "__annotations__", {})
                found = getattr(found, name, fields.get(name))
        except ImportError:
            continue
        return found
    return None


def _exists(place: str, name: str) -> bool:
    if _object(f"{place}.{name}" if place else name) is not None:
        return True
    bases = getattr(_object(place), "__mro__", ()) if place else ()
    return any(_object(f"{base.__module__}.{name}") is not None for base in bases)


@cache
def _parameters(dotted: str) -> frozenset[str]:
    """Name the parameters of a function, or of a class and its methods."""
    found = _object(dotted)
    names_of_members = dir(found) if isclass(found) else ()
    functions = [found, *(getattr(found, name, None) for name in names_of_members)]
    names: set[str] = set()
    for function in functions:
        if callable(function):
            try:
                names |= set(signature(function).parameters)
            except (TypeError, ValueError):
                continue
    return frozenset(names)


def _skip(_app: Any, _what: str, _name: str, member: Any, skip: bool, _options: Any) -> bool:
    """Leave out what a class inherits from another package: its own documents are elsewhere."""
    function = getattr(member, "fget", None) or getattr(member, "func", None) or member
    module = getattr(function, "__module__", None) or "fmnet"
    return skip or module.split(".")[0] != "fmnet"


def setup(app: Any) -> dict[str, bool]:
    """Answer where Sphinx finds no page by itself."""
    app.connect("autodoc-skip-member", _skip)
    app.connect("missing-reference", _resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
