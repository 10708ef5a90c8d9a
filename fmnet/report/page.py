"""Write the report of a run, ``report.html``: one self-contained page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from fmnet.data.cohort import Cohort
from fmnet.evaluation.comparison import best_rival
from fmnet.evaluation.conclusions import (
    exported_model,
    further_networks,
    is_corrected,
    not_said_before,
    shortcuts_of,
)
from fmnet.evaluation.metrics import BASE_RATE
from fmnet.inference.calibration import Calibration, calibration_sentence
from fmnet.report.drawing import Picture
from fmnet.report.figures import (
    draw_calibration,
    draw_forest,
    draw_learning_curve,
    draw_null,
    draw_overview,
    draw_roc,
    forest_height,
)
from fmnet.report.methods import input_line, methods_paragraphs, tripod_rows
from fmnet.report.people import FAR, count_calls, listed_people, misjudged, people_table
from fmnet.report.people_figures import draw_calls, draw_probabilities, draw_scores
from fmnet.report.sentences import banners, further_verdicts, name_of
from fmnet.report.shell import render_page
from fmnet.report.signature_figures import draw_words
from fmnet.report.signature_section import signature_section
from fmnet.runs.run_folder import write_run_files

#: Columns of the table of models: metric and heading.
COLUMNS = (
    ("auc", "AUC"),
    ("balanced_accuracy", "balanced accuracy"),
    ("sensitivity", "sensitivity"),
    ("specificity", "specificity"),
    ("mcc", "MCC"),
    ("brier", "Brier"),
    ("log_loss", "log loss"),
    ("ece", "calibration error"),
)


def write_report(
    metrics: Mapping[str, Any],
    predictions: pd.DataFrame,
    cohort: Cohort,
    settings: Mapping[str, Any],
    folder: Path,
) -> None:
    """Write ``figure.png``, ``report.html`` and, where regions were looked for, ``brain.png``.

    `metrics` and `settings` are what ``metrics.json`` and ``config.yaml`` hold; `folder` is the
    run's, whose ``manifest.json`` says when and how it was made.
    """
    titles, listing = metrics["titles"], cohort.listing
    said, exported = banners(listing, settings), exported_model(metrics)
    people = people_table(predictions, exported)
    overview = draw_overview(metrics, people, listing.labels, " ".join(said))
    stat = "" if listing.stat == "n/a" else f", {listing.stat} maps"
    maps = f"{', '.join(listing.contrasts)}{stat}"
    kept = metrics.get("exported", {}).get("calibration")
    curve = metrics.get("learning_curve", {})
    shown = {name: titles[name] for name in shown_models(metrics)}
    of_exported = (listing.labels, name_of(exported, titles))
    signature = None
    if metrics.get("signature"):
        signature = signature_section(metrics["signature"], cohort, folder / "signature")
    parts = {
        "result": "Result",
        **({"signature": "Signature"} if signature else {}),
        "confounds": "Confounds",
        **({"bold": "BOLD runs"} if "bold" in metrics else {}),
        "models": "Models",
        "people": "People",
        **({"sessions": "Sessions"} if metrics.get("retest") else {}),
        "robustness": "Robustness",
    }
    page = render_page(
        f"{listing.labels.positive} against {listing.labels.negative}",
        parts,
        ["signature.html.j2" if name == "signature" else f"parts/{name}.html.j2" for name in parts],
        metrics,
        cohort,
        settings,
        folder,
        further_verdicts=further_verdicts(metrics),
        labels=listing.labels,
        input=input_line(metrics["bold"]) if "bold" in metrics else maps,
        columns=[(key, head) for key, head in COLUMNS if key in metrics["models"][exported]],
        forest=draw_forest(metrics),
        exported=exported,
        base_rate=BASE_RATE,
        is_corrected=is_corrected(metrics),
        network_findings=network_findings(metrics),
        studied=metrics["studied"],
        choices=choice_rows(metrics),
        signature=signature,
        # who wrote no base rate meant that of the training scans
        calibration_words=calibration_sentence(Calibration(**({"base_rate": None} | kept)))
        if kept
        else "",
        scores=draw_scores(people, *of_exported, forest_height(metrics)),
        roc=draw_roc(predictions, shown),
        calibration=draw_calibration(predictions, shown),
        nulls=_nulls(metrics, shown),
        n_repeats=predictions["repeat"].nunique(),
        calls=draw_calls(count_calls(predictions, exported), *of_exported),
        probabilities=draw_probabilities(people, *of_exported),
        people=listed_people(people).to_dict("records"),
        n_listed=len(people),
        far=people[people["is_far"]].to_dict("records"),
        far_from=FAR,
        misjudged=misjudged(people).to_dict("records"),
        has_shortcuts=bool(shortcuts_of(metrics)),
        rerun_models=rerun_models(metrics),
        learning_curve=draw_learning_curve(curve, titles) if curve.get("points") else None,
        methods=methods_paragraphs(cohort, metrics, settings),
        tripod=tripod_rows(cohort, metrics),
    )
    files: dict[str, str | bytes] = {"figure.png": overview.image}
    if signature:  # where there is no map to be drawn, that is said instead
        brains = [*signature["pictures"], draw_words(signature["verdict"])]
        files["brain.png"] = brains[0].image
    obsolete = () if signature else ("brain.png",)  # of an earlier call
    write_run_files(folder, files | {"report.html": page}, obsolete)


def shown_models(metrics: Mapping[str, Any]) -> list[str]:
    """Choose what is drawn as curves.

    The exported model, the one studied, the best linear model or else any that knows anything, and
    further networks.
    """
    models, kinds, studied = metrics["models"], metrics["kinds"], metrics["studied"]
    others = [name for name in models if name != studied and kinds.get(name) != "chance"]
    rival = best_rival(models, kinds) or next(iter(others), studied)
    further = further_networks(metrics)
    return list(dict.fromkeys([exported_model(metrics), studied, rival, *further]))


def network_findings(metrics: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """List what the audit says of the network and not of the exported model."""
    network = metrics.get("audit_network", {}).get("findings", [])
    return not_said_before(network, metrics.get("audit", {}).get("findings", []))


def choice_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List what export takes if it is asked for nothing, the network, or the linear model.

    Returns
    -------
    list of dict
        ``asked``; ``model``; ``among``; ``auc`` and ``auc_corrected`` with their intervals; ``p``,
        None where it isn't known. Empty for runs of earlier versions.
    """
    exported, models = metrics.get("exported", {}), metrics["models"]
    if not is_corrected(metrics):
        return []
    asked = {"model=auto": exported} | {
        f"model={name}": one for name, one in exported.get("if_asked", {}).items()
    }
    return [
        {"asked": name, "p": None}
        | one
        | {key: models[one["model"]][key] for key in ("auc", "auc_ci")}
        for name, one in asked.items()
    ]


def rerun_models(metrics: Mapping[str, Any]) -> list[str]:
    """Name the models that every rerun holds, in the order of the main table."""
    done = [
        rerun["models"] for rerun in metrics.get("sensitivity", {}).values() if "models" in rerun
    ]
    return [name for name in metrics["models"] if done and all(name in models for models in done)]


def _nulls(metrics: Mapping[str, Any], models: Mapping[str, str]) -> list[Picture]:
    found = metrics.get("permutation", {})
    tested = found.get("models", {})
    drawn = [(tested[name], title) for name, title in models.items() if name in tested]
    if (chosen := found.get("chosen")) and len(chosen["among"]) > 1:
        drawn.insert(0, (chosen, f"largest of {len(chosen['among'])} models"))
    return [draw_null(*one) for one in drawn]
