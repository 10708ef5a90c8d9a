"""Tutorials have a title, leave nothing in the checkout, say what wasn't run, become notebooks.

The pages themselves are run when the site is built, where a failing one fails the build.
"""

import ast
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
RUN = [script for script in SCRIPTS if script.name.startswith("plot_")]
#: Functions that write, and how the place is given: by this keyword, or as the first argument.
WRITES = {
    "study": "out",
    "write_cohort": "",
    "write_bold_cohort": "",
    "write_target_cohort": "",
    "export": "",
    "to_filename": "",
    "mkdir": "self",
    "write_text": "self",
}


def names(paths: list[Path]) -> list[str]:
    return [path.stem for path in paths]


@pytest.mark.parametrize("script", SCRIPTS, ids=names(SCRIPTS))
def test_a_tutorial_begins_with_its_title_and_says_whether_it_was_run(script: Path) -> None:
    text = ast.get_docstring(ast.parse(script.read_text("utf-8"))) or ""
    title, line, *rest = text.splitlines()

    assert line == "=" * len(title)
    assert any(rest)
    assert ("not run here" in title) == (script not in RUN)


@pytest.mark.parametrize("script", RUN, ids=names(RUN))
def test_all_that_a_tutorial_writes_goes_to_its_temporary_folder(script: Path) -> None:
    tree = ast.parse(script.read_text("utf-8"))
    inside = {"folder"}  # names of places below it
    places = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and below(node.value, inside):
            inside |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        how = WRITES.get(name)
        if how == "self" and isinstance(called, ast.Attribute):
            places.append(called.value)
        elif how:
            places += [key.value for key in node.keywords if key.arg == how] or [node]
        elif how == "":
            places += node.args[:1]

    assert places
    assert [ast.unparse(place) for place in places if not below(place, inside)] == []


def below(place: ast.AST, inside: set[str]) -> bool:
    """Tell whether an expression is ``folder``, or ``folder / ...``, or a name for such a place."""
    while isinstance(place, ast.BinOp):
        place = place.left
    return isinstance(place, ast.Name) and place.id in inside


@pytest.mark.parametrize("script", SCRIPTS, ids=names(SCRIPTS))
def test_a_tutorial_becomes_a_notebook_with_code_and_text(script: Path, tmp_path: Path) -> None:
    from sphinx_gallery.notebook import jupyter_notebook
    from sphinx_gallery.py_source_parser import split_code_and_text_blocks

    settings = {"notebook_images": False, "pypandoc": False}
    settings |= {"first_notebook_cell": None, "last_notebook_cell": None}
    settings |= {"promote_jupyter_magic": False, "remove_config_comments": True}
    _, blocks = split_code_and_text_blocks(script)
    made = jupyter_notebook(blocks, settings, str(tmp_path))
    nbformat.validate(nbformat.from_dict(made))

    kinds = [cell["cell_type"] for cell in made["cells"]]
    assert kinds[0] == "markdown"
    assert kinds.count("code") >= 3
