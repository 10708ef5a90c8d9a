import re
from types import SimpleNamespace

import numpy as np
import pytest
from brain_fixtures import CONTRASTS, build_map, grid_of_12_mm, left_map, study_facts
from jinja2 import Environment, PackageLoader

from fmnet.data.listing import Labels
from fmnet.report.drawing import Picture
from fmnet.report.signature_section import read_maps, signature_section, table_of

COHORT = SimpleNamespace(
    grid=grid_of_12_mm(),
    listing=SimpleNamespace(contrasts=CONTRASTS, labels=Labels("group", "F<M>", "HC")),
)


def render(section):
    environment = Environment(
        loader=PackageLoader("fmnet.report", package_path=""), autoescape=True
    )
    return environment.get_template("signature.html.j2").render(signature=section)


@pytest.fixture
def folder(tmp_path):
    """Maps of a study: one contrast has voxels that survive, the other none."""
    values = left_map().values.copy()
    values[1] = 0
    left_map().write(tmp_path)
    build_map(values, "thresholded").write(tmp_path)
    for kind in ("positivemean", "negativemean", "groupdifference"):
        build_map(description=kind).write(tmp_path)
    build_map(np.full(values.shape, 30.0), "coverage", units="scans").write(tmp_path)
    return tmp_path


def test_maps_are_read_by_what_they_are_in_the_order_of_the_contrasts(folder):
    maps = read_maps(folder, COHORT.grid, ("visual", "pressure"))
    assert set(maps) == {
        "pattern", "thresholded", "positivemean", "negativemean", "groupdifference", "coverage",
    }  # fmt: skip
    assert maps["thresholded"].contrasts == ("visual", "pressure")
    assert not maps["thresholded"].values[0].any()
    assert maps["thresholded"].values[1].any()


@pytest.mark.slow
def test_page_of_a_stable_signature(folder):
    section = signature_section(study_facts(), COHORT, folder)
    assert [one.name for one in section["pictures"]] == [
        "slices_thresholded_pressure", "glass_thresholded_pressure",
        "slices_pattern_pressure", "glass_pattern_pressure",
        "slices_pattern_visual", "glass_pattern_visual",
    ]  # fmt: skip
    assert "largest in left, front, mid-height: 3 at" in section["pictures"][0].alt
    assert len(section["gallery"]) == 2
    page = render(section)
    assert len(page) < 2_000_000
    assert page.count('<iframe sandbox="allow-scripts"') == len(section["viewers"]) == 2
    own = re.sub('srcdoc="[^"]*"', "", page)
    assert not re.findall("""(?:src|href)=["'](?!data:|#)""", own)
    images = re.findall(r"<img[^>]*>", own)
    assert len(images) == 9
    assert all(re.search('alt="[^"]{20,}', image) for image in images)
    assert "F<M>" not in page
    assert "F&lt;M&gt;" in page


def test_every_contrast_with_something_to_show_is_drawn(folder, monkeypatch):
    given = stub_drawing(monkeypatch)
    section = signature_section(study_facts(), COHORT, folder)
    assert [(name, asked[0].description, asked[1]) for name, asked in given[:6]] == [
        (f"draw_{name}", kind, contrast)
        for kind, contrast in (
            ("thresholded", "pressure"), ("pattern", "pressure"), ("pattern", "visual"),
        )
        for name in ("slices", "glass")
    ]  # fmt: skip
    tested, pattern = given[0][1], given[2][1]
    assert tested[2] == pytest.approx(3.0, rel=0.01)  # what is left is drawn, all of it
    assert tested[-1]["positive"] == ["left, front, mid-height"]
    assert 0 < (np.abs(pattern[0].values) > pattern[2]).mean() < 0.5
    assert [[kind for kind, _ in asked[0]] for _, asked in given[6:]] == [
        ["mean of F<M>", "mean of HC", "F<M> minus HC (red: more in F<M>; blue: more in HC)",
         "scans with data, and the outline of the mask"],
    ] * 2  # fmt: skip
    assert [table["title"] for table in section["tables"]] == ["Clusters", "Regions"]
    assert section["tables"][1]["rows"] == [["region 1", "more in FM", "0.25", "40.0 %"]]
    page = render(section)
    assert "None" not in page
    assert "nan" not in page


def stub_drawing(monkeypatch):
    """Note what is to be drawn, in place of drawing it."""
    given = []

    def stub(name):
        def draw(*asked):
            given.append((name, asked))
            return Picture(b"", "nothing", name)

        return draw

    for name in ("draw_slices", "draw_glass", "draw_gallery"):
        monkeypatch.setattr(f"fmnet.report.signature_section.{name}", stub(name))
    monkeypatch.setattr("fmnet.report.signature_section.build_viewer", lambda *_: "viewer")
    return given


def test_page_without_a_signature_shows_no_map(tmp_path):
    section = signature_section(study_facts(is_stable=False), COHORT, tmp_path / "none")
    page = render(section)
    assert section["pictures"] == section["viewers"] == section["gallery"] == []
    assert "No stable signature: the model is not above chance" in page
    assert "<iframe" not in page
    assert "png;base64" not in page
    assert "Clusters" not in page


def test_forced_maps_have_the_sentence_across_and_no_viewer(folder, monkeypatch):
    given = stub_drawing(monkeypatch)
    facts = study_facts(is_stable=False, is_forced=True)
    section = signature_section(facts, COHORT, folder)
    assert section["viewers"] == []
    assert not section["is_stable"]
    assert len(given) == 8
    assert all(any("No stable signature" in str(part) for part in asked) for asked in given)


def test_page_says_that_it_has_no_room_for_all_contrasts(tmp_path, monkeypatch):
    given = stub_drawing(monkeypatch)
    names = ("one", "two", "three", "four")
    values = np.random.default_rng(0).normal(size=(4, COHORT.grid.n_voxels))
    values[1] *= 0.1
    build_map(values, contrasts=names).write(tmp_path)
    listing = SimpleNamespace(contrasts=names, labels=COHORT.listing.labels)
    cohort = SimpleNamespace(grid=COHORT.grid, listing=listing)
    section = signature_section(study_facts(), cohort, tmp_path)
    assert [asked[1] for _, asked in given[::2]] == ["one", "three", "four"]
    assert section["notes"][-1].startswith("Of 4 contrasts, the 3 with the largest values")


def test_tables_have_the_columns_that_say_something():
    rows = [
        {"contrast": "pain", "peak": 5.126, "x_mm": -38.0, "y_mm": 12.0, "z_mm": 20.0,
         "size_mm3": 12096.0, "p": None, "note": ""},
        {"contrast": "pain", "peak": -4.0, "x_mm": 2.0, "y_mm": 12.0, "z_mm": 20.0,
         "size_mm3": 512.0, "p": 0.0004, "note": ""},
    ]  # fmt: skip
    heads = {
        "contrast": "contrast", "peak": "peak", "place": "x, y, z", "size_mm3": "size", "p": "p",
        "note": "note",
    }  # fmt: skip
    found = table_of("Clusters", rows, heads)
    assert found["heads"] == ["peak", "x, y, z", "size", "p"]
    assert found["rows"] == [
        ["5.13", "-38, 12, 20", "12,096", ""], ["-4.00", "2, 12, 20", "512", "< 0.001"],
    ]  # fmt: skip
    assert found["rest"] == ""
    assert table_of("Clusters", rows * 11, heads)["rest"] == "2 more rows are in signature/."
