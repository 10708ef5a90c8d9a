"""Pictures of the brain for cards, made without a plotting library: slices that hold a PNG each.

The left of a picture is the left of the head, and every slice says so. Effects on a score and the
values of a scan have colours of their own, of which none stands for good or bad.
"""

import base64
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fmnet.data.grid import Grid
from fmnet.data.volume import FloatArray
from fmnet.inference.card_charts import LOWERS, RAISES, draw_svg, draw_words, number

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]
#: What is zero, and where there is no data.
BRAIN: Colour = (232, 232, 236)
MISSING: Colour = (120, 122, 128)
#: Axial slices, pixels of a voxel, and the percentile of sizes from which colours are full.
N_SLICES, ENLARGED, FULL = 6, 3, 99.5
#: A slice is shown where it holds this fraction of the voxels of the largest.
MIN_AREA = 0.25
#: Steps from no colour to the full one; places in the palette.
STEPS = 126
OUTSIDE, NO_DATA, ZERO = 0, 1, 128


@dataclass(frozen=True)
class Colours:
    """Colours of values above and below zero, and what those mean."""

    above: Colour
    below: Colour
    above_words: str
    below_words: str

    @property
    def palette(self) -> Pixels:
        """Red, green, blue and opacity of what `colour_slice` gives: (256, 4)."""
        found = np.full((256, 4), 255, np.uint8)
        found[OUTSIDE] = 0
        found[NO_DATA, :3] = MISSING
        share = np.arange(STEPS + 1)[:, None] / STEPS
        for colour, sign in ((self.above, 1), (self.below, -1)):
            mixed = share * np.array(colour) + (1 - share) * np.array(BRAIN)
            found[ZERO + sign * np.arange(STEPS + 1), :3] = mixed.round()
        return found


#: Purple raises a score, orange lowers it; values of maps are gold and blue.
EFFECTS = Colours(RAISES, LOWERS, "raises the score", "lowers the score")
VALUES = Colours((168, 120, 0), (20, 92, 184), "above zero", "below zero")


def draw_slices(
    values: FloatArray, grid: Grid, limit: float, colours: Colours = EFFECTS
) -> list[str]:
    """Draw one contrast, (V,): axial slices from below, a coronal and a sagittal one, as SVG.

    `limit` is the size at which colours are full.
    """
    volume = grid.unmask(values)
    area = grid.mask.sum(axis=(0, 1))
    usable = np.flatnonzero(area >= MIN_AREA * area.max())
    axial = usable[np.unique(np.linspace(0, len(usable) - 1, N_SLICES).round().astype(int))]
    middle = np.round(np.argwhere(grid.mask).mean(axis=0)).astype(int)
    beside = max(middle[0] - round(10 / grid.voxel_size_mm[0]), 0)  # left of the cleft
    views = [(2, k) for k in axial] + [(1, middle[1]), (0, beside)]
    return [_draw_slice(volume, grid, axis, int(k), limit, colours) for axis, k in views]


#: Of a slice across each axis: its name, and the marks at its left and right.
_VIEWS = (("sagittal", "P", "A"), ("coronal", "L", "R"), ("axial", "L", "R"))
_MARKS = {
    "sagittal": "seen from the left, the face to the right",
    "coronal": "the left of the head on the left",
    "axial": "the left of the head on the left, the face above",
}


def _draw_slice(
    volume: FloatArray, grid: Grid, axis: int, k: int, limit: float, colours: Colours
) -> str:
    others = [other for other in range(3) if other != axis]
    sizes = [grid.shape[other] * grid.voxel_size_mm[other] for other in others]
    width, height = 100.0, 100.0 * sizes[1] / sizes[0]
    centre = [extent / 2 for extent in grid.shape]
    centre[axis] = k
    at_mm = float((grid.affine @ [*centre, 1])[axis])
    own = (slice(None),) * axis + (k,)
    indices = colour_slice(volume[own], grid.mask[own], limit)
    data = base64.b64encode(encode_png(indices, colours.palette)).decode()
    name, left, right = _VIEWS[axis]
    at = f"{'xyz'[axis]} = {number(at_mm, '.3g')} mm"
    parts = [
        f'<image href="data:image/png;base64,{data}" width="{width:g}" height="{height:.1f}" '
        'preserveAspectRatio="none"/>',
        draw_words(1, 9, left),
        draw_words(width - 1, 9, right, "end"),
        draw_words(width / 2, height + 10, at, "middle"),
    ]
    label = f"{name.capitalize()} slice at {'xyz'[axis]} = {at_mm:.3g} mm, {_MARKS[name]}"
    return draw_svg("slice", width, height + 14, label, parts)


def colour_slice(values: FloatArray, inside: NDArray[np.bool_], limit: float) -> Pixels:
    """Choose the colours of a slice, (A, B), NaN where there is no data: (B, A), enlarged.

    They are places in `Colours.palette`. The first row is what lies furthest along the second axis,
    the first column what lies least far along the first: x grows to the right, as in RAS+.
    """
    is_known = inside & np.isfinite(values)
    fine = _enlarge(np.where(is_known, values, 0))
    brain = _enlarge(inside.astype(float)) >= 0.5
    is_missing = _enlarge((inside & ~is_known).astype(float)) >= 0.5
    steps = np.clip(fine / (limit or 1.0), -1, 1) * STEPS
    indices = np.where(is_missing, NO_DATA, ZERO + steps.round())
    indices = np.where(brain, indices, OUTSIDE).astype(np.uint8)
    return np.ascontiguousarray(indices.T[::-1])


def _enlarge(values: NDArray[np.float64] | FloatArray) -> NDArray[np.float64]:
    """Interpolate linearly between voxels: (X, Y) to as many times more along both axes."""
    fine = np.asarray(values, dtype=float)
    for axis in (0, 1):
        n = fine.shape[axis]
        places = (np.arange(n * ENLARGED) + 0.5) / ENLARGED - 0.5
        low = np.clip(np.floor(places).astype(int), 0, n - 1)
        high = np.minimum(low + 1, n - 1)
        share = np.clip(places - low, 0, 1)
        share = share[:, None] if axis == 0 else share[None]
        fine = fine.take(low, axis) * (1 - share) + fine.take(high, axis) * share
    return fine


def encode_png(indices: Pixels, palette: Pixels) -> bytes:
    """Encode a picture, (H, W), whose values are places in a palette, (256, 4), as a PNG file."""
    height, width = indices.shape
    rows = np.zeros((height, 1 + width), np.uint8)  # a filter of 0 before each row
    rows[:, 1:] = indices

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    colours = chunk(b"PLTE", palette[:, :3].tobytes()) + chunk(b"tRNS", palette[:, 3].tobytes())
    data = chunk(b"IDAT", zlib.compress(rows.tobytes(), 9))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + colours + data + chunk(b"IEND", b"")


def full_colour(values: FloatArray) -> float:
    """Choose the size at which colours are full, of values (C, V), NaN for no data."""
    sizes = np.abs(values[np.isfinite(values)])
    if not sizes.size:
        return 1.0
    return float(np.percentile(sizes, FULL)) or float(sizes.max()) or 1.0


def draw_colour_bar(limit: float, colours: Colours = EFFECTS, name: str = "effects") -> str:
    """Draw which colour stands for which value, with words; `name` is its own on the page."""
    stops = "".join(
        f'<stop offset="{offset}" stop-color="rgb{colour}"/>'
        for offset, colour in (("0", colours.below), ("0.5", BRAIN), ("1", colours.above))
    )
    parts = [
        f'<defs><linearGradient id="{name}">{stops}</linearGradient></defs>',
        f'<rect x="120" y="4" width="200" height="12" fill="url(#{name})"/>',
        draw_words(114, 14, colours.below_words, "end"),
        draw_words(326, 14, colours.above_words),
        draw_words(120, 31, number(-limit), "middle"),
        draw_words(220, 31, "0", "middle"),
        draw_words(320, 31, number(limit), "middle"),
    ]
    said = f"left: {colours.below_words}; right: {colours.above_words}"
    return draw_svg("bar", 440, 36, f"Colours, {said}; full at {limit:.2g}", parts)
