"""Draw a signature on the brain: slices, glass brains, and a gallery of the cohort's maps, as PNG.

Left is left. nilearn is imported where something is drawn, since that takes seconds.
"""

import io
import itertools
import re
import warnings
from collections.abc import Callable, Sequence
from textwrap import fill, wrap
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize, to_rgba
from matplotlib.figure import Figure
from PIL import Image

from fmnet.data.nifti import to_image
from fmnet.data.signature_map import SignatureMap
from fmnet.data.volume import FloatArray
from fmnet.report.drawing import DARK, GREY, Drawn, drawn_as, plain
from fmnet.report.map_words import Regions, SignWords, alt_text

#: From blue to red, which people who don't see all colours tell apart; neither is good or bad.
DIVERGING, COUNTS = "RdBu_r", "viridis"
RED, BLUE, NOT_DRAWN = "#b2182b", "#2166ac", "#ebebeb"
#: How strong the colour of the smallest value is that is drawn, from 0 to 1.
PALEST = 0.35
#: Slices in a picture, in a row of it, and between which heights in mm.
N_SLICES, IN_A_ROW, LOWEST, HIGHEST = 8, 4, -46, 70
#: Where the gallery is cut, and voxel size of the template behind slices, in mm.
CUTS, TEMPLATE_MM = (0, -20, 8), 2
#: Inches, dots per inch, and the fraction of the width that brains have beside the colour bar.
WIDTH, HEIGHT, DPI, BRAINS = 6.4, 4.9, 155, 0.85
#: Letters in a line: of the title, of what colours mean, and of the rest.
TITLE_LINE, COLOR_LINE, LINE = 66, 76, 86
RESEARCH = "Research use only: about groups, not about any one person."


def as_small_png(figure: Figure) -> bytes:
    """Write a figure as PNG of 256 colours, a third of the size."""
    target, small = io.BytesIO(), io.BytesIO()
    figure.savefig(target, format="png", dpi=DPI, metadata={"Software": None})
    picture = Image.open(target).convert("RGB")
    # most pixels are grey: the rarer colours of a bar have to keep theirs
    picture = picture.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    picture.save(small, format="PNG", optimize=True)
    return small.getvalue()


@drawn_as(as_small_png)
def draw_slices(
    signature: SignatureMap,
    contrast: str,
    threshold: float,
    title: str,
    words: SignWords,
    said: str = "",
    across: str = "",
    regions: Regions | None = None,
) -> Drawn:
    """Draw axial slices of one contrast over the MNI template, values above a threshold.

    A PNG of about 1000 x 760 pixels and 0.06 MB, with a text that says the finding.

    Parameters
    ----------
    signature : SignatureMap
        Values of C contrasts, of which `contrast` is drawn.
    threshold : float
        Size, in the map's units, that a value has to exceed to be drawn; 0 draws all but zeros.
    title, said : str
        Above the picture: what it is, and how the threshold was chosen.
    words : SignWords
        What red and blue mean.
    across : str
        Written across the picture of a map that is drawn although it isn't to be believed.
    regions : mapping, optional
        For the text that stands in for the picture, see `alt_text`.
    """
    from nilearn.datasets import load_mni152_template
    from nilearn.plotting import plot_stat_map

    image, largest = image_of(signature, contrast)
    cuts = choose_cuts(signature, contrast, threshold)
    template = load_mni152_template(resolution=TEMPLATE_MM)
    figure, bottom, height = _sheet(HEIGHT, title, words, said)
    n_rows = N_SLICES // IN_A_ROW
    for row in range(n_rows):
        _quietly(
            plot_stat_map,
            image,
            bg_img=template,
            display_mode="z",
            cut_coords=cuts[row * IN_A_ROW : (row + 1) * IN_A_ROW],
            figure=figure,
            axes=(0.0, bottom + height * (1 - (row + 1) / n_rows), BRAINS, height / n_rows),
            threshold=drawn_above(threshold),
            vmax=largest,
            colorbar=False,
            black_bg=False,
            cmap=colors_of(largest, threshold),
        )
    _add_colors(figure, largest, threshold, signature.units)
    _write_across(figure, across)
    alt = alt_text(signature, contrast, threshold, title, words, regions)
    return figure, alt, _file_name("slices", signature.description, contrast)


@drawn_as(as_small_png)
def draw_glass(
    signature: SignatureMap,
    contrast: str,
    threshold: float,
    title: str,
    words: SignWords,
    said: str = "",
    across: str = "",
    regions: Regions | None = None,
) -> Drawn:
    """Draw a glass brain of one contrast, seen from the left, the right, behind and above.

    Each point shows the value of largest size behind it. Parameters and size as of `draw_slices`.
    """
    from nilearn.plotting import plot_glass_brain

    image, largest = image_of(signature, contrast)
    figure, bottom, height = _sheet(HEIGHT, title, words, said)
    for row, views in enumerate(("lr", "yz")):
        _quietly(
            plot_glass_brain,
            image,
            display_mode=views,
            figure=figure,
            axes=(0.0, bottom + height * (0.5 - 0.5 * row), BRAINS, height / 2),
            threshold=drawn_above(threshold),
            vmax=largest,
            colorbar=False,
            plot_abs=False,
            cmap=colors_of(largest, threshold),
        )
    _add_colors(figure, largest, threshold, signature.units)
    _write_across(figure, across)
    alt = alt_text(signature, contrast, threshold, f"Glass brain, {title}", words, regions)
    return figure, alt, _file_name("glass", signature.description, contrast)


@drawn_as(as_small_png)
def draw_gallery(
    rows: Sequence[tuple[str, SignatureMap]], contrast: str, across: str = ""
) -> Drawn:
    """Draw maps of the cohort below one another: group means, their difference, people with data.

    Parameters
    ----------
    rows : sequence of (title, SignatureMap)
        Each is drawn at the same three cuts with a colour bar of its own; counts of people
        (``coverage``) in other colours than maps with a sign.
    contrast : str
        Which one.
    """
    from nilearn.datasets import load_mni152_template
    from nilearn.plotting import plot_stat_map

    template = load_mni152_template(resolution=TEMPLATE_MM)
    figure, bottom, height = _sheet(
        0.75 + 1.6 * len(rows), f"{contrast}: the cohort's maps", None, ""
    )
    each, told = height / len(rows), []
    for row, (title, signature) in enumerate(rows):
        image, largest = image_of(signature, contrast)
        values = signature.values[signature.contrasts.index(contrast)]
        is_count = signature.description == "coverage"
        low = bottom + height - (row + 1) * each
        display = _quietly(
            plot_stat_map,
            image,
            bg_img=template,
            display_mode="ortho",
            cut_coords=CUTS,
            figure=figure,
            axes=(0.0, low, BRAINS, each * 0.84),
            threshold=drawn_above(0.0),
            vmin=0 if is_count else -largest,
            vmax=largest,
            colorbar=False,
            black_bg=False,
            draw_cross=False,
            cmap=COUNTS if is_count else DIVERGING,
        )
        if is_count:
            mask = to_image(signature.grid.mask.astype(np.float32), signature.grid.affine)
            display.add_contours(mask, levels=[0.5], colors=[DARK], linewidths=0.8)
        figure.text(0.02, low + each * 0.88, plain(title, LINE), size=9, color=DARK)
        room = (0.86, low + each * 0.1, 0.02, each * 0.62)
        _add_colors(figure, largest, 0.0, signature.units, room, is_count)
        told.append(f"{title}: {values.min():.3g} to {values.max():.3g} {signature.units}")
    _write_across(figure, across)
    alt = plain(f"Maps of {contrast}. {'; '.join(told)}.", 1000)
    return figure, alt, _file_name("cohort", contrast)


def choose_cuts(signature: SignatureMap, contrast: str, threshold: float) -> list[float]:
    """Choose heights of slices in mm: in each of as many equal parts, where most is drawn."""
    values = np.abs(signature.volume[signature.contrasts.index(contrast)])
    drawn = np.where(values > threshold, values, 0).sum(axis=(0, 1))  # (Z,)
    heights = signature.grid.affine[2, 3] + signature.grid.affine[2, 2] * np.arange(len(drawn))
    edges = np.linspace(LOWEST, HIGHEST, N_SLICES + 1)
    cuts = []
    for low, high in itertools.pairwise(edges):
        size = np.where((heights >= low) & (heights < high), drawn, 0)
        cuts.append(float(heights[size.argmax()]) if size.any() else round((low + high) / 2))
    return cuts


def image_of(signature: SignatureMap, contrast: str) -> tuple[Any, float]:
    """Give a contrast as an image for nilearn, and its largest size."""
    volume: FloatArray = signature.volume[signature.contrasts.index(contrast)]
    return to_image(volume, signature.grid.affine), float(np.abs(volume).max()) or 1.0


def colors_of(largest: float, threshold: float) -> ListedColormap:
    """Spread blue and red over the sizes that are drawn, so that the smallest are seen as well."""
    values = np.linspace(-largest, largest, 512)
    size = (np.abs(values) - threshold) / max(largest - threshold, 1e-12)
    shown = np.sign(values) * (PALEST + (1 - PALEST) * size if threshold else size)
    colors = colormaps[DIVERGING](0.5 + 0.5 * shown)
    colors[np.abs(values) < threshold] = to_rgba(NOT_DRAWN)
    return ListedColormap(colors)


def _quietly(draw: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """Draw without nilearn's warnings of maps with nothing to draw, which is said elsewhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return draw(*given, **named)


def drawn_above(threshold: float) -> float:
    """Give the threshold to nilearn, which without one draws the zeros around a brain as well."""
    return threshold or 1e-12


def _file_name(*parts: str) -> str:
    """Name the file that a picture is kept as, of letters that every system takes."""
    return re.sub(r"[^a-zA-Z0-9]+", "_", " ".join(part[:40] for part in parts)).strip("_")


def _sheet(
    height: float, title: str, words: SignWords | None, said: str
) -> tuple[Figure, float, float]:
    """Begin a figure with its texts; give the bottom and the height of what is left of it."""
    figure = Figure(figsize=(WIDTH, height), facecolor="white")
    line, top = 0.2 / height, 1.0
    red, blue = (words.positive, words.negative) if words else ("", "")
    texts: list[tuple[str, int, dict[str, Any]]] = [
        (title, TITLE_LINE, {"size": 10.5, "weight": "bold", "color": DARK}),
        (red and f"red: {red}", COLOR_LINE, {"size": 10, "color": RED}),
        (blue and f"blue: {blue}", COLOR_LINE, {"size": 10, "color": BLUE}),
        (said, LINE, {"size": 9, "color": DARK}),
    ]
    for text, width, look in texts:
        for part in wrap(plain(text, 2 * width), width):
            top -= line
            figure.text(0.02, top, part, **look)
    figure.text(0.02, 0.35 * line, RESEARCH, size=8, color=GREY)
    bottom = 1.3 * line
    return figure, bottom, top - 0.5 * line - bottom


def _add_colors(
    figure: Figure,
    largest: float,
    threshold: float,
    units: str,
    room: tuple[float, float, float, float] = (0.86, 0.2, 0.02, 0.5),
    is_count: bool = False,
) -> None:
    """Add a colour bar, pale where values are too small to be drawn."""
    low = 0.0 if is_count else -largest
    colors = colormaps[COUNTS] if is_count else colors_of(largest, threshold)
    scale = ScalarMappable(Normalize(low, largest), colors)
    bar = figure.colorbar(scale, cax=figure.add_axes(room))
    marks = [threshold] if 0.15 * largest < threshold < 0.9 * largest else []
    values = sorted({low, 0.0, largest, *marks, *(-mark for mark in marks)})
    bar.set_ticks(values, labels=[f"{value:.3g}" for value in values])
    bar.ax.tick_params(labelsize=9)
    bar.set_label(plain(units, 56), size=7.5, color=DARK)


def _write_across(figure: Figure, sentence: str) -> None:
    """Write a sentence over the whole picture, so that a copy of it carries the sentence."""
    if not sentence:
        return
    look: dict[str, Any] = {"size": 13, "weight": "bold", "color": DARK, "rotation": 16}
    look |= {"bbox": {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 4}}
    text = fill(plain(sentence, 170), 46)
    figure.text(0.45, 0.47, text, ha="center", va="center", zorder=1000, **look)
