"""What the figures allow to be said, in a sentence or three."""

from collections.abc import Mapping
from typing import Any

from fmnet.study.crossval import NETWORK
from fmnet.study.findings import rival_shortcuts

LINEAR = ("linear_svm", "logistic_ridge", "frem", "space_net")
ALPHA = 0.05


def verdict(metrics: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Judge a study by its figures, claiming nothing that they don't show.

    Parameters
    ----------
    metrics : dict
        What ``metrics.json`` holds: ``models``, ``comparisons``, perhaps ``permutation`` and
        ``findings``.
    names : dict
        Names of models for people.
    """
    models = metrics["models"]
    sentences = [_chance_sentence(metrics, names)]
    if best := best_rival(models):
        sentences.append(_rival_sentence(metrics, best, names))
    alarming = rival_shortcuts(models)
    if alarming:
        said = " and ".join(f"{names.get(name, name)} {_figure(models[name])}" for name in alarming)
        verb = "reaches" if len(alarming) == 1 else "reach"
        sentences.append(
            f"Before this is read as a brain signature, know that {said} {verb} as far."
        )
    grave = [one for one in metrics.get("findings", []) if one["severity"] == "red"]
    if n := len(grave) - len(alarming):
        sentences.append(f"{n} {'warning' if n == 1 else 'warnings'} about confounds below.")
    return " ".join(sentences)


def best_rival(models: Mapping[str, Any]) -> str:
    """Name the linear model with the largest AUC; empty if there is none."""
    linear = {name: models[name]["auc"] for name in LINEAR if name in models}
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
    head = f"{names.get(NETWORK, NETWORK)}: AUC {_figure(metrics['models'][NETWORK])}"
    found = metrics.get("permutation", {}).get("models", {}).get(NETWORK)
    if found is None:
        return f"{head}; whether that is above chance was not tested (permutation.n=100 would)."
    n, repeats = metrics["permutation"]["n"], metrics["permutation"]["n_repeats"]
    where = "first repeat" if repeats == 1 else f"first {repeats} repeats"
    tested = f"{where}: AUC {found['observed']:.2f} against {n} permutations, p = {found['p']:.3f}"
    if 1 / (n + 1) >= ALPHA:
        return f"{head}; {n} permutations are too few to tell it from chance ({tested})."
    verb = "above" if is_above_chance(metrics) else "not distinguishable from"
    return f"{head}, {verb} chance ({tested})."


def _rival_sentence(metrics: Mapping[str, Any], rival: str, names: Mapping[str, str]) -> str:
    row = comparison_with(metrics, rival)
    other = f"{names.get(rival, rival)} {_figure(metrics['models'][rival])}"
    if row is None or row["p_holm_first"] is None:
        return f"{other} stands in the same folds; the two could not be tested."
    if row["p_holm_first"] >= ALPHA:
        return f"It is not distinguishable from {other}."
    gain = row["difference"] if row["one"] == NETWORK else -row["difference"]
    return (
        f"It is {'better' if gain > 0 else 'worse'} than {other} (p = {row['p_holm_first']:.3f})."
    )


def _figure(figures: Mapping[str, Any]) -> str:
    low, high = figures["auc_ci"]
    return f"{figures['auc']:.2f} [{low:.2f}, {high:.2f}]"
