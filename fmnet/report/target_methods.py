"""Write what was done in a study of a target, for the methods section of a paper."""

from collections.abc import Mapping
from typing import Any

from fmnet.data.cohort import Cohort
from fmnet.report.methods import (
    TripodItem,
    folds_sentence,
    further_sentences,
    input_sentences,
    network_sentence,
    tripod_of_all,
)
from fmnet.report.sentences import capital, count, name_of, stopped


def target_methods(
    cohort: Cohort, facts: Mapping[str, Any], settings: Mapping[str, Any]
) -> list[str]:
    """Describe the analysis: the data, the models, and how they were judged.

    `facts` and `settings` are what ``metrics.json`` and ``config.yaml`` hold.
    """
    target, titles = facts["target"], facts["titles"]
    read = ", ".join(f"{role} from “{column}”" for role, column in target["columns"].items())
    data = [
        f"{count(facts['n_scans'], 'scan')} of {facts['n_subjects']} people were analysed. "
        f"Predicted is {target['title']}{f' ({read})' if read else ''}.",
        *([stopped(facts["summary"])] if facts.get("summary") else []),
        *input_sentences(cohort, facts, settings),
    ]
    models = [network_sentence(settings, facts)]
    if others := [name_of(name, titles) for name in facts["models"] if name != facts["studied"]]:
        models.append(f"In the same folds stood: {', '.join(others)}.")
    models += further_sentences(settings, facts)
    models.append(
        "Everything that is learned, standardisation, smoothing width, penalties, length of "
        "training and what turns scores into outputs, was learned on training subjects, every "
        "choice on inner folds. Models that are fitted in closed form learn what is left of the "
        "outcome by a model without scans, which was fitted on the training subjects too."
    )
    primary = target["primary"]
    judged = [
        folds_sentence(settings.get("folds", {}), "outcome"),
        f"{capital(primary['title'])} was the figure that the study is about, settled on before "
        f"any was seen; {primary['chance']:g} is what a model that knows nothing reaches. "
        "Intervals are percentiles of a bootstrap over people, families whole; that of this figure "
        "is widened by what other training people would change. Differences between models have "
        "the larger p of that bootstrap and of a corrected resampled t-test over folds (Nadeau and "
        "Bengio 2003), corrected after Holm.",
    ]
    if permuted := facts.get("permutation"):
        planned = ""
        if permuted["n"] < permuted["n_planned"]:
            planned = f", of {permuted['n_planned']} planned"
        judged.append(
            f"The null distribution comes from {permuted['n']} permutations{planned} of what the "
            "target says makes no difference under the null hypothesis, within sites, families "
            "whole, and within folds or with folds that move along, through the whole pipeline; "
            "p = (b + 1) / (m + 1), or where they ended early that of Besag and Clifford (1991)."
        )
    return [" ".join(sentences) for sentences in (data, models, judged)]


def target_tripod(cohort: Cohort, facts: Mapping[str, Any]) -> list[TripodItem]:
    """Fill in the TRIPOD+AI checklist; the target's own items stand in ``facts["tripod"]``."""
    target = facts["target"]
    read = ", ".join(f"“{column}” ({role})" for role, column in target["columns"].items())
    outputs = ", ".join(f"{one['name']} ({one['unit']})" for one in target["outputs"])
    given = [(str(item), str(asks), str(says)) for item, asks, says in facts.get("tripod", [])]
    said = {item for item, _, _ in given}
    own = [
        ("8", "outcome", f"{target['title']}{f': {read}' if read else ''}"),
        ("15", "model output", f"{outputs}; see “What the numbers mean”"),
        ("20", "participants", "cohort.tsv: who was used or left out, and why"),
        ("22", "full model", "model/; fmnet export writes the bundle"),
        ("21", "numbers in each analysis", facts.get("summary", "see “Result”")),
    ]
    return tripod_of_all(cohort, facts, [*(row for row in own if row[0] not in said), *given])
