"""Draw the figures of the report, as PNG."""

import io
import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from fmnet.data.listing import Labels
from fmnet.evaluation.conclusions import exported_model, further_networks, is_corrected
from fmnet.inference.study_results import say_p
from fmnet.report.sentences import name_of, with_interval

POSITIVE, NEGATIVE, GREY, DARK = "#b2405a", "#31688e", "#777777", "#333333"
#: Of curves: two models, their rival, and a few further networks.
CURVES = (POSITIVE, NEGATIVE, GREY, "#c98a1b", "#4f8a5b", "#8a5fa8")
#: False-positive rates at which ROC curves of folds are averaged.
RATES = np.linspace(0, 1, 201)
#: Names are drawn as they are written: a dollar sign starts no formula.
PLAIN: Any = {
    "text.parse_math": False, "text.usetex": False, "axes.formatter.use_mathtext": False,
}  # fmt: skip
#: Characters of a name that there is room for.
ROOM = 40
#: Letters in a line of a title.
TITLE_WIDTH = 26


def _as_figure(draw: Callable[..., bytes]) -> Callable[..., bytes]:
    """Draw with names as they are written; a figure that fails costs nothing but itself."""

    @wraps(draw)
    def drawn(*given: Any) -> bytes:
        with rc_context(PLAIN), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
            try:
                return draw(*given)
            except Exception as error:  # noqa: BLE001 (whatever it is, the results are worth more)
                reason = f"This figure could not be drawn ({type(error).__name__}: {error})."
        warnings.warn(reason, stacklevel=2)
        with rc_context(PLAIN):
            figure = Figure(figsize=(5.2, 2.6), dpi=150)
            text = fill(_plain(reason, 400), 60)
            figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=8, color=GREY)
            return _as_png(figure)

    return drawn


def _plain(name: str, room: int = ROOM) -> str:
    """Write a name in the room that there is, without what has no glyph."""
    shown = " ".join("".join(sign if sign.isprintable() else " " for sign in name).split())
    return shown if len(shown) <= room else f"{shown[: room - 3]}..."


@_as_figure
def draw_overview(
    metrics: Mapping[str, Any], predictions: pd.DataFrame, labels: Labels, banner: str
) -> bytes:
    """Draw all models side by side, and out-of-fold scores by group of the one exported."""
    models = metrics["models"]
    figure = Figure(figsize=(9, _height(models)), layout="constrained", dpi=150)
    left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
    _draw_models(left, metrics)
    model = exported_model(metrics)
    title = name_of(model, metrics["titles"])
    _draw_scores(right, mean_scores(predictions, model), labels, title)
    if banner:
        figure.suptitle(_plain(banner, 160), fontsize=10, color=POSITIVE)
    return _as_png(figure)


@_as_figure
def draw_forest(metrics: Mapping[str, Any]) -> bytes:
    """Draw the AUC of all models with its interval."""
    return _one_panel(lambda axes: _draw_models(axes, metrics), _height(metrics["models"]))


@_as_figure
def draw_scores(predictions: pd.DataFrame, model: str, labels: Labels, title: str) -> bytes:
    """Draw a model's out-of-fold scores by group."""
    scores = mean_scores(predictions, model)
    return _one_panel(lambda axes: _draw_scores(axes, scores, labels, title))


@_as_figure
def draw_roc(predictions: pd.DataFrame, models: Mapping[str, str]) -> bytes:
    """Draw ROC curves, averaged over test folds, of models with their names in reports."""

    def draw(axes: Axes) -> None:
        for rows, color, name in _rows_of(predictions, models):
            axes.plot(RATES, mean_roc(rows), color=color, lw=2, label=name)
        _draw_unit_square(axes)
        axes.set(xlabel="1 - specificity", ylabel="sensitivity")
        axes.set_title("ROC, mean over test folds", fontsize=10)
        axes.legend(frameon=False, fontsize=8, loc="lower right")

    return _one_panel(draw)


@_as_figure
def draw_calibration(predictions: pd.DataFrame, models: Mapping[str, str]) -> bytes:
    """Draw the fraction of positives over the probabilities given, of models as for `draw_roc`."""

    def draw(axes: Axes) -> None:
        for rows, color, name in _rows_of(predictions, models):
            axes.plot(*calibration_points(rows), "o-", color=color, ms=5, lw=1.5, label=name)
        _draw_unit_square(axes)
        axes.set(
            xlabel="probability given, out of fold",
            ylabel="share of the positive class, groups alike",
        )
        axes.set_title("Calibration, fifths of all scans", fontsize=10)
        axes.legend(frameon=False, fontsize=8, loc="upper left")

    return _one_panel(draw)


@_as_figure
def draw_null(found: Mapping[str, Any], title: str) -> bytes:
    """Draw AUCs under shuffled labels, and what was observed."""

    def draw(axes: Axes) -> None:
        axes.hist(found["null"], bins=np.linspace(0, 1, 31).tolist(), color="#c9c9c9")
        axes.axvline(found["observed"], color=POSITIVE, lw=2)
        said = f"{_plain(title)}: {found['observed']:.2f}, {say_p(found['p'])}"
        axes.set_title(said, fontsize=10)
        axes.set_xlabel("AUC with shuffled labels")
        axes.set_yticks([])
        axes.spines[["top", "right", "left"]].set_visible(False)

    return _one_panel(draw, 2.6)


@_as_figure
def draw_learning_curve(found: Mapping[str, Any], titles: Mapping[str, str]) -> bytes:
    """Draw AUC over the number of people learned from, and what is expected of more."""
    figure = Figure(figsize=(9, 3.6), layout="constrained", dpi=150)
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
            label = _plain(name_of(model, titles)) + ("" if key == "points" else ", extrapolated")
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
    return _as_png(figure)


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
        (predictions[predictions["model"] == model], color, _plain(title))
        for (model, title), color in zip(models.items(), CURVES, strict=False)
    ]


def _height(models: Mapping[str, Any]) -> float:
    return max(3.4, 1.1 + 0.42 * len(models))


def _one_panel(draw: Callable[[Axes], None], height: float = 3.8) -> bytes:
    figure = Figure(figsize=(5.2, height), layout="constrained", dpi=150)
    draw(figure.subplots())
    return _as_png(figure)


def _draw_unit_square(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, ls=":", lw=1)
    axes.set_aspect("equal")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.spines[["top", "right"]].set_visible(False)


def _draw_models(axes: Axes, metrics: Mapping[str, Any]) -> None:
    models, exported = metrics["models"], exported_model(metrics)
    right = axes.get_yaxis_transform()
    for row, (name, figures) in enumerate(models.items()):
        low, high = figures["auc_ci"]
        color = POSITIVE if name == exported else DARK
        axes.plot([low, high], [row, row], color=color, lw=2, solid_capstyle="butt")
        axes.plot(figures["auc"], row, "o", color=color, ms=7)
        text = with_interval(figures, "auc")
        axes.text(1.04, row, text, va="center", fontsize=8, transform=right)
        if name == exported and is_corrected(metrics):  # what it is worth after the choice
            below, worth = row + 0.32, metrics["exported"]
            axes.plot(worth["auc_corrected_ci"], [below] * 2, color=color, lw=1, ls="--")
            axes.plot(worth["auc_corrected"], below, "o", color=color, mfc="white", ms=6)
            text = f"{with_interval(worth, 'auc_corrected')} corrected"
            axes.text(1.04, below, text, va="center", fontsize=7, transform=right)
    axes.axvline(0.5, color=GREY, ls=":", lw=1)
    names = [_plain(name_of(name, metrics["titles"])) for name in models]
    axes.set_yticks(range(len(models)), names)
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.set_xlim(min(0.2, *(f["auc_ci"][0] - 0.05 for f in models.values())), 1.02)
    axes.set_xlabel("AUC, out of fold, 95 % interval over subjects")
    several = "s" if further_networks(metrics) else ""
    axes.set_title(f"Network{several} and baselines, same folds", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_scores(axes: Axes, scores: pd.DataFrame, labels: Labels, title: str) -> None:
    names = (_plain(labels.negative), _plain(labels.positive))
    jitter = np.random.default_rng(0)
    for label, (name, color) in enumerate(zip(names, (NEGATIVE, POSITIVE), strict=True)):
        values = scores.loc[scores["label"] == label, "score"].to_numpy()
        x = label + jitter.uniform(-0.13, 0.13, len(values))
        axes.plot(x, values, "o", color=color, alpha=0.65, ms=5, mec="none", label=name)
        axes.plot([label - 0.24, label + 0.24], [np.median(values)] * 2, color="black", lw=1.5)
    axes.axhline(0, color=GREY, ls=":", lw=1)
    axes.set_xticks([0, 1], names)
    axes.set_xlim(-0.6, 1.6)
    axes.set_ylabel("score, out of fold")
    name = _plain(title)
    said = f"{name[0].upper()}{name[1:]}, scans and medians"
    axes.set_title(fill(said, TITLE_WIDTH), fontsize=10)  # there is little room
    axes.spines[["top", "right"]].set_visible(False)


def _as_png(figure: Figure) -> bytes:
    target = io.BytesIO()
    figure.savefig(target, format="png", metadata={"Software": None})
    return target.getvalue()


def mean_scores(predictions: pd.DataFrame, model: str) -> pd.DataFrame:
    """Average a model's out-of-fold scores over repeats: one row per scan."""
    rows = predictions[predictions["model"] == model]
    return rows.groupby(["participant_id", "scan_id"], as_index=False)[["label", "score"]].mean()
