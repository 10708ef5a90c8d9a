"""Draw the figures of people: scores, probabilities and calls of one model by group."""

from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator

from fmnet.data.listing import Labels
from fmnet.evaluation.metrics import BASE_RATE
from fmnet.report.drawing import (
    GREY,
    NEGATIVE,
    POSITIVE,
    Drawn,
    as_svg,
    drawn_as,
    one_panel,
    plain,
)
from fmnet.report.people import Calls
from fmnet.report.sentences import count

#: Letters in a line of a title.
TITLE_WIDTH = 26
#: Of cells, from no scan of a group to all of them.
SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#9fb6c6"])


@drawn_as(as_svg)
def draw_scores(people: pd.DataFrame, labels: Labels, title: str, height: float = 3.8) -> Drawn:
    """Draw a model's out-of-fold scores by group, `people` from `fmnet.report.people`."""
    figure = one_panel(lambda axes: draw_scores_on(axes, people, labels, title), height)
    medians = people.groupby("label")["score"].median()
    positive, negative = (people.loc[people["label"] == label, "score"] for label in (1, 0))
    beyond = np.mean(positive.to_numpy() > medians[0]), np.mean(negative.to_numpy() < medians[1])
    alt = (
        f"Out-of-fold scores of the {title} by group. Median {medians[1]:.2f} of "
        f"{len(positive)} scans {labels.positive}, {medians[0]:.2f} of {len(negative)} scans "
        f"{labels.negative}. {beyond[0]:.0%} of {labels.positive} lie above the median of "
        f"{labels.negative}, {beyond[1]:.0%} of {labels.negative} below that of {labels.positive}."
    )
    if n_far := int(people["is_far"].sum()):
        alt += f" {count(n_far, 'scan')} far from the own group, ringed."
    return figure, alt, "scores"


@drawn_as(as_svg)
def draw_calls(calls: Calls, labels: Labels, title: str) -> Drawn:
    """Draw the confusion matrix: counts, and the fraction of each group."""
    names = [labels.positive, labels.negative]
    shown = [[_count(n) for n in row] for row in calls.counts]

    def draw(axes: Axes) -> None:
        axes.imshow(np.nan_to_num(calls.fractions), cmap=SHADES, vmin=0, vmax=1, aspect="auto")
        for (row, column), fraction in np.ndenumerate(calls.fractions):
            axes.text(column, row - 0.1, shown[row][column], ha="center", va="center", fontsize=17)
            said = "" if np.isnan(fraction) else f"{fraction:.0%} of {plain(names[row], 16)}"
            axes.text(column, row + 0.2, said, ha="center", va="center", fontsize=9)
        axes.set_xticks([0, 1], [f"called {plain(name, 16)}" for name in names])
        axes.set_yticks([0, 1], [f"is {plain(name, 16)}" for name in names])
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.set_title(fill(f"Calls of the {plain(title)}", 44), fontsize=10, pad=14)

    said = "; ".join(
        f"of {_count(sum(counts))} {name} {text[0]} ({_percent(own[0])}) called {names[0]}, "
        f"{text[1]} ({_percent(own[1])}) called {names[1]}"
        for name, counts, text, own in zip(names, calls.counts, shown, calls.fractions, strict=True)
    )
    over = f", mean over {calls.n_repeats} repeats" if calls.n_repeats > 1 else ""
    alt = f"Confusion matrix of the {title}, scans out of fold{over}: {said}."
    return one_panel(draw), alt, "confusion_matrix"


@drawn_as(as_svg)
def draw_probabilities(people: pd.DataFrame, labels: Labels, title: str) -> Drawn:
    """Draw how many scans of each group are given which probability out of fold."""
    names = (labels.negative, labels.positive)
    values = [people.loc[people["label"] == label, "probability"].to_numpy() for label in (0, 1)]

    def draw(axes: Axes) -> None:
        shown = [plain(name) for name in names]
        edges = np.linspace(0, 1, 21).tolist()
        axes.hist(values, bins=edges, color=[NEGATIVE, POSITIVE], label=shown)
        axes.axvline(BASE_RATE, color=GREY, ls=":", lw=1)
        axes.set(xlabel=f"probability of {shown[1]}, out of fold", ylabel="scans", xlim=(0, 1))
        axes.set_title(fill(f"Probabilities of the {plain(title)}", 44), fontsize=10)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(y=0.2)  # the legend lies above all bars
        axes.legend(edgecolor="none", framealpha=1, fontsize=8, loc="upper center", ncols=2)
        axes.spines[["top", "right"]].set_visible(False)

    low, middle, high = zip(*(np.quantile(own, [0.05, 0.5, 0.95]) for own in values), strict=True)
    said = "; ".join(
        f"{name}: median {middle[row]:.2f}, 90 % of scans between {low[row]:.2f} and "
        f"{high[row]:.2f}"
        for row, name in enumerate(names)
    )
    alt = f"Out-of-fold probabilities of {labels.positive} by the {title}. {said}."
    return one_panel(draw), alt, "probabilities"


def draw_scores_on(axes: Axes, people: pd.DataFrame, labels: Labels, title: str) -> None:
    """Draw scores by group, a dot per scan, with medians; scans far from their group are ringed."""
    names = (plain(labels.negative), plain(labels.positive))
    jitter = np.random.default_rng(0)
    for label, (name, color) in enumerate(zip(names, (NEGATIVE, POSITIVE), strict=True)):
        own = people[people["label"] == label]
        values, is_far = own["score"].to_numpy(), own["is_far"].to_numpy(bool)
        x = label + jitter.uniform(-0.13, 0.13, len(values))
        axes.plot(x, values, "o", color=color, alpha=0.65, ms=5, mec="none", label=name)
        axes.plot(x[is_far], values[is_far], "o", mfc="none", mec="black", ms=9)
        axes.plot([label - 0.24, label + 0.24], [np.median(values)] * 2, color="black", lw=1.5)
    axes.axhline(0, color=GREY, ls=":", lw=1)
    axes.set_xticks([0, 1], names)
    axes.set_xlim(-0.6, 1.6)
    axes.set_ylabel("score, out of fold")
    name = plain(title)
    said = f"{name[0].upper()}{name[1:]}, scans and medians"
    axes.set_title(fill(said, TITLE_WIDTH), fontsize=10)  # there is little room
    axes.spines[["top", "right"]].set_visible(False)


def _count(n: float) -> str:
    return f"{n:.1f}".removesuffix(".0")


def _percent(fraction: float) -> str:
    return "-" if np.isnan(fraction) else f"{fraction:.0%}"
