"""A page on one score: what raised and what lowered it, beside the study's people.

It is one HTML file that loads nothing from elsewhere and runs no script.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from fmnet.errors import printable
from fmnet.inference.bundle import Bundle
from fmnet.inference.calibration import calibration_sentence
from fmnet.inference.card_pictures import (
    draw_colour_bar,
    draw_effect,
    draw_scores,
    draw_slices,
    full_colour,
)
from fmnet.inference.explain import Explanation
from fmnet.inference.study_people import GROUPS, PERCENTILES
from fmnet.inference.study_results import NOT_RECORDED, red_note, summary

#: Regions of a card: those of the largest effects, and of those outside the range as many more.
N_REGIONS, N_OUTSIDE = 12, 6
STYLE = """
:root{color-scheme:light}*{box-sizing:border-box}
body{margin:0 auto;max-width:1080px;padding:1.2rem;font:16px/1.5 system-ui,sans-serif;color:#222}
h1{font-size:1.6rem;line-height:1.25;margin:.2em 0}h2{font-size:1.15rem;margin:1.8em 0 .4em}
.use{font-weight:600}.box{border-left:4px solid #888;background:#f4f4f6;padding:.6em 1em;margin:1em 0}
.mark{border:3px double #222;padding:.6em 1em;margin:1em 0;font-weight:600}
.figures{display:flex;flex-wrap:wrap;gap:.4em 2.5em;margin:.6em 0}
.figures b{display:block;font-size:1.5rem;line-height:1.3}
.slices{position:relative;display:grid;grid-template-columns:repeat(8,1fr);gap:6px}
.slices svg{width:100%;height:auto}.across{position:absolute;inset:0;display:flex;align-items:center;
justify-content:center;text-align:center;font-weight:700;font-size:1.3rem;color:#222;
transform:rotate(-8deg);text-shadow:0 0 4px #fff,0 0 8px #fff}
svg text{font:9px system-ui,sans-serif;fill:#333}.bar{width:100%;max-width:460px;height:auto}
.bar text{font-size:11px}.strip{width:100%;max-width:760px;height:auto}.strip text{font-size:12px}
.strip .strong{font-weight:700}.thin{stroke:#aaa;stroke-width:1}.own{stroke:#000;stroke-width:2}
.dot{fill:#6b6f76;fill-opacity:.75}.range0{fill:#9aa0a8}.range1{fill:#d5d8dc}
.effect{width:100%;min-width:130px;max-width:300px;height:auto;display:block}
table{border-collapse:collapse;width:100%;font-size:.92rem}td,th{padding:.25em .5em;text-align:left;
border-bottom:1px solid #e3e3e6;vertical-align:middle}td.number,th.number{text-align:right;
font-variant-numeric:tabular-nums;white-space:nowrap}small,.small{font-size:.85rem;color:#444}
.key{display:inline-block;width:1.6em;height:.6em;vertical-align:middle;margin:0 .3em 0 .8em}
li{overflow-wrap:anywhere}p{overflow-wrap:anywhere}
@media(max-width:640px){body{padding:.7rem}.slices{grid-template-columns:repeat(4,1fr)}
.place{display:none}.strip text{font-size:17px}}
@media print{body{max-width:none;padding:0}h2,tr,.slices{break-inside:avoid}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""


def build_card(bundle: Bundle, explanation: Explanation) -> str:
    """Write the page on one score."""
    training, prediction = bundle.metadata["training"], explanation.prediction
    positive, negative = training["positive"], training["negative"]
    title = f"What raised and what lowered the score of {prediction.scan}"
    mark = f'<p class="mark">{_text(explanation.mark)}</p>' if explanation.mark else ""
    probability = (
        "" if prediction.probability is None
        else f"<div><b>{100 * prediction.probability:.0f} %</b>probability of {_text(positive)}</div>"
    )  # fmt: skip
    parts = [
        f"<h1>{_text(title)}</h1>",
        '<p class="use">Research use only. This page says what moved the score of a model. It is no '
        "diagnosis, and no finding about a person or a region of their brain.</p>",
        mark,
        f'<div class="figures"><div><b>{prediction.score:.2f}</b>score; larger is more like '
        f"{_text(positive)} than {_text(negative)}</div>{probability}</div>",
        f"<ul>{''.join(f'<li>{_text(line)}</li>' for line in known_lines(bundle))}</ul>",
        f'<p class="box">With this score: {_text(prediction.reason)}.</p>'
        if prediction.reason
        else "",
        _scores(explanation, positive, negative),
        _pictures(explanation),
        _regions(explanation, positive, negative),
        _reading(bundle, explanation),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        'content="width=device-width, initial-scale=1"><meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f"<title>{_text(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(filter(None, parts))
        + "\n</body></html>\n"
    )


def known_lines(bundle: Bundle) -> list[str]:
    """Say of a signature what no score of it can be read without, a line each."""
    training = bundle.metadata["training"]
    origin = "SYNTHETIC data, for demonstration" if bundle.is_synthetic else "research data"
    lines = [
        training.get("control") or "",
        f"Signature {training['positive']} against {training['negative']}, trained on "
        f"{training['n_scans']} scans ({origin})",
        *(f"Beware: {text}" for text in bundle.warnings),
        f"{summary(bundle.evidence)}. {calibration_sentence(bundle.calibration)}",
    ]
    return [f"{line[:1].upper()}{line[1:]}" for line in lines if line]


def _scores(explanation: Explanation, positive: str, negative: str) -> str:
    people, score = explanation.people, explanation.prediction.score or 0.0
    known = [] if people is None else [people.scores[group] for group in GROUPS]
    if not any(len(scores) for scores in known):
        return ""
    groups = list(zip((positive, negative), known, strict=True))
    counted = " and ".join(
        f"{int((scores < score).sum())} of {len(scores)} people of {name}"
        for name, scores in groups
    )
    everything = np.concatenate(known)
    odd = ""
    if not everything.min() <= score <= everything.max():
        side = "above" if score > everything.max() else "below"
        odd = f" <strong>It lies {side} all scores of the study's people.</strong>"
    return (
        "<h2>Among the study's people</h2>"
        + draw_scores(groups, score)
        + f"<p>The score is larger than those of {_text(counted)}, each scored by a model that had "
        f"not seen them.{odd}</p>"
    )


def _pictures(explanation: Explanation) -> str:
    shown = explanation.map
    limit = full_colour(shown.values)
    across = '<div class="across">Not a stable signature: this may be chance</div>'
    rows = []
    for contrast, values in zip(shown.contrasts, shown.values, strict=True):
        name = "" if len(shown.contrasts) == 1 else f"<h3>{_text(contrast)}</h3>"
        slices = "".join(draw_slices(values, shown.grid, limit))
        rows.append(f'{name}<div class="slices">{slices}{across if explanation.mark else ""}</div>')
    if shown.description == "contribution":
        said = "What each voxel adds to the linear part of the score, compared with the mean of the training scans."
        if explanation.start is not None and explanation.total is not None:
            said += (
                f" At that mean the linear part is {explanation.start:.2f}; the map adds "
                f"{explanation.total - explanation.start:+.2f}, which makes {explanation.total:.2f}."
            )
    else:
        said = "How much the score changes without each region, which is set to the mean of the training scans."
    alt = _finding(explanation.regions)
    return (
        f'<h2>Where</h2><div role="group" aria-label="{_text(alt)}">{"".join(rows)}</div>'
        f'{draw_colour_bar(limit)}<p class="small">{_text(said)} Left in the picture is the left of the '
        "head. Colours are full from the largest 0.5 % of the values on.</p>"
    )


def _finding(regions: pd.DataFrame) -> str:
    """Say in words which regions moved the score the most."""
    said = [
        f"{row['region']} {'raises' if row['effect'] > 0 else 'lowers'} it by {abs(row['effect']):.2g}"
        for row in regions.head(3).to_dict("records")
    ]
    return f"Largest effects on the score: {', '.join(said)}."


def _regions(explanation: Explanation, positive: str, negative: str) -> str:
    regions = explanation.regions
    is_outside = (regions["outside"] != "").to_numpy()
    first = np.arange(len(regions)) < N_REGIONS
    more = np.flatnonzero(is_outside & ~first)[:N_OUTSIDE]
    shown = regions[first | np.isin(np.arange(len(regions)), more)]
    has_people = explanation.people is not None
    columns = [f"{name}_{group}" for group in GROUPS for name in PERCENTILES]
    sizes = shown[["effect", *(columns if has_people else [])]].abs().to_numpy()
    limit = float(sizes.max()) or 1.0
    rows = "".join(
        _row(row, limit, has_people, positive, negative) for row in shown.to_dict("records")
    )
    key = ""
    if has_people:
        key = (
            '<p class="small">Diamond: this scan. Bars: 5 to 95 % of the people of '
            f'<span class="key" style="background:#9aa0a8"></span>{_text(positive)} and '
            f'<span class="key" style="background:#d5d8dc"></span>{_text(negative)}, with their middle. '
            f"{int(is_outside.sum())} of {len(regions)} regions lie outside both bars.</p>"
        )
    return (
        f"<h2>Regions of the largest effects</h2><p>Each is the score less the score with that region "
        f"at the mean of the training scans.</p>{key}"
        '<table><thead><tr><th>Region</th><th class="place">Centre, mm</th><th class="number">Effect</th>'
        f"<th>Lowers the score | raises it</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def _row(row: dict[str, Any], limit: float, has_people: bool, positive: str, negative: str) -> str:
    ranges = [
        (row[f"low_{group}"], row[f"middle_{group}"], row[f"high_{group}"])
        for group in (GROUPS if has_people else ())
    ]
    names = zip((positive, negative), ranges, strict=False)
    said = "; ".join(f"{name} {low:.2g} to {high:.2g}" for name, (low, _, high) in names)
    label = printable(f"{row['region']}: {row['effect']:.2g}; {said}")
    odd = f" <small>({row['outside']} the range of both groups)</small>" if row["outside"] else ""
    return (
        f"<tr><td>{_text(row['region'])}{odd}</td>"
        f'<td class="place">{row["x"]:.0f}, {row["y"]:.0f}, {row["z"]:.0f}</td>'
        f'<td class="number">{row["effect"]:+.2f}</td>'
        f"<td>{draw_effect(row['effect'], ranges, limit, label)}</td></tr>"
    )


def _reading(bundle: Bundle, explanation: Explanation) -> str:
    facts = bundle.signature
    lines = [
        "An effect says what this model made of this scan. That a region raises the score does not "
        "mean that something is wrong with it, and effects of regions do not add up to the score "
        "where a model weighs them together.",
        *(f"{note}." for note in explanation.notes),
    ]
    if facts is not None:
        lines.append(f"Of the signature: {facts.words}.")
    if note := red_note(bundle.evidence):
        lines.append(f"{note}.")
    if bundle.evidence is None:
        lines.append(f"{NOT_RECORDED}.")
    items = "".join(f"<li>{_text(f'{line[:1].upper()}{line[1:]}')}</li>" for line in lines)
    return f"<h2>How to read it</h2><ul>{items}</ul><p>{_text(bundle.metadata['intended_use'])}</p>"


def _text(text: str) -> str:
    """Make text of any origin harmless within a page."""
    return escape(printable(text))
