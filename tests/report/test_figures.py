import warnings

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
    draw_scores,
)

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
    return [
        draw_overview(metrics, predictions, labels, labels.positive),
        draw_forest(metrics),
        draw_scores(predictions, models[-1], labels, models[-1]),
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
        images = draw_all(metrics, predictions, labels[0], ["network", "$\\frac{1}{$"])
        images.append(
            draw_forest(metrics | {"models": dict.fromkeys(ODD, metrics["models"]["network"])})
        )
        images += [draw_scores(predictions, "network", one, ODD[0]) for one in labels[1:]]
    assert all(image.startswith(b"\x89PNG") for image in images)


def test_dollar_signs_start_no_formula():
    _, predictions = study_of(["network"])
    plain, dollars = (
        draw_scores(predictions, "network", Labels("group", name, "HC"), "ResNet")
        for name in ("FM", "$FM$")
    )
    assert plain != dollars


def test_figure_that_fails_is_replaced_by_a_note(monkeypatch):
    def fail(*_, **__):
        raise ValueError("no $such$ curve")

    monkeypatch.setattr(figures, "roc_curve", fail)
    _, predictions = study_of(["network"])
    with pytest.warns(UserWarning, match=r"could not be drawn \(ValueError: no \$such\$ curve\)"):
        image = draw_roc(predictions, {"network": "ResNet"})
    assert image.startswith(b"\x89PNG")


def test_calibration_counts_both_groups_alike():
    # 4 of 28 are positive, everybody of a fifth gets the same probability
    rows = pd.DataFrame({"probability": 0.5, "label": ([1] + [0] * 6) * 4})

    points = calibration_points(rows)

    assert points[0] == pytest.approx([0.5] * 5)
    assert points[1][0] == pytest.approx(0.5, abs=0.1)
    assert rows["label"].mean() == pytest.approx(1 / 7)
