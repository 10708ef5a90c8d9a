"""What takes seconds to import is imported where it is used, not by whoever imports fmnet."""

import ast
from pathlib import Path

import pytest

FMNET = Path(__file__).resolve().parents[1] / "fmnet"
#: MONAI imports all that it could work with; Captum imports IPython.
SLOW = {"monai", "captum"}


def imported_at_once(tree):
    """Top-level packages that a module imports when it is imported: not within functions."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += ast.iter_child_nodes(node)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import monai.networks as nets", {"monai"}),
        ("try:\n    from captum.attr import Saliency\nexcept ImportError:\n    pass", {"captum"}),
        ("class One:\n    import monai", {"monai"}),
        ("def build():\n    from monai.networks import nets", set()),
    ],
)
def test_what_is_imported_at_once_is_found(source, expected):
    assert set(imported_at_once(ast.parse(source))) == expected


def test_slow_packages_are_imported_where_they_are_used():
    modules = sorted(FMNET.rglob("*.py"))
    assert len(modules) > 100
    hasty = {
        str(path.relative_to(FMNET)): found
        for path in modules
        if (found := SLOW & set(imported_at_once(ast.parse(path.read_text()))))
    }
    assert hasty == {}
