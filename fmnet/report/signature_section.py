"""Gather what the report says and shows of a signature: words, pictures, viewers and tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fmnet.data.cohort import Cohort
from fmnet.data.files import read_json
from fmnet.data.grid import Grid
from fmnet.data.listing import Labels
from fmnet.data.signature_map import DESCRIPTIONS, SignatureMap, read_signature_map
from fmnet.report.brain import Regions, draw_gallery, draw_glass, draw_slices
from fmnet.report.drawing import Picture
from fmnet.report.signature_figures import draw_deletion, draw_halves, draw_region_curve
from fmnet.report.signature_words import (
    MEASURES,
    TITLES,
    agreement_rows,
    check_rows,
    forced_sentence,
    sign_words,
    signature_verdict,
    threshold_words,
    top_words,
)
from fmnet.report.viewer import build_viewer

#: Contrasts that are drawn, and those with a viewer: the page stays light.
MOST_DRAWN, MOST_VIEWERS = 3, 2
#: Regions whose effect is drawn.
MOST_CURVES = 4
#: Rows of tables that are printed.
MOST_ROWS = 20
#: Fraction of the voxels that is drawn of a map without a test.
TOP = 0.05


def signature_section(facts: Mapping[str, Any], cohort: Cohort, folder: Path) -> dict[str, Any]:
    """Gather all that ``signature.html.j2`` prints.

    Parameters
    ----------
    facts : mapping
        ``signature`` of ``metrics.json``.
    cohort : Cohort
        For its grid, contrasts and labels.
    folder : Path
        Of the maps, ``signature/`` in the run folder; it need not exist.

    Returns
    -------
    dict
        ``verdict``; ``is_drawn``; ``is_stable``; ``pictures``, ``gallery``, ``evidence`` and
        ``curves`` (of `Picture`); ``viewers`` (``title``, ``html``, ``words``); ``checks``,
        ``agreement`` and ``tables`` of texts; ``notes``.
    """
    grid, contrasts = cohort.grid, cohort.listing.contrasts
    labels = cohort.listing.labels
    maps = read_maps(folder, grid, contrasts)
    is_drawn = bool(facts["is_drawn"])
    across = forced_sentence(facts)
    pictures, viewers = _draw_maps(maps, facts, labels, across)
    halves, deletion = facts.get("halves", {}), facts.get("deletion") or {}
    return {
        "verdict": signature_verdict(facts),
        "is_stable": is_drawn and not facts["is_forced"],
        "pictures": pictures,
        "viewers": viewers,
        "gallery": _draw_galleries(maps, labels, across),
        "evidence": [
            *([draw_halves(halves)] if "voxel_r" in halves else []),
            *([draw_deletion(deletion)] if deletion else []),
        ],
        "curves": [
            draw_region_curve(one["factors"], one["scores"], one["region"], labels.positive)
            for one in facts.get("region_curves", ())[:MOST_CURVES]
        ]
        if is_drawn
        else [],
        "checks": check_rows(facts),
        "agreement": agreement_rows(facts),
        "measures": MEASURES,
        "tables": [
            table_of(title, facts[key], what)
            for key, title, what in (
                ("clusters", "Clusters", "signature/clusters.tsv"),
                ("regions", "Regions", "signature/regions.tsv"),
                ("published", "Beside published maps", "metrics.json"),
            )
            if is_drawn and facts.get(key)
        ],
        "surrogate": facts.get("surrogate", {}),
        "linear_fraction": facts.get("linear_fraction"),
        "files": sorted(path.name for path in folder.glob("*.nii.gz")) if is_drawn else [],
    }


def read_maps(folder: Path, grid: Grid, contrasts: Sequence[str]) -> dict[str, SignatureMap]:
    """Read all maps of a folder by their description; those of contrasts in the order given."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*_statmap.json")):
        said = read_json(path, "the sidecar of a map")
        if said.get("Description") in DESCRIPTIONS:
            found.setdefault(said["Description"], []).append(str(said["Contrast"]))
    order = {name: place for place, name in enumerate(contrasts)}
    return {
        one: read_signature_map(
            folder, one, grid, tuple(sorted(names, key=lambda name: order.get(name, len(order))))
        )  # type: ignore[arg-type]
        for one, names in found.items()
    }


def table_of(title: str, rows: Sequence[Mapping[str, Any]], where: str) -> dict[str, Any]:
    """Write a table of plain values as texts; long ones end with where the rest stands."""
    heads = list(rows[0])
    return {
        "title": title,
        "heads": [head.replace("_", " ") for head in heads],
        "rows": [
            [
                {"text": _cell(row.get(head)), "is_number": _is_number(row.get(head))}
                for head in heads
            ]
            for row in rows[:MOST_ROWS]
        ],
        "rest": f"{len(rows) - MOST_ROWS} more are in {where}." if len(rows) > MOST_ROWS else "",
    }


def _draw_maps(
    maps: Mapping[str, SignatureMap], facts: Mapping[str, Any], labels: Labels, across: str
) -> tuple[list[Picture], list[dict[str, str]]]:
    """Draw what survives its test, and the pattern; build viewers of the latter."""
    pictures = list[Picture]()
    viewers = list[dict[str, str]]()
    for kind in ("thresholded", *([first] if (first := _first_of(maps)) else [])):
        one = maps.get(kind)
        if one is None or not one.values.any():
            continue
        sizes = np.abs(one.values)
        is_tested = kind == "thresholded"
        # what isn't 0 has survived
        threshold = float(
            0.999 * sizes[sizes > 0].min() if is_tested else np.quantile(sizes, 1 - TOP)
        )
        said = threshold_words(facts["z"]) if is_tested else top_words(threshold, TOP)
        words = sign_words(kind, labels)
        for contrast in _drawn_contrasts(one):
            title = f"{contrast}: {TITLES[kind]}, {one.model}"
            regions = _largest_regions(facts.get("clusters") or (), contrast) if is_tested else None
            asked = (one, contrast, threshold, title, words, said, across, regions)
            pictures += [draw_slices(*asked), draw_glass(*asked)]
            # a sentence can't be written across a viewer
            if not is_tested and not across and len(viewers) < MOST_VIEWERS:
                page = build_viewer(one, contrast, threshold)
                viewers.append({"title": title, "html": page, "words": f"{words}. {said}"})
    return pictures, viewers


def _first_of(maps: Mapping[str, SignatureMap]) -> str:
    """Name the map that shows best what goes with the score, of those that there are."""
    kinds = ("pattern", "weights", "surrogate", "attribution")
    return next((kind for kind in kinds if kind in maps), "")


def _largest_regions(clusters: Sequence[Mapping[str, Any]], contrast: str) -> Regions:
    """Name the regions of the largest clusters of a contrast, by the sign of their peak."""
    own = [one for one in clusters if one["contrast"] == contrast]
    own = sorted(own, key=lambda one: -abs(one["peak"]))
    return {
        name: list(dict.fromkeys(str(one["region"]) for one in own if sign * one["peak"] > 0))
        for name, sign in (("positive", 1), ("negative", -1))
    }


def _draw_galleries(maps: Mapping[str, SignatureMap], labels: Labels, across: str) -> list[Picture]:
    """Draw group means, their difference and coverage of each contrast."""
    titles = {
        "positivemean": f"mean of {labels.positive}",
        "negativemean": f"mean of {labels.negative}",
        "groupdifference": f"{labels.positive} minus {labels.negative} "
        f"({sign_words('groupdifference', labels)})",
        "coverage": "scans with data, and the outline of the mask",
    }
    shown = {kind: title for kind, title in titles.items() if kind in maps}
    contrasts = maps[next(iter(shown))].contrasts if shown else ()
    return [
        draw_gallery([(title, maps[kind]) for kind, title in shown.items()], contrast, across)
        for contrast in contrasts[:MOST_DRAWN]
    ]


def _drawn_contrasts(signature: SignatureMap) -> list[str]:
    """Name the contrasts with the largest values, in their own order."""
    largest = np.abs(signature.values).max(axis=1)
    best = sorted(np.argsort(-largest, kind="stable")[:MOST_DRAWN])
    return [signature.contrasts[row] for row in best if largest[row] > 0]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    """Write a value of a table: counts whole, other numbers to three digits, lists with commas."""
    if value is None or value != value:  # NaN
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) >= 1 else f"{value:.3g}"
    if isinstance(value, list | tuple):
        return ", ".join(_cell(one) for one in value)
    return str(value)
