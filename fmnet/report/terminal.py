"""The results of a study in a few lines for the terminal."""

from collections.abc import Mapping
from textwrap import wrap
from typing import Any

from fmnet.data.listing import Listing
from fmnet.evaluation.conclusions import is_corrected
from fmnet.inference.study_results import say_p
from fmnet.report.methods import runs_line
from fmnet.report.sentences import (
    banners,
    capital,
    count,
    further_verdicts,
    name_of,
    stopped,
    with_interval,
)
from fmnet.report.signature_words import signature_verdict

#: Of lines.
WIDTH = 100


def summary_lines(
    metrics: Mapping[str, Any], listing: Listing, settings: Mapping[str, Any]
) -> list[str]:
    """Say the results in a few lines: verdict, what speaks against it, then each model."""
    labels = listing.labels
    head = (
        f"{labels.positive} against {labels.negative}: {metrics['n_scans']} scans of "
        f"{metrics['n_subjects']} people, {metrics['n_positive']} {labels.positive}"
    )
    grave = [one["text"] for one in metrics["findings"] if one["severity"] == "red"]
    # the p-values of single models
    planned = (
        "; p of each model as if it alone had been planned" if "permutation" in metrics else ""
    )
    lines = metrics.get("learning_curve", {}).get("lines", [])
    curve = ["How many people would be enough:"] if lines else []
    curve += [part for line in lines for part in _wrap(line, "  ", "    ")]
    signature = metrics.get("signature")
    where = ["", *_wrap(signature_verdict(signature))] if signature else []
    return [
        " ".join([*banners(listing, settings), head]),
        *(_wrap(runs_line(metrics["bold"])) if "bold" in metrics else []),
        "",
        *_wrap(metrics["verdict"]),
        *(line for text in grave for line in _wrap(f"! {text}", hanging="  ")),
        *(line for text in further_verdicts(metrics) for line in ("", *_wrap(text))),
        *where,
        "",
        f"Out of fold, 95 % intervals over subjects{planned}:",
        *model_lines(metrics),
        *_rerun_lines(metrics),
        *curve,
        "",
    ]


def target_summary_lines(
    facts: Mapping[str, Any], listing: Listing, settings: Mapping[str, Any]
) -> list[str]:
    """Say the results of a study of a target in a few lines: verdict first, then each model."""
    target, titles = facts["target"], facts["titles"]
    primary, models = target["primary"], facts["models"]
    head = (
        f"{capital(target['title'])}: {count(facts['n_scans'], 'scan')} of "
        f"{facts['n_subjects']} people."
    )
    summary = stopped(facts["summary"]) if facts.get("summary") else ""
    said = " ".join(filter(None, [*banners(listing, settings), head, summary]))
    tested = facts.get("permutation", {}).get("models", {})
    planned = "; p of each model as if it alone had been planned" if tested else ""
    width = max(len(name_of(name, titles)) for name in models)
    lines = [
        f"  {name_of(name, titles):<{width}}  {with_interval(figures, primary['name'])}"
        + (f"   {say_p(tested[name]['p'])}" if name in tested else "")
        for name, figures in models.items()
    ]
    marks = {"red": "! ", "amber": "- "}
    return [
        *_wrap(said),
        *(_wrap(runs_line(facts["bold"])) if "bold" in facts else []),
        "",
        *(
            line
            for one in facts["verdict"]
            for line in _wrap(
                f"{marks.get(one['severity'], '')}{stopped(one['text'])}", hanging="  "
            )
        ),
        "",
        *_wrap(
            f"{capital(primary['title'])}, out of fold, 95 % intervals over people{planned}; "
            f"{primary['chance']:g} is what knows nothing:"
        ),
        *lines,
        "",
    ]


def model_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Say what each model reached, one line each, with its p-value where there is one."""
    titles = {name: name_of(name, metrics["titles"]) for name in metrics["models"]}
    width = max(map(len, titles.values()))
    exported, tested = metrics.get("exported", {}), metrics.get("permutation", {}).get("models", {})
    lines = []
    for name, figures in metrics["models"].items():
        p = f"   {say_p(tested[name]['p'])}" if name in tested else ""
        lines.append(
            f"  {titles[name]:<{width}}  AUC {with_interval(figures, 'auc')}   "
            f"balanced accuracy {figures['balanced_accuracy']:.2f}{p}"
        )
        if name == exported.get("model") and is_corrected(metrics):
            p = f"   {say_p(exported['p'])}" if "p" in exported else ""
            corrected = with_interval(exported, "auc_corrected")
            lines.append(f"  {'':<{width}}  AUC {corrected}   corrected for its choice{p}")
    return lines


def _rerun_lines(metrics: Mapping[str, Any]) -> list[str]:
    reruns = metrics["sensitivity"].values()
    if not reruns:
        return []
    lines = [f"The {name_of(metrics['studied'], metrics['titles'])} with one thing changed:"]
    for rerun in reruns:
        if rerun["lacking"]:
            lacking = f"{rerun['title']}: not run; needs {rerun['lacking']}"
            lines += _wrap(lacking, "  ", "    ")
        else:
            figure = with_interval(rerun["models"][metrics["studied"]], "auc")
            lines.append(f"  {rerun['title']} ({rerun['n_subjects']} people): AUC {figure}")
    return lines


def _wrap(text: str, indent: str = "", hanging: str = "") -> list[str]:
    return wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
