"""Write the report of a study of a target, ``report.html``: one self-contained page."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from fmnet.data.cohort import Cohort
from fmnet.report.drawing import Picture
from fmnet.report.figures import draw_null
from fmnet.report.methods import input_line
from fmnet.report.people import LISTED
from fmnet.report.sentences import banners, capital, name_of
from fmnet.report.shell import render_page
from fmnet.report.target_figures import (
    draw_models,
    draw_panel,
    draw_target_overview,
    panels_of,
)
from fmnet.report.target_methods import target_methods, target_tripod
from fmnet.runs.run_folder import write_run_files

#: Columns of the out-of-fold table that say whose row it is, and by which model.
ABOUT = {"participant_id", "unit", "site", "scan_id", "repeat", "fold", "model"}
#: Roles whose values are names, and numbers in tables.
NUMBERED = {"group", "level", "arm", "stratum"}
#: What figures are called where their names don't say it.
HEADS = {
    "spearman": "Spearman's correlation", "pearson": "Pearson's correlation",
    "mae": "mean absolute error", "mae_median": "that of the median", "slope": "calibration slope",
    "intercept": "calibration intercept", "coverage": "coverage of 90 % intervals",
    "width": "width of intervals", "uno_c": "Uno's C", "harrell_c": "Harrell's C", "icc": "ICC",
    "interaction_estimate": "interaction, units of the outcome", "interaction_se": "its SE",
    "interaction_t": "its t", "autoc": "AUTOC", "qini": "Qini", "kappa": "weighted kappa",
}  # fmt: skip
#: Words of names that are written otherwise.
CAPITALS = {"auc": "AUC", "r2": "R²", "mae": "MAE", "icc": "ICC", "brier": "Brier"}


def write_target_report(
    facts: Mapping[str, Any],
    predictions: pd.DataFrame,
    cohort: Cohort,
    settings: Mapping[str, Any],
    folder: Path,
) -> None:
    """Write ``figure.png`` and ``report.html`` of a study of a target.

    Parameters
    ----------
    facts : dict
        What ``metrics.json`` holds: see `fmnet.evaluation.outcome_study.evaluate_outcomes`; with
        ``titles``, ``n_epochs``, ``lacking``, and, where the lead of the study adds them,
        ``summary`` (who was studied, in a sentence), ``tripod`` (`Target.tripod`) and ``bold``; for
        what else is drawn see `panels_of`.
    predictions : DataFrame
        The out-of-fold table.
    cohort : Cohort
        Of the study.
    settings : dict
        What ``config.yaml`` holds.
    folder : Path
        The run's, whose ``manifest.json`` says when and how it was made.
    """
    target = facts["target"]
    shown = facts["exported"]["model"]
    panels = panels_of(facts, shown, predictions[predictions["model"] == shown])
    overview = draw_target_overview(facts, panels[:1], " ".join(banners(cohort.listing, settings)))
    parts = {
        "result": "Result",
        "meaning": "What the numbers mean",
        "confounds": "Confounds",
        **({"bold": "BOLD runs"} if "bold" in facts else {}),
        "models": "Models",
        "people": "People",
        **({"sessions": "Sessions"} if facts.get("retest") else {}),
        **({"robustness": "Robustness"} if facts.get("permutation") else {}),
    }
    shared = {"bold", "sessions"}
    maps = ", ".join(cohort.listing.contrasts)
    people = people_rows(predictions, shown)
    page = render_page(
        capital(target["title"]),
        parts,
        [f"parts/{'' if one in shared else 'target_'}{one}.html.j2" for one in parts],
        facts,
        cohort,
        settings,
        folder,
        target=target,
        summary=facts.get("summary", ""),
        input=input_line(facts["bold"]) if "bold" in facts else maps,
        exported=shown,
        studied=facts["studied"],
        forest=draw_models(facts),
        pictures=[draw_panel(one) for one in panels],
        columns=figure_columns(facts),
        people=people[:LISTED],
        people_columns=list(people[0]) if people else [],
        n_listed=len(people),
        is_numbered=any(role.rpartition(".")[2] in NUMBERED for role in target["columns"]),
        nulls=_nulls(facts),
        methods=target_methods(cohort, facts, settings),
        tripod=target_tripod(cohort, facts),
    )
    write_run_files(folder, {"figure.png": overview.image, "report.html": page})


def figure_columns(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """List the figures of models, the primary first: key and heading.

    What no model has a number for is left out.
    """
    primary = facts["target"]["primary"]
    names = dict.fromkeys(
        [primary["name"], *(one for own in facts["models"].values() for one in own)]
    )
    return [
        (name, primary["title"] if name == primary["name"] else head_of(name))
        for name in names
        if any(_is_number(own.get(name)) for own in facts["models"].values())
    ]


def head_of(name: str) -> str:
    """Write the name of a figure for readers."""
    words = HEADS.get(name, name.replace("_", " "))
    return re.sub(r"\b(auc|r2|mae|icc|brier)\b", lambda word: CAPITALS[word[0]], words)


def people_rows(predictions: pd.DataFrame, model: str) -> list[dict[str, Any]]:
    """List what is known of each scan, and what a model makes of it out of fold.

    Returns
    -------
    list of dict
        ``participant``, ``scan`` where people have several, outcomes and outputs under their names;
        outputs are means over repeats, scores are left out where there are outputs: those of
        different folds have no common scale.
    """
    rows = predictions[predictions["model"] == model]
    numbers = [name for name in rows.columns if name not in ABOUT]
    outputs = [name for name in numbers if not name.startswith(("outcome_", "score"))]
    told = [name for name in numbers if name.startswith("outcome_")] + (outputs or numbers)
    told = list(dict.fromkeys(told))
    table = rows.groupby(["participant_id", "scan_id"], sort=True)[told].mean().reset_index()
    is_single = table["participant_id"].is_unique
    names = {name: name.removeprefix("outcome_").replace("_", " ") for name in told}
    return [
        {"participant": row["participant_id"]}
        | ({} if is_single else {"scan": row["scan_id"]})
        | {f"{names[name]}{_known(name)}": row[name] for name in told}
        for row in table.to_dict("records")
    ]


def _known(name: str) -> str:
    return " (known)" if name.startswith("outcome_") else ""


def _nulls(facts: Mapping[str, Any]) -> list[Picture]:
    found = facts.get("permutation", {}).get("models", {})
    return [
        draw_null(one, name_of(name, facts["titles"]), "permutation statistic, outcomes exchanged")
        for name, one in found.items()
        if one.get("null")
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value
