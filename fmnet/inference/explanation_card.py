"""A page on one score: what raised and what lowered it, beside the study's people.

It is one HTML file that loads nothing from elsewhere and runs no script.
"""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fmnet.errors import printable
from fmnet.inference.bundle import Bundle
from fmnet.inference.card_pictures import (
    draw_colour_bar,
    draw_effect,
    draw_scores,
    draw_slices,
    full_colour,
    number,
)
from fmnet.inference.explain import Explanation
from fmnet.inference.study_people import GROUPS, PERCENTILES
from fmnet.inference.study_results import summary

#: Regions of a card: those of the largest effects, and of those outside the range as many more.
N_REGIONS, N_OUTSIDE = 12, 6
#: Red findings that are told one by one.
N_FINDINGS = 5
STYLE = """
:root{color-scheme:light}*{box-sizing:border-box}
body{margin:0 auto;max-width:1080px;padding:1.2rem;color:#222;font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.6rem;line-height:1.25;margin:.2em 0}h2{font-size:1.15rem;margin:1.8em 0 .4em}
h3{font-size:1rem;margin:1em 0 .2em}p,li{overflow-wrap:anywhere}.use{font-weight:600}
.box{border-left:4px solid #888;background:#f4f4f6;padding:.6em 1em;margin:1em 0}
.box ul{margin:.3em 0}
.mark{border:3px double #222;padding:.6em 1em;margin:1em 0;font-weight:600}
.figures{display:flex;flex-wrap:wrap;gap:.4em 2.5em;margin:.6em 0}
.figures b{display:block;font-size:1.5rem;line-height:1.3}
.slices{position:relative;display:grid;grid-template-columns:repeat(8,1fr);gap:6px}
.across{position:absolute;inset:0;display:flex;align-items:center;justify-content:center;
text-align:center;font-weight:700;font-size:1.3rem;transform:rotate(-8deg);
text-shadow:0 0 4px #fff,0 0 8px #fff}
svg{display:block;width:100%;height:auto}svg text{font:9px system-ui,sans-serif;fill:#333}
.bar{max-width:460px;margin:.8em 0}.bar text{font-size:11px}
.strip{max-width:760px}.strip text{font-size:12px}.strip .strong{font-weight:700}
.thin{stroke:#aaa;stroke-width:1}.own{stroke:#000;stroke-width:2}
.dot{fill:#6b6f76;fill-opacity:.75}.range0{fill:#9aa0a8}.range1{fill:#d5d8dc}
.key{display:inline-block;width:1.6em;height:.6em;vertical-align:middle;margin:0 .3em 0 .8em}
.key.range0{background:#9aa0a8}.key.range1{background:#d5d8dc}
.effect{min-width:130px;max-width:300px}table{border-collapse:collapse;width:100%;font-size:.92rem}
td,th{padding:.25em .5em;text-align:left;border-bottom:1px solid #e3e3e6;vertical-align:middle}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
small,.small{font-size:.85rem;color:#444}td small{display:block}
@media(max-width:640px){body{padding:.7rem}.slices{grid-template-columns:repeat(4,1fr)}
.place{display:none}.strip text{font-size:17px}}
@media print{body{max-width:none;padding:0}h2,tr,.slices{break-inside:avoid}
h2{break-after:avoid}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""
#: Nothing is loaded and nothing runs, whatever a name might smuggle in.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
RESEARCH = (
    "Research use only. This page says what moved the score of a model. It is no diagnosis, and no "
    "finding about a person or a region of their brain."
)
BY_VOXEL = (
    "What each voxel adds to the linear part of the score, compared with the mean of the training "
    "scans."
)
BY_REGION = (
    "How much the score changes with each region set to the mean of the training scans, painted "
    "over the region."
)
READING = (
    "An effect says what this model made of this scan. That a region raises the score does not "
    "mean that something is wrong with it, and effects of regions do not add up to the score where "
    "a model weighs them together."
)


def build_card(bundle: Bundle, explanation: Explanation) -> str:
    """Write the page on one score."""
    prediction, groups = explanation.prediction, group_names(bundle)
    title = f"What raised and what lowered the score of {Path(prediction.scan).name}"
    probability = ""
    if prediction.probability is not None:
        percent = f"{100 * prediction.probability:.0f} %"
        probability = f"<div><b>{percent}</b>probability of {_text(groups[0])}</div>"
    score = number(prediction.score or 0.0, ".3g")
    than = f"score; larger is more like {groups[0]} than {groups[1]}"
    known = "".join(f"<li>{_text(line)}</li>" for line in known_lines(bundle))
    parts = [
        f"<h1>{_text(title)}</h1>",
        f'<p class="use">{RESEARCH}</p>',
        f'<p class="mark">{_text(explanation.mark)}</p>' if explanation.mark else "",
        f'<div class="figures"><div><b>{score}</b>{_text(than)}</div>{probability}</div>',
        f"<ul>{known}</ul>",
        _remarks(bundle, prediction.reason),
        _scores(explanation, groups),
        _pictures(explanation),
        _regions(explanation, groups),
        _reading(bundle, explanation),
        f'<p class="small">Scan: {_text(prediction.scan)}</p>',
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{_text(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(filter(None, parts))
        + "\n</body></html>\n"
    )


def group_names(bundle: Bundle) -> tuple[str, str]:
    """Name the positive and the negative group."""
    training = bundle.metadata["training"]
    return training["positive"], training["negative"]


def known_lines(bundle: Bundle) -> list[str]:
    """Say of a signature what no score of it can be read without, a line each."""
    training = bundle.metadata["training"]
    origin = "SYNTHETIC data, for demonstration" if bundle.is_synthetic else "research data"
    lines = [
        training.get("control") or "",
        f"Signature {training['positive']} against {training['negative']}, trained on "
        f"{training['n_scans']} scans ({origin})",
        *(f"Beware: {text}" for text in bundle.warnings),
        f"{summary(bundle.evidence)}. {bundle.meaning}",
        "" if bundle.signature is None else f"Which regions carry it: {bundle.signature.words}",
    ]
    return [_capital(line) for line in lines if line]


def _remarks(bundle: Bundle, reason: str) -> str:
    """Give what the score can't be read without, and the red findings themselves."""
    red = [] if bundle.evidence is None else bundle.evidence.red or []
    items = "".join(f"<li>{_text(finding)}</li>" for finding in red[:N_FINDINGS])
    more = f"<li>and {len(red) - N_FINDINGS} more</li>" if len(red) > N_FINDINGS else ""
    said = f"{_text(_capital(reason))}{f'<ul>{items}{more}</ul>' if red else ''}"
    return f'<div class="box">{said}</div>' if said else ""


def _scores(explanation: Explanation, groups: tuple[str, str]) -> str:
    people, score = explanation.people, explanation.prediction.score or 0.0
    scores = [] if people is None else [people.scores[group] for group in GROUPS]
    everything = np.concatenate(scores) if scores else np.empty(0)
    if not len(everything):
        return ""
    counted = "; ".join(
        f"{name}: {int((own < score).sum())} of {len(own)}"
        for name, own in zip(groups, scores, strict=True)
    )
    odd = ""
    if not everything.min() <= score <= everything.max():
        side = "above" if score > everything.max() else "below"
        odd = f" <strong>It lies {side} all scores of the study's people.</strong>"
    picture = draw_scores(list(zip(groups, scores, strict=True)), score)
    return (
        f"<h2>Among the study's people</h2>{picture}<p>People with a smaller score: "
        f"{_text(counted)}. Each was scored by a model that had not seen them; scores of different "
        f"models are brought onto one scale.{odd}</p>"
    )


def _pictures(explanation: Explanation) -> str:
    shown, mark = explanation.map, explanation.mark
    limit = full_colour(shown.values)
    across = '<div class="across">No stable signature: this may be chance</div>' if mark else ""
    rows = []
    for contrast, values in zip(shown.contrasts, shown.values, strict=True):
        name = "" if len(shown.contrasts) == 1 else f"<h3>{_text(contrast)}</h3>"
        slices = "".join(draw_slices(values, shown.grid, limit))
        rows.append(f'{name}<div class="slices">{slices}{across}</div>')
    said = BY_VOXEL if shown.description == "contribution" else BY_REGION
    if explanation.start is not None and explanation.total is not None:
        start, total = explanation.start, explanation.total
        said += (
            f" At that mean the linear part is {number(start, '.3g')}; the map adds "
            f"{number(total - start, '+.3g')}, which makes {number(total, '.3g')}. Where a scan "
            "has no data, and the model smooths, neighbours stand in: its score then is another."
        )
    return (
        f'<h2>Where</h2><div role="group" aria-label="{_text(_finding(explanation.regions))}">'
        f"{''.join(rows)}</div>{draw_colour_bar(limit)}"
        f'<p class="small">{_text(said)} Left in the picture is the left of the head. Colours are '
        "full for the largest 0.5 % of the values.</p>"
    )


def _finding(regions: pd.DataFrame) -> str:
    """Say in words which regions moved the score the most."""
    said = []
    for row in regions.head(3).to_dict("records"):
        verb = "raises" if row["effect"] > 0 else "lowers"
        said.append(f"{row['region']} {verb} it by {abs(row['effect']):.2g}")
    return f"Largest effects on the score: {', '.join(said)}."


def _regions(explanation: Explanation, groups: tuple[str, str]) -> str:
    regions, has_people = explanation.regions, explanation.people is not None
    is_outside = (regions["outside"] != "").to_numpy()
    is_shown = np.arange(len(regions)) < N_REGIONS
    is_shown[np.flatnonzero(is_outside & ~is_shown)[:N_OUTSIDE]] = True
    shown = regions[is_shown]
    columns = [f"{name}_{group}" for group in GROUPS for name in PERCENTILES]
    sizes = shown[["effect", *(columns if has_people else [])]].abs()
    limit = float(sizes.to_numpy().max()) or 1.0
    rows = "".join(_row(row, limit, has_people, groups) for row in shown.to_dict("records"))
    key = ""
    if has_people:
        first, second = map(_text, groups)
        key = (
            '<p class="small">Diamond: this scan. Bars: 5 to 95 % of the people of '
            f'<span class="key range0"></span>{first} and <span class="key range1"></span>{second}'
            f", with their middle. {int(is_outside.sum())} of {len(regions)} regions lie outside "
            "both bars; of scans like theirs, up to 10 % do.</p>"
        )
    return (
        "<h2>Regions of the largest effects</h2><p>Each effect is the score less the score with "
        f"that region at the mean of the training scans.</p>{key}<table><thead><tr><th>Region</th>"
        '<th class="place">Centre, mm</th><th class="number">Effect</th>'
        f"<th>Lowers the score | raises it</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def _row(row: Mapping[Any, Any], limit: float, has_people: bool, groups: tuple[str, str]) -> str:
    ranges = [
        (row[f"low_{group}"], row[f"middle_{group}"], row[f"high_{group}"])
        for group in (GROUPS if has_people else ())
    ]
    said = [f"{row['region']}: {row['effect']:.2g}"]
    said += [
        f"{name} {own[0]:.2g} to {own[2]:.2g}" for name, own in zip(groups, ranges, strict=False)
    ]
    picture = draw_effect(row["effect"], ranges, limit, printable("; ".join(said)))
    odd = f"<small>{row['outside']} the range of both groups</small>" if row["outside"] else ""
    place = ", ".join(number(row[axis], ".0f") for axis in "xyz")
    return (
        f'<tr><td>{_text(row["region"])}{odd}</td><td class="place">{place}</td>'
        f'<td class="number">{number(row["effect"], "+.2g")}</td><td>{picture}</td></tr>'
    )


def _reading(bundle: Bundle, explanation: Explanation) -> str:
    lines = [READING, *(f"{_capital(note)}." for note in explanation.notes)]
    items = "".join(f"<li>{_text(line)}</li>" for line in lines)
    use = _text(bundle.metadata["intended_use"])
    return f"<h2>How to read it</h2><ul>{items}</ul><p>{use}</p>"


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _text(text: str) -> str:
    """Make text of any origin harmless within a page."""
    return escape(printable(text))
