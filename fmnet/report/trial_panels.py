"""What is drawn of times to an event and of effects of an arm, from a target's details."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from fmnet.inference.study_results import say_p
from fmnet.report.drawing import CURVES, GREY, NEGATIVE, plain
from fmnet.report.target_panels import STEPS, Details, Panel, calibration_panel, forest_panel

#: Control and active arm.
ARMS = (GREY, CURVES[5])
THIRDS = ("lowest", "middle", "highest")
#: Slopes of a model of gains by arm and score, in words.
SLOPES = {
    "arm": "active arm", "interaction": "arm by score", "control": "score, control arm",
    "active": "score, active arm", "main": "score, both arms", "beyond": "arm by score, adjusted",
}  # fmt: skip
#: Normal quantile of a 95 % interval.
Z = 1.96


def onset_panels(details: Details, title: str, figures: Mapping[str, Any]) -> list[Panel]:
    """Draw who stayed without the event by thirds, calibration, AUC(t) and Brier(t)."""
    panels = []
    if details["curves"]:
        panels.append(_survival_panel(details, title))
    for time, points in details["calibration"].items():
        panel = calibration_panel(points, f"risk by {time} {details['unit']}")
        panels.append(Panel(panel.draw, panel.alt, f"calibration_{time}", panel.height))
    times = details["times"]
    for key, what, nothing in (
        ("auc", "AUC(t)", 0.5),
        ("brier_skill", "Brier(t), gain over Kaplan-Meier", 0.0),
    ):
        rows = [
            (
                f"by {time:g} {details['unit']}",
                figures.get(f"{key}_{time:g}"),
                figures.get(f"{key}_{time:g}_ci"),
            )
            for time in times
        ]
        label = f"{what}, 95 % interval"
        panels.append(
            forest_panel(rows, label, f"{what} of the {plain(title)}", nothing, f"{key}_by_time")
        )
    return panels


def _survival_panel(details: Details, title: str) -> Panel:
    """Draw Kaplan-Meier curves of thirds of the score, with how many were still followed."""
    curves, test = details["curves"], details["log_rank"]
    groups, ticks = curves["groups"], curves["ticks"]

    def draw(axes: Axes) -> None:
        for group, color, style in zip(groups, STEPS, ("-", "--", "-"), strict=True):
            axes.fill_between(
                group["time"],
                group["low"],
                group["high"],
                step="post",
                color=color,
                alpha=0.25,
                lw=0,
            )
            name = f"{group['name']} third, {group['n_events']} events of {group['n']}"
            axes.step(
                group["time"], group["free"], where="post", color=color, ls=style, lw=2, label=name
            )
        below = ["\n".join(str(group["at_risk"][k]) for group in groups) for k in range(len(ticks))]
        labels = [f"{tick:.3g}\n{said}" for tick, said in zip(ticks, below, strict=True)]
        axes.set_xticks(ticks, labels, fontsize=8)
        axes.set(ylim=(-0.02, 1.02), ylabel="share without the event")
        axes.set_xlabel(
            f"{details['unit']} from the scan; below: still followed, lowest to highest third",
            fontsize=8,
        )
        axes.legend(
            frameon=False, fontsize=8, loc="lower left", title="by predicted risk", title_fontsize=8
        )
        said = "" if test is None else f", log-rank {say_p(test['p'])}"
        axes.set_title(f"{plain(title)}: thirds of the score{said}", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)

    said = "; ".join(
        f"{group['name']} third, {group['n_events']} events of {group['n']} people, "
        f"{group['free'][-1]:.2f} without the event in the end; still followed at "
        + ", ".join(f"{tick:.3g}: {n}" for tick, n in zip(ticks, group["at_risk"], strict=True))
        for group in groups
    )
    alt = f"Share without the event by thirds of the {title}'s score, in {details['unit']}: {said}."
    return Panel(draw, alt, "survival_by_thirds", 4.2)


def response_panels(details: Details, title: str) -> list[Panel]:
    """Draw gains of both arms by thirds, the curves of effects, and slopes."""
    rows = [
        (SLOPES.get(name, name.replace("_", " ")), one["estimate"], one["ci"])
        for name, one in details["slopes"].items()
    ]
    label = f"gain in {plain(details['outcome'], 20)}, 95 % interval"
    slopes = forest_panel(rows, label, "What gains go with; score for one SD", 0.0, "slopes")
    return [_thirds_panel(details, title), *_rate_panels(details), slopes]


def _thirds_panel(details: Details, title: str) -> Panel:
    thirds, arms = details["thirds"], details["arm_names"]
    names = [f"{name}\nthird" for name in THIRDS]
    has_arms = "control" in thirds[0]
    series = [("control", arms[0], ARMS[0]), ("active", arms[1], ARMS[1])] if has_arms else []
    # gains are outcomes turned so that more is better: both arms are shown as what was measured
    sign = -1.0 if has_arms and details["benefit"] == "lower" else 1.0
    outcome = plain(details["outcome"], 20)
    label = (
        f"{outcome}, adjusted ({details['benefit']} is better)"
        if has_arms
        else f"gain in {outcome}"
    )
    series = series or [("effect", f"{arms[-1]} less {arms[0]}", ARMS[1])]

    def draw(axes: Axes) -> None:
        for shift, (key, name, color) in zip((-0.08, 0.08), series, strict=False):
            x = np.arange(3) + (shift if has_arms else 0)
            y = sign * np.array([one[key] for one in thirds], dtype=float)
            half = Z * np.array([one[f"{key}_se"] for one in thirds], dtype=float)
            axes.errorbar(
                x, y, half, fmt="o-", color=color, ms=6, lw=1.5, capsize=0, label=plain(name)
            )
        if not has_arms:
            axes.axhline(0, color=GREY, ls=":", lw=1)
        axes.set_xticks(range(3), names)
        axes.set(xlabel="by the model's score, out of fold", ylabel=label)
        axes.legend(frameon=False, fontsize=8)
        axes.set_title(
            f"{plain(title)}: both arms by thirds" if has_arms else f"{plain(title)}: effect",
            fontsize=10,
        )
        axes.spines[["top", "right"]].set_visible(False)

    said = "; ".join(
        f"{name} third: "
        + ", ".join(f"{arm} {_with_se(one, key, sign)}" for key, arm, _ in series)
        + (f", effect {_with_se(one, 'effect')}" if has_arms else "")
        for name, one in zip(THIRDS, thirds, strict=True)
    )
    return Panel(
        draw,
        f"{label} by thirds of the score, {title}: {said}.",
        "effect_by_thirds",
    )


def _with_se(third: Mapping[str, float | None], key: str, sign: float = 1.0) -> str:
    value, error = third[key], third[f"{key}_se"]
    if value is None:
        return "not told"
    value *= sign
    return f"{value:.3g}" if error is None else f"{value:.3g} (SE {error:.2g})"


def _rate_panels(details: Details) -> list[Panel]:
    """Draw TOC and Qini curves, with the area below each."""
    curve, panels = details["curve"], []
    for key, area, name in (("toc", "autoc", "TOC"), ("qini", "qini", "Qini")):
        value, interval = details[area], details[f"{area}_ci"]
        panels.append(
            _rate_panel(curve, key, name, area.upper() if key == "toc" else "Qini", value, interval)
        )
    return panels


def _rate_panel(
    curve: Mapping[str, Sequence[float]],
    key: str,
    name: str,
    area: str,
    reached: float,
    interval: Sequence[float],
) -> Panel:
    worth = f"{area} {reached:.3g} [{interval[0]:.3g}, {interval[1]:.3g}]"

    def draw(axes: Axes) -> None:
        x = curve["fraction"]
        axes.fill_between(
            x, curve[f"{key}_low"], curve[f"{key}_high"], color=STEPS[0], alpha=0.6, lw=0
        )
        axes.plot(x, curve[key], color=NEGATIVE, lw=2)
        axes.axhline(0, color=GREY, ls=":", lw=1)
        axes.set(
            xlabel="fraction of people, highest scores first", ylabel="effect beyond that in all"
        )
        axes.set_title(f"{name} curve; {worth}", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)

    middle = len(curve["fraction"]) // 2
    value, low, high = (curve[f"{key}{end}"][middle] for end in ("", "_low", "_high"))
    alt = (
        f"{name} curve with its 95 % interval; {worth}; at {curve['fraction'][middle]:.2g} of "
        f"people {value:.3g} [{low:.3g}, {high:.3g}]."
    )
    return Panel(draw, alt, f"{key}_curve")
