"""What is drawn of several targets, and of several scans of the same people."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from fmnet.evaluation.retest import sessions_of
from fmnet.report.drawing import DARK, GREY, NEGATIVE, plain
from fmnet.report.people_figures import SHADES
from fmnet.report.target_panels import CELL, Panel, forest_panel


def transfer_panel(found: Mapping[str, Any]) -> Panel:
    """Draw how well what was learned for each task does in each: `transfer_matrix`'s."""
    tasks = found["tasks"]
    cells = {(one["trained"], one["tested"]): one for one in found["cells"]}
    table = np.array([[cells[one, other]["auc"] for other in tasks] for one in tasks], dtype=float)
    short = [plain(name, CELL) for name in tasks]

    def draw(axes: Axes) -> None:
        axes.imshow(table, cmap=SHADES, vmin=0.5, vmax=1, aspect="auto")
        for (row, column), auc in np.ndenumerate(table):
            low, high = cells[tasks[row], tasks[column]]["ci"]
            axes.text(column, row - 0.1, f"{auc:.2f}", ha="center", va="center")
            ends = "" if None in (low, high) else f"[{low:.2f}, {high:.2f}]"
            axes.text(column, row + 0.25, ends, ha="center", va="center", fontsize=7)
        axes.set_xticks(range(len(tasks)), short)
        axes.set_yticks(range(len(tasks)), short)
        axes.set(xlabel="tested on", ylabel="learned for")
        axes.tick_params(length=0)
        axes.set_title("AUC within folds, 95 % interval", fontsize=10)

    said = "; ".join(
        f"learned for {one['trained']}, tested on {one['tested']}: {one['auc']:.2f}"
        for one in found["cells"]
    )
    return Panel(draw, f"Transfer, AUC within folds: {said}.", "transfer")


def gains_panel(gains: Sequence[Mapping[str, Any]]) -> Panel:
    """Draw what each task gains by being learned together with the others."""
    rows = [(f"{one['task']}, {one['figure']}", one["gain"], one["ci"]) for one in gains]
    return forest_panel(
        rows, "together less alone, 95 % interval", "Gain of learning together", 0.0, "gains"
    )


def retest_panels(retest: Mapping[str, Any], rows: pd.DataFrame) -> list[Panel]:
    """Draw how scores of two sessions differ, and how reliable scores are.

    `retest` is `fmnet.evaluation.retest.retest_of_scores`'s, `rows` those of one model in the
    out-of-fold table, with a single score.
    """
    if retest.get("reason"):
        return []
    panels = [_bland_altman_panel(retest, rows)]
    kinds = [("agreement", "values kept"), ("consistency", "order kept")]
    shown = [(retest[name], words) for name, words in kinds if name in retest]
    shown += [(retest["one_way"], "all people")] if "one_way" in retest else []
    within = retest.get("within_groups")
    shown += [(within["agreement"], "within groups")] if within else []
    icc = [
        (f"{one['kind']}, {words}", one["value"], [one["low"], one["high"]]) for one, words in shown
    ]
    panels.append(
        forest_panel(icc, "of single scans, 95 % interval", "Reliability of the score", 0.0, "icc")
    )
    needed = [
        (f"reliability {goal}", one["factor"], [one["low"], one["high"]])
        for goal, one in retest.get("needed", {}).items()
    ]
    if any(value is not None for _, value, _ in needed):
        panels.append(
            forest_panel(
                needed, "sessions, or times the length", "What would be needed", 1.0, "needed"
            )
        )
    return panels


def _bland_altman_panel(retest: Mapping[str, Any], rows: pd.DataFrame) -> Panel:
    """Draw the difference of two sessions over their mean, in standard deviations within folds."""
    first, second = retest["sessions"][:2]
    session = rows["scan_id"].map(sessions_of(rows))
    folds = rows.groupby(["repeat", "fold"])["score"]
    value = (rows["score"] - folds.transform("mean")) / folds.transform("std", ddof=0)
    table = rows.assign(session=session, value=value)
    wide = table.pivot_table(index="participant_id", columns="session", values="value")
    pair = wide[[first, second]].dropna().to_numpy(float)
    mean, gap = pair.mean(axis=1), pair[:, 1] - pair[:, 0]
    centre, half = float(gap.mean()), 1.96 * float(gap.std(ddof=1))

    def draw(axes: Axes) -> None:
        axes.plot(mean, gap, "o", color=NEGATIVE, ms=4, alpha=0.8)
        axes.axhline(centre, color=DARK, lw=1)
        for end in (centre - half, centre + half):
            axes.axhline(end, color=GREY, ls="--", lw=1)
        axes.set(
            xlabel=f"mean of sessions {plain(first, 10)} and {plain(second, 10)}, SD",
            ylabel=f"{plain(second, 10)} less {plain(first, 10)}, SD",
        )
        axes.set_title("Two sessions; dashed: limits of agreement", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)

    alt = (
        f"Difference of scores in sessions {first} and {second} of {len(gap)} people over their "
        f"mean, in standard deviations within folds: mean difference {centre:.2f}, 95 % limits of "
        f"agreement {centre - half:.2f} to {centre + half:.2f}."
    )
    return Panel(draw, alt, "two_sessions")
