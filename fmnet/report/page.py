"""Write the report of a run, ``report.html``: one self-contained page."""

import base64
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, select_autoescape

from fmnet.data.cohort import Cohort
from fmnet.errors import printable
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
from fmnet.inference.study_results import say_p
from fmnet.report.figures import (
    draw_calibration,
    draw_forest,
    draw_learning_curve,
    draw_null,
    draw_overview,
    draw_roc,
    draw_scores,
)
from fmnet.report.methods import input_line, mean_sd, methods_paragraphs, tripod_rows, volumes_words
from fmnet.report.sentences import banners, further_verdicts, name_of, with_interval
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
#: How many misjudged scans are listed.
MISJUDGED = 10


def write_report(
    metrics: Mapping[str, Any],
    predictions: pd.DataFrame,
    cohort: Cohort,
    settings: Mapping[str, Any],
    folder: Path,
) -> None:
    """Write ``figure.png`` and ``report.html``.

    `metrics` and `settings` are what ``metrics.json`` and ``config.yaml`` hold.
    """
    titles, listing = metrics["titles"], cohort.listing
    said, exported = banners(listing, settings), exported_model(metrics)
    overview = draw_overview(metrics, predictions, listing.labels, " ".join(said))
    stat = "" if listing.stat == "n/a" else f", {listing.stat} maps"
    maps = f"{', '.join(listing.contrasts)}{stat}"
    kept = metrics.get("exported", {}).get("calibration")
    curve = metrics.get("learning_curve", {})
    shown = {name: titles[name] for name in shown_models(metrics)}
    table = cohort.table()
    page = _template(titles).render(
        metrics=metrics,
        banners=said,
        further_verdicts=further_verdicts(metrics),
        labels=listing.labels,
        input=input_line(metrics["bold"]) if "bold" in metrics else maps,
        columns=[(key, head) for key, head in COLUMNS if key in metrics["models"][exported]],
        forest=_inline(draw_forest(metrics)),
        exported=exported,
        base_rate=BASE_RATE,
        is_corrected=is_corrected(metrics),
        network_findings=network_findings(metrics),
        studied=metrics["studied"],
        choices=choice_rows(metrics),
        # who wrote no base rate meant that of the training scans
        calibration_words=calibration_sentence(Calibration(**({"base_rate": None} | kept)))
        if kept
        else "",
        scores=_inline(draw_scores(predictions, exported, listing.labels, titles[exported])),
        roc=_inline(draw_roc(predictions, shown)),
        calibration=_inline(draw_calibration(predictions, shown)),
        nulls=_nulls(metrics, shown),
        is_repeated=predictions["repeat"].nunique() > 1,
        misjudged=misjudged(predictions, exported).to_dict("records"),
        has_shortcuts=bool(shortcuts_of(metrics)),
        rerun_models=rerun_models(metrics),
        learning_curve=_inline(draw_learning_curve(curve, titles)) if curve.get("points") else "",
        methods=methods_paragraphs(cohort, metrics, settings),
        tripod=tripod_rows(cohort, metrics),
        left_out=table[table["used"] == "no"].to_dict("records"),
        set_aside=table[table["used"] == "lock-box"].to_dict("records"),
        notes=table[table["notes"] != ""].to_dict("records"),
    )
    page = "\n".join(map(printable, page.split("\n")))  # it may be read in a terminal
    write_run_files(folder, {"figure.png": overview, "report.html": page})


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


def misjudged(predictions: pd.DataFrame, model: str) -> pd.DataFrame:
    """List the scans that a model put on the wrong side, the surest first.

    Returns
    -------
    DataFrame
        ``scan_id, label, probability`` (mean over repeats) and ``fraction``, of repeats with a
        wrong call.
    """
    rows = predictions[predictions["model"] == model]
    wrong = (rows["probability"] > BASE_RATE) != (rows["label"] == 1)
    by_scan = rows.assign(fraction=wrong).groupby("scan_id", as_index=False)
    means = by_scan[["label", "probability", "fraction"]].mean()
    means = means[means["fraction"] > 0.5].astype({"label": int})
    errors = (means["probability"] - means["label"]).abs()
    surest = errors.sort_values(ascending=False, kind="stable")
    return means.loc[surest.index].head(MISJUDGED)


def _template(titles: Mapping[str, str]) -> Any:
    environment = Environment(
        loader=PackageLoader("fmnet.report", package_path=""),
        autoescape=select_autoescape(default=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "model": partial(name_of, titles=titles),
        "p_cell": lambda p: say_p(p).removeprefix("p ").removeprefix("= "),  # its heading says p
    }
    for word in (with_interval, mean_sd, volumes_words):
        environment.globals[word.__name__] = word
    return environment.get_template("report.html.j2")


def _nulls(metrics: Mapping[str, Any], models: Mapping[str, str]) -> list[str]:
    found = metrics.get("permutation", {})
    tested = found.get("models", {})
    drawn = [(tested[name], title) for name, title in models.items() if name in tested]
    if (chosen := found.get("chosen")) and len(chosen["among"]) > 1:
        drawn.insert(0, (chosen, f"largest of {len(chosen['among'])} models"))
    return [_inline(draw_null(*one)) for one in drawn]


def _inline(image: bytes) -> str:
    return base64.b64encode(image).decode()
