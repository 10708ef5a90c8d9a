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
        said = ", ".join(f"{names.get(name, name)} {_figure(models[name])}" for name in alarming)
        sentences.append(
            f"Before this is read as a brain signature, know that {said} does as well."
        )
    grave = [one for one in metrics.get("findings", []) if one["severity"] == "red"]
    if n := len(grave) - len(alarming):
        sentences.append(f"{n} {'warning' if n == 1 else 'warnings'} about confounds below.")
    return " ".join(sentences)


def best_rival(models: Mapping[str, Any]) -> str:
    """Name the linear model with the largest AUC; empty if there is none."""
    linear = {name: models[name]["auc"] for name in LINEAR if name in models}
    return max(linear, key=lambda name: linear[name]) if linear else ""


def _chance_sentence(metrics: Mapping[str, Any], names: Mapping[str, str]) -> str:
    network = metrics["models"][NETWORK]
    head = f"{names.get(NETWORK, NETWORK)}: AUC {_figure(network)}"
    found = metrics.get("permutation", {}).get("models", {}).get(NETWORK)
    if found is not None:
        tested = f"p = {found['p']:.3f} over {metrics['permutation']['n']} permutations"
        is_above = found["p"] < ALPHA
        return f"{head}, {'above' if is_above else 'not distinguishable from'} chance ({tested})."
    low, high = network["auc_ci"]
    if low <= 0.5 <= high:
        return f"{head}, not distinguishable from chance."
    side = "above" if low > 0.5 else "below"
    return f"{head}, {side} chance by its interval; no permutation test was run."


def _rival_sentence(metrics: Mapping[str, Any], rival: str, names: Mapping[str, str]) -> str:
    row = next(
        (c for c in metrics.get("comparisons", []) if {c["one"], c["other"]} == {NETWORK, rival}),
        None,
    )
    other = f"{names.get(rival, rival)} {_figure(metrics['models'][rival])}"
    if row is None or row["p_holm"] is None:
        return f"{other} stands in the same folds; the two were not compared."
    if row["p_holm"] >= ALPHA:
        return f"It is not distinguishable from {other}."
    gain = row["difference"] if row["one"] == NETWORK else -row["difference"]
    return f"It is {'better' if gain > 0 else 'worse'} than {other} (p = {row['p_holm']:.3f})."


def _figure(figures: Mapping[str, Any]) -> str:
    low, high = figures["auc_ci"]
    return f"{figures['auc']:.2f} [{low:.2f}, {high:.2f}]"
