"""The part of a card that says what raised and what lowered a score, beside the study's people."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from fmnet.errors import printable
from fmnet.inference.bundle import Bundle
from fmnet.inference.card_charts import draw_effect, number
from fmnet.inference.card_pictures import draw_colour_bar, draw_slices, full_colour
from fmnet.inference.card_shell import capital, group_names, items, safe
from fmnet.inference.explain import Explanation
from fmnet.inference.study_people import GROUPS, PERCENTILES

#: Regions of a card: those of the largest effects, and of those outside the range as many more.
N_REGIONS, N_OUTSIDE = 12, 6
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


def explanation_sections(bundle: Bundle, explanation: Explanation) -> list[str]:
    """Write the part of a card that says where a score comes from: HTML of its sections."""
    return [
        "<h2>What raised and what lowered the score</h2>",
        f'<p class="mark">{safe(explanation.mark)}</p>' if explanation.mark else "",
        _pictures(explanation),
        _regions(explanation, group_names(bundle)),
        _reading(explanation),
    ]


def _pictures(explanation: Explanation) -> str:
    shown, mark = explanation.map, explanation.mark
    limit = full_colour(shown.values)
    across = '<div class="across">No stable signature: this may be chance</div>' if mark else ""
    rows = []
    for contrast, values in zip(shown.contrasts, shown.values, strict=True):
        name = "" if len(shown.contrasts) == 1 else f"<h3>{safe(contrast)}</h3>"
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
        f'<div role="group" aria-label="{safe(_finding(explanation.regions))}">'
        f"{''.join(rows)}</div>{draw_colour_bar(limit)}"
        f'<p class="small">{safe(said)} Left in the picture is the left of the head. Colours are '
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
        first, second = map(safe, groups)
        key = (
            '<p class="small">Diamond: this scan. Bars: 5 to 95 % of the people of '
            f'<span class="key range0"></span>{first} and <span class="key range1"></span>{second}'
            f", with their middle. {int(is_outside.sum())} of {len(regions)} regions lie outside "
            "both bars; of scans like theirs, up to 10 % do.</p>"
        )
    return (
        "<h3>Regions of the largest effects</h3><p>Each effect is the score less the score with "
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
        f'<tr><td>{safe(row["region"])}{odd}</td><td class="place">{place}</td>'
        f'<td class="number">{number(row["effect"], "+.2g")}</td><td>{picture}</td></tr>'
    )


def _reading(explanation: Explanation) -> str:
    return items([READING, *(f"{capital(note)}." for note in explanation.notes)])
