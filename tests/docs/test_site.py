"""The parts of the site's build that can be tried without building it."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "_ext"))
pytest.importorskip("sphinx")
pytest.importorskip("numpydoc")

from checkout import on_site  # noqa: E402
from configuration import GROUPS, sentence  # noqa: E402
from links import broken_links  # noqa: E402
from reference import (  # noqa: E402
    CONFIGS,
    NOT_INSTALLED,
    ROOMS,
    named_targets,
    outdated_pages,
    prediction_schema,
    remove_pages,
)

#: What only exists once the site is built.
BUILT = ("generated/", "tutorials/")
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


def write_site(folder: Path, body: str) -> Path:
    (folder / "part").mkdir()
    (folder / "part" / "other.html").write_text('<p id="there">x</p>', "utf-8")
    (folder / "page.html").write_text(f'<h1 id="top">x</h1>{body}', "utf-8")
    return folder


@pytest.mark.parametrize(
    "body",
    [
        '<a href="part/other.html#there">x</a>',
        '<a href="#top">x</a>',
        '<a href="https://example.org/a#b">x</a>',
        '<img src="data:image/png;base64,AA">',
    ],
)
def test_whole_links_are_not_reported(tmp_path: Path, body: str) -> None:
    assert broken_links(write_site(tmp_path, body)) == {}


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="part/another.html">x</a>', "part/another.html: no such page"),
        ('<a href="part/other.html#here">x</a>', "part/other.html#here: no such anchor"),
        ('<a href="#bottom">x</a>', "#bottom: no such anchor"),
        ('<a href="../outside.html">x</a>', "../outside.html: no such page"),
        ('<a href="https://example">x</a>', "https://example: no address"),
        ('<script src="https://cdn.example.org/a.js"></script>', "loads https://cdn.example.org"),
        ('<link rel="stylesheet" href="//example.org/a.css">', "loads //example.org/a.css from"),
        ('<img src="missing.png">', "missing.png: no such page"),
    ],
)
def test_broken_links_are_reported_by_page(tmp_path: Path, body: str, fault: str) -> None:
    faults = broken_links(write_site(tmp_path, body))
    assert list(faults) == ["page.html"]
    assert faults["page.html"][0].startswith(fault)


@pytest.mark.parametrize(
    ("address", "is_outside", "expected"),
    [
        ("docs/study.md#confounds", True, "study.md#confounds"),
        ("LICENSE", True, "../LICENSE"),
        ("GLOSSARY.md", True, "glossary.md"),
        ("../GLOSSARY.md#bundle", False, "glossary.md#bundle"),
        ("study.md", False, "study.md"),
        ("#here", True, "#here"),
        ("https://example.org/docs/a.md", True, "https://example.org/docs/a.md"),
    ],
)
def test_links_of_the_checkout_become_links_of_the_site(
    address: str, is_outside: bool, expected: str
) -> None:
    assert on_site(address, is_outside) == expected


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_link_to_files_that_are_in_the_checkout(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)\s#]+)", re.sub(r"`[^`]*`", "", text))
    local = [one for one in links if ":" not in one and not one.startswith(BUILT)]
    assert [one for one in local if not (path.parent / one).exists()] == []


def test_every_group_of_configs_is_in_the_reference() -> None:
    folders = {
        str(path.parent.relative_to(CONFIGS))
        for path in CONFIGS.glob("*/**/*.yaml")
        if path.relative_to(CONFIGS).parts[0] not in NOT_INSTALLED
    }
    assert folders == set(GROUPS)


def test_everything_that_configs_name_is_in_a_room() -> None:
    named = named_targets()
    assert "fmnet.networks.closed_form.build_prior_cnn" in named
    assert [
        name for name in named if not name.startswith(tuple(f"{room}." for room in ROOMS))
    ] == []


def test_pages_of_what_is_no_more_are_found(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    for name in ("docs/generated/api", "docs/tutorials", "examples"):
        (tmp_path / name).mkdir(parents=True)
    (docs / "api.rst").write_text(".. autosummary::\n\n   load\n   ~errors.Fault\n", "utf-8")
    (tmp_path / "examples" / "plot_1_new.py").write_text("", "utf-8")
    kept = ["fmnet.load", "fmnet.errors.Fault", "fmnet.data.bids.read_bids"]
    for name in (*kept, "fmnet.gone"):
        (docs / "generated" / "api" / f"{name}.rst").write_text("", "utf-8")
    for name in ("index", "plot_1_new", "plot_1_old"):
        (docs / "tutorials" / f"{name}.rst").write_text("", "utf-8")
    assert [path.stem for path in outdated_pages(docs)] == ["fmnet.gone", "plot_1_old"]


def test_sentence_keeps_values_as_they_are_written() -> None:
    assert sentence("scans per  step") == "Scans per step."
    assert sentence("min if lower is better", "min") == "min if lower is better."
    assert sentence("``null`` for none:") == "`null` for none:"
    assert sentence("") == ""


def test_schema_of_predictions_is_written_field_by_field() -> None:
    page = prediction_schema()
    assert "`probability_low` *(number from 0 to 1, or null, may be missing)*" in page
    assert "`request.level` *(number from 0 to 1, or null)*" in page


def test_pages_of_the_configuration_list_the_groups() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    listed = re.findall(r"^generated/configuration/(\w+)$", page, re.MULTILINE)
    assert [name for name in GROUPS if name.replace("/", "_") not in listed] == []
    assert yaml.safe_load((CONFIGS / "train.yaml").read_text("utf-8"))["defaults"]


def test_pages_of_the_site_go_with_their_source(tmp_path: Path) -> None:
    site = write_site(tmp_path, "")
    app = SimpleNamespace(outdir=str(site))
    env = SimpleNamespace(found_docs={"page"})
    assert remove_pages(app, env, set(), set(), set()) == []
    assert remove_pages(app, env, set(), set(), {"part/other", "never-built"}) == ["page"]
    assert [path.name for path in site.rglob("*.html")] == ["page.html"]
