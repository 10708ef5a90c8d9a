"""Draw the figures of models: all side by side, curves, null distributions."""

from collections.abc import Mapping
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from fmnet.data.listing import Labels
from fmnet.evaluation.conclusions import exported_model, further_networks, is_corrected
from fmnet.inference.study_results import say_p
from fmnet.report.drawing import (
    CURVES,
    DARK,
    GREY,
    NEGATIVE,
    POSITIVE,
    WHOLE,
    Drawn,
    as_png,
    as_svg,
    draw_unit_square,
    drawn_as,
    one_panel,
    plain,
    with_legend_below,
)
from fmnet.report.people_figures import draw_scores_on
from fmnet.report.sentences import name_of, with_interval

#: False-positive rates at which ROC curves of folds are averaged.
RATES = np.linspace(0, 1, 201)
#: What is drawn of a study of two groups whose labels were shuffled.
SHUFFLED_AUC = "AUC with shuffled labels"
#: Inches, of figures of a square with a legend below.
SQUARE = 4.3


@drawn_as(as_png)
def draw_overview(
    metrics: Mapping[str, Any], people: pd.DataFrame, labels: Labels, banner: str
) -> Drawn:
    """Draw all models side by side, and out-of-fold scores by group of the one exported."""
    figure = Figure(figsize=(WHOLE, forest_height(metrics)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
    _draw_models(left, metrics)
    title = name_of(exported_model(metrics), metrics["titles"])
    draw_scores_on(right, people, labels, title)
    if banner:
        figure.suptitle(plain(banner, 160), fontsize=10, color=POSITIVE)
    return figure, _forest_words(metrics), "figure"


@drawn_as(as_svg)
def draw_forest(metrics: Mapping[str, Any]) -> Drawn:
    """Draw the AUC of all models with its interval."""
    figure = one_panel(lambda axes: _draw_models(axes, metrics), forest_height(metrics))
    return figure, _forest_words(metrics), "auc_of_models"


def forest_height(metrics: Mapping[str, Any]) -> float:
    """Choose the height of a figure with a row for each model, in inches."""
    return max(3.4, 1.1 + 0.42 * len(metrics["models"]))


@drawn_as(as_svg)
def draw_roc(predictions: pd.DataFrame, models: Mapping[str, str]) -> Drawn:
    """Draw ROC curves, averaged over test folds, of models with their names in reports."""
    curves = [(mean_roc(rows), color, name) for rows, color, name in _rows_of(predictions, models)]

    def draw(axes: Axes) -> None:
        for curve, color, name in curves:
            axes.plot(RATES, curve, color=color, lw=2, label=name)
        draw_unit_square(axes)
        axes.set(xlabel="1 - specificity", ylabel="sensitivity")
        axes.set_title("ROC, mean over test folds", fontsize=10)

    said = "; ".join(
        f"{name}, area {np.trapezoid(curve, RATES):.2f}, sensitivity "
        f"{np.interp(0.2, RATES, curve):.2f} where specificity is 0.8"
        for curve, _, name in curves
    )
    figure = with_legend_below(one_panel(draw, SQUARE))
    return figure, f"ROC curves, mean over test folds: {said}.", "roc"


@drawn_as(as_svg)
def draw_calibration(predictions: pd.DataFrame, models: Mapping[str, str]) -> Drawn:
    """Draw the fraction of positives over the probabilities given, of models as for `draw_roc`."""
    curves = [
        (calibration_points(rows), color, name)
        for rows, color, name in _rows_of(predictions, models)
    ]

    def draw(axes: Axes) -> None:
        for points, color, name in curves:
            axes.plot(*points, "o-", color=color, ms=5, lw=1.5, label=name)
        draw_unit_square(axes)
        axes.set(
            xlabel="probability given, out of fold",
            ylabel="fraction of the positive class",
        )
        axes.set_title("Calibration, fifths of all scans, groups alike", fontsize=10)

    said = "; ".join(
        f"{name}: "
        + ", ".join(
            f"{given:.2f} given, {seen:.2f} seen" for given, seen in zip(*points, strict=True)
        )
        for points, _, name in curves
    )
    alt = f"Calibration, fifths of all scans by probability: {said}."
    return with_legend_below(one_panel(draw, SQUARE)), alt, "calibration"


@drawn_as(as_svg)
def draw_null(found: Mapping[str, Any], title: str, what: str = SHUFFLED_AUC) -> Drawn:
    """Draw what figures are under shuffled labels or outcomes, and what was observed."""
    bins = np.linspace(0, 1, 31).tolist() if what == SHUFFLED_AUC else 30

    def draw(axes: Axes) -> None:
        axes.hist(found["null"], bins=bins, color="#c9c9c9")
        axes.axvline(found["observed"], color=POSITIVE, lw=2)
        said = f"{plain(title)}: {found['observed']:.2f}, {say_p(found['p'])}"
        axes.set_title(fill(said, 40), fontsize=10)
        axes.set_xlabel(what)
        axes.set_yticks([])
        axes.spines[["top", "right", "left"]].set_visible(False)

    alt = (
        f"{what}, {title}: observed {found['observed']:.2f}, "
        f"{say_p(found['p'])}; "
        f"shuffled median {np.median(found['null']):.2f}, largest {max(found['null']):.2f}, "
        f"of {len(found['null'])}."
    )
    return one_panel(draw, 2.4, 3.8), alt, f"shuffled_labels_{plain(title).replace(' ', '_')}"


@drawn_as(as_svg)
def draw_learning_curve(found: Mapping[str, Any], titles: Mapping[str, str]) -> Drawn:
    """Draw AUC over the number of people learned from, and what is expected of more."""
    figure = Figure(figsize=(WHOLE, 3.6), layout="constrained")
    axes = figure.subplots()
    models = list(found["curves"])
    sizes = sorted({row["n_train"] for key in ("points", "ahead") for row in found[key]})
    for side, model, color in zip((-1, 1), models, (POSITIVE, NEGATIVE), strict=False):
        for key, marker in (("points", "o"), ("ahead", "s")):
            rows = [row for row in found[key] if row["model"] == model]
            # side by side, so that one interval doesn't hide the other
            x = np.array([row["n_train"] for row in rows]) * (1 + 0.015 * side)
            for n, row in zip(x, rows, strict=True):
                axes.plot([n, n], row["auc_ci"], color=color, lw=1.5, alpha=0.7)
            label = plain(name_of(model, titles)) + ("" if key == "points" else ", extrapolated")
            filling, y = color if key == "points" else "white", [row["auc"] for row in rows]
            axes.plot(x, y, marker, color=color, mfc=filling, ms=6, label=label)
        n = np.geomspace(sizes[0], sizes[-1], 100)
        curve = found["curves"][model]
        expected = np.maximum(curve["limit"] - curve["height"] * n ** -curve["rate"], 0.5)
        axes.plot(n, expected, color=color, ls="--", lw=1)
    axes.axhline(0.5, color=GREY, ls=":", lw=1)
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{n:.0f}" for n in sizes])
    axes.minorticks_off()
    axes.set(xlabel="people learned from", ylabel="AUC, out of fold")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    said = " ".join(found.get("lines", []))
    return figure, f"AUC over the number of people learned from. {said}", "learning_curve"


def mean_roc(rows: pd.DataFrame) -> NDArray[np.float64]:
    """Average the ROC curves of the test folds, weighted so that the area is the AUC.

    Sensitivity at equally spaced false-positive rates, `RATES`.
    """
    curves, weights = [], []
    for _, fold in rows.groupby(["repeat", "fold"]):
        positives = int(fold["label"].sum())
        if 0 < positives < len(fold):
            false, true, _ = roc_curve(fold["label"], fold["score"], drop_intermediate=False)
            curves.append(np.interp(RATES, false, true))
            weights.append(positives * (len(fold) - positives))
    return np.asarray(np.average(curves, axis=0, weights=weights))


def calibration_points(rows: pd.DataFrame) -> tuple[list[float], list[float]]:
    """Compare mean probability with the fraction of positives, in fifths of all scans.

    Both groups count alike, as they do in the probabilities.
    """
    counts = rows["label"].value_counts()
    rows = rows.assign(weight=1 / rows["label"].map(counts))
    ordered = rows.sort_values("probability", kind="stable")
    fifths = [ordered.iloc[rows] for rows in np.array_split(np.arange(len(ordered)), 5)]
    means = [
        np.average(fifth[["probability", "label"]].to_numpy(float), axis=0, weights=fifth["weight"])
        for fifth in fifths
        if len(fifth)
    ]
    return [float(mean[0]) for mean in means], [float(mean[1]) for mean in means]


def _rows_of(
    predictions: pd.DataFrame, models: Mapping[str, str]
) -> list[tuple[pd.DataFrame, str, str]]:
    return [
        (predictions[predictions["model"] == model], color, plain(title))
        for (model, title), color in zip(models.items(), CURVES, strict=False)
    ]


def _forest_words(metrics: Mapping[str, Any]) -> str:
    """List the AUCs in words, that of the exported model first."""
    models, titles = metrics["models"], metrics["titles"]
    names = sorted(models, key=lambda name: name != exported_model(metrics))
    said = "; ".join(
        f"{name_of(name, titles)} {with_interval(models[name], 'auc')}" for name in names
    )
    worth = ""
    if is_corrected(metrics):
        figures = with_interval(metrics["exported"], "auc_corrected")
        worth = f" Corrected for its choice, the first is worth {figures}."
    return f"AUC out of fold with its 95 % interval: {said}.{worth}"


def _draw_models(axes: Axes, metrics: Mapping[str, Any]) -> None:
    models, exported = metrics["models"], exported_model(metrics)
    right = axes.get_yaxis_transform()
    for row, (name, figures) in enumerate(models.items()):
        low, high = figures["auc_ci"]
        color = POSITIVE if name == exported else DARK
        axes.plot([low, high], [row, row], color=color, lw=2, solid_capstyle="butt")
        axes.plot(figures["auc"], row, "o", color=color, ms=7, clip_on=False)
        text = with_interval(figures, "auc")
        axes.text(1.04, row, text, va="center", fontsize=8, transform=right)
        if name == exported and is_corrected(metrics):  # what it is worth after the choice
            below, worth = row + 0.32, metrics["exported"]
            axes.plot(worth["auc_corrected_ci"], [below] * 2, color=color, lw=1, ls="--")
            axes.plot(
                worth["auc_corrected"], below, "o", color=color, mfc="white", ms=6, clip_on=False
            )
            text = f"{with_interval(worth, 'auc_corrected')} corrected"
            axes.text(1.04, below, text, va="center", fontsize=7, transform=right)
    axes.axvline(0.5, color=GREY, ls=":", lw=1)
    names = [plain(name_of(name, metrics["titles"])) for name in models]
    axes.set_yticks(range(len(models)), names)
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.set_xlim(min(0.2, *(f["auc_ci"][0] - 0.05 for f in models.values())), 1.02)
    axes.set_xlabel("AUC, out of fold, 95 % interval over subjects")
    several = "s" if further_networks(metrics) else ""
    axes.set_title(f"Network{several} and baselines, same folds", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
