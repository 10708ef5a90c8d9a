"""Pictures of an explanation card, drawn without a plotting library: slices, strips, a colour bar.

Every picture is an SVG element of a page; slices hold a PNG each. The left of a picture is the left
of the head. No colour stands for good or bad: purple raises a score, orange lowers it.
"""

import base64
import struct
import zlib
from collections.abc import Iterable, Sequence
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
        parts = [
            f'<image href="data:image/png;base64,{data}" width="{width:g}" height="{height:.1f}" '
            'preserveAspectRatio="none"/>',
            _words(1, 9, "L"),
            _words(width - 1, 9, "R", "end"),
            _words(width / 2, height + 10, f"z = {number(z, 'g')} mm", "middle"),
        ]
        label = f"Slice at z = {z:g} mm, the left of the head on the left"
        drawn.append(_svg("slice", width, height + 14, label, parts))
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
    parts = [
        f'<defs><linearGradient id="both">{stops}</linearGradient></defs>',
        '<rect x="110" y="4" width="200" height="12" fill="url(#both)"/>',
        _words(104, 14, "lowers the score", "end"),
        _words(316, 14, "raises the score"),
        _words(110, 30, number(-limit), "middle"),
        _words(210, 30, "0", "middle"),
        _words(310, 30, number(limit), "middle"),
    ]
    label = f"Orange lowers the score, purple raises it; colours are full at {limit:.2g}"
    return _svg("bar", 420, 36, label, parts)


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
    for position, (name, scores) in enumerate(groups, start=1):
        base = top + row * position - 12
        parts += [_words(left - 8, base - 8, _short(name), "end"), _line(left, right, base + 6)]
        ends: list[float] = []  # the last dot of each level, so that none hides another
        for x in (place(float(value)) for value in np.sort(scores)):
            level = next((k for k, last in enumerate(ends) if x - last >= 7), len(ends))
            ends[level : level + 1] = [x]
            y = base - 7 * (level % 6)
            parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
    parts += [
        _words(place(tick), bottom + 14, number(tick), "middle") for tick in _ticks(low, high)
    ]
    parts.append(_words((left + right) / 2, bottom + 32, "score", "middle"))
    x = place(score)
    anchor = "start" if x < left + 60 else "end" if x > right - 60 else "middle"
    parts.append(f'<path class="own" d="M{x:.1f} 20V{bottom:g}"/>')
    parts.append(_words(x, 14, f"this scan {number(score, '.3g')}", anchor, "strong"))
    said = "; ".join(f"{name}: {len(scores)} dots" for name, scores in groups)
    label = f"Scores of the study's people by group, {said}. This scan: {number(score, '.3g')}."
    return _svg("strip", 600, bottom + 38, label, parts)


def draw_effect(
    effect: float, ranges: Sequence[tuple[float, float, float]], limit: float, label: str
) -> str:
    """Draw a region's effect on one score as a diamond, above bars of each group's range."""

    def place(value: float) -> float:
        return 100.0 + 92.0 * float(np.clip(value / limit, -1, 1))

    parts = ['<path class="thin" d="M100 0V26"/>']
    for position, (low, middle, high) in enumerate(ranges):
        start, y = place(low), 5 + 10 * position
        width = max(place(high) - start, 1.0)
        size = f'width="{width:.1f}" height="6"'
        parts += [
            f'<rect class="range{position}" x="{start:.1f}" y="{y}" {size}/>',
            f'<rect x="{place(middle) - 0.75:.1f}" y="{y - 1}" width="1.5" height="8"/>',
        ]
    x, colour = place(effect), RAISES if effect > 0 else LOWERS
    points = f"{x - 5:.1f},13 {x:.1f},5 {x + 5:.1f},13 {x:.1f},21"
    parts.append(f'<polygon points="{points}" fill="rgb{colour}" stroke="#fff"/>')
    return _svg("effect", 200, 26, label, parts)


def number(value: float, form: str = ".2g") -> str:
    """Write a number with a true minus sign, a large one without an exponent."""
    text = f"{value:{form}}"
    if "e+" in text:
        text = f"{float(text):{'+' if form.startswith('+') else ''}.0f}"
    return text.replace("-", "\N{MINUS SIGN}")


def _ticks(low: float, high: float) -> list[float]:
    """Choose round numbers within a range, some three to six."""
    size = (high - low) / 6
    power = 10.0 ** np.floor(np.log10(size))
    step = float(power * next(factor for factor in (1, 2, 5, 10) if factor * power >= size))
    return [step * k for k in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]


def _svg(name: str, width: float, height: float, label: str, parts: Iterable[str]) -> str:
    box = f"0 0 {width:g} {height:.0f}"
    start = f'<svg class="{name}" viewBox="{box}" role="img" aria-label="{escape(label)}">'
    return f"{start}{''.join(parts)}</svg>"


def _words(x: float, y: float, words: str, anchor: str = "start", name: str = "") -> str:
    kind = f' class="{name}"' if name else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _line(left: float, right: float, y: float) -> str:
    return f'<path class="thin" d="M{left:g} {y:g}H{right:g}"/>'


def _short(name: str) -> str:
    return name if len(name) <= 12 else f"{name[:11]}…"
