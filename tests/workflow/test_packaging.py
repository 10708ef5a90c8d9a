"""What is installed beside the code, and what is said of it where its files aren't beside it."""

import json
import re
import runpy
import tomllib

import pytest
import yaml
from command_fixtures import ROOT

import fmnet


@pytest.fixture(scope="module")
def tools():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


@pytest.fixture(scope="module")
def description():
    return runpy.run_path(str(ROOT / "setup.py"))["description"]


def test_every_file_that_the_code_reads_is_installed(tools):
    listed = {
        path.relative_to(ROOT).as_posix()
        for package, names in tools["package-data"].items()
        if package != "fmnet.configs"
        for name in names
        for path in (ROOT / package.replace(".", "/")).glob(name)
    }
    found = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "fmnet").rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }
    assert found == listed


def test_configs_of_all_that_is_installed_are_installed(tools):
    left_out = {
        path
        for pattern in tools["exclude-package-data"]["fmnet.configs"]
        for path in (ROOT / "configs").glob(pattern)
        if path.is_file()
    }
    (pattern,) = tools["package-data"]["fmnet.configs"]
    configs = set((ROOT / "configs").glob(pattern))
    assert configs == {path for path in (ROOT / "configs").rglob("*") if path.is_file()}
    about_benchmarks = {path for path in configs if "benchmarks." in path.read_text()}
    assert about_benchmarks
    assert about_benchmarks <= left_out


def test_description_holds_without_the_files_beside_it(description):
    text = description((ROOT / "README.md").read_text())
    targets = re.findall(r"\]\(([^)]*)\)", text) + re.findall(r"(?:href|src)=\"([^\"]*)\"", text)
    assert targets
    assert [target for target in targets if not target.startswith("https://")] == []
    named = re.findall(r"\(`([\w./-]+)`\)", text)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a [b](docs/c.md#d) e", "a b (`docs/c.md`) e"),
        ("a [b](#d) e", "a b e"),
        ("a [b](https://c.org/d) e", "a [b](https://c.org/d) e"),
        ("[LICENSE](LICENSE)", "LICENSE"),
        ("a\n\n![b](docs/c.png)\n\n*of\nd* e\n", "a\n\n*of\nd* e\n"),
        ("a\n\n![b](docs/c.png)\n\n*of [d](e.md)\nf*\n\ng\n", "a\n\ng\n"),
        ("![b](https://c.org/d.png)", "![b](https://c.org/d.png)"),
    ],
)
def test_links_become_what_they_lead_to(description, text, expected):
    assert description(text).partition("\nThe files named here")[0] == expected


def test_what_is_to_be_cited_is_this_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    released = re.sub(r"\.dev\d+$", "", fmnet.__version__)
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    stated = json.loads((ROOT / "codemeta.json").read_text())
    assert cited["version"] == stated["version"] == released
    assert cited["abstract"] == stated["description"]
    assert cited["keywords"] == stated["keywords"]
    assert str(cited["date-released"]) == stated["dateModified"]
    assert cited["authors"] == project["authors"] == [{"name": stated["author"][0]["name"]}]
    assert cited["license"] == project["license"]
    assert stated["license"].endswith(f"/{project['license']}")


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.name
)
def test_templates_ask_what_can_be_answered(path):
    form = yaml.safe_load(path.read_text())
    fields = form.get("body", [])
    assert all(field["attributes"] for field in fields)
    ids = [field["id"] for field in fields if "id" in field]
    assert len(set(ids)) == len(ids)
