"""Sections of a card on the scan: what is wrong with it, pictures, checks, outputs of a target."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from fmnet.data.volume import FloatArray
from fmnet.inference.bundle import Bundle
from fmnet.inference.card_charts import draw_limits, number
from fmnet.inference.card_pictures import VALUES, draw_colour_bar, draw_slices, full_colour
from fmnet.inference.card_shell import capital, items, safe
from fmnet.inference.gates import Gates
from fmnet.inference.model_card import percent
from fmnet.inference.predict import Prediction
from fmnet.inference.preparation import MapPreparation
from fmnet.inference.quality import Reading, temporal_sd

#: Most maps of a scan that are shown, and outputs of a target that are told.
MAX_MAPS, MAX_OUTPUTS = 6, 40
#: A longer unit has a line of its own.
SHORT_UNIT = 9
#: Outputs with such names are the ends of an interval.
ENDS = ("_low", "_high")
NO_SCORE = {
    "cannot_say": "No answer: this scan is unlike those that the signature was trained on.",
    "error": "No answer: this scan could not be used.",
}
FORCED = (
    "Forced: checks of this scan failed, and it was scored all the same because somebody asked for "
    "it. What is said of its score may mean nothing. What failed:"
)
IN_TRAINING = (
    "The signature learned from this very scan. Its score flatters, and is no example of how new "
    "people are scored."
)


def marks(prediction: Prediction) -> str:
    """Say before all else why there is no score, or why it may mean nothing: boxes, or empty."""
    found = []
    if prediction.status != "ok":
        head = NO_SCORE.get(prediction.status, FORCED)
        found.append(f'<div class="mark">{head}{items(failures(prediction))}</div>')
    if prediction.is_of_training:
        found.append(f'<p class="mark">{IN_TRAINING}</p>')
    return "".join(found)


def failures(prediction: Prediction) -> list[str]:
    """List what is wrong with a scan, a line each; of gates, in their words."""
    failed = [reading for reading in prediction.readings if reading.fault is not None]
    if not failed:
        return prediction.reason.split(" | ")
    said = []
    for reading in failed:
        fault = reading.fault
        if fault is not None:
            told = f"found {fault.found}; accepted: {fault.accepted}; to do: {fault.action}"
            said.append(f"{capital(reading.gate)}: {told}")
    return said


def pictures(bundle: Bundle, values: FloatArray | None) -> str:
    """Show a scan, (C, V) or (T, V), beside the mean of the training scans."""
    if values is None:
        lacking = "There is no picture, since the scan could not be read and put on the grid."
        return f"<h2>The scan</h2><p>{lacking}</p>"
    preparation = bundle.preparation
    grid = preparation.grid
    maps, names, mean, smoothed = values, preparation.contrasts, None, ""
    if isinstance(preparation, MapPreparation):
        mean = preparation.mean
        width = preparation.fwhm_mm
        smoothed = f", smoothed by {width:g} mm" if width else ""
    else:
        maps, names = temporal_sd(values), ("spread over time",)
    limit = full_colour(maps)
    rows = []
    for position, name in enumerate(names[:MAX_MAPS]):
        own = "".join(draw_slices(maps[position], grid, limit, VALUES))
        rows.append(f'<h3>{safe(name)}: this scan</h3><div class="slices">{own}</div>')
        if mean is not None:
            usual = _mean_pictures(preparation)[position]
            head = f"<h3>{safe(name)}: mean of the training scans{smoothed}</h3>"
            rows.append(f'{head}<div class="slices">{usual}</div>')
    bars = draw_colour_bar(limit, VALUES, "scan")
    if mean is not None:
        bars = (
            f'<div class="figures"><div>This scan{bars}</div><div>Mean of the training scans'
            f"{draw_colour_bar(full_colour(mean), VALUES, 'mean')}</div></div>"
        )
    missing = 1 - np.isfinite(maps).mean()
    notes = [
        "L and R are the left and the right of the head itself: its left is on the left. P and A "
        "are the back and the front.",
        "Colours are full for the largest 0.5 % of the values, of the scan and of the mean each by "
        "themselves: means are smaller, since what differs between people cancels out."
        if mean is not None
        else "Colours are full for the largest 0.5 % of the values.",
        f"Dark grey: no data ({percent(float(missing))} of the brain mask)." if missing else "",
        f"Values: {bundle.metadata['input']['stat']}.",
        f"Shown on the signature's grid of {number(grid.voxel_size_mm[0], '.3g')} mm voxels, "
        "before smoothing; no finding can be read off it.",
        f"Only the first {MAX_MAPS} maps are shown." if len(names) > MAX_MAPS else "",
    ]
    return (
        f"<h2>The scan</h2>{''.join(rows)}{bars}"
        f'<p class="small">{safe(" ".join(filter(None, notes)))}</p>'
    )


@lru_cache(maxsize=1)
def _mean_pictures(preparation: MapPreparation) -> list[str]:
    """Draw the mean of the training scans, which is the same on all cards: a row for each map."""
    mean, grid = preparation.mean, preparation.grid
    limit = full_colour(mean)
    return ["".join(draw_slices(own, grid, limit, VALUES)) for own in mean[:MAX_MAPS]]


def checks(readings: Sequence[Reading], gates: Gates | None = None) -> str:
    """Tabulate the gates of a scan: what each measured, and whether it passed.

    `gates` know how many people like those of training fail any, and how many flips are told.
    """
    if not readings:
        said = (
            "This bundle states no checks in figures, or the scan did not get as far. The map's "
            "space, statistic, coverage and scale are checked before any score is given."
        )
        return f"<h2>Checks before the score</h2><p>{said}</p>"
    n_failed = sum(not reading.is_passed for reading in readings)
    told = f"{n_failed} of {len(readings)} failed" if n_failed else f"all {len(readings)} passed"
    rows = "".join(map(_check_row, sorted(readings, key=lambda one: one.is_passed)))
    known = [reading.false_alarms for reading in readings if reading.false_alarms is not None]
    every, flips = "", ""
    if gates is not None and gates.false_alarms is not None:
        every = f" About {percent(gates.false_alarms)} fail one of them or more."
    if gates is not None and gates.caught:
        told_of = ", ".join(f"{name} in {percent(part)}" for name, part in gates.caught.items())
        flips = f" Of flipped maps of such people, these checks tell: {told_of}."
    note = (
        "Limits are from the training scans. False alarms: the fraction of people scanned as in "
        "training who fail the check although nothing is wrong." + every + flips
        if known
        else "Limits are from the training scans."
    )
    return (
        f"<h2>Checks before the score: {told}</h2><table><thead><tr><th>Check</th>"
        '<th class="number">Measured</th><th class="number">Limits</th><th class="place"></th>'
        '<th class="number place">False alarms</th><th>Result</th></tr></thead>'
        f'<tbody>{rows}</tbody></table><p class="small">{note}</p>'
    )


def _check_row(reading: Reading) -> str:
    unit = f" {safe(reading.unit)}" if reading.unit else ""
    unit = f"<small>{unit}</small>" if len(reading.unit) > SHORT_UNIT else unit
    measured, chart = "not measured", ""
    if reading.value is not None:
        measured = f"{number(reading.value, '.3g')}{unit}"
        chart = draw_limits(reading.value, reading.low, reading.high, reading.is_passed)
    low, high = (None if one is None else number(one, ".3g") for one in (reading.low, reading.high))
    limits = "none"
    if low is not None and high is not None:
        limits = f"{low} to {high}"
    elif low is not None or high is not None:
        limits = f"at most {high}" if low is None else f"at least {low}"
    alarms = "" if reading.false_alarms is None else percent(reading.false_alarms)
    start = "<tr>" if reading.is_passed else '<tr class="failed">'
    return (
        f'{start}<td>{safe(capital(reading.gate))}</td><td class="number">{measured}</td>'
        f'<td class="number">{safe(limits)}</td><td class="place">{chart}</td>'
        f'<td class="number place">{alarms}</td>'
        f'<td class="result">{"passed" if reading.is_passed else "FAILED"}</td></tr>'
    )


def outputs(bundle: Bundle, prediction: Prediction) -> str:
    """Tabulate what a signature with a target says of a scan, with what it means and doesn't."""
    described = {one["name"]: one for one in (bundle.target or {}).get("outputs", [])}
    rows = ""
    shown = output_names(bundle)[:MAX_OUTPUTS]
    for name in shown:
        one = described[name]
        if name not in prediction.numbers:
            continue
        told = output_words(prediction, name)
        means = f"{safe(one['means'])}<small>Not: {safe(one['means_not'])}</small>"
        rows += (
            f'<tr><td>{safe(name)}</td><td class="number">{told}<br>{safe(one["unit"])}</td>'
            f"<td>{means}</td></tr>"
        )
    if not rows:
        return ""
    return (
        f"<h2>{safe(capital((bundle.target or {})['title']))}</h2><table><thead><tr>"
        '<th>Output</th><th class="number">Value</th><th>What it means, and what not</th></tr>'
        f"</thead><tbody>{rows}</tbody></table>"
    )


def output_names(bundle: Bundle) -> list[str]:
    """Name the outputs of a target, without those that are ends of another one's interval."""
    names = [one["name"] for one in (bundle.target or {}).get("outputs", [])]
    ends = {f"{name}{end}" for name in names for end in ENDS}
    return [name for name in names if name not in ends]


def output_words(prediction: Prediction, name: str) -> str:
    """Write an output with its interval: ``51 (31 to 73)``; empty where there is none."""
    found = [prediction.numbers.get(f"{name}{end}") for end in ("", *ENDS)]
    value, low, high = (None if one is None else number(one, ".2g") for one in found)
    if value is None:
        return ""
    return value if low is None or high is None else f"{value} ({low} to {high})"
