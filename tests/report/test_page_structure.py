"""The page as a browser, a screen reader and a mail attachment have it."""

import json
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from cohort_fixtures import make_cohort

from fmnet.report.methods import describe_runs
from fmnet.report.page import write_report

#: Elements without an end.
VOID = {"meta", "img", "br"}
AUC = {"auc": 0.75, "auc_ci": [0.6, 0.9]}
FIGURES = AUC | {
    "balanced_accuracy": 0.7, "balanced_accuracy_ci": [0.6, 0.8], "sensitivity": 0.6,
    "predictive_values": [{"prevalence": 0.02, "ppv": 0.05, "npv": 0.99}],
}  # fmt: skip


PERMUTED = {
    "n": 3, "models": {"network": {"null": [0.4, 0.5, 0.6], "observed": 0.75, "p": 0.25}},
}  # fmt: skip


class Page(HTMLParser):
    """Elements of a page in order, with what they hold and lie in."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append({"tag": tag, "in": [*self.open], "text": ""} | dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.elements:
            self.elements[-1]["text"] += data

    def all(self, *tags):
        return [one for one in self.elements if one["tag"] in tags]


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    """Write the page of a study of thirty scans; odd rows are FM."""
    folder = tmp_path_factory.mktemp("page")

    def write(n_repeats=2, **facts):
        cohort = make_cohort(("a", "b"), ("grid",) * 30, {})
        rng = np.random.default_rng(0)
        tables = []
        for model in ("network", "linear_svm", "dummy"):
            for repeat in range(n_repeats):
                score = rng.normal(size=30) + cohort.labels
                score[1] = -9 if model == "network" else 0  # far from its group
                rows = {
                    "participant_id": cohort.participant_ids,
                    "scan_id": [scan.scan_id for scan in cohort.scans],
                    "repeat": repeat, "fold": np.arange(30) // 2 % 3, "label": cohort.labels,
                    "model": model, "score": score, "probability": 1 / (1 + np.exp(-score)),
                }  # fmt: skip
                tables.append(pd.DataFrame(rows))
        titles = {"network": "prior CNN", "linear_svm": "linear SVM", "dummy": "dummy"}
        metrics = {
            "n_scans": 30, "n_subjects": 30, "n_positive": 15, "studied": "network",
            "models": dict.fromkeys(titles, FIGURES), "titles": titles,
            "kinds": {"network": "closed form", "linear_svm": "linear", "dummy": "chance"},
            "n_epochs": [0, 0], "audit": {}, "findings": [], "verdict": "Prior CNN: AUC 0.75.",
        }  # fmt: skip
        (folder / "manifest.json").write_text(json.dumps({"command": ["train.py"], "seed": 0}))
        predictions = pd.concat(tables, ignore_index=True)
        write_report(metrics | facts, predictions, cohort, {}, folder)
        return (folder / "report.html").read_text()

    return write


@pytest.fixture(scope="module")
def repeated(write):
    """With two repeats and permutations."""
    return write(permutation=PERMUTED)


@pytest.fixture(scope="module")
def single(write):
    """With one repeat."""
    return write(n_repeats=1)


def test_page_stands_by_itself_and_is_light(repeated):
    page = repeated
    assert len(page) < 700_000
    assert "http" not in page
    sources = [one[key] for one in Page(page).elements for key in ("src", "href") if key in one]
    assert all(source.startswith(("data:image/svg+xml;base64,", "#")) for source in sources)


def test_same_run_gives_the_same_page(write, repeated):
    assert write(permutation=PERMUTED) == repeated


def test_every_section_can_be_gone_to(repeated):
    page = Page(repeated)
    ids = [one["id"] for one in page.elements if "id" in one]
    assert len(ids) == len(set(ids))
    links = [one["href"] for one in page.all("a") if "nav" in one["in"]]
    assert links == [f"#{one['id']}" for one in page.all("section")]
    assert all(one["aria-labelledby"] in ids for one in page.all("section"))
    assert [one["tag"] for one in page.all("header", "nav", "main", "footer")] == [
        "header", "nav", "main", "footer",
    ]  # fmt: skip


def test_headings_leave_no_level_out(repeated):
    levels = [int(one["tag"][1]) for one in Page(repeated).all("h1", "h2", "h3")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(np.diff(levels)) == 1


def test_figures_are_told_in_words_and_can_be_kept(repeated):
    page = Page(repeated)
    images, links = page.all("img"), [one for one in page.all("a") if "download" in one]
    assert [one["src"] for one in images] == [one["href"] for one in links]
    assert all(any(sign.isdigit() for sign in one["alt"]) for one in images)
    names = [one["download"] for one in links]
    assert len(names) == len(set(names)) == 7
    assert all(name.endswith(".svg") for name in names)


def test_tables_have_captions_and_headings(repeated):
    page = Page(repeated)
    assert len(page.all("table")) == len(page.all("caption")) >= 3
    assert all(one.get("scope") in {"col", "row"} for one in page.all("th"))


def test_everybody_is_in_the_table_and_who_stands_out_is_told(single):
    text, page = single, Page(single)
    rows = text.split('<table class="sortable">')[1].split("</table>")[0].count("<tr")
    assert rows == 31
    items = [" ".join(one["text"].split()) for one in page.all("li")]
    (far,) = (text for text in items if "check the scan" in text)
    assert "robust standard deviations below the median of FM; check the scan." in far
    assert "diagnos" not in text.split("</nav>")[1].split("<footer>")[0]


def test_page_of_one_repeat_speaks_of_none(single, repeated):
    assert "of repeats" in repeated
    assert "repeats" not in single


def test_signature_stands_between_result_and_confounds(write):
    facts = {"is_drawn": False, "is_forced": False, "failed": ["above_chance"], "checks": {}}
    page = Page(write(signature=facts | {"title": "prior CNN", "model": "network"}))
    assert [one["id"] for one in page.all("section")][:3] == ["result", "signature", "confounds"]


def test_runs_of_bold_have_a_section(write, build_bold_study):
    bold = describe_runs(build_bold_study().cohort, is_series=False, window_volumes=0)
    page = Page(write(bold=bold))
    assert [one["id"] for one in page.all("section")][2] == "bold"
    assert "#bold" in [one["href"] for one in page.all("a") if "nav" in one["in"]]
