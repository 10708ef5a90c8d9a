"""What the figures allow to be said, in a sentence or three."""

from collections.abc import Mapping, Sequence
from typing import Any

from fmnet.crossval.fold_loop import NETWORK
from fmnet.evaluation.findings import ALIKE, exported_model, network_findings, rival_shortcuts
from fmnet.evaluation.intervals import is_below_chance
from fmnet.evaluation.motion import EXPLAINED
from fmnet.inference.model_card import linear_sentence
from fmnet.inference.preparation import SERIES
from fmnet.inference.study_results import ALPHA, CHANCE, can_tell, figure, say_p
from fmnet.report.words import is_corrected

LINEAR = ("linear_svm", "logistic_ridge", "shrinkage_lda", "frem", "space_net")
#: Linear in connections between time courses, which only BOLD has.
CONNECTIVITY = ("connectivity_tangent", "connectivity_correlation", "connectivity_partial")
#: How many columns, models or reruns are named of those that warnings are about.
MOST_NAMED = 4
#: What a p-value of the network's own holds for.
ALONE = "as if it alone had been planned"


def verdict(metrics: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Judge a study by its figures, claiming nothing that they don't show.

    The first sentence is about the model that is exported; where that isn't the network, another is
    about the network by itself.

    Parameters
    ----------
    metrics : dict
        What ``metrics.json`` holds: ``models``, ``comparisons``, perhaps ``permutation``,
        ``findings``, ``path_shares``, ``exported`` and ``audit_network``.
    names : dict
        Names of models for people.
    """
    models, exported = metrics["models"], exported_model(metrics)
    is_choice = len(metrics.get("exported", {}).get("among", [])) > 1
    first = _choice_sentence if is_choice else _network_sentence
    sentences = [first(metrics, names)]
    grave = [one for one in metrics.get("findings", []) if one["severity"] == "red"]
    if any(one["text"].startswith(EXPLAINED) for one in grave):
        sentences.append(f"{EXPLAINED}, see below.")
    if alike := {who for group in _look_alikes(metrics) for who in group["people"]}:
        sentences.append(
            f"None of this holds if people are in it twice: the maps of {len(alike)} are as alike "
            "as those of one person under several names, see below."
        )
    if is_choice:
        sentences.append(_alone_sentence(metrics, names))
    sentences.append(_below_sentence(models, [exported, NETWORK], names))
    sentences.append(_linear_sentence(metrics, exported))
    if best := best_rival(models):
        sentences.append(_rival_sentence(metrics, best, names))
    alarming = rival_shortcuts(models, exported)
    if alarming:
        said = " and ".join(f"{names.get(name, name)} {_figure(models[name])}" for name in alarming)
        verb = "reaches" if len(alarming) == 1 else "reach"
        sentences.append(
            f"Before this is read as a brain signature, know that {said} {verb} as far."
        )
    sentences.append(_warning_sentence(metrics, [names.get(name, name) for name in alarming]))
    if "exported" in metrics:
        sentences.append(_export_sentence(metrics, metrics["exported"], names))
    return " ".join(filter(None, sentences))


def best_rival(models: Mapping[str, Any]) -> str:
    """Name the linear model with the largest AUC; empty if there is none."""
    names = (*LINEAR, *CONNECTIVITY)
    linear = {name: models[name]["auc"] for name in names if name in models}
    return max(linear, key=lambda name: linear[name]) if linear else ""


def comparison_with(metrics: Mapping[str, Any], rival: str) -> Mapping[str, Any] | None:
    """Find the comparison of the network with a rival; None if there is none."""
    pair = {NETWORK, rival}
    return next((c for c in metrics.get("comparisons", []) if {c["one"], c["other"]} == pair), None)


def _network_sentence(metrics: Mapping[str, Any], names: Mapping[str, str], alone: str = "") -> str:
    """Say what the network reaches, and whether that is above chance by its own p-value."""
    name = _capital(names.get(NETWORK, NETWORK))
    reached = f"AUC {_figure(metrics['models'][NETWORK])}"
    head = f"{name}{alone}: {reached}"
    found = metrics.get("permutation", {}).get("models", {}).get(NETWORK)
    # the exported model's sentence says then that nothing was tested
    if alone and "permutation" not in metrics:
        return f"{name} by itself: {reached}."
    if found is None:
        return f"{head}; whether that is above chance was not tested (permutation.n=100 would)."
    n = metrics["permutation"]["n"]
    against = f"{n} permutations, {say_p(found['p'])}"
    return f"{head}{_judge_chance(metrics, NETWORK, found['p'], against)}."


def _choice_sentence(metrics: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Say what the exported model reaches, and whether it is above chance, chosen as it was."""
    exported, permutation = metrics["exported"], metrics.get("permutation")
    model, n_models = exported["model"], len(exported["among"])
    head = (
        f"{_capital(names.get(model, model))}, which export takes by default: "
        f"AUC {_figure(metrics['models'][model])}"
    )
    if "auc_corrected" in exported:
        corrected = figure(exported["auc_corrected"], exported["auc_corrected_ci"])
        head += f", or {corrected} corrected for its having been chosen among {n_models} models"
    if permutation is None:
        return f"{head}; whether that is above chance was not tested (permutation.n=100 would)."
    if "p" not in exported:
        lacking = exported.get("not_permuted", [])
        what = " and ".join(names.get(name, name) for name in lacking) or "the choice"
        return (
            f"{head}; whether that is above chance is not known: permutations of an earlier "
            f"version left out {what} (permutation.n=100 with resume=true makes others)."
        )
    n, p = permutation["n"], exported["p"]
    against = f"the largest of the {n_models} in each of {n} permutations, {say_p(p)}"
    return f"{head}{_judge_chance(metrics, model, p, against)}."


def _alone_sentence(metrics: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Say what the network is by itself, as if it alone had been planned."""
    own = metrics.get("permutation", {}).get("models", {}).get(NETWORK)
    if exported_model(metrics) != NETWORK:
        return _network_sentence(metrics, names, f" by itself, {ALONE}")
    if own is None or not can_tell(metrics["permutation"]["n"]):
        return ""
    verb = "is" if _is_above(own["observed"], own["p"]) else "is not"
    name = names.get(NETWORK, NETWORK)
    return f"By itself, {ALONE}, the {name} {verb} above chance ({say_p(own['p'])})."


def _judge_chance(metrics: Mapping[str, Any], model: str, p: float, against: str) -> str:
    """Say whether a model is above chance by its p-value, for after its AUC."""
    permutation = metrics["permutation"]
    n, repeats = permutation["n"], permutation["n_repeats"]
    observed = permutation["models"][model]["observed"]
    where = "first repeat" if repeats == 1 else f"first {repeats} repeats"
    tested = f"{where}: AUC {observed:.2f} against {against}"
    if not can_tell(n):
        return f"; {n} permutations are too few to tell it from chance ({tested})"
    verb = "above" if _is_above(observed, p) else "not distinguishable from"
    return f", {verb} chance ({tested})"


def _is_above(observed: float, p: float) -> bool:
    return p < ALPHA and observed > CHANCE


def _below_sentence(
    models: Mapping[str, Any], looked_at: Sequence[str], names: Mapping[str, str]
) -> str:
    """Say what an interval below chance means, and what it doesn't."""
    below = [n for n in dict.fromkeys(looked_at) if is_below_chance(models[n])]
    if not below:
        return ""
    who = " and the ".join(names.get(name, name) for name in below)
    verb, interval = ("puts", "an interval") if len(below) == 1 else ("put", "intervals")
    return (
        f"The {who} {verb} new people the wrong way round, with {interval} wholly below 0.5: worse "
        "than guessing, and no evidence of an effect. Check whether people who belong together "
        "(relatives, matched pairs, one person twice) lie in different folds, whether the groups "
        "differ one way at one site or in one batch and the other way in another, and whether it "
        "stays with other folds (folds.seed)."
    )


def _warning_sentence(metrics: Mapping[str, Any], alarming: Sequence[str]) -> str:
    """Count what is said below about confounds, and name what it is about.

    Shortcuts that have a sentence of their own are not counted again.
    """
    findings = metrics.get("findings", [])
    grave = [one for one in findings if one["severity"] == "red"]
    for name in alarming:
        own = [one for one in grave if one.get("about") == name]
        grave = [one for one in grave if one not in own[:1]]
    grave = [one for one in grave if one.get("about") != ALIKE]  # which has a sentence as well
    notes = [one for one in findings if one["severity"] == "amber"]
    counted = [
        f"{_count(grave, 'warning')} about confounds below{_about(grave)}" if grave else "",
        f"{_count(notes, 'note')}{'' if grave else ' about confounds below'}{_about(notes)}"
        if notes
        else "",
    ]
    said = ", ".join(filter(None, counted))
    if of_network := [one for one in network_findings(metrics) if one["severity"] == "red"]:
        said += f"{'; ' if said else ''}{_count(of_network, 'warning')} in the network's own audit"
    return f"{said}." if said else ""


def _look_alikes(metrics: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = metrics.get("audit", {}).get("look_alikes", [])
    return found


def _count(findings: Sequence[Any], noun: str) -> str:
    return f"{len(findings)} {noun}" + ("" if len(findings) == 1 else "s")


def _about(findings: Sequence[Mapping[str, str]]) -> str:
    # how the groups differ comes first: that may carry the result
    ordered = sorted(findings, key=lambda one: not one.get("text", "").startswith("The groups"))
    names = list(dict.fromkeys(filter(None, (one.get("about", "") for one in ordered))))
    if not names:
        return ""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f" ({', '.join(names[:MOST_NAMED])}{more})"


def _capital(name: str) -> str:
    return f"{name[0].upper()}{name[1:]}"


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


def _linear_sentence(metrics: Mapping[str, Any], exported: str) -> str:
    """Say how much of the final network's score a linear map would give as well."""
    known = {"path_shares": metrics.get("path_shares"), "n_epochs": metrics.get("final_epochs")}
    said = linear_sentence(known, metrics.get("bold", {}).get("reads") == SERIES)
    return said if exported == NETWORK else said.replace("final model's", "final network's")


def _difference(row: Mapping[str, Any], sign: int) -> str:
    """Write a difference, other minus one where the sign is -1: ``+0.02 [-0.05, +0.09]``."""
    text = f"{sign * row['difference'] + 0.0:+.2f}"  # 0.0 for -0.0
    if row.get("ci") is None:
        return text
    low, high = sorted(sign * edge for edge in row["ci"])
    return f"{text} [{low:+.2f}, {high:+.2f}]"


def _export_sentence(
    metrics: Mapping[str, Any], exported: Mapping[str, Any], names: Mapping[str, str]
) -> str:
    """Say which final model export takes, why, and whether a better one can't be exported."""
    models, n_permutations = metrics["models"], metrics.get("permutation", {}).get("n", 0)
    name, best = exported["model"], best_rival(models)
    said = f"By default export takes the {names.get(name, name)}: {exported['why']}."
    low, _ = exported.get("auc_corrected_ci", models[name]["auc_ci"])
    is_clear = exported.get("p", 0.0) < ALPHA or not can_tell(n_permutations)
    if low <= CHANCE:
        interval = "The corrected" if is_corrected(metrics) else "Its"
        said += f" {interval} interval reaches 0.5 or less, so that it takes "
        said += "allow_uninformative=true."
    elif not is_clear:
        said += " Permutations don't tell it from chance, so that it takes "
        said += "allow_uninformative=true."
    if best and best not in exported["among"] and models[best]["auc"] > models[name]["auc"]:
        other, auc = names.get(best, best), models[best]["auc"]
        said += f" {_capital(other)} reaches more, {auc:.3f}, but can't be exported."
    return said


def _figure(figures: Mapping[str, Any]) -> str:
    return figure(figures["auc"], figures["auc_ci"])
