"""The confound audit: all questions to all covariates, and what has to be said aloud."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from fmnet.crossval.fold_loop import NETWORK
from fmnet.data.cohort import Cohort
from fmnet.data.covariates import is_age, is_head_size, is_motion, is_name, is_usual_confound
from fmnet.data.duplicates import LookAlikes
from fmnet.data.participants import (
    AS_MISSING,
    CONSTANT,
    OF_BOTH,
    passed_over,
    people_table,
    person_scores,
    reasons_of,
)
from fmnet.evaluation.association import label_auc, predicted_share, score_association
from fmnet.evaluation.balance import balance_table
from fmnet.evaluation.comparison import holm
from fmnet.evaluation.findings import ALIKE, exported_model
from fmnet.evaluation.motion import (
    following,
    is_followed,
    motion_sentence,
    reaches,
    telling,
)
from fmnet.evaluation.partial_confounder import full_confounder_test, partial_confounder_test

#: Bootstrap draws and permutations.
N_DRAWS = 1000
#: How many groups of look-alikes a sentence names.
N_NAMED = 5


@dataclass(frozen=True)
class AuditPlan:
    """What is asked of covariates.

    Parameters
    ----------
    symptoms : list of str
        Columns that belong to the condition itself; that they tell the groups apart is no confound.
    """

    symptoms: Sequence[str] = ()


def run_audit(
    plan: AuditPlan,
    cohort: Cohort,
    predictions: pd.DataFrame,
    model: str,
    figures: dict[str, Any],
    seed: int,
    title: str = "network",
) -> dict[str, Any]:
    """Ask of every covariate whether it could explain a model's result.

    Parameters
    ----------
    plan : AuditPlan
        What is asked.
    cohort : Cohort
        Who was in the study, with covariates.
    predictions : DataFrame
        Out-of-fold table.
    model : str
        Whose scores are audited.
    figures : dict
        Its ``auc`` and ``auc_ci``.
    seed : int
        Of bootstrap and permutations.
    title : str
        Name of the model for people.

    Returns
    -------
    dict
        ``model``; ``balance``; ``covariates``: name, AUC of the label from it, relation to the
        score, and the partial confounder test with its Holm-corrected p; for head motion that
        reaches the model also ``left_p``, whether the score tells people apart who moved alike;
        ``score_r2`` from all covariates;
        ``findings``: sentences with a severity, red or amber; ``passed_over``: columns that were
        not looked at, and why; ``look_alikes``: people who may be one under several names.
    """
    people = people_table(cohort)
    unseen = look_alike_findings(cohort.alike) + _unseen_findings(
        people, reasons_of(cohort), plan.symptoms, bool(cohort.series)
    )
    always = {
        "model": model,
        "passed_over": passed_over(cohort),
        "look_alikes": [asdict(group) for group in cohort.alike],
    }
    if people.empty or len(people.columns) < 2:
        nothing: dict[str, Any] = {"balance": [], "covariates": [], "score_r2": None}
        return nothing | always | {"findings": unseen}
    scores = person_scores(predictions, model).reindex(people.index)
    names = [str(name) for name in people.columns.drop("label")]
    confounds = set(names) - set(plan.symptoms)
    rows = [
        {"covariate": name}
        | label_auc(people, name, N_DRAWS, seed)
        | score_association(people, scores, name)
        | {"partial_p": _tested_p(partial_confounder_test, people, scores, name, seed)}
        for name in names
    ]
    tested = [row for row in rows if row["partial_p"] is not None]
    for row, p in zip(tested, holm([row["partial_p"] for row in tested]), strict=True):
        row["partial_p_holm"] = p
    for row in rows:
        name = row["covariate"]
        if is_motion(name) and reaches(row, figures["auc_ci"][0]):
            row["left_p"] = _tested_p(full_confounder_test, people, scores, name, seed)
    complete = people.dropna()
    design = pd.get_dummies(complete.drop(columns="label"), dtype=float)
    balance = balance_table(people)
    return always | {
        "balance": balance,
        "covariates": rows,
        "score_r2": predicted_share(design, scores.reindex(complete.index).to_numpy(float)),
        "findings": findings(
            [row for row in rows if row["covariate"] in confounds],
            [row for row in balance if row["covariate"] in confounds],
            figures["auc"],
            figures["auc_ci"][0],
            title,
        )
        + unseen,
    }


def audit_models(
    plan: AuditPlan,
    cohort: Cohort,
    predictions: pd.DataFrame,
    metrics: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    """Audit the model that is exported, and the network as well where that is another.

    Parameters
    ----------
    plan, cohort, predictions, seed
        As for `run_audit`.
    metrics : dict
        ``models``, ``titles`` and ``exported`` of the study.

    Returns
    -------
    dict
        ``audit`` and perhaps ``audit_network``, see `run_audit`.
    """
    exported = exported_model(metrics)
    audited = {"audit": exported} | ({} if exported == NETWORK else {"audit_network": NETWORK})
    return {
        key: run_audit(
            plan, cohort, predictions, name, metrics["models"][name], seed, metrics["titles"][name]
        )
        for key, name in audited.items()
    }


def findings(
    rows: list[dict[str, Any]],
    balance: list[dict[str, Any]],
    auc: float,
    floor: float,
    title: str = "network",
) -> list[dict[str, str]]:
    """Put into words what a reader has to know.

    Each finding has a ``severity``, a ``text``, and what it is ``about`` in a word or two.

    Parameters
    ----------
    rows, balance : list of dict
        What `run_audit` found of each covariate, and from
        `fmnet.evaluation.balance.balance_table`.
    auc, floor : float
        The model's AUC, and the lower end of its interval.
    title : str
        Name of the model for people.
    """
    found = []
    motion = [row for row in rows if is_motion(row["covariate"])]
    said, column = motion_sentence(motion, auc, floor, title)
    if said:
        found.append(_finding("red", said, column))
    for row in rows:
        name = row["covariate"]
        if not is_motion(name) and reaches(row, floor):
            found.append(_finding("red", f"{telling(row, auc, title)}.", name))
        if not is_motion(name) and is_followed(row):
            found.append(_finding("red", f"The {title}'s score {following(row)}.", name))
    named = {row["covariate"] for row in rows if reaches(row, floor) or is_followed(row)}
    for line in balance:
        name = line["covariate"]
        if line["is_imbalanced"] and name not in named:
            head, more = f"The groups differ in {name}", ""
            if is_head_size(name):
                head = f"The groups differ in head size: {name}"
                more = (
                    "; fitting a head to the template changes its maps by its size, so that part "
                    "of any result may be that"
                )
            text = f"{head} (standardised difference {line['smd']:.2f}){more}."
            found.append(_finding("amber", text, name))
    return found


def _finding(severity: str, text: str, about: str = "") -> dict[str, str]:
    return {"severity": severity, "text": text, "about": about}


def look_alike_findings(groups: Sequence[LookAlikes]) -> list[dict[str, str]]:
    """Say who may be one person under several names; nothing if nobody is."""
    if not groups:
        return []
    named = [
        f"{', '.join(group.people[:-1])} and {group.people[-1]} "
        f"(r = {group.correlation:.2f}; with anybody else at most {group.next_correlation:.2f})"
        for group in groups[:N_NAMED]
    ]
    more = len(groups) - N_NAMED
    rest = f"; and {more} more such groups, all in metrics.json" if more > 0 else ""
    n_within = sum(len(set(group.labels)) == 1 for group in groups)
    parts = {
        "of one label, which raise the AUC": n_within,
        "across labels, which lower it": len(groups) - n_within,
    }
    counted = ", ".join(f"{n} {what}" for what, n in parts.items() if n)
    n_people = len({person for group in groups for person in group.people})
    text = (
        f"{n_people} people have maps as alike as those of one person under several names: "
        f"{'; '.join(named)}{rest} ({counted}). If they are, models were tested on people whom "
        "they were trained on, and neither AUC nor p-value holds: leave one of each out, or give "
        "them one value in a column 'family' of the participants table, which folds and "
        "permutations keep together."
    )
    return [_finding("red", text, ALIKE)]


def _unseen_findings(
    people: pd.DataFrame, reasons: Mapping[str, str], symptoms: Sequence[str], is_bold: bool
) -> list[dict[str, str]]:
    """Name the columns that could not be looked at, or only in few people.

    Head motion and age are red: without them nobody knows what a result is about. Other usual
    confounds have a sentence each, other columns one for each reason, columns of names one in all.
    """
    why_of = _why_unseen(people, reasons, symptoms)
    found = []
    together: dict[str, list[str]] = defaultdict(list)
    for name, why in why_of.items():
        part = " in full" if name in people else ""
        if is_usual_confound(name) and why != OF_BOTH:
            severity = "red" if is_motion(name) or is_age(name) else "amber"
            text = f"Column '{name}' could not be examined as a confound{part}: {why}."
            found.append(_finding(severity, text, name))
        elif not why.endswith(AS_MISSING) and not is_name(name):
            together[f"{part}: {why}."].append(name)
    for end, names in together.items():
        listed = ", ".join(f"'{name}'" for name in names)
        plural, noun = ("s", "confounds") if len(names) > 1 else ("", "a confound")
        text = f"Column{plural} {listed} could not be examined as {noun}{end}"
        found.append(_finding("amber", text, ", ".join(names)))
    labelled = [
        f"{name} ({why})"
        for name, why in why_of.items()
        if is_name(name) and not is_usual_confound(name) and not why.endswith(AS_MISSING)
    ]
    if labelled:
        text = f"Columns of names and remarks were not examined: {'; '.join(labelled)}."
        found.append(_finding("amber", text))
    others = [
        f"{name} ({why.removesuffix(f', {AS_MISSING}')})"
        for name, why in why_of.items()
        if why.endswith(AS_MISSING) and not is_usual_confound(name)
    ]
    if others:
        text = f"Some cells of covariates were {AS_MISSING}: {'; '.join(others)}."
        found.append(_finding("amber", text))
    read = {name for name, why in reasons.items() if why != CONSTANT}
    seen = {*map(str, people.columns), *read} - {"share_scrubbed"}
    if is_bold and not people.empty and not any(map(is_motion, seen)):
        text = "Head motion could not be examined: the runs' confounds don't state it."
        found.append(_finding("red", text, "head motion"))
    return found


def _why_unseen(
    people: pd.DataFrame, reasons: Mapping[str, str], symptoms: Sequence[str]
) -> dict[str, str]:
    """Say by column why it is not looked at, or only in part, whatever varies and is no symptom."""
    why_of = {
        name: why for name, why in reasons.items() if why != CONSTANT and name not in symptoms
    }
    for name in people.columns.drop("label").difference(list(symptoms), sort=False):
        n_known = people[name].notna().groupby(people["label"]).sum()
        if n_known.min() == 0:
            why_of[str(name)] = "known in one group only"
        elif 2 * n_known.sum() < len(people):
            why_of[str(name)] = f"known for {n_known.sum()} of {len(people)} people"
    return why_of


def _tested_p(
    test: Callable[..., float], people: pd.DataFrame, scores: pd.Series, name: str, seed: int
) -> float | None:
    """Test a model's scores, a covariate and the label; None where too few people are known."""
    known = people[["label", name]].dropna()
    label = known["label"].to_numpy()
    score = scores.reindex(known.index).to_numpy(float)
    if len(known) < 10 or len(set(label)) < 2 or score.std() == 0:
        return None
    return test(score, known[name], label, N_DRAWS, seed)
