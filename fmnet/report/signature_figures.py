"""Draw what a signature is believed by: halves and their null, deletion curves, region curves."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
    drawn_as,
    one_panel,
    plain,
)


@drawn_as(as_svg)
def draw_halves(found: Mapping[str, Any]) -> Drawn:
    """Draw the maps of two halves of a cohort against each other, and what chance would give.

    Parameters
    ----------
    found : mapping
        Of `fmnet.signature.agreement.agreement_of_halves`: ``voxel_r`` with ``observed``, ``null``
        and ``p``; ``n_per_half``; perhaps ``histogram``, see
        `fmnet.signature.map_agreement.count_pairs`.
    """
    figure = Figure(figsize=(WHOLE, 3.9), layout="constrained")
    agreed = found["voxel_r"]
    if "histogram" in found:
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.4))
        _draw_squares(left, found["histogram"])
    else:
        right = figure.subplots()
    drawn = "random maps" if found.get("null_from") == "spatial" else "shuffled labels"
    _draw_null_on(right, agreed["null"], agreed["observed"], drawn)
    people = " to ".join(f"{n}" for n in dict.fromkeys(found.get("n_per_half", ())))
    p = f", {say_p(agreed['p'])}" if agreed.get("p") is not None else ""
    said = f"r = {agreed['observed']:.2f}{p}"
    right.set_title(f"Halves{f' of {people} people' if people else ''}: {said}", fontsize=10)
    mean = float(np.mean(agreed["null"])) if len(agreed["null"]) else 0.0
    alt = f"Voxel weights of two halves of the cohort correlate with {said}; {mean:.2f} by chance."
    return figure, alt, "halves"


@drawn_as(as_svg)
def draw_deletion(found: Mapping[str, Any]) -> Drawn:
    """Draw the AUC of people out of fold after voxels were deleted or inserted.

    Parameters
    ----------
    found : mapping
        Of `fmnet.signature.study_checks.deletion_of_folds`.
    """
    figure = Figure(figsize=(WHOLE, 3.6), layout="constrained")
    percent, told = 100 * np.asarray(found["fractions"], float), []
    for axes, kind in zip(figure.subplots(1, 2), ("deletion", "insertion"), strict=True):
        curves = {name: one for name, one in found[kind].items() if name != "random"}
        if len(found[kind]["random"]):
            random = np.asarray(found[kind]["random"], float)  # (M, F)
            low, middle, high = np.quantile(random, (0.05, 0.5, 0.95), axis=0)
            axes.fill_between(percent, low, high, color=GREY, alpha=0.2, lw=0)
            axes.plot(percent, middle, color=GREY, ls="--", label="random maps, 90 % of them")
        for (name, curve), color in zip(curves.items(), CURVES, strict=False):
            axes.plot(percent, curve, "o-", color=color, ms=4, lw=1.8, label=plain(name))
            told.append(f"{kind} by {name}, {curve[0]:.2f} to {curve[-1]:.2f}")
        axes.axhline(0.5, color=GREY, ls=":", lw=1)
        verb = "deleted" if kind == "deletion" else "inserted"
        axes.set(xlabel=f"% of voxels {verb}, the largest first", ylabel="AUC, out of fold")
        axes.set_title(f"{kind.capitalize()} of voxels", fontsize=10)
        axes.legend(frameon=False, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, f"AUC of people out of fold: {'; '.join(told)}.", "deletion"


@drawn_as(as_svg)
def draw_region_curve(
    factors: Sequence[float], effects: Sequence[Sequence[float]], region: str, positive: str
) -> Drawn:
    """Draw how the score changes with the value of one region.

    Parameters
    ----------
    factors : sequence of float, length F
        How far the region's value lies from its mean, in SDs of the people.
    effects : array of float, shape (3, F)
        Change of people's scores: what 10 % of them stay below, the median, what 90 % stay below.
    region, positive : str
        Name of the region, and of the class that a larger score speaks for.
    """
    low, median, high = np.asarray(effects, float)

    def draw(axes: Axes) -> None:
        axes.fill_between(
            factors, low, high, color=NEGATIVE, alpha=0.2, lw=0, label="80 % of people"
        )
        axes.plot(factors, median, "o-", color=NEGATIVE, ms=4, lw=2, label="median")
        axes.axhline(0, color=GREY, ls=":", lw=1)
        axes.set(xlabel="value of the region, SDs of the people from their mean")
        axes.set_ylabel(f"change of the score\n(up: towards {plain(positive, 24)})")
        axes.set_title(plain(region, 46), fontsize=10)
        axes.legend(frameon=False, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)

    change = median[-1] - median[0]
    verb = "rises" if change > 0 else "falls"
    alt = (
        f"The score {verb} by {abs(change):.2g} (median) as the value of {region} goes from "
        f"{factors[0]:g} to {factors[-1]:g} SDs."
    )
    return one_panel(draw, 3.4), plain(alt, 400), "region_curve"


def _draw_squares(axes: Axes, found: Mapping[str, Any]) -> None:
    """Draw a histogram of two maps' values, darker where there are more voxels."""
    edges, counts = np.asarray(found["edges"]), np.asarray(found["counts"], float)
    reach = (edges[0], edges[-1], edges[0], edges[-1])
    # most voxels lie near 0, and those that agree far from it: one is seen as well
    sizes = np.log1p(counts) / max(np.log1p(counts.max()), 1e-12)
    shown = np.where(counts > 0, 0.25 + 0.75 * sizes, 0).T
    axes.imshow(shown, origin="lower", extent=reach, cmap="Greys", interpolation="nearest")
    axes.plot(reach[:2], reach[:2], color=NEGATIVE, ls=":", lw=1)
    axes.set(xlabel="standard weight, one half", ylabel="standard weight, other half")
    axes.set_title("Voxels in two halves", fontsize=10)
    axes.locator_params(nbins=4)


def _draw_null_on(axes: Axes, null: Sequence[float], observed: float, drawn: str) -> None:
    values = [*null, observed]
    edges = np.linspace(min(-0.1, *values) - 0.05, max(0.1, *values) + 0.05, 41)
    if len(null):
        axes.hist(null, bins=edges.tolist(), color="#c9c9c9", label=drawn)
    axes.axvline(observed, color=POSITIVE, lw=2, label="observed")
    axes.set_xlabel("correlation of the maps of halves")
    axes.set_yticks([])
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)


@drawn_as(as_png)
def draw_words(said: str) -> Drawn:
    """Write a sentence in the place of a picture."""
    figure = Figure(figsize=(WHOLE, 2.6), facecolor="white")
    text = fill(plain(said, 600), 70)
    figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=11, color=DARK)
    return figure, said, "signature"
