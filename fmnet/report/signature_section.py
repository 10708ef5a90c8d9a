"""Gather what the report says and shows of a signature: words, pictures, viewers and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fmnet.data.cohort import Cohort
from fmnet.data.files import read_json
from fmnet.data.grid import Grid
from fmnet.data.listing import Labels
from fmnet.data.resample import smooth_values
from fmnet.data.signature_map import DESCRIPTIONS, Description, SignatureMap, read_signature_map
from fmnet.inference.study_results import say_p
from fmnet.report.brain import draw_gallery, draw_glass, draw_slices
from fmnet.report.drawing import Picture
from fmnet.report.map_words import TITLES, Regions, sign_words, threshold_words, top_words
from fmnet.report.signature_figures import draw_deletion, draw_halves, draw_region_curve
from fmnet.report.signature_words import (
    MEASURES,
    agreement_rows,
    check_rows,
    forced_sentence,
    notes,
    signature_verdict,
)
from fmnet.report.viewer import build_viewer

#: Contrasts that are drawn, and those with a viewer: the page stays light.
MOST_DRAWN, MOST_VIEWERS = 3, 2
#: Regions whose effect is drawn.
MOST_CURVES = 4
#: Rows of tables that are printed, and the least share of the map that a region has in them.
MOST_ROWS, LEAST_SHARE = 20, 0.001
#: Columns of tables and their headings: those of `fmnet.signature.tables` and of
#: `fmnet.signature.published` that a page has room for.
CLUSTERS = {
    "contrast": "contrast", "direction": "direction", "peak": "peak", "place": "x, y, z in mm",
    "size_mm3": "size, mm³", "p": "p", "region": "region of the peak",
}  # fmt: skip
REGIONS = {
    "contrast": "contrast", "region": "region", "direction": "direction", "mean": "mean",
    "share": "share of the map",
}  # fmt: skip
PUBLISHED = {
    "contrast": "contrast", "map": "published map", "correlation": "correlation",
    "null": "95 % of random maps", "p": "p", "p_holm": "p, Holm-corrected", "cosine": "cosine",
    "dot": "dot product", "n_voxels": "voxels", "note": "note",
}  # fmt: skip
#: Smoothing of attribution in pictures: of all maps it then ranks planted voxels best, see
#: docs/signature_benchmark.md. The file has it as it is.
FWHM_MM = 6.0
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
    regions = [one for one in facts.get("regions") or () if one["share"] >= LEAST_SHARE]
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
            draw_region_curve(one["factors"], one["effects"], one["region"], labels.positive)
            for one in facts.get("region_curves", ())[:MOST_CURVES]
        ]
        if is_drawn
        else [],
        "checks": check_rows(facts),
        "agreement": agreement_rows(facts),
        "measures": MEASURES,
        "tables": [
            table_of(title, rows, heads)
            for rows, title, heads in (
                (facts.get("clusters"), "Clusters", CLUSTERS),
                (regions, "Regions", REGIONS),
                (facts.get("published"), "Beside published maps", PUBLISHED),
            )
            if is_drawn and rows
        ],
        "notes": notes(facts) + _left_undrawn(contrasts, bool(pictures)),
        "kinds": list(maps),
    }


def read_maps(folder: Path, grid: Grid, contrasts: Sequence[str]) -> dict[str, SignatureMap]:
    """Read all maps of a folder by their description; those of contrasts in the order given."""
    found: dict[Description, list[str]] = {}
    for path in sorted(folder.glob("*_statmap.json")):
        said = read_json(path, "the sidecar of a map")
        if said.get("Description") in DESCRIPTIONS:
            found.setdefault(said["Description"], []).append(str(said["Contrast"]))
    place = {name: number for number, name in enumerate(contrasts)}
    maps = dict[str, SignatureMap]()
    for kind, names in found.items():
        own = sorted(names, key=lambda name: place.get(name, len(place)))
        maps[kind] = read_signature_map(folder, kind, grid, tuple(own))
    return maps


def table_of(
    title: str, rows: Sequence[Mapping[str, Any]], heads: Mapping[str, str]
) -> dict[str, Any]:
    """Write rows of plain values as texts, in the columns of `heads` that say anything."""
    written = [{key: _cell(key, row) for key in heads} for row in rows]
    shown = [key for key in heads if any(row[key] for row in written)]
    if len({row.get("contrast") for row in rows}) == 1:
        shown.remove("contrast")
    more = len(rows) - MOST_ROWS
    return {
        "title": title,
        "heads": [heads[key] for key in shown],
        "rows": [[row[key] for key in shown] for row in written[:MOST_ROWS]],
        "rest": f"{more} more rows are in signature/." if more > 0 else "",
    }


def _cell(key: str, row: Mapping[str, Any]) -> str:
    """Write one cell: p as p, shares in percent, counts whole, other numbers to three digits."""
    value = row.get(key)
    match key:
        case "place":
            return ", ".join(f"{row[f'{axis}_mm']:.0f}" for axis in "xyz")
        case "null":
            return f"{row['null_low']:.2f} to {row['null_high']:.2f}"
        case _ if value is None or value != value:  # NaN
            return ""
        case "p" | "p_holm":
            return say_p(value).removeprefix("p ").removeprefix("= ")
        case "share":
            return f"{100 * value:.1f} %"
        case "size_mm3" | "n_voxels":
            return f"{value:,.0f}"
        case "correlation" | "cosine" | "peak":
            return f"{value:.2f}"
        case _:
            return f"{value:.3g}" if isinstance(value, float) else str(value)


def _draw_maps(
    maps: Mapping[str, SignatureMap], facts: Mapping[str, Any], labels: Labels, across: str
) -> tuple[list[Picture], list[dict[str, str]]]:
    """Draw what survives its test, attribution and pattern; build viewers of what isn't tested."""
    pictures = list[Picture]()
    viewers = list[dict[str, str]]()
    others = [kind for kind in ("attribution", "pattern") if kind in maps] or [_first_of(maps)]
    for kind in ("thresholded", *others, "seed"):
        one = maps.get(kind)
        if one is None or not one.values.any():
            continue
        if kind == "attribution":
            one = replace(one, values=smooth_values(one.values, one.grid, FWHM_MM))
        sizes = np.abs(one.values)
        is_tested = kind == "thresholded"
        # what isn't 0 has survived; equal values, as those of one region, are drawn together
        limit = sizes[sizes > 0].min() if is_tested else np.quantile(sizes, 1 - TOP)
        threshold = 0.999 * float(limit)
        said = threshold_words(facts["z"]) if is_tested else top_words(threshold, TOP)
        said += f"; smoothed by {FWHM_MM:g} mm" if kind == "attribution" else ""
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


def _left_undrawn(contrasts: Sequence[str], is_drawn: bool) -> list[str]:
    """Say that there are more contrasts than a page has room for."""
    if not is_drawn or len(contrasts) <= MOST_DRAWN:
        return []
    return [
        f"Of {len(contrasts)} contrasts, the {MOST_DRAWN} with the largest values are drawn; the "
        "maps of all are in signature/."
    ]


def _first_of(maps: Mapping[str, SignatureMap]) -> str:
    """Name the map that shows best what goes with the score, of those that there are."""
    kinds = ("weights", "surrogate")
    return next((kind for kind in kinds if kind in maps), "")


def _largest_regions(clusters: Sequence[Mapping[str, Any]], contrast: str) -> Regions:
    """Name the regions of the largest clusters of a contrast, by the sign of their peak."""
    own = [one for one in clusters if one["contrast"] == contrast]
    own = sorted(own, key=lambda one: -abs(one["peak"]))
    return {
        # without an atlas coordinates follow, which are told anyway
        name: list(
            dict.fromkeys(one["region"].partition(";")[0] for one in own if sign * one["peak"] > 0)
        )
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
