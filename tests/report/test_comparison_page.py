import re
import shutil
from html.parser import HTMLParser

import pandas as pd
import pytest
from written_runs import SETTINGS, write_run

from fmnet.errors import OutputError
from fmnet.report.comparison_page import write_comparison


class Tags(HTMLParser):
    """Collect the tags, attributes and text of a page, and check that tags close in order."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text, self._open = [], [], [], []
        self.feed(page)
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in {"meta", "img", "br"}:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A sweep of two networks, and a run about another question."""
    root = tmp_path_factory.mktemp("compared")
    resnet = SETTINGS["network"] | {"_target_": "fmnet.networks.backbones.build_resnet"}
    write_run(root / "sweep" / "0")
    write_run(root / "sweep" / "1", {"network": 0.5}, settings={"network": resnet, "seed": 7})
    write_run(
        root / "severity",
        settings={"cohort": {"_target_": "fmnet.synthetic.maps.read_synthetic"}},
        facts={
            "target": {
                "title": "how severe it is",
                "primary": {"name": "r2", "title": "R²", "chance": 0.0},
            },
            "models": {"network": {"r2": 0.25, "r2_ci": [0.1, 0.4]}},
            "exported": {"model": "network", "among": ["network"]},
            "verdict": [{"text": "R² of 0.25", "severity": ""}],
        },
    )
    out = root / "out"
    lines = write_comparison([root / "sweep", root / "severity"], out)
    return root, out, lines


def test_page_is_whole_safe_and_by_itself(compared):
    _, out, _ = compared
    page = (out / "comparison.html").read_text()
    found = Tags(page)
    assert "script" not in found.tags
    assert "b" not in found.tags, "a finding was written as HTML"
    assert "&lt;b&gt;Motion&lt;/b&gt; alone reaches as far." in page
    addresses = [value for name, value in found.attributes if name in {"href", "src"}]
    assert {one.split(":")[0] for one in addresses if ":" in one} == {"data"}
    policy = dict(found.attributes)["content"]
    assert policy.startswith("default-src 'none'")
    assert "diagnosis" in page
    assert "/home/someone" not in page


def test_page_links_the_reports(compared):
    root, out, _ = compared
    page = (out / "comparison.html").read_text()
    links = re.findall(r'<a href="(\S+report\.html)">([^<]+)</a>', page)
    assert [name for _, name in links] == ["sweep/0", "sweep/1", "severity"]
    assert all((out / link).resolve().is_relative_to(root.resolve()) for link, _ in links)
    assert all((out / link).is_file() for link, _ in links)


def test_links_lead_to_folders_of_any_name(tmp_path):
    names = ["a #1", "javascript:alert(1)"]
    for name in names:
        write_run(tmp_path / name, {"network": 1.0})
    write_comparison([tmp_path / name for name in names], tmp_path / "out")
    links = re.findall(
        r'<a href="(\S+report\.html)">', (tmp_path / "out/comparison.html").read_text()
    )
    assert links == ["../a%20%231/report.html", "../javascript%3Aalert%281%29/report.html"]


def test_page_says_what_differs_and_what_was_reached(compared):
    _, out, lines = compared
    text = " ".join(Tags((out / "comparison.html").read_text()).text)
    for words in (
        "SYNTHETIC DATA", "build_resnet", "two groups, by AUC", "How severe it is, by R²",
        "0.70 [0.60, 0.80]", "R² 0.25 [0.10, 0.40]", "R² of 0.25.", "same scans in the same folds",
        "Corrected for having been chosen among them",
    ):  # fmt: skip
        assert words.lower() in text.lower()
    said = "\n".join(lines)
    assert "network: build_small_cnn | build_resnet | build_small_cnn" in said
    assert str(out / "comparison.tsv") in said


def test_table_has_a_row_for_each_run(compared):
    _, out, _ = compared
    table = pd.read_csv(out / "comparison.tsv", sep="\t", keep_default_na=False)
    assert table["run"].tolist() == ["sweep/0", "sweep/1", "severity"]
    assert table["setting.seed"].tolist() == [0, 7, 0]
    assert table["exported"].tolist() == ["network"] * 3
    assert table["value"].astype(float).tolist() == [0.7, 0.7, 0.25]
    assert table["same_scans_and_folds"].tolist() == ["1", "1", "n/a"]
    assert table["model.linear_svm_low"][1] == "n/a"
    assert float(table["model.linear_svm_low"][0]) < float(table["model.linear_svm"][0])
    assert "/home/someone" not in (out / "comparison.tsv").read_text()


def test_unfinished_job_of_a_sweep_is_said(compared, tmp_path):
    root, *_ = compared
    sweep = shutil.copytree(root / "sweep", tmp_path / "sweep")
    (sweep / "2").mkdir()
    (sweep / "2" / ".fmnet-run").write_text("")
    lines = write_comparison([sweep], tmp_path / "out")
    assert any(one.startswith("left out:") and "without metrics.json" in one for one in lines)
    assert "without metrics.json" in (tmp_path / "out" / "comparison.html").read_text()


def test_few_settings_stand_beside_the_figures(tmp_path):
    for seed in range(5):
        write_run(tmp_path / "sweep" / str(seed), {"network": 1.0}, settings={"seed": seed})
    write_comparison([tmp_path / "sweep"], tmp_path / "out")
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert '<th scope="col">run</th><th scope="col">seed</th><th scope="col">people</th>' in page
    assert re.search(r">4</a></th>\s*<td>4</td>\s*<td>26</td>", page)
    assert 'id="settings"' not in page


def test_many_settings_have_a_table_with_the_longer_side_downwards(tmp_path):
    keys = [f"setting_{number}" for number in range(5)]
    for job in range(6):
        write_run(
            tmp_path / "sweep" / str(job), {"network": 1.0}, settings=dict.fromkeys(keys, job)
        )
    sweep = tmp_path / "sweep"
    write_comparison([sweep], tmp_path / "many")
    page = (tmp_path / "many" / "comparison.html").read_text()
    assert f'<tr><th scope="row">5</th>{"<td>5</td>" * 5}</tr>' in page
    write_comparison([sweep / "0", sweep / "5"], tmp_path / "two")
    page = (tmp_path / "two" / "comparison.html").read_text()
    assert '<tr><th scope="row">setting_4</th><td>0</td><td>5</td></tr>' in page


def test_folder_that_can_not_be_written_is_named(compared, tmp_path):
    root, *_ = compared
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="a folder that can be written"):
        write_comparison([root / "sweep"], tmp_path / "out")
