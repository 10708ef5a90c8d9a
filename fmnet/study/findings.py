"""What a reader has to know before a result is read as one about the brain."""

from collections.abc import Mapping
from typing import Any

from fmnet.study.audit.motion import EXPLAINED
from fmnet.study.crossval import NETWORK
from fmnet.study.report.words import name_of, with_interval

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

Finding = dict[str, str]


def all_findings(metrics: Mapping[str, Any]) -> list[Finding]:
    """Collect what shortcuts, confounds and reruns say, the grave first and motion before them.

    Returns
    -------
    list of dict
        ``severity``, ``red`` where it explains or undoes the result, else ``amber``; ``text``.
    """
    found = [
        *shortcut_findings(metrics["models"]),
        *metrics.get("audit", {}).get("findings", []),
        *rerun_findings(metrics["models"], metrics.get("sensitivity", {})),
    ]
    return sorted(
        found, key=lambda one: (one["severity"] != "red", not one["text"].startswith(EXPLAINED))
    )


def rival_shortcuts(models: Mapping[str, Any]) -> list[str]:
    """Name the shortcuts that reach the network's interval, where either may be above chance."""
    own = models[NETWORK]
    telling = [name for name in _telling(models) if models[name]["auc"] >= own["auc_ci"][0]]
    if own["auc_ci"][0] <= 0.5:
        return telling
    better = [n for n in SHORTCUTS if n in models and models[n]["auc"] >= own["auc"]]
    return [name for name in SHORTCUTS if name in {*telling, *better}]


def shortcut_findings(models: Mapping[str, Any]) -> list[Finding]:
    """Say which models without brain activity tell the groups apart."""
    grave, network = rival_shortcuts(models), with_interval(models[NETWORK], "auc")
    return [
        _finding(
            name in grave,
            f"{name_of(name)} reaches AUC {with_interval(models[name], 'auc')} without looking at "
            f"any region of the brain; the network reaches {network}.",
        )
        for name in SHORTCUTS
        if name in {*_telling(models), *grave}
    ]


def rerun_findings(models: Mapping[str, Any], reruns: Mapping[str, Any]) -> list[Finding]:
    """Say in which reruns an interval above 0.5 is lost."""
    own = models[NETWORK]
    if own["auc_ci"][0] <= 0.5:
        return []
    found = []
    for rerun in reruns.values():
        if rerun["lacking"]:
            continue
        again = rerun["models"][NETWORK]
        if again["auc_ci"][0] <= 0.5:
            is_lost = again["auc"] < own["auc_ci"][0]
            text = (
                f"{rerun['title'].capitalize()} ({rerun['n_subjects']} people): the network "
                f"reaches AUC {with_interval(again, 'auc')}, an interval that holds 0.5; "
                f"{with_interval(own, 'auc')} before."
            )
            found.append(_finding(is_lost, text))
    return found


def _telling(models: Mapping[str, Any]) -> list[str]:
    return [name for name in SHORTCUTS if name in models and models[name]["auc_ci"][0] > 0.5]


def _finding(is_grave: bool, text: str) -> Finding:
    return {"severity": "red" if is_grave else "amber", "text": text[0].upper() + text[1:]}
