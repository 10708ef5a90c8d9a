"""Charts of cards, as SVG without a plotting library: people, probabilities, limits, effects."""

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

#: Red, green and blue of what raises a score, and of what lowers it.
RAISES, LOWERS = (84, 39, 136), (200, 92, 10)


def draw_scores(
    groups: Sequence[tuple[str, NDArray[np.float64]]],
    score: float | None = None,
    zones: Sequence[tuple[float, float, str]] = (),
    is_last_new: bool = False,
) -> str:
    """Draw the scores of each group as dots, and one score as a line across.

    What lies further from all people than they from one another is drawn at the edge. `zones` are
    stretches of scores, from, to and what they are called, drawn under the dots; `is_last_new`: the
    last group is of new scans, whose dots are rings.
    """
    own = [] if score is None else [score]
    people = np.concatenate([scores for _, scores in (groups[:-1] if is_last_new else groups)])
    everything = np.concatenate([*(scores for _, scores in groups), own])
    people = people if len(people) else everything
    most = float(np.ptp(people)) or np.inf  # one that lies further out would squeeze all others
    low = float(max(everything.min(), people.min() - most))
    high = float(min(everything.max(), people.max() + most))
    room = 0.06 * ((high - low) or 1.0)
    low, high = low - room, high + room
    left, right, row, top = 112.0, 590.0, 62.0, 30.0

    def place(value: float) -> float:
        return left + (right - left) * (float(np.clip(value, low, high)) - low) / (high - low)

    parts, bottom = [], top + row * len(groups)
    for position, (name, scores) in enumerate(groups, start=1):
        base = top + row * position - 12
        is_new = is_last_new and position == len(groups)
        parts += [draw_words(left - 8, base - 8, _short(name), "end"), _line(left, right, base + 6)]
        ends: list[float] = []  # the last dot of each level, so that none hides another
        for x in (place(float(value)) for value in np.sort(scores)):
            level = next((k for k, last in enumerate(ends) if x - last >= 7), len(ends))
            ends[level : level + 1] = [x]
            y, kind = base - 7 * (level % 6), "dot new" if is_new else "dot"
            parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
    parts += [
        draw_words(place(tick), bottom + 14, number(tick), "middle") for tick in _ticks(low, high)
    ]
    parts.append(draw_words((left + right) / 2, bottom + 32, "score", "middle"))
    lowest = bottom + 38
    shown = [(place(start), place(end), name) for start, end, name in zones]
    shown = [zone for zone in shown if zone[1] - zone[0] >= 1]
    if shown:
        parts.append(draw_words(left - 8, lowest + 12, "answer", "end"))
    taken = [0.0, 0.0, 0.0]  # how far words reach in each row under the stretches
    for position, (first, last, name) in enumerate(shown):
        x, width = first, last - first
        parts.append(
            f'<rect class="range{position % 2}" x="{x:.1f}" y="{lowest + 3}" '
            f'width="{width:.1f}" height="8"/>'
        )
        if position:
            parts.append(f'<path class="dashed" d="M{x:.1f} {top}V{lowest + 11}"/>')
        half = 4.6 * len(name)  # of its words, on small screens
        at = float(np.clip(first + width / 2, left + half, right - half))
        row_of = next((k for k, reach in enumerate(taken) if at - half >= reach), len(taken) - 1)
        taken[row_of] = at + half
        parts.append(draw_words(at, lowest + 28 + 18 * row_of, name, "middle"))
    lowest += 16 + 18 * sum(reach > 0 for reach in taken) if shown else 0
    said = "; ".join(f"{name}: {len(scores)} dots" for name, scores in groups)
    label = f"Scores by group, {said}."
    if score is not None:
        x, words = place(score), number(score, ".2g")
        anchor = "start" if x < left + 60 else "end" if x > right - 60 else "middle"
        parts.append(f'<path class="own" d="M{x:.1f} 20V{bottom:g}"/>')
        beyond = "" if low <= score <= high else ", beyond this axis"
        parts.append(draw_words(x, 14, f"this scan {words}{beyond}", anchor, "strong"))
        label += f" This scan: {words}."
    return draw_svg("strip", 600, lowest, label, parts)


def draw_probability(
    probability: float, interval: tuple[float, float] | None, rate: float | None, group: str
) -> str:
    """Draw a probability from 0 to 100 % as a bar of its interval, beside the base rate."""

    def place(value: float) -> float:
        return 20.0 + 560.0 * value

    parts = [_line(20, 580, 44)]
    anchors = ("start", "middle", "middle", "middle", "end")
    parts += [draw_words(place(k / 4), 62, f"{25 * k} %", anchors[k]) for k in range(5)]
    parts += [f'<path class="thin" d="M{place(k / 4):g} 40V48"/>' for k in range(5)]
    label = f"Probability of {group}: {100 * probability:.0f} %"
    if interval is not None:
        low, high = interval
        width = max(place(high) - place(low), 2.0)
        parts.append(
            f'<rect class="range0" x="{place(low):.1f}" y="30" width="{width:.1f}" height="12"/>'
        )
        label += f", interval {100 * low:.0f} to {100 * high:.0f} %"
    x = place(probability)
    parts.append(f'<path class="own" d="M{x:.1f} 26V46"/>')
    if rate is not None:
        at = place(rate)
        anchor = "start" if at < 120 else "end" if at > 480 else "middle"
        parts.append(f'<path class="dashed" d="M{at:.1f} 18V48"/>')
        parts.append(draw_words(at, 13, "before the scan", anchor))
        label += f"; before the scan {100 * rate:.0f} %"
    return draw_svg("strip", 600, 68, label, parts)


def draw_limits(value: float, low: float | None, high: float | None, is_passed: bool) -> str:
    """Draw a measure as a diamond beside the limits that it has to keep; empty without limits."""
    bounds = [bound for bound in (low, high) if bound is not None and np.isfinite(bound)]
    if not bounds or not np.isfinite(value):
        return ""
    size = max(bounds) - min(bounds) if len(set(bounds)) == 2 else abs(bounds[0]) or 1.0
    first, last = min(bounds) - size, max(bounds) + size

    def place(at: float) -> float:
        return 8.0 + 184.0 * (float(np.clip(at, first, last)) - first) / (last - first)

    start = 0.0 if low is None else place(low)
    end = 200.0 if high is None else place(high)
    x, width = place(value), max(end - start, 1.0)
    points = f"{x - 5:.1f},13 {x:.1f},6 {x + 5:.1f},13 {x:.1f},20"
    fill = "#6b6f76" if is_passed else "#000"
    parts = [
        _line(0, 200, 13),
        f'<rect class="range1" x="{start:.1f}" y="9" width="{width:.1f}" height="8"/>',
        f'<polygon points="{points}" fill="{fill}" stroke="#fff"/>',
    ]
    words = "within the limits" if is_passed else "outside of the limits"
    return draw_svg("effect", 200, 26, words, parts)


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
    return draw_svg("effect", 200, 26, label, parts)


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


def draw_svg(name: str, width: float, height: float, label: str, parts: Iterable[str]) -> str:
    """Put the parts of a picture into one SVG element of a class; `label` is read out."""
    box = f"0 0 {width:g} {height:.0f}"
    start = f'<svg class="{name}" viewBox="{box}" role="img" aria-label="{escape(label)}">'
    return f"{start}{''.join(parts)}</svg>"


def draw_words(x: float, y: float, words: str, anchor: str = "start", name: str = "") -> str:
    """Write words into a picture, `anchor` at a place."""
    kind = f' class="{name}"' if name else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _line(left: float, right: float, y: float) -> str:
    return f'<path class="thin" d="M{left:g} {y:g}H{right:g}"/>'


def _short(name: str) -> str:
    return name if len(name) <= 12 else f"{name[:11]}…"
