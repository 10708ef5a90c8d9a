"""Sections of a scan's card: what is answered, its place among people, pictures and checks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fmnet.data.volume import FloatArray
from fmnet.inference.bundle import Bundle
from fmnet.inference.card_charts import draw_limits, draw_probability, draw_scores, number
from fmnet.inference.card_pictures import VALUES, draw_colour_bar, draw_slices, full_colour
from fmnet.inference.card_shell import capital, group_names, items, safe, span
from fmnet.inference.model_card import percent
from fmnet.inference.predict import Prediction, Request
from fmnet.inference.preparation import MapPreparation
from fmnet.inference.quality import Reading, temporal_sd

#: Most maps of a scan that are shown, and outputs of a target that are told.
MAX_MAPS, MAX_OUTPUTS = 6, 40
#: Outputs with such names are the ends of an interval.
ENDS = ("_low", "_high")
#: Base rates at which a probability is stated besides the one that was asked for.
RATES = (0.02, 0.1, 0.5)
#: An interval wider than this is told with what is likeliest within it.
WIDE = 0.05
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


def set_words(groups: Sequence[str], names: tuple[str, str]) -> str:
    """Say in a few words which groups a score leaves possible."""
    first, second = names
    if len(groups) == 2:
        return f"Cannot say: the score is usual for both {first} and {second}"
    if not groups:
        return f"Fits neither {first} nor {second}: the score is unusual for both"
    other = second if groups[0] == first else first
    return f"The score is usual for {groups[0]} and unusual for {other}"


@dataclass(frozen=True, eq=False)
class StudyScores:
    """Scores of a study's people by models that had not seen them, ascending: (N_group,) each.

    ``zones`` are stretches of scores, from, to and what a set holds there; ``level_words`` say how
    often sets hold the right group.
    """

    positive: NDArray[np.float64]
    negative: NDArray[np.float64]
    zones: tuple[tuple[float, float, str], ...] = ()
    level_words: str = ""


def answer(bundle: Bundle, prediction: Prediction, study: StudyScores | None) -> str:
    """Say of a scan of two groups which of them its score leaves possible."""
    names = group_names(bundle)
    if prediction.groups is None:
        lacking = (
            "This bundle holds no scores of people whom its models had not seen: there is no set "
            "of groups that can't be ruled out, and no interval."
        )
        return f'<p class="box">{lacking}</p>'
    said = safe(f"{set_words(prediction.groups, names)}.")
    said = f"Forced: {said}" if prediction.status == "forced" else said
    level = "" if study is None else study.level_words
    return (
        f'<p class="answer"><strong>{said}</strong></p>'
        f'<p class="small">This is said of the score, and not of the person. {safe(level)}</p>'
    )


def probability(bundle: Bundle, prediction: Prediction, request: Request) -> str:
    """State the probability as so many of 100 people, at the base rate that was asked for."""
    if prediction.probability is None or bundle.calibration is None:
        return ""
    p, interval, group = prediction.probability, prediction.interval, group_names(bundle)[0]
    rate = bundle.calibration.base_rate if request.prevalence is None else request.prevalence
    told = percent(p) if interval is None else span(*interval)
    given = "as many are scanned of each group as in the study"
    if rate is not None:
        given = f"{percent(rate)} of those who are scanned belong to {group}"
    lead = (
        f"Of people with such a score, <b>{told}</b> would belong to {safe(group)}, if "
        f"{safe(given)}."
    )
    is_wide = interval is not None and interval[1] - interval[0] > WIDE
    notes = [f"The likeliest within that range is {percent(p)}." if is_wide else ""]
    notes.append(
        "The range is a 95 % interval: so much is left open by the number of people in the study."
        if interval
        else "How sure that is, this bundle doesn't say."
    )
    if rate is not None and request.prevalence is None:
        notes.append(
            "Nobody stated how common the group is among those who are scanned, so it is taken as "
            "in the signature's calibration; say it with --prevalence."
        )
    chart = draw_probability(p, interval, rate, group)
    return (
        f"<h2>Probability, and what it depends on</h2><p>{lead}</p>{chart}"
        f'<p class="small">{safe(" ".join(filter(None, notes)))}</p>'
        + _at_other_rates(p, interval, rate, group)
    )


def _at_other_rates(
    p: float, interval: tuple[float, float] | None, rate: float | None, group: str
) -> str:
    """Tabulate the same score at other base rates."""
    if rate is None or not 0 < rate < 1:
        return ""

    def moved(value: float, to: float) -> float:
        odds = value * (1 - rate) * to
        return odds / (odds + (1 - value) * rate * (1 - to))

    rows = ""
    for to in sorted({*RATES, rate}):
        ends = (p, p) if interval is None else interval
        found = span(moved(ends[0], to), moved(ends[1], to))
        here = " (this card)" if to == rate else ""
        rows += f'<tr><td>{percent(to)}{here}</td><td class="number">{found}</td></tr>'
    return (
        f'<table class="narrow"><thead><tr><th>{safe(group)} among those scanned</th>'
        f'<th class="number">{safe(group)} among people with such a score</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def place(bundle: Bundle, prediction: Prediction, study: StudyScores | None) -> str:
    """Show a score among those of the study's people."""
    if study is None or prediction.score is None:
        return ""
    names, score = group_names(bundle), prediction.score
    groups = list(zip(names, (study.positive, study.negative), strict=True))
    everything = np.concatenate([own for _, own in groups])
    if not len(everything):
        return ""
    counted = "; ".join(f"{name}: {int((own < score).sum())} of {len(own)}" for name, own in groups)
    odd = ""
    if not everything.min() <= score <= everything.max():
        side = "above" if score > everything.max() else "below"
        odd = f" <strong>It lies {side} all scores of the study's people.</strong>"
    return (
        f"<h2>Among the study's people</h2>{draw_scores(groups, score, study.zones)}"
        f"<p>A larger score is more like {safe(names[0])} than {safe(names[1])}. People of the "
        f"study with a smaller score: {safe(counted)}. Each of them is a dot, scored by a model "
        f"that had not seen them; scores of different models are brought onto one scale.{odd}</p>"
    )


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
    for number_of, name in enumerate(names[:MAX_MAPS]):
        own = "".join(draw_slices(maps[number_of], grid, limit, VALUES))
        rows.append(f'<h3>{safe(name)}: this scan</h3><div class="slices">{own}</div>')
        if mean is not None:
            usual = "".join(draw_slices(mean[number_of], grid, full_colour(mean), VALUES))
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


def checks(readings: Sequence[Reading]) -> str:
    """Tabulate the gates of a scan: what each measured, and whether it passed."""
    if not readings:
        said = (
            "This bundle states no checks in figures, or the scan did not get as far. The map's "
            "space, statistic, coverage and scale are checked before any score is given."
        )
        return f"<h2>Checks before the score</h2><p>{said}</p>"
    n_failed = sum(not reading.is_passed for reading in readings)
    told = f"{n_failed} of {len(readings)} failed" if n_failed else f"all {len(readings)} passed"
    rows = "".join(map(_check_row, readings))
    known = [reading.false_alarms for reading in readings if reading.false_alarms is not None]
    note = (
        "Limits are from the training scans. False alarms: the fraction of people scanned as in "
        "training who fail the check although nothing is wrong."
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
    unit = f" {reading.unit}" if reading.unit else ""
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
        f'{start}<td>{safe(capital(reading.gate))}</td><td class="number">{safe(measured)}</td>'
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
