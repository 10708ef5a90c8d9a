"""What the figures allow to be said, in a sentence or three."""

from collections.abc import Mapping
from typing import Any

from fmnet.deploy.choice import CHANCE
from fmnet.deploy.model_card import linear_sentence
from fmnet.deploy.series_preparation import SERIES
from fmnet.study.audit.motion import EXPLAINED
from fmnet.study.comparison import say_p
from fmnet.study.crossval import NETWORK
from fmnet.study.findings import rival_shortcuts

LINEAR = ("linear_svm", "logistic_ridge", "shrinkage_lda", "frem", "space_net")
#: Linear in connections between time courses, which only BOLD has.
CONNECTIVITY = ("connectivity_tangent", "connectivity_correlation", "connectivity_partial")
ALPHA = 0.05


def verdict(metrics: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Judge a study by its figures, claiming nothing that they don't show.

    Parameters
    ----------
    metrics : dict
        What ``metrics.json`` holds: ``models``, ``comparisons``, perhaps ``permutation``,
        ``findings``, ``path_shares`` and ``exported``.
    names : dict
        Names of models for people.
    """
    models = metrics["models"]
    sentences = [_chance_sentence(metrics, names)]
    grave = [one for one in metrics.get("findings", []) if one["severity"] == "red"]
    if any(one["text"].startswith(EXPLAINED) for one in grave):
        sentences.append(f"{EXPLAINED}, see below.")
    if said := _linear_sentence(metrics):
        sentences.append(said)
    if best := best_rival(models):
        sentences.append(_rival_sentence(metrics, best, names))
    alarming = rival_shortcuts(models)
    if alarming:
        said = " and ".join(f"{names.get(name, name)} {_figure(models[name])}" for name in alarming)
        verb = "reaches" if len(alarming) == 1 else "reach"
        sentences.append(
            f"Before this is read as a brain signature, know that {said} {verb} as far."
        )
    if n := len(grave) - len(alarming):
        sentences.append(f"{n} {'warning' if n == 1 else 'warnings'} about confounds below.")
    if "exported" in metrics:
        sentences.append(_export_sentence(models, metrics["exported"], names))
    return " ".join(sentences)


def best_rival(models: Mapping[str, Any]) -> str:
    """Name the linear model with the largest AUC; empty if there is none."""
    names = (*LINEAR, *CONNECTIVITY)
    linear = {name: models[name]["auc"] for name in names if name in models}
    return max(linear, key=lambda name: linear[name]) if linear else ""


def comparison_with(metrics: Mapping[str, Any], rival: str) -> Mapping[str, Any] | None:
    """Find the comparison of the network with a rival; None if there is none."""
    pair = {NETWORK, rival}
    return next((c for c in metrics.get("comparisons", []) if {c["one"], c["other"]} == pair), None)


def is_above_chance(metrics: Mapping[str, Any]) -> bool:
    """Tell whether permutations put the network above chance."""
    found = metrics.get("permutation", {}).get("models", {}).get(NETWORK)
    return found is not None and found["p"] < ALPHA and found["observed"] > 0.5


def _chance_sentence(metrics: Mapping[str, Any], names: Mapping[str, str]) -> str:
    name = names.get(NETWORK, NETWORK)
    head = f"{name[0].upper()}{name[1:]}: AUC {_figure(metrics['models'][NETWORK])}"
    found = metrics.get("permutation", {}).get("models", {}).get(NETWORK)
    if found is None:
        return f"{head}; whether that is above chance was not tested (permutation.n=100 would)."
    n, repeats = metrics["permutation"]["n"], metrics["permutation"]["n_repeats"]
    where = "first repeat" if repeats == 1 else f"first {repeats} repeats"
    tested = f"{where}: AUC {found['observed']:.2f} against {n} permutations, {say_p(found['p'])}"
    if 1 / (n + 1) >= ALPHA:
        return f"{head}; {n} permutations are too few to tell it from chance ({tested})."
    verb = "above" if is_above_chance(metrics) else "not distinguishable from"
    return f"{head}, {verb} chance ({tested})."


def _rival_sentence(metrics: Mapping[str, Any], rival: str, names: Mapping[str, str]) -> str:
    """Say whether the network adds anything to the best linear model."""
    row = comparison_with(metrics, rival)
    own, title = names.get(NETWORK, NETWORK), names.get(rival, rival)
    other = f"{title} ({_figure(metrics['models'][rival])})"
    if row is None or row["p_holm_first"] is None:
        return f"The {other} stands in the same folds; the two could not be tested."
    sign = 1 if row["one"] == NETWORK else -1
    p = row["p_holm_first"]
    # what is rounded by itself may not add up
    aucs = " against ".join(f"{metrics['models'][name]['auc']:.3f}" for name in (NETWORK, rival))
    shown = f"AUC difference {_difference(row, sign)} ({aucs}), corrected {say_p(p)}."
    if p >= ALPHA:
        return f"On these folds the {own} adds nothing to the {other} that can be shown: {shown}"
    verb = "better" if sign * row["difference"] > 0 else "worse"
    return f"On these folds the {own} is {verb} than the {other}: {shown}"


def _linear_sentence(metrics: Mapping[str, Any]) -> str:
    """Say how much of the final network's score a linear map would give as well."""
    known = {"path_shares": metrics.get("path_shares"), "n_epochs": metrics.get("final_epochs")}
    return linear_sentence(known, metrics.get("bold", {}).get("reads") == SERIES)


def _difference(row: Mapping[str, Any], sign: int) -> str:
    """Write a difference, other minus one where the sign is -1: ``+0.02 [-0.05, +0.09]``."""
    text = f"{sign * row['difference'] + 0.0:+.2f}"  # 0.0 for -0.0
    if row.get("ci") is None:
        return text
    low, high = sorted(sign * edge for edge in row["ci"])
    return f"{text} [{low:+.2f}, {high:+.2f}]"


def _export_sentence(
    models: Mapping[str, Any], exported: Mapping[str, Any], names: Mapping[str, str]
) -> str:
    """Say which final model export takes, why, and whether a better one can't be exported."""
    name, best = exported["model"], best_rival(models)
    said = f"Export takes the {names.get(name, name)}: {exported['why']}."
    if models[name]["auc_ci"][0] <= CHANCE:
        said += " Its interval reaches 0.5 or less, so that it takes allow_uninformative=true."
    if best and best not in exported["among"] and models[best]["auc"] > models[name]["auc"]:
        other, auc = names.get(best, best), models[best]["auc"]
        said += f" {other[0].upper()}{other[1:]} reaches more, {auc:.3f}, but can't be exported."
    return said


def _figure(figures: Mapping[str, Any]) -> str:
    low, high = figures["auc_ci"]
    return f"{figures['auc']:.2f} [{low:.2f}, {high:.2f}]"
