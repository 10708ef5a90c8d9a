"""What is drawn of outputs that are groups, numbers or levels, from a target's details."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from fmnet.report.drawing import DARK, GREY, NEGATIVE, plain
from fmnet.report.people_figures import SHADES
from fmnet.report.sentences import count

Details = Mapping[str, Any]
#: Of steps on a scale, from the lowest to the highest: one hue, so that no end looks better.
STEPS = ("#9db8cb", "#5f8db0", "#1f4e79")
#: Letters of a group's name that there is room for beside a cell.
CELL = 16


@dataclass(frozen=True, eq=False)
class Panel:
    """One plot: what draws it, the text that stands in for it, and a name for its file.

    ``height`` is in inches, of a figure of its own.
    """

    draw: Callable[[Axes], None]
    alt: str
    name: str
    height: float = 3.8


def class_panels(details: Details, title: str) -> list[Panel]:
    """Draw calls by group, AUCs of each two groups, and which group each is nearest to."""
    groups = details["groups"]
    panels = [confusion_panel(details["confusion"], groups, title, "group")]
    pairs = [
        (f"{one['one']} against {one['other']}", one["auc"], one["ci"]) for one in details["pairs"]
    ]
    panels.append(
        forest_panel(pairs, "AUC within folds, 95 % interval", "Each two groups", 0.5, "pairs")
    )
    if details["nearest"]:
        panels.append(_nearest_panel(details["nearest"]))
    return panels


def confusion_panel(
    counts: Sequence[Sequence[float]], names: Sequence[str], title: str, what: str
) -> Panel:
    """Draw how many scans of each group, or level, were called which: counts (K, K), rows known."""
    table = np.asarray(counts, dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        fractions = table / table.sum(axis=1, keepdims=True)
    short = [plain(name, CELL) for name in names]

    def draw(axes: Axes) -> None:
        axes.imshow(np.nan_to_num(fractions), cmap=SHADES, vmin=0, vmax=1, aspect="auto")
        for (row, column), fraction in np.ndenumerate(fractions):
            axes.text(
                column, row - 0.1, _count(float(table[row, column])), ha="center", va="center"
            )
            said = "" if np.isnan(fraction) else f"{fraction:.0%}"
            axes.text(column, row + 0.25, said, ha="center", va="center", fontsize=8)
        axes.set_xticks(range(len(short)), short)
        axes.set_yticks(range(len(short)), short)
        axes.set(xlabel=f"{what} called, out of fold", ylabel=f"{what} known")
        axes.tick_params(length=0)
        axes.set_title(f"Calls of the {plain(title)}", fontsize=10)

    said = "; ".join(
        f"of {_count(float(np.sum(row)))} scans of {name}, "
        + ", ".join(
            f"{_count(float(n))} called {other}" for n, other in zip(row, names, strict=True)
        )
        for name, row in zip(names, table, strict=True)
    )
    return Panel(draw, f"Calls of the {title}, mean over repeats: {said}.", "calls")


def forest_panel(
    rows: Sequence[tuple[str, float | None, Sequence[float] | None]],
    label: str,
    title: str,
    nothing: float,
    name: str,
) -> Panel:
    """Draw values with their intervals under one another; `nothing` is where nothing is told."""

    def draw(axes: Axes) -> None:
        right = axes.get_yaxis_transform()
        for place, (_, value, interval) in enumerate(rows):
            if value is None or not np.isfinite(value):
                continue
            if interval is not None:
                axes.plot(interval, [place, place], color=DARK, lw=2, solid_capstyle="butt")
            axes.plot(value, place, "o", color=DARK, ms=6)
            text = _with_ends(value, interval)
            axes.text(1.03, place, text, va="center", fontsize=8, transform=right)
        axes.axvline(nothing, color=GREY, ls=":", lw=1)
        axes.set_yticks(range(len(rows)), [plain(one, 34) for one, _, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)

    said = "; ".join(f"{one} {_with_ends(value, interval)}" for one, value, interval in rows)
    return Panel(draw, f"{title}, {label}: {said}.", name, max(2.2, 1.2 + 0.42 * len(rows)))


def _nearest_panel(nearest: Sequence[Details]) -> Panel:
    """Draw how close the people of each group are to each other group."""
    rows: list[tuple[str, float | None, Sequence[float] | None]] = []
    for one in nearest:
        for other, value in one["closeness"].items():
            rows.append((f"{one['group']} to {other}", value, one["ci"][other]))
    even = 1 / max(len(nearest[0]["closeness"]), 1)
    told = "; ".join(
        f"{one['group']} is nearest to {one['nearest']}"
        f"{'' if one['is_told'] else ', which is not told from the next'}"
        for one in nearest
    )
    label = "closeness, a part of that to all others (dotted: alike)"
    panel = forest_panel(rows, label, "Which group is nearest", even, "nearest")
    return Panel(panel.draw, f"{panel.alt} {told}.", panel.name, panel.height)


def severity_panels(details: Details, title: str) -> list[Panel]:
    """Draw predicted against known numbers, and calibration in tenths."""
    unit, people = details["unit"], details["people"]
    x = np.array([one["value"] for one in people], dtype=float)
    y = np.array([one["observed"] for one in people], dtype=float)
    low = np.array([one["value_low"] for one in people], dtype=float)
    high = np.array([one["value_high"] for one in people], dtype=float)
    inside = float(np.mean((y >= low) & (y <= high)))

    def draw(axes: Axes) -> None:
        order = np.argsort(x)
        axes.fill_between(x[order], low[order], high[order], color=STEPS[0], alpha=0.5, lw=0)
        axes.plot(x, y, "o", color=NEGATIVE, ms=4, alpha=0.7)
        _draw_diagonal(axes, x, y)
        axes.set(xlabel=f"predicted out of fold, {plain(unit)}", ylabel=f"known, {plain(unit)}")
        axes.set_title(f"{plain(title)}; shaded: 90 % intervals", fontsize=10)

    alt = (
        f"Known against predicted numbers in {unit} of {count(len(x), 'scan')}, {title}: predicted "
        f"{x.min():.3g} to {x.max():.3g}, known {y.min():.3g} to {y.max():.3g}; {inside:.0%} lie "
        "within their 90 % interval."
    )
    calibration = calibration_panel(details["calibration"], unit)
    return [Panel(draw, alt, "predicted_and_known"), calibration]


def calibration_panel(points: Sequence[Mapping[str, float]], unit: str) -> Panel:
    """Draw means of what was known over means of what was predicted, in parts of the people."""
    x, y = (np.array([one[key] for one in points]) for key in ("predicted", "observed"))
    bounds = [one.get("low") is not None for one in points]

    def draw(axes: Axes) -> None:
        if all(bounds):
            low, high = (np.array([one[end] for one in points]) for end in ("low", "high"))
            axes.vlines(x, low, high, color=NEGATIVE, lw=1.5)
        axes.plot(x, y, "o-", color=NEGATIVE, ms=5, lw=1)
        _draw_diagonal(axes, x, y)
        axes.set(xlabel=f"predicted, mean, {plain(unit)}", ylabel=f"known, mean, {plain(unit)}")
        axes.set_title("Calibration, in parts by prediction", fontsize=10)

    said = ", ".join(
        f"{one:.3g} predicted, {other:.3g} known" for one, other in zip(x, y, strict=True)
    )
    return Panel(draw, f"Calibration in {unit}, in parts by prediction: {said}.", "calibration")


def ordinal_panels(details: Details, title: str) -> list[Panel]:
    """Draw calls by level, mean probabilities of levels by known level, and calibration."""
    levels = details["levels"]
    known = np.array([one["observed"] for one in details["people"]], dtype=int)
    p = np.array([[one[f"p_{name}"] for name in levels] for one in details["people"]])
    there = [k for k in range(len(levels)) if (known == k).any()]
    means = np.array([p[known == k].mean(axis=0) for k in there])
    colors = SHADES(np.linspace(0.15, 1.0, len(levels)))

    def draw(axes: Axes) -> None:
        left = np.zeros(len(there))
        for k, name in enumerate(levels):
            axes.barh(
                range(len(there)), means[:, k], left=left, color=colors[k], label=plain(name, CELL)
            )
            for row, width in enumerate(means[:, k]):
                if width >= 0.08:
                    axes.text(
                        left[row] + width / 2,
                        row,
                        f"{width:.2f}",
                        ha="center",
                        va="center",
                        fontsize=8,
                    )
            left += means[:, k]
        axes.set_yticks(range(len(there)), [plain(levels[k], CELL) for k in there])
        axes.invert_yaxis()
        axes.set(
            xlabel="mean probability of each level, out of fold", ylabel="level known", xlim=(0, 1)
        )
        axes.legend(
            frameon=False,
            fontsize=8,
            ncols=min(len(levels), 4),
            loc="upper center",
            bbox_to_anchor=(0.5, -0.18),
        )
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title("Probabilities of levels", fontsize=10)

    said = "; ".join(
        f"known {levels[k]}: "
        + ", ".join(f"{name} {one:.2f}" for name, one in zip(levels, row, strict=True))
        for k, row in zip(there, means, strict=True)
    )
    return [
        confusion_panel(details["confusion"], levels, title, "level"),
        Panel(draw, f"Mean probabilities of levels: {said}.", "level_probabilities"),
        calibration_panel(details["calibration"], "levels from 0"),
    ]


def change_panels(details: Details, title: str) -> list[Panel]:
    """Draw the change of each person, in order, with their mean."""
    changes = np.sort(np.array(details["changes"], dtype=float))
    n_up = int((changes > 0).sum())

    def draw(axes: Axes) -> None:
        axes.vlines(range(len(changes)), 0, changes, color=STEPS[1], lw=1.5)
        axes.plot(range(len(changes)), changes, "o", color=NEGATIVE, ms=4)
        axes.axhline(0, color=GREY, lw=1)
        axes.axhline(changes.mean(), color=DARK, ls="--", lw=1)
        axes.set(xlabel="people, in order", ylabel="change of the output, after less before")
        axes.set_title(f"{plain(title)}; dashed: mean", fontsize=10)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)

    said = _with_ends(details["d_z"], details["d_z_ci"])
    alt = (
        f"Change within each of {details['n_people']} people, {title}: upwards in {n_up}, mean "
        f"{changes.mean():.3g}; standardised {said}."
    )
    return [Panel(draw, alt, "changes")]


def _draw_diagonal(axes: Axes, x: ArrayLike, y: ArrayLike) -> None:
    """Draw where both are equal, over the range of both."""
    values = np.concatenate([np.ravel(x), np.ravel(y)])
    ends = [float(values.min()), float(values.max())]
    axes.plot(ends, ends, color=GREY, ls=":", lw=1)
    axes.spines[["top", "right"]].set_visible(False)


def _with_ends(value: float | None, interval: Sequence[float | None] | None) -> str:
    """Write a value with its interval: ``0.71 [0.59, 0.82]``."""
    if value is None or not np.isfinite(value):
        return "not told"
    if interval is None or None in interval:
        return f"{value:z.2f}"
    low, high = interval
    return f"{value:z.2f} [{low:z.2f}, {high:z.2f}]"


def _count(n: float) -> str:
    """Write a mean of counts without decimals that say nothing."""
    return f"{n:.1f}".removesuffix(".0")
