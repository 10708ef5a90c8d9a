"""Trials of whole studies in memory: without an effect, with one in both arms alike, with one."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from benchmarks.targets.cohorts import DrawnStudy
from fmnet.crossval.fold_loop import crossvalidate
from fmnet.crossval.outcome_permutation import observed_statistics, run_outcomes_together
from fmnet.data.outcomes import Numbers
from fmnet.evaluation.comparison import p_value
from fmnet.evaluation.outcome_study import add_outcome_units, evaluate_outcomes
from fmnet.types import NETWORK, ModelKind

#: What knows what was planted, and learns from nobody.
ORACLE = "oracle"


def crossvalidated(study: DrawnStudy) -> pd.DataFrame:
    """Let all models learn on each fold and score its test people, with family and site."""
    table, _ = crossvalidate(study.pipeline, study.scans, study.folds)
    people, cohort = study.scans.participant_ids, study.scans.cohort
    site_of = dict(zip(people, cohort.covariate("site"), strict=True))
    return add_outcome_units(table, cohort.unit_of, site_of)


def p_values(study: DrawnStudy, table: pd.DataFrame, n_permutations: int) -> dict[str, float]:
    """Compute each model's p-value by permutations of the whole pipeline, in their folds."""
    observed = observed_statistics(study.scans, table, 1)
    given = (study.pipeline.rerun(study.pipeline.baselines), study.scans, 1)
    null = pd.DataFrame(run_outcomes_together(given, list(range(n_permutations))))
    return {name: p_value(null[name], observed[name]) for name in map(str, null)}


def figures_of(study: DrawnStudy, table: pd.DataFrame) -> dict[str, float]:
    """Compute the primary figure of each model."""
    primary = study.target.primary.name
    return {
        str(name): float(study.target.figures(rows)[primary])
        for name, rows in table.groupby("model", sort=False)
    }


def conclusions(
    study: DrawnStudy, table: pd.DataFrame, p: Mapping[str, float], n_bootstrap: int
) -> str:
    """Write the first sentence of the verdict, as a report would have it."""
    target = study.target
    kinds: dict[str, ModelKind] = dict.fromkeys(map(str, table["model"].unique()), "other")
    given = (target.figures, target.details, vars(target.primary), study.pipeline.seed)
    facts: dict[str, Any] = evaluate_outcomes(table, NETWORK, kinds, *given, n_bootstrap)
    facts["titles"] = {name: name for name in kinds}
    facts["permutation"] = {"models": {name: {"p": value} for name, value in p.items()}}
    return target.verdict(facts)[0].text


def with_oracle(study: DrawnStudy, table: pd.DataFrame) -> pd.DataFrame:
    """Add what knows how strongly each scan shows the patterns, and which of them matter.

    Its scores are the expressions themselves; its links are fitted on all other test folds.
    """
    target, scans = study.target, study.scans
    shown = oracle_scores(study)
    rows = table[table["model"] == NETWORK].copy()
    row_of = {scan.scan_id: row for row, scan in enumerate(scans.cohort.scans)}
    of_rows = np.array([row_of[scan] for scan in rows["scan_id"]])
    names = target.score_names
    columns = ["score"] if len(names) == 1 else [f"score_{name}" for name in names]
    rows[columns] = shown[of_rows]
    for fold in study.folds:
        train, test = scans.rows(fold.train), scans.rows(fold.test)
        outputs = target.fit_link(shown[train], scans.outcomes.take(train)).outputs(shown[test])
        place = {row: number for number, row in enumerate(test)}
        own = np.array([row in place for row in of_rows])
        numbers = [place[row] for row in of_rows[own]]
        for name, values in outputs.items():
            rows.loc[own, name] = np.asarray(values)[numbers]
    return pd.concat([table, rows.assign(model=ORACLE)], ignore_index=True)


def oracle_scores(study: DrawnStudy) -> Numbers:
    """Score scans by what was planted: (N, K)."""
    expression, kind = study.drawn.expression[study.rows], study.drawn.truth["kind"]
    if kind == "classes":  # pains: what all share, and their own; without pain: less of all
        n_pains = len(study.drawn.truth["groups"]) - 1
        shared = study.drawn.truth["shared"]
        pains = [
            np.sqrt(shared) * expression[:, 0] + np.sqrt(1 - shared) * expression[:, 1 + number]
            for number in range(n_pains)
        ]
        order = {name: number for number, name in enumerate(study.drawn.truth["groups"])}
        every = np.stack([*pains, -np.sqrt(shared) * expression[:, 0]], axis=1)
        return every[:, [order[name] for name in study.target.score_names]]
    if kind == "change":
        return -expression[:, :1]
    driver = study.drawn.driver[study.rows]
    return (rankdata(driver) / len(driver) if np.isnan(driver).any() else driver)[:, None]
