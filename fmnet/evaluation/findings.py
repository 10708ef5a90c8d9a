"""What a reader has to know before a result is read as one about the brain."""

from collections.abc import Mapping
from typing import Any

from fmnet.crossval.fold_loop import NETWORK
from fmnet.evaluation.motion import EXPLAINED
from fmnet.inference.study_results import without_model
from fmnet.report.words import name_of, with_interval

#: Models that see no region of the brain: where one does as well as the network, it may be all
#: there is. A strong effect shows in some of them too, as larger values.
SHORTCUTS = (
    "covariates",
    "motion",
    "temporal_snr",
    "file_grid",
    "coverage",
    "scale",
    "roughness",
)

#: What a finding on people who may be one is about; the verdict has a sentence for it.
ALIKE = "people who may be one"

Finding = dict[str, str]


def all_findings(metrics: Mapping[str, Any]) -> list[Finding]:
    """Collect what shortcuts, confounds and reruns say, the grave first and motion before them.

    What they are held against is the model that is exported; of reruns, the network as well.

    Returns
    -------
    list of dict
        ``severity``, ``red`` where it explains or undoes the result, else ``amber``; ``text``;
        ``about``, the column, model or rerun in a word or two, empty where there is none.
    """
    models, titles = metrics["models"], metrics.get("titles", {})
    exported = exported_model(metrics)
    audit, reruns = metrics.get("audit", {}), metrics.get("sensitivity", {})
    found = [
        *shortcut_findings(models, exported, titles),
        *({"about": ""} | one for one in audit.get("findings", [])),
        *(
            one
            for name in dict.fromkeys([exported, NETWORK])
            for one in rerun_findings(models, reruns, name, titles)
        ),
    ]
    return sorted(
        found, key=lambda one: (one["severity"] != "red", not one["text"].startswith(EXPLAINED))
    )


def exported_model(metrics: Mapping[str, Any]) -> str:
    """Name the model that export takes, which a study is about; the network in earlier runs."""
    return str(metrics.get("exported", {}).get("model", NETWORK))


def network_findings(metrics: Mapping[str, Any]) -> list[Finding]:
    """List what the audit says of the network beside what it says of the exported model."""
    said = {without_model(one["text"]) for one in metrics.get("audit", {}).get("findings", [])}
    network = metrics.get("audit_network", {}).get("findings", [])
    return [one for one in network if without_model(one["text"]) not in said]


def rival_shortcuts(models: Mapping[str, Any], model: str = NETWORK) -> list[str]:
    """Name the shortcuts that reach a model's interval, where either may be above chance."""
    own = models[model]
    telling = [name for name in _telling(models) if models[name]["auc"] >= own["auc_ci"][0]]
    if own["auc_ci"][0] <= 0.5:
        return telling
    better = [n for n in SHORTCUTS if n in models and models[n]["auc"] >= own["auc"]]
    return [name for name in SHORTCUTS if name in {*telling, *better}]


def shortcut_findings(
    models: Mapping[str, Any], model: str, titles: Mapping[str, str]
) -> list[Finding]:
    """Say which models without brain activity tell the groups apart, beside one that has it."""
    grave, own = rival_shortcuts(models, model), with_interval(models[model], "auc")
    return [
        _finding(
            name in grave,
            f"{name_of(name)} reaches AUC {with_interval(models[name], 'auc')} without looking at "
            f"any region of the brain; the {name_of(model, titles)} reaches {own}.",
            name_of(name),
        )
        for name in SHORTCUTS
        if name in {*_telling(models), *grave}
    ]


def rerun_findings(
    models: Mapping[str, Any], reruns: Mapping[str, Any], model: str, titles: Mapping[str, str]
) -> list[Finding]:
    """Say in which reruns a model's interval above 0.5 is lost."""
    own = models[model]
    if own["auc_ci"][0] <= 0.5:
        return []
    found = []
    for rerun in reruns.values():
        if rerun["lacking"] or model not in rerun["models"]:
            continue
        again = rerun["models"][model]
        if again["auc_ci"][0] <= 0.5:
            is_lost = again["auc"] < own["auc_ci"][0]
            text = (
                f"{rerun['title'].capitalize()} ({rerun['n_subjects']} people): the "
                f"{name_of(model, titles)} reaches AUC {with_interval(again, 'auc')}, an interval "
                f"that reaches 0.5 or less; {with_interval(own, 'auc')} before."
            )
            found.append(_finding(is_lost, text, rerun["title"]))
    return found


def _telling(models: Mapping[str, Any]) -> list[str]:
    return [name for name in SHORTCUTS if name in models and models[name]["auc_ci"][0] > 0.5]


def _finding(is_grave: bool, text: str, about: str) -> Finding:
    severity = "red" if is_grave else "amber"
    return {"severity": severity, "text": text[0].upper() + text[1:], "about": about}
