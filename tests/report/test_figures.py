import warnings
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from fmnet.data.listing import Labels
from fmnet.report import figures
from fmnet.report.figures import (
    calibration_points,
    draw_calibration,
    draw_forest,
    draw_learning_curve,
    draw_null,
    draw_overview,
    draw_roc,
)
from fmnet.report.people import count_calls, people_table
from fmnet.report.people_figures import draw_calls, draw_probabilities, draw_scores

SVG = "{http://www.w3.org/2000/svg}svg"
ODD = [
    "FM$_x", "a$b$c", "$\\frac{1}{$", "x^{", "\\unknown{", "{}}{", "_hidden", "%s %(a)s",
    "<script>alert(1)</script>", "\U0001f9e0 pain", "a\nb\tc", "\x1b]0;title\x07", "\udce9",
    "x" * 5000, "\u05e9\u05dc\u05d5\u05dd", "",
]  # fmt: skip


def study_of(models):
    """Scores and figures of two models, as far as figures read them."""
    rng = np.random.default_rng(0)
    n = 12
    rows = {
        "participant_id": [f"{k:02}" for k in range(n)], "scan_id": [f"{k:02}" for k in range(n)],
        "repeat": 0, "fold": np.arange(n) % 2, "label": np.arange(n) // 2 % 2,
    }  # fmt: skip
    tables = []
    for model in models:
        score = rng.normal(size=n)
        probability = 1 / (1 + np.exp(-score))
        tables.append(pd.DataFrame(rows | {"model": model, "score": score}))
        tables[-1]["probability"] = probability
    figure = {"auc": 0.6, "auc_ci": [0.4, 0.8]}
    null = {"observed": 0.6, "p": 0.25, "null": [0.4, 0.5, 0.6]}
    points = [
        {"model": model, "n_train": n, "auc": 0.6, "auc_ci": [0.5, 0.7]}
        for model in models
        for n in (8.0, 12.0)
    ]
    curve = {"limit": 0.8, "height": 1.0, "rate": 0.5}
    metrics = {
        "studied": models[0],
        "models": dict.fromkeys(models, figure),
        "titles": {name: name for name in models},
        "permutation": {"models": dict.fromkeys(models, null)},
        "learning_curve": {
            "points": points, "ahead": points, "curves": dict.fromkeys(models, curve),
        },
    }  # fmt: skip
    return metrics, pd.concat(tables, ignore_index=True)


def draw_all(metrics, predictions, labels, models):
    people, calls = people_table(predictions, models[-1]), count_calls(predictions, models[-1])
    return [
        draw_overview(metrics, people, labels, labels.positive),
        draw_forest(metrics),
        draw_scores(people, labels, models[-1]),
        draw_calls(calls, labels, models[-1]),
        draw_probabilities(people, labels, models[-1]),
        draw_roc(predictions, metrics["titles"]),
        draw_calibration(predictions, metrics["titles"]),
        draw_null(metrics["permutation"]["models"][models[-1]], models[-1]),
        draw_learning_curve(metrics["learning_curve"], metrics["titles"]),
    ]


def test_names_are_drawn_whatever_they_hold():
    metrics, predictions = study_of(["network", "$\\frac{1}{$"])
    labels = [Labels("group", *pair) for pair in zip(ODD[::2], ODD[1::2], strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures = draw_all(metrics, predictions, labels[0], ["network", "$\\frac{1}{$"])
        pictures.append(
            draw_forest(metrics | {"models": dict.fromkeys(ODD, metrics["models"]["network"])})
        )
        people, calls = people_table(predictions, "network"), count_calls(predictions, "network")
        pictures += [draw_scores(people, one, ODD[0]) for one in labels[1:]]
        pictures += [draw_calls(calls, one, ODD[0]) for one in labels[1:]]
        pictures += [draw_probabilities(people, one, ODD[0]) for one in labels[1:]]
    overview, *others = pictures
    assert overview.image.startswith(b"\x89PNG")
    assert {ElementTree.fromstring(one.image).tag for one in others} == {SVG}
    assert all(one.alt for one in pictures)


def test_dollar_signs_start_no_formula():
    people = people_table(study_of(["network"])[1], "network")
    picture = draw_scores(people, Labels("group", "$FM$", "HC"), "ResNet")
    assert b">$FM$<" in picture.image


def test_figure_that_fails_is_replaced_by_a_note(monkeypatch):
    def fail(*_, **__):
        raise ValueError("no $such$ curve")

    monkeypatch.setattr(figures, "roc_curve", fail)
    _, predictions = study_of(["network"])
    with pytest.warns(UserWarning, match=r"could not be drawn \(ValueError: no \$such\$ curve\)"):
        picture = draw_roc(predictions, {"network": "ResNet"})
    assert picture.alt.startswith("This figure could not be drawn (ValueError")
    assert ElementTree.fromstring(picture.image).tag == SVG


def test_same_figure_is_the_same_file():
    metrics, predictions = study_of(["network", "linear_svm"])
    labels = Labels("group", "FM", "HC")
    one, other = (
        draw_all(metrics, predictions, labels, ["network", "linear_svm"]) for _ in range(2)
    )
    assert one == other
    assert not any(b"<dc:date>" in picture.image for picture in one)


def test_texts_in_place_of_figures_say_what_is_found():
    metrics, predictions = study_of(["network", "linear_svm"])
    metrics["titles"] = {"network": "prior CNN", "linear_svm": "linear SVM"}
    figure = metrics["models"]["network"]
    metrics["models"] = {
        "network": figure | {"auc": 0.78}, "linear_svm": figure | {"auc": 0.81, "auc_ci": None},
    }  # fmt: skip
    metrics["models"]["linear_svm"]["auc_ci"] = [0.6, 0.9]
    metrics["exported"] = {"model": "linear_svm", "among": ["network"]}
    said = draw_forest(metrics).alt
    assert said == (
        "AUC out of fold with its 95 % interval: linear SVM 0.81 [0.60, 0.90]; "
        "prior CNN 0.78 [0.40, 0.80]."
    )
    null = metrics["permutation"]["models"]["network"]
    assert "observed 0.60, p = 0.25" in draw_null(null, "prior CNN").alt
    # everybody of the positive class before all others
    sorted_well = predictions.assign(score=predictions["label"] + 0.5)
    said = draw_roc(sorted_well, {"network": "prior CNN"}).alt
    assert "prior CNN, area 1.00, sensitivity 1.00 where specificity is 0.8" in said
    people = people_table(sorted_well, "network")
    said = draw_scores(people, Labels("group", "FM", "HC"), "prior CNN").alt
    assert "Median 1.50 of 6 scans FM, 0.50 of 6 scans HC. 100% of FM lie above" in said


def test_confusion_matrix_is_drawn_with_its_groups_the_right_way_round():
    rows = pd.DataFrame(
        {"model": "network", "repeat": 0, "label": [1, 1, 1, 1, 0, 0],
         "probability": [0.9, 0.9, 0.9, 0.1, 0.2, 0.2]}
    )  # fmt: skip
    picture = draw_calls(count_calls(rows, "network"), Labels("group", "FM", "HC"), "prior CNN")
    assert picture.alt == (
        "Confusion matrix of the prior CNN, scans out of fold: of 4 FM 3 (75%) called FM, 1 (25%) "
        "called HC; of 2 HC 0 (0%) called FM, 2 (100%) called HC."
    )
    for text in (b"75% of FM", b"100% of HC", b"called FM", b"is HC"):
        assert text in picture.image


def test_calibration_counts_both_groups_alike():
    # 4 of 28 are positive, everybody of a fifth gets the same probability
    rows = pd.DataFrame({"probability": 0.5, "label": ([1] + [0] * 6) * 4})

    points = calibration_points(rows)

    assert points[0] == pytest.approx([0.5] * 5)
    assert points[1][0] == pytest.approx(0.5, abs=0.1)
    assert rows["label"].mean() == pytest.approx(1 / 7)
