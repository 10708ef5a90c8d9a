"""All that follows from a study's out-of-fold table: figures first, then what they mean."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from fmnet.evaluation.audit import Participants, audit_model
from fmnet.evaluation.comparison import best_rival, compare_models, networks_among
from fmnet.evaluation.conclusions import (
    Conclusion,
    Conclusions,
    audit_findings,
    exported_model,
    further_verdicts,
    not_said_before,
    study_findings,
    verdict_conclusions,
)
from fmnet.evaluation.metrics import fold_aucs, model_metrics
from fmnet.evaluation.power import seed_variance, study_power
from fmnet.types import ModelKind


def evaluate(
    table: pd.DataFrame,
    model: str,
    kinds: Mapping[str, ModelKind],
    again: pd.DataFrame | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Compute the figures of a study from its out-of-fold table.

    Parameters
    ----------
    table : DataFrame
        One row per scan, repeat and model: repeat, fold, participant_id, scan_id, model, label,
        score, probability; perhaps ``unit``, see `fmnet.evaluation.metrics.add_units`.
    model : str
        The model that the study is about, whose comparisons with the others are the question.
    kinds : dict
        What each model is.
    again : DataFrame, optional
        Its folds of the first repeat once more under other seeds, column ``seed``.
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        ``studied`` and ``kinds`` as given; those of `study_metrics`; ``spread``, see
        `fmnet.evaluation.power.seed_variance`; ``power``, see `fmnet.evaluation.power.study_power`.
    """
    further = [name for name in networks_among(kinds) if name != model]
    facts = study_metrics(table, seed, model, further) | {"studied": model, "kinds": dict(kinds)}
    facts["spread"] = seed_variance(table, pd.DataFrame() if again is None else again, model)
    facts["power"] = study_power(table, facts, model, best_rival(facts["models"], kinds))
    return facts


def study_metrics(
    table: pd.DataFrame, seed: int, model: str = "", further: Sequence[str] = ()
) -> dict[str, Any]:
    """Compute the figures of every model in an out-of-fold table, and their differences.

    The comparisons of `model`, by default the first of the table, are the question; those of
    `further` models are others.

    Returns
    -------
    dict
        ``n_subjects``, ``n_scans``, ``n_positive``; ``models``, see
        `fmnet.evaluation.metrics.model_metrics`; ``comparisons``, see
        `fmnet.evaluation.comparison.compare_models`.
    """
    first = str(table["model"].iloc[0])
    rows = table[table["model"] == first]
    scans = rows.drop_duplicates("scan_id")
    return {
        "n_subjects": int(rows["participant_id"].nunique()),
        "n_scans": len(scans),
        "n_positive": int(scans["label"].sum()),
        "models": {
            str(name): model_metrics(own, seed=seed)
            for name, own in table.groupby("model", sort=False)
        },
        "comparisons": compare_models(fold_aucs(table), model or first, further),
    }


def conclude(
    facts: dict[str, Any],
    table: pd.DataFrame,
    participants: Participants | None = None,
    symptoms: Sequence[str] = (),
    seed: int = 0,
) -> Conclusions:
    """Audit the models for confounds, and conclude what a study's figures allow to be said.

    The model that is exported is audited, and the one studied as well where that is another.

    Parameters
    ----------
    facts : dict
        From `evaluate`, perhaps with ``exported``, ``permutation``, ``sensitivity``,
        ``path_shares`` and others; ``audit`` is added, and perhaps ``audit_network``, see
        `fmnet.evaluation.audit.audit_model`.
    table : DataFrame
        Out-of-fold table.
    participants : Participants, optional
        What is known of them; without, nothing is audited.
    symptoms : list of str
        Columns that belong to the condition itself; that they tell the groups apart is no confound.
    seed : int
        Of bootstrap and permutations.
    """
    exported, studied = exported_model(facts), facts["studied"]
    audited = {"audit": exported} | ({} if exported == studied else {"audit_network": studied})
    of_model: dict[str, list[Conclusion]] = {}
    for key, name in audited.items():
        if participants is None:
            continue
        figures = facts["models"][name]
        facts[key] = audit_model(participants, table, name, figures["auc_ci"][0], seed)
        of_model[key] = audit_findings(facts[key], participants, figures, symptoms)
    of_audit, of_network = (of_model.get(key, []) for key in ("audit", "audit_network"))
    findings = study_findings(facts, of_audit)
    apart = not_said_before(list(map(vars, of_network)), list(map(vars, of_audit)))
    n_grave = sum(finding["severity"] == "red" for finding in apart)
    verdict = verdict_conclusions(facts, findings, n_grave)
    return Conclusions(verdict, findings, of_audit, of_network, further_verdicts(facts))
