"""Draw the figures of a study of a target: models side by side, and what each kind shows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from textwrap import fill
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fmnet.report.drawing import (
    DARK,
    GREY,
    POSITIVE,
    WHOLE,
    Drawn,
    as_png,
    as_svg,
    drawn_as,
    one_panel,
    plain,
)
from fmnet.report.figures import forest_height
from fmnet.report.sentences import name_of, with_interval
from fmnet.report.sharing_panels import gains_panel, retest_panels, transfer_panel
from fmnet.report.target_panels import (
    Panel,
    change_panels,
    class_panels,
    ordinal_panels,
    severity_panels,
)
from fmnet.report.trial_panels import onset_panels, response_panels

#: From a target's details of a model, and the model's title, to what is drawn, by kind.
PANELS: dict[str, Callable[[Mapping[str, Any], str], list[Panel]]] = {
    "classes": class_panels,
    "severity": severity_panels,
    "improvement": severity_panels,
    "ordinal": ordinal_panels,
    "response": response_panels,
    "change": change_panels,
}


def panels_of(facts: Mapping[str, Any], model: str, rows: pd.DataFrame) -> list[Panel]:
    """List what is drawn of a model, what matters most first; empty for a kind that draws nothing.

    `facts` are what ``metrics.json`` holds, with ``retest`` (`fmnet.crossval.sessions`) and
    ``several`` (``gains`` and ``transfer`` of `fmnet.evaluation.shared_signature`) where they were
    looked for; `rows` those of the model in the out-of-fold table.
    """
    details = facts.get("details", {}).get(model) or {}
    title, figures = name_of(model, facts["titles"]), facts["models"][model]
    shared = facts.get("several") or {}
    panels = [transfer_panel(shared["transfer"])] if shared.get("transfer") else []
    panels += [gains_panel(shared["gains"])] if shared.get("gains") else []
    panels += _panels_of_kind(facts["target"], details, title, figures)
    if facts.get("retest") and "score" in rows:
        panels += retest_panels(facts["retest"]["scores"][model], rows)
    return panels


def _panels_of_kind(
    target: Mapping[str, Any], details: Mapping[str, Any], title: str, figures: Mapping[str, Any]
) -> list[Panel]:
    if not details:
        return []
    if target["kind"] == "onset":
        return onset_panels(details, title, figures)
    if target["kind"] == "several":
        found = []
        for name, own in target["targets"].items():
            mine = {
                figure.removeprefix(f"{name}_"): value
                for figure, value in figures.items()
                if figure.startswith(f"{name}_")
            }
            panels = _panels_of_kind(own, details["targets"][name], f"{title}, {name}", mine)
            found += [replace(panel, name=f"{name}_{panel.name}") for panel in panels]
        return found
    build = PANELS.get(target["kind"])
    return [] if build is None else build(details, title)


@drawn_as(as_svg)
def draw_panel(panel: Panel) -> Drawn:
    """Draw a panel as a figure of its own."""
    return one_panel(panel.draw, panel.height), panel.alt, panel.name


@drawn_as(as_svg)
def draw_models(facts: Mapping[str, Any]) -> Drawn:
    """Draw the primary figure of all models with its interval."""
    figure = one_panel(lambda axes: _draw_models_on(axes, facts), forest_height(facts))
    return figure, _models_words(facts), "models"


@drawn_as(as_png)
def draw_target_overview(facts: Mapping[str, Any], panels: Sequence[Panel], banner: str) -> Drawn:
    """Draw all models side by side, and beside them the panels given."""
    height = max([forest_height(facts), *(panel.height for panel in panels)])
    figure = Figure(figsize=(WHOLE, height), layout="constrained")
    first, *others = figure.subplots(
        1, 1 + len(panels), width_ratios=(1.35, *[1] * len(panels)), squeeze=False
    )[0]
    _draw_models_on(first, facts)
    for axes, panel in zip(others, panels, strict=True):
        panel.draw(axes)
        axes.set_title(fill(axes.get_title(), 34), fontsize=10)
    if banner:
        figure.suptitle(plain(banner, 160), fontsize=10, color=POSITIVE)
    said = " ".join([_models_words(facts), *(panel.alt for panel in panels)])
    return figure, said, "figure"


def _models_words(facts: Mapping[str, Any]) -> str:
    """List the primary figure of models in words, that of the exported model first."""
    primary, exported = facts["target"]["primary"], facts["exported"]["model"]
    names = sorted(facts["models"], key=lambda name: name != exported)
    said = "; ".join(
        f"{name_of(name, facts['titles'])} {with_interval(facts['models'][name], primary['name'])}"
        for name in names
    )
    return f"{primary['title']} out of fold with its 95 % interval: {said}."


def _draw_models_on(axes: Axes, facts: Mapping[str, Any]) -> None:
    primary, exported = facts["target"]["primary"], facts["exported"]["model"]
    key, right = primary["name"], axes.get_yaxis_transform()
    models = facts["models"]
    for row, (name, figures) in enumerate(models.items()):
        color = POSITIVE if name == exported else DARK
        if figures.get(key) is None:
            axes.text(1.04, row, "-", va="center", fontsize=8, transform=right)
            continue
        if interval := figures.get(f"{key}_ci"):
            axes.plot(interval, [row, row], color=color, lw=2, solid_capstyle="butt")
        axes.plot(figures[key], row, "o", color=color, ms=7, clip_on=False)
        text = with_interval(figures, key)
        axes.text(1.04, row, text, va="center", fontsize=8, transform=right)
    axes.axvline(primary["chance"], color=GREY, ls=":", lw=1)
    names = [plain(name_of(name, facts["titles"])) for name in models]
    axes.set_yticks(range(len(models)), names)
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.set_xlabel(fill(f"{primary['title']}, out of fold, 95 % interval over people", 44))
    axes.set_title("Models in the same folds; dotted: knows nothing", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
