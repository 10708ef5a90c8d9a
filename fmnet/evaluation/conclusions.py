"""Conclude from the figures of a study, as typed values; `fmnet.report` puts them into words."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from fmnet.evaluation.audit import Participants, Unread, reaches
from fmnet.evaluation.comparison import best_rival, comparison_of, networks_among

#: AUC of a model that knows nothing, and the error of the first kind of all tests.
CHANCE, ALPHA = 0.5, 0.05

Severity = Literal["red", "amber", "none"]
Kind = Literal[
    # of confounds and shortcuts
    "motion explains result",
    "motion explains part",
    "motion differs",
    "score follows motion",
    "covariate reaches model",
    "score follows covariate",
    "groups differ",
    "head sizes differ",
    "shortcut reaches model",
    "shortcut above chance",
    "lost in rerun",
    "weaker in rerun",
    "look-alikes",
    "not examined",
    "names not examined",
    "cells missing",
    "motion not stated",
    # of a model by itself
    "above chance",
    "not above chance",
    "too few permutations",
    "chance not tested",
    "chance not known",
    "below chance",
    "linear part",
    # of a model and the best linear one
    "better than rival",
    "worse than rival",
    "no gain over rival",
    "rival not tested",
    # of the study
    "motion first",
    "look-alikes first",
    "shortcuts first",
    "warnings",
    "exported",
]


@dataclass(frozen=True)
class Conclusion:
    """One thing that a study's figures say.

    Parameters
    ----------
    kind : str
        What is said.
    severity : str
        ``red`` where it explains or undoes the result, ``amber`` where it has to be known with it,
        else ``none``.
    about : str
        The column, model or rerun; empty where there is none.
    values : dict
        Plain values that it holds for. ``model`` is the one it is held against.
    """

    kind: Kind
    severity: Severity = "none"
    about: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Conclusions:
    """All that is concluded in a study.

    The `verdict` is about the model that is exported, the one studied, its rival and what speaks
    against them; `findings` have to be known before the result is read as one about the brain, the
    grave first. Of these the audit of the exported model gave those `of_audit`; `of_network` are of
    the model studied, where that is another. `of_further` are the verdicts on further networks, by
    name.
    """

    verdict: list[Conclusion]
    findings: list[Conclusion]
    of_audit: list[Conclusion]
    of_network: list[Conclusion]
    of_further: Mapping[str, list[Conclusion]] = field(default_factory=dict)


def statement(finding: Mapping[str, Any]) -> str:
    """Write what a finding of ``metrics.json`` states, without a model it is merely held against.

    Two that are alike say the same of a cohort, though of different models.
    """
    values = dict(finding["values"])
    is_of_score = any(values.get(name) is not None for name in ("left_p", "partial_p"))
    if not is_of_score:
        values = {name: value for name, value in values.items() if not name.startswith("model")}
    return json.dumps([finding["kind"], finding["about"], values], sort_keys=True, default=float)


def not_said_before(
    findings: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Keep the findings, as in ``metrics.json``, that state something else than those before."""
    said = set(map(statement, before))
    return [finding for finding in findings if statement(finding) not in said]


def exported_model(facts: Mapping[str, Any]) -> str:
    """Name the model that export takes, which a study is about; else the one studied."""
    return str(facts.get("exported", {}).get("model", facts["studied"]))


def is_corrected(facts: Mapping[str, Any]) -> bool:
    """Tell whether the exported model was chosen among several, and its AUC corrected for that."""
    exported = facts.get("exported", {})
    return "auc_corrected" in exported and len(exported["among"]) > 1


def can_tell(n_permutations: int) -> bool:
    """Tell whether so many permutations can tell anything from chance: none of few is small."""
    return 1 / (n_permutations + 1) < ALPHA


def is_below_chance(figures: Mapping[str, Any]) -> bool:
    """Tell whether the interval of a model's AUC lies wholly below 0.5: worse than guessing."""
    high = figures["auc_ci"][1]
    return high is not None and high < CHANCE


def further_networks(facts: Mapping[str, Any]) -> list[str]:
    """Name the networks that stand in a study's folds besides the one that it is about."""
    return [name for name in networks_among(facts.get("kinds", {})) if name != facts["studied"]]


def shortcuts_of(facts: Mapping[str, Any]) -> list[str]:
    """Name the models that see no region of the brain."""
    kinds = facts.get("kinds", {})
    return [name for name in facts["models"] if kinds.get(name) == "shortcut"]


def rival_shortcuts(facts: Mapping[str, Any], model: str) -> list[str]:
    """Name the shortcuts that reach a model's interval, where either may be above chance.

    Where one does as well as the model, it may be all there is; a strong effect shows in some of
    them too, as larger values.
    """
    models = facts["models"]
    own, floor = models[model]["auc"], models[model]["auc_ci"][0]
    return [
        name
        for name in shortcuts_of(facts)
        if (models[name]["auc_ci"][0] > CHANCE and models[name]["auc"] >= floor)
        or (floor > CHANCE and models[name]["auc"] >= own)
    ]


def study_findings(
    facts: Mapping[str, Any], of_audit: Sequence[Conclusion] = ()
) -> list[Conclusion]:
    """Collect what shortcuts, confounds and reruns say, the grave first and motion before them.

    What they are held against is the model that is exported; of reruns, the one studied as well.
    """
    exported = exported_model(facts)
    conclusions = [
        *shortcut_findings(facts, exported),
        *of_audit,
        *(
            finding
            for name in dict.fromkeys([exported, facts["studied"]])
            for finding in rerun_findings(facts, name)
        ),
    ]
    explains: Kind = "motion explains result"
    return sorted(conclusions, key=lambda each: (each.severity != "red", each.kind != explains))


def shortcut_findings(facts: Mapping[str, Any], model: str) -> list[Conclusion]:
    """Find the models without brain activity that tell the groups apart, or reach one with it."""
    models, grave = facts["models"], rival_shortcuts(facts, model)
    own = {f"model_{name}": models[model][name] for name in ("auc", "auc_ci")}
    conclusions = []
    for name in shortcuts_of(facts):
        values = {"model": model} | {key: models[name][key] for key in ("auc", "auc_ci")} | own
        if name in grave:
            conclusions.append(Conclusion("shortcut reaches model", "red", name, values))
        elif models[name]["auc_ci"][0] > CHANCE:
            conclusions.append(Conclusion("shortcut above chance", "amber", name, values))
    return conclusions


def rerun_findings(facts: Mapping[str, Any], model: str) -> list[Conclusion]:
    """Find the reruns in which a model's interval above 0.5 is lost."""
    before = facts["models"][model]
    if before["auc_ci"][0] <= CHANCE:
        return []
    conclusions = []
    for rerun in facts.get("sensitivity", {}).values():
        if rerun["lacking"] or model not in rerun["models"]:
            continue
        again = rerun["models"][model]
        if again["auc_ci"][0] <= CHANCE:
            is_lost = again["auc"] < before["auc_ci"][0]
            values = {"model": model, "n_subjects": rerun["n_subjects"]}
            values |= {f"model_{key}": again[key] for key in ("auc", "auc_ci")}
            values |= {f"model_{key}_before": before[key] for key in ("auc", "auc_ci")}
            kind: Kind = "lost in rerun" if is_lost else "weaker in rerun"
            conclusions.append(
                Conclusion(kind, "red" if is_lost else "amber", rerun["title"], values)
            )
    return conclusions


def audit_findings(
    audit: Mapping[str, Any],
    participants: Participants,
    figures: Mapping[str, Any],
    symptoms: Sequence[str] = (),
) -> list[Conclusion]:
    """Conclude from the audit of a model of these figures what a reader has to know.

    Columns of `symptoms` are no confounds.
    """
    rows = [row for row in audit["covariates"] if row["covariate"] not in symptoms]
    balance = [row for row in audit["balance"] if row["covariate"] not in symptoms]
    floor, kinds = figures["auc_ci"][0], participants.kinds
    own = {"model": audit["model"], "model_auc": figures["auc"]}
    conclusions = motion_findings(
        [row for row in rows if kinds[row["covariate"]] == "motion"], floor, own
    )
    for row in rows:
        name = row["covariate"]
        if kinds[name] != "motion" and reaches(row, floor):
            alone = {key: row[key] for key in ("auc", "auc_ci")}
            conclusions.append(Conclusion("covariate reaches model", "red", name, alone | own))
        if kinds[name] != "motion" and is_followed(row):
            follows = {"partial_p": row["partial_p_holm"]} | own
            conclusions.append(Conclusion("score follows covariate", "red", name, follows))
    named = {row["covariate"] for row in rows if reaches(row, floor) or is_followed(row)}
    for row in balance:
        name = row["covariate"]
        if row["is_imbalanced"] and name not in named:
            kind: Kind = "head sizes differ" if kinds[name] == "head size" else "groups differ"
            conclusions.append(Conclusion(kind, "amber", name, {"smd": row["smd"]}))
    if audit["look_alikes"]:
        conclusions.append(
            Conclusion("look-alikes", "red", values={"groups": audit["look_alikes"]})
        )
    return conclusions + unexamined(participants, symptoms)


def is_followed(row: Mapping[str, Any]) -> bool:
    """Tell whether the score depends on a covariate beyond what the group explains."""
    return bool(row.get("partial_p_holm", 1.0) < ALPHA)


def motion_findings(
    rows: Sequence[Mapping[str, Any]], floor: float, own: Mapping[str, Any]
) -> list[Conclusion]:
    """Conclude what head motion has to do with the result: one conclusion, or none.

    Of the columns of motion that reach the model, the one with the largest AUC is named, of those
    that the score depends on, the one with the smallest p. Whether anything is left among people
    who moved alike is asked of the former.
    """
    reaching = [row for row in rows if reaches(row, floor)]
    followed = [row for row in rows if is_followed(row)]
    if not reaching and not followed:
        return []
    values = dict(own)
    if followed:
        nearest = min(followed, key=lambda row: float(row["partial_p_holm"]))
        values |= {"follows": nearest["covariate"], "partial_p": nearest["partial_p_holm"]}
    if not reaching:
        return [Conclusion("score follows motion", "red", values["follows"], values)]
    best = max(reaching, key=lambda row: float(row["auc"]))
    values |= {key: best[key] for key in ("auc", "auc_ci")}
    kind: Kind = "motion differs"
    if floor > CHANCE and best.get("left_p") is not None:
        values["left_p"] = best["left_p"]
        kind = "motion explains part" if best["left_p"] < ALPHA else "motion explains result"
    return [Conclusion(kind, "red", best["covariate"], values)]


def unexamined(participants: Participants, symptoms: Sequence[str]) -> list[Conclusion]:
    """Name the columns that could not be looked at, or only in few people.

    Head motion and age are red: without them nobody knows what a result is about. Other usual
    confounds have a conclusion each, other columns one for each reason, columns of names one in
    all, and so have columns of which some cells were taken as missing.
    """
    kinds, table = participants.kinds, participants.table
    conclusions: list[Conclusion] = []
    names: dict[str, str] = {}
    cells: dict[str, str] = {}
    together: dict[tuple[bool, str], list[str]] = defaultdict(list)
    for name, why in _unread(participants, symptoms).items():
        in_part, is_usual = name in table, kinds[name] not in {"name", "other"}
        if is_usual and why.kind != "both groups":
            severity: Severity = "red" if kinds[name] in {"motion", "age"} else "amber"
            values = {"columns": [name], "in_part": in_part, "why": str(why)}
            conclusions.append(Conclusion("not examined", severity, name, values))
        elif why.kind == "cells":
            cells[name] = why.words
        elif kinds[name] == "name":
            names[name] = why.words
        else:
            together[in_part, why.words].append(name)
    for (in_part, words), columns in together.items():
        values = {"columns": columns, "in_part": in_part, "why": words}
        conclusions.append(Conclusion("not examined", "amber", ", ".join(columns), values))
    if names:
        conclusions.append(Conclusion("names not examined", "amber", values={"columns": names}))
    if cells:
        conclusions.append(Conclusion("cells missing", "amber", values={"columns": cells}))
    if participants.lacks_motion:
        conclusions.append(Conclusion("motion not stated", "red"))
    return conclusions


def _unread(participants: Participants, symptoms: Sequence[str]) -> dict[str, Unread]:
    """Say by column why it is not looked at, or only in part, whatever varies and is no symptom."""
    table = participants.table
    unread = {
        name: why
        for name, why in participants.unread.items()
        if why.kind != "constant" and name not in symptoms
    }
    for name in map(str, table.columns.drop("label").difference(list(symptoms), sort=False)):
        n_known = table[name].notna().groupby(table["label"]).sum()
        if n_known.min() == 0:
            unread[name] = Unread("other", "known in one group only")
        elif 2 * n_known.sum() < len(table):
            unread[name] = Unread("other", f"known for {n_known.sum()} of {len(table)} people")
    return unread


def verdict_conclusions(
    facts: Mapping[str, Any], findings: Sequence[Conclusion], n_of_network: int = 0
) -> list[Conclusion]:
    """Judge a study by its figures, claiming nothing that they don't show.

    The first conclusion is about the model that is exported; where that isn't the one studied,
    another is about the latter by itself. `findings` are those of `study_findings`; the audit of
    the model studied has `n_of_network` red ones that are not among them.
    """
    models, studied, exported = facts["models"], facts["studied"], exported_model(facts)
    is_choice = len(facts.get("exported", {}).get("among", [])) > 1
    first = (exported, "chosen") if is_choice else (studied, "planned")
    conclusions = [chance_of(facts, *first)]
    for finding in findings:
        if finding.kind == "motion explains result":
            conclusions.append(Conclusion("motion first", "red"))
        if finding.kind == "look-alikes":
            named = {one for group in finding.values["groups"] for one in group["people"]}
            conclusions.append(Conclusion("look-alikes first", "red", values={"n": len(named)}))
    if is_choice:
        alone = chance_of(facts, studied, "by itself" if exported != studied else "as well")
        if exported != studied or alone.kind in {"above chance", "not above chance"}:
            conclusions.append(alone)
    below = [name for name in dict.fromkeys([exported, studied]) if is_below_chance(models[name])]
    if below:
        conclusions.append(Conclusion("below chance", "red", values={"models": below}))
    conclusions += _linear_part(facts)
    if rival := best_rival(models, facts.get("kinds", {})):
        conclusions.append(rival_conclusion(facts, studied, rival))
    alarming = rival_shortcuts(facts, exported)
    conclusions += _shortcuts_first(models, alarming)
    conclusions.append(warnings_conclusion(findings, alarming, n_of_network))
    if "exported" in facts:
        conclusions.append(export_conclusion(facts, rival))
    return conclusions


def _shortcuts_first(models: Mapping[str, Any], alarming: Sequence[str]) -> list[Conclusion]:
    if not alarming:
        return []
    values = {name: {key: models[name][key] for key in ("auc", "auc_ci")} for name in alarming}
    return [Conclusion("shortcuts first", "red", values={"models": values})]


def further_verdicts(facts: Mapping[str, Any]) -> dict[str, list[Conclusion]]:
    """Judge each further network as the one studied is: chance, the best linear model, shortcuts.

    Its comparisons are corrected together with those of all further networks.
    """
    models, rival = facts["models"], best_rival(facts["models"], facts.get("kinds", {}))
    found = {}
    for name in further_networks(facts):
        conclusions = [chance_of(facts, name, "further")]
        if is_below_chance(models[name]):
            conclusions.append(Conclusion("below chance", "red", values={"models": [name]}))
        if rival:
            conclusions.append(rival_conclusion(facts, name, rival, "p_holm_further"))
        found[name] = [*conclusions, *_shortcuts_first(models, rival_shortcuts(facts, name))]
    return found


def _linear_part(facts: Mapping[str, Any]) -> list[Conclusion]:
    """Say how much of the final network's score a linear map would give, if that is known."""
    if not facts.get("path_shares"):
        return []
    values = {"path_shares": facts["path_shares"], "n_epochs": facts.get("final_epochs")}
    values["reads"] = facts.get("bold", {}).get("reads")
    values["is_final"] = exported_model(facts) == facts["studied"]
    return [Conclusion("linear part", values=values)]


def chance_of(facts: Mapping[str, Any], model: str, role: str) -> Conclusion:
    """Conclude whether a model is above chance by its p-value.

    Its `role` is ``chosen``: it is exported, as the best of several, and has the p-value of that
    choice; ``planned``: it is what the study is about; ``by itself``: so it was, but another model
    is exported; ``as well``: it is both; ``further``: it is a further network.
    """
    permutation, exported = facts.get("permutation"), facts.get("exported", {})
    figures = facts["models"][model]
    values = {"role": role, "auc": figures["auc"], "auc_ci": figures["auc_ci"]}
    values["is_permuted"] = permutation is not None
    tested = (permutation or {}).get("models", {}).get(model, {})
    p = tested.get("p")
    if role == "chosen":
        corrected = ("auc_corrected", "auc_corrected_ci")
        values |= {key: exported[key] for key in corrected if key in exported}
        values["n_models"] = len(exported["among"])
        p = exported.get("p")
        if permutation is not None and p is None:
            values["not_permuted"] = exported.get("not_permuted", [])
            return Conclusion("chance not known", about=model, values=values)
    if permutation is None or p is None:
        return Conclusion("chance not tested", about=model, values=values)
    values |= {"p": p, "observed": tested["observed"]}
    values |= {key: permutation[key] for key in ("n", "n_repeats")}
    values["is_stopped"] = permutation["n"] < permutation.get("n_planned", 0)
    kind: Kind = "above chance" if p < ALPHA and tested["observed"] > CHANCE else "not above chance"
    if not can_tell(permutation["n"]):
        kind = "too few permutations"
    return Conclusion(kind, about=model, values=values)


def rival_conclusion(
    facts: Mapping[str, Any], model: str, rival: str, corrected: str = "p_holm_first"
) -> Conclusion:
    """Conclude whether a model adds anything to the best linear one, by the p of that name."""
    models, row = facts["models"], comparison_of(facts, model, rival)
    values = {"model": model, "auc": models[rival]["auc"], "auc_ci": models[rival]["auc_ci"]}
    p = None if row is None else row[corrected]
    if row is None or p is None:
        return Conclusion("rival not tested", about=rival, values=values)
    sign = 1 if row["one"] == model else -1
    difference = sign * row["difference"] + 0.0  # 0.0 for -0.0
    interval = None if row.get("ci") is None else sorted(sign * edge for edge in row["ci"])
    values |= {"difference": difference, "ci": interval, "p": p}
    values["model_auc"] = models[model]["auc"]
    kind: Kind = "better than rival" if difference > 0 else "worse than rival"
    if p >= ALPHA:
        kind = "no gain over rival"
    return Conclusion(kind, about=rival, values=values)


def warnings_conclusion(
    findings: Sequence[Conclusion], alarming: Sequence[str], n_of_network: int
) -> Conclusion:
    """Count the findings about confounds, and name what they are about.

    Those that the verdict says by themselves are not counted again: shortcuts that reach the model,
    `alarming`, and people who may be one.
    """
    grave = [
        finding
        for finding in findings
        if finding.severity == "red"
        and finding.kind != "look-alikes"
        and not (finding.kind == "shortcut reaches model" and finding.about in alarming)
    ]
    notes = [finding for finding in findings if finding.severity == "amber"]
    values = {"red": _counted(grave), "amber": _counted(notes), "n_of_network": n_of_network}
    return Conclusion("warnings", values=values)


def _counted(findings: Sequence[Conclusion]) -> dict[str, Any]:
    # how the groups differ comes first: that may carry the result
    ordered = sorted(
        findings, key=lambda finding: finding.kind not in {"groups differ", "head sizes differ"}
    )
    about = [{"kind": finding.kind, "about": finding.about} for finding in ordered]
    return {"n": len(findings), "about": about}


def export_conclusion(facts: Mapping[str, Any], rival: str) -> Conclusion:
    """Conclude which final model export takes, and whether a better one can't be exported."""
    models, exported = facts["models"], facts["exported"]
    name, n_permutations = exported["model"], facts.get("permutation", {}).get("n", 0)
    low, _ = exported.get("auc_corrected_ci", models[name]["auc_ci"])
    is_clear = exported.get("p", 0.0) < ALPHA or not can_tell(n_permutations)
    further = further_networks(facts)
    best = max([rival, *further] if rival else [name, *further], key=lambda n: models[n]["auc"])
    is_better = models[best]["auc"] > models[name]["auc"] and best not in exported["among"]
    values = {
        "why": exported["why"],
        "is_corrected": is_corrected(facts),
        "reaches_chance": low <= CHANCE,
        "is_clear": is_clear,
        "better": best if is_better else None,
    }
    if is_better:
        values |= {"better_auc": models[best]["auc"], "is_further": best in further}
    return Conclusion("exported", about=name, values=values)
