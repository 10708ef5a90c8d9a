"""The page of a study of a target."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from cohort_fixtures import make_cohort

from fmnet.report.target_page import figure_columns, people_rows, write_target_report
from fmnet.report.terminal import target_summary_lines

TITLES = {
    "network": "scale space (closed form)",
    "voxel_ridge": "ridge on voxels",
    "dummy": "dummy",
}
OUTPUTS = [
    {
        "name": "value", "unit": "FIQ-R points",
        "means": "What people with such a scan had on average.",
        "means_not": "That this person has so many.",
    },
]  # fmt: skip
FACTS = {
    "target": {
        "kind": "toy", "title": "how severe it is", "columns": {"value": "fiqr"},
        "scores": ["score"], "outputs": OUTPUTS,
        "primary": {"name": "r2", "title": "R²", "chance": 0.0},
    },
    "models": {
        "network": {"r2": 0.21, "r2_ci": [0.02, 0.4], "mae": 12.5, "n": None},
        "voxel_ridge": {"r2": 0.15, "r2_ci": [-0.05, 0.3], "mae": 13.5},
        "dummy": {"r2": -0.01, "r2_ci": [-0.03, 0.0], "mae": 15.0},
    },
    "comparisons": [
        {
            "model": "network", "rival": "voxel_ridge", "difference": 0.06, "ci": [-0.1, 0.2],
            "p": 0.4, "p_holm": 0.8,
        },
    ],
    "permutation": {
        "n": 99, "n_planned": 99, "stop_after": 0,
        "models": {"network": {"p": 0.02, "observed": 0.4, "null": [0.1, -0.2, 0.3]}},
    },
    "audit": {
        "n": 30, "passed_over": ["site"],
        "confounds": [
            {
                "confound": "age", "score_r2": 0.04, "score_p_holm": 0.3, "outcome_r2": 0.1,
                "outcome_p_holm": None,
            },
        ],
        "said": [{"text": "Together, age explains 4 % of the scores.", "severity": "none"}],
    }, "exported": {"model": "network"}, "studied": "network", "primary": "r2",
    "kinds": {"network": "closed form", "voxel_ridge": "linear", "dummy": "chance"},
    "titles": TITLES, "n_epochs": [0, 0], "n_scans": 30, "n_subjects": 30, "lacking": {},
    "verdict": [
        {"text": "Severity can be told from scans of new people.", "severity": "none"},
        {"text": "Motion explains half of it.", "severity": "amber"},
    ],
    "summary": "30 people, FIQ-R 12 to 88, median 51.", "details": {},
    "tripod": [("8", "outcome", "FIQ-R, 0 to 100 points"), ("15b", "cut-off", "none is given")],
}  # fmt: skip


def predictions(n_repeats=2):
    cohort = make_cohort(("a", "b"), ("grid",) * 30, {})
    rng, tables = np.random.default_rng(0), []
    for model in TITLES:
        for repeat in range(n_repeats):
            rows = {
                "participant_id": cohort.participant_ids,
                "scan_id": [scan.scan_id for scan in cohort.scans], "repeat": repeat,
                "fold": np.arange(30) % 3, "model": model,
                "outcome_value": np.linspace(10, 90, 30), "score": rng.normal(size=30),
                "value": rng.normal(50, 5, size=30), "value_low": 20.0, "value_high": 80.0,
            }  # fmt: skip
            tables.append(pd.DataFrame(rows))
    return pd.concat(tables, ignore_index=True), cohort


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    folder = tmp_path_factory.mktemp("target")

    def write(**facts):
        table, cohort = predictions()
        (folder / "manifest.json").write_text(json.dumps({"command": ["train.py"], "seed": 0}))
        write_target_report(FACTS | facts, table, cohort, {}, folder)
        assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
        return (folder / "report.html").read_text()

    return write


def test_page_says_what_was_found_and_what_numbers_do_not_mean(write):
    page = write()
    for text in (
        "Severity can be told from scans of new people.", '<p class="amber">Motion explains',
        "That this person has so many.", "0.21 [0.02, 0.40]", "+0.060 [-0.100, +0.200]", "0.800",
        "FIQ-R, 0 to 100 points", "15b", "Research use only", "30 people, FIQ-R 12 to 88",
    ):  # fmt: skip
        assert text in page
    assert (
        "nan" not in page.split("<script>")[0].replace("data:image", "").lower().split("base64")[0]
    )


def test_columns_begin_with_the_primary_figure_and_hold_numbers_alone():
    assert figure_columns(FACTS) == [("r2", "R²"), ("mae", "mean absolute error")]


def test_people_are_listed_with_outputs_instead_of_scores():
    table, _ = predictions()
    rows = people_rows(table, "network")
    assert len(rows) == 30
    assert list(rows[0]) == ["participant", "value (known)", "value", "value low", "value high"]
    own = table[(table["model"] == "network") & (table["participant_id"] == "sub-03")]
    assert rows[3]["value"] == pytest.approx(own["value"].mean())


def test_terminal_says_the_verdict_before_the_models():
    _, cohort = predictions()
    lines = target_summary_lines(FACTS, cohort.listing, {})
    text = "\n".join(lines)
    assert lines[0].startswith("How severe it is: 30 scans of 30 people. 30 people, FIQ-R 12")
    assert text.index("Severity can be told") < text.index("- Motion explains")
    assert "  scale space (closed form)  0.21 [0.02, 0.40]   p = 0.020" in lines


def test_every_section_can_be_gone_to(write):
    page = write()
    sections = re.findall(r'<section id="([^"]+)"', page)
    assert re.findall(r'<li><a href="#([^"]+)"', page) == sections
    assert sections == [
        "result", "meaning", "confounds", "models", "people", "robustness", "left-out", "methods",
        "tripod",
    ]  # fmt: skip
    assert "robustness" not in re.findall(r'<section id="([^"]+)"', write(permutation={}))
