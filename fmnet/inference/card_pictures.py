"""Pictures of an explanation card, drawn without a plotting library: slices, strips, a colour bar.

Every picture is an SVG element of a page; slices hold a PNG each. The left of a picture is the left
of the head. No colour stands for good or bad: purple raises a score, orange lowers it.
"""

import base64
import struct
import zlib
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from fmnet.data.grid import Grid
from fmnet.data.volume import FloatArray

Pixels = NDArray[np.uint8]
#: Red, green and blue of what raises a score, what lowers it, and of the brain behind.
RAISES, LOWERS, BRAIN = (84, 39, 136), (200, 92, 10), (232, 232, 236)
#: Slices of a row, pixels of a voxel, and the percentile of sizes from which colours are full.
N_SLICES, ENLARGED, FULL = 8, 4, 99.5
#: A slice is shown where it holds this fraction of the voxels of the largest.
MIN_AREA = 0.25


def draw_slices(values: FloatArray, grid: Grid, limit: float) -> list[str]:
    """Draw axial slices of one contrast, (V,), from the lowest to the highest: SVG elements.

    `limit` is the size at which colours are full.
    """
    volume = grid.unmask(values)
    area = grid.mask.sum(axis=(0, 1))
    usable = np.flatnonzero(area >= MIN_AREA * area.max())
    chosen = usable[np.unique(np.linspace(0, len(usable) - 1, N_SLICES).round().astype(int))]
    x_mm, y_mm, _ = grid.voxel_size_mm
    width = 100.0
    height = width * grid.shape[1] * y_mm / (grid.shape[0] * x_mm)
    drawn = []
    for k in chosen:
        z = (grid.affine @ [grid.shape[0] / 2, grid.shape[1] / 2, k, 1])[2]
        pixels = colour_slice(volume[..., k], grid.mask[..., k], limit)
        data = base64.b64encode(encode_png(pixels)).decode()
        drawn.append(
            f'<svg viewBox="0 0 {width:g} {height + 14:.0f}" role="img" aria-label="Slice at '
            f'z = {z:g} mm, the left of the head on the left"><image href="data:image/png;base64,'
            f'{data}" width="{width:g}" height="{height:.1f}" preserveAspectRatio="none"/>'
            f'<text x="1" y="9">L</text><text x="{width - 1:g}" y="9" text-anchor="end">R</text>'
            f'<text x="{width / 2:g}" y="{height + 10:.1f}" text-anchor="middle">z = {z:g} mm'
            "</text></svg>"
        )
    return drawn


def colour_slice(values: FloatArray, inside: NDArray[np.bool_], limit: float) -> Pixels:
    """Colour a slice, (X, Y), over the brain: (Y, X, 4) pixels, enlarged.

    The first row is the front of the head, the first column its left: x grows to the right, as in
    RAS+.
    """
    fine = _enlarge(np.where(inside, values, 0))
    brain = _enlarge(inside.astype(float)) >= 0.5
    strength = np.clip(np.abs(fine) / (limit or 1.0), 0, 1)[..., None]
    colour = np.where((fine > 0)[..., None], np.array(RAISES), np.array(LOWERS))
    mixed = strength * colour + (1 - strength) * np.array(BRAIN)
    pixels = np.zeros((*fine.shape, 4), np.uint8)
    pixels[..., :3] = mixed.round()
    pixels[..., 3] = np.where(brain, 255, 0)
    return np.ascontiguousarray(pixels.transpose(1, 0, 2)[::-1])


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


def encode_png(pixels: Pixels) -> bytes:
    """Encode red, green, blue and opacity, (H, W, 4), as a PNG file."""
    height, width = pixels.shape[:2]
    rows = np.zeros((height, 1 + 4 * width), np.uint8)  # a filter of 0 before each row
    rows[:, 1:] = pixels.reshape(height, -1)

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    data = zlib.compress(rows.tobytes(), 9)
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def full_colour(values: FloatArray) -> float:
    """Choose the size at which colours are full, of values (C, V)."""
    limit = float(np.percentile(np.abs(values), FULL))
    return limit or float(np.abs(values).max()) or 1.0


def draw_colour_bar(limit: float) -> str:
    """Draw which colour stands for which value, with words."""
    stops = "".join(
        f'<stop offset="{offset}" stop-color="rgb{colour}"/>'
        for offset, colour in (("0", LOWERS), ("0.5", BRAIN), ("1", RAISES))
    )
    return (
        '<svg class="bar" viewBox="0 0 420 34" role="img" aria-label="Orange lowers the score, '
        f'purple raises it; colours are full at {limit:.2g}"><defs><linearGradient id="both">'
        f'{stops}</linearGradient></defs><rect x="110" y="2" width="200" height="12" '
        'fill="url(#both)"/><text x="104" y="12" text-anchor="end">lowers the score</text>'
        '<text x="316" y="12">raises the score</text>'
        f'<text x="110" y="28" text-anchor="middle">{-limit:.2g}</text>'
        '<text x="210" y="28" text-anchor="middle">0</text>'
        f'<text x="310" y="28" text-anchor="middle">{limit:.2g}</text></svg>'
    )


def draw_scores(groups: Sequence[tuple[str, NDArray[np.float64]]], score: float) -> str:
    """Draw the scores of each group as dots, and one score as a line across."""
    everything = np.concatenate([*(scores for _, scores in groups), [score]])
    low, high = float(everything.min()), float(everything.max())
    room = 0.06 * ((high - low) or 1.0)
    low, high = low - room, high + room
    left, right, row, top = 90.0, 590.0, 62.0, 30.0

    def place(value: float) -> float:
        return left + (right - left) * (value - low) / (high - low)

    parts, bottom = [], top + row * len(groups)
    for number, (name, scores) in enumerate(groups):
        base = top + row * (number + 1) - 12
        parts.append(
            f'<text x="{left - 8:g}" y="{base - 8:g}" text-anchor="end">{_short(name)}</text>'
        )
        parts.append(
            f'<line class="thin" x1="{left}" x2="{right}" y1="{base + 6}" y2="{base + 6}"/>'
        )
        levels: list[float] = []  # the last dot of each level, so that none hides another
        for x in (place(float(value)) for value in np.sort(scores)):
            level = next((k for k, last in enumerate(levels) if x - last >= 7), len(levels))
            levels[level : level + 1] = [x]
            y = base - 7 * (level % 6)
            parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
    x = place(score)
    anchor = "start" if x < left + 60 else "end" if x > right - 60 else "middle"
    parts.append(f'<line class="own" x1="{x:.1f}" x2="{x:.1f}" y1="20" y2="{bottom:g}"/>')
    parts.append(
        f'<text class="strong" x="{x:.1f}" y="14" text-anchor="{anchor}">this scan {score:.2f}</text>'
    )
    for value in np.linspace(low + room, high - room, 5):
        parts.append(
            f'<text x="{place(value):.1f}" y="{bottom + 12:g}" text-anchor="middle">{value:.2g}</text>'
        )
    parts.append(
        f'<text x="{(left + right) / 2:g}" y="{bottom + 26:g}" text-anchor="middle">score</text>'
    )
    said = "; ".join(f"{name}: {len(scores)} dots" for name, scores in groups)
    label = escape(f"Scores of the study's people by group, {said}. This scan: {score:.2f}.")
    return f'<svg class="strip" viewBox="0 0 600 {bottom + 30:g}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def draw_effect(
    effect: float, ranges: Sequence[tuple[float, float, float]], limit: float, label: str
) -> str:
    """Draw a region's effect on one score as a diamond, above bars of each group's range."""

    def place(value: float) -> float:
        return 100.0 + 96.0 * float(np.clip(value / limit, -1, 1))

    parts = ['<line class="thin" x1="100" x2="100" y1="0" y2="26"/>']
    for number, (low, middle, high) in enumerate(ranges):
        y = 5 + 10 * number
        width = max(place(high) - place(low), 1.0)
        parts.append(
            f'<rect class="range{number}" x="{place(low):.1f}" y="{y}" width="{width:.1f}" height="6"/>'
        )
        parts.append(f'<rect x="{place(middle) - 0.75:.1f}" y="{y - 1}" width="1.5" height="8"/>')
    x = place(effect)
    colour = RAISES if effect > 0 else LOWERS
    points = f"{x - 5:.1f},13 {x:.1f},5 {x + 5:.1f},13 {x:.1f},21"
    parts.append(f'<polygon points="{points}" fill="rgb{colour}" stroke="#fff"/>')
    return f'<svg class="effect" viewBox="0 0 200 26" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def _short(name: str) -> str:
    return escape(name if len(name) <= 12 else f"{name[:11]}…")
