"""The run in words, figures and one self-contained page."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, select_autoescape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fmnet.data.cohort import Cohort
from fmnet.data.listing import Listing
from fmnet.study.crossval import NETWORK, mean_scores

NAMES = {NETWORK: "3D CNN", "linear_svm": "linear SVM", "dummy": "dummy"}
#: What has to be said first about maps that are not just as they were measured.
BANNERS = {
    "synthetic": "SYNTHETIC DATA, nobody was scanned.",
    "injected": "PLANTED EFFECT: known differences were added to real maps.",
}
POSITIVE, NEGATIVE, GREY = "#b2405a", "#31688e", "#777777"


def summary_lines(metrics: dict[str, Any], listing: Listing) -> list[str]:
    """Say the results in a few lines."""
    labels = listing.labels
    head = (
        f"{labels.positive} against {labels.negative}: {metrics['n_scans']} scans of "
        f"{metrics['n_subjects']} people, {metrics['n_positive']} {labels.positive}"
    )
    if listing.origin:
        head = f"{BANNERS[listing.origin]} {head}"
    return [head, "out-of-fold, 95 % intervals over subjects:", *model_lines(metrics["models"])]


def model_lines(models: dict[str, Any]) -> list[str]:
    """Say what each model reached, one line each."""
    width = max(len(NAMES.get(name, name)) for name in models)
    return [
        f"  {NAMES.get(name, name):<{width}}  AUC {figures['auc']:.2f} "
        f"[{figures['auc_ci'][0]:.2f}, {figures['auc_ci'][1]:.2f}]   "
        f"balanced accuracy {figures['balanced_accuracy']:.2f}"
        for name, figures in models.items()
    ]


def write_report(
    metrics: dict[str, Any], predictions: pd.DataFrame, cohort: Cohort, folder: Path
) -> None:
    """Write ``figure.png`` and ``report.html``.

    Parameters
    ----------
    metrics : dict
        From `fmnet.study.metrics.study_metrics`.
    predictions : DataFrame
        Out-of-fold scores of every model.
    cohort : Cohort
        Who was in the study, and who was left out.
    folder : Path
        The run folder.
    """
    image = draw_figure(metrics, predictions, cohort)
    (folder / "figure.png").write_bytes(image)
    loader = PackageLoader("fmnet.study", package_path="")
    page = Environment(loader=loader, autoescape=select_autoescape(default=True)).get_template(
        "report.html.j2"
    )
    table = cohort.table()
    text = page.render(
        metrics=metrics,
        names=NAMES,
        labels=cohort.listing.labels,
        contrasts=cohort.listing.contrasts,
        stat=cohort.listing.stat,
        banner=BANNERS.get(cohort.listing.origin, ""),
        left_out=table[table["used"] == "no"].to_dict("records"),
        notes=table[table["notes"] != ""].to_dict("records"),
        figure=base64.b64encode(image).decode(),
    )
    (folder / "report.html").write_text(text, "utf-8")


def draw_figure(metrics: dict[str, Any], predictions: pd.DataFrame, cohort: Cohort) -> bytes:
    """Draw models side by side and the network's out-of-fold scores by group, as PNG."""
    figure = Figure(figsize=(9, 3.4), layout="constrained", dpi=150)
    left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
    _draw_models(left, metrics["models"])
    _draw_scores(right, mean_scores(predictions, NETWORK), cohort)
    if cohort.listing.origin:
        figure.suptitle(BANNERS[cohort.listing.origin], fontsize=10, color=POSITIVE)
    target = io.BytesIO()
    figure.savefig(target, format="png", metadata={"Software": None})
    return target.getvalue()


def _draw_models(axes: Axes, models: dict[str, Any]) -> None:
    for row, (name, figures) in enumerate(models.items()):
        low, high = figures["auc_ci"]
        color = POSITIVE if name == NETWORK else "#333333"
        axes.plot([low, high], [row, row], color=color, lw=2, solid_capstyle="butt")
        axes.plot(figures["auc"], row, "o", color=color, ms=7)
        axes.annotate(
            f"{figures['auc']:.2f} [{low:.2f}, {high:.2f}]",
            (figures["auc"], row),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    axes.axvline(0.5, color=GREY, ls=":", lw=1)
    axes.set_yticks(range(len(models)), [NAMES.get(name, name) for name in models])
    axes.set_ylim(len(models) - 0.5, -0.6)
    axes.set_xlim(0.2, 1.05)
    axes.set_xlabel("AUC, out of fold, 95 % interval over subjects")
    axes.set_title("Network and baselines, same folds", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_scores(axes: Axes, scores: pd.DataFrame, cohort: Cohort) -> None:
    names = (cohort.listing.labels.negative, cohort.listing.labels.positive)
    spread = np.random.default_rng(0)
    for label, (name, color) in enumerate(zip(names, (NEGATIVE, POSITIVE), strict=True)):
        values = scores.loc[scores["label"] == label, "score"].to_numpy()
        x = label + spread.uniform(-0.13, 0.13, len(values))
        axes.plot(x, values, "o", color=color, alpha=0.65, ms=5, mec="none", label=name)
        axes.plot([label - 0.24, label + 0.24], [np.median(values)] * 2, color="black", lw=1.5)
    axes.axhline(0, color=GREY, ls=":", lw=1)
    axes.set_xticks([0, 1], names)
    axes.set_xlim(-0.6, 1.6)
    axes.set_ylabel("score, out of fold")
    axes.set_title("3D CNN, one point per scan, line at the median", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
