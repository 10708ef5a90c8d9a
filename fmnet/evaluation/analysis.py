"""Everything that is said about a study, computed from its out-of-fold table."""

from typing import Any

import pandas as pd

from fmnet.crossval.fold_loop import NETWORK
from fmnet.evaluation.metrics import count_pairs, study_metrics
from fmnet.evaluation.power import Evidence, study_power
from fmnet.evaluation.seed_variance import seed_spread
from fmnet.evaluation.verdict import best_rival, comparison_with
from fmnet.report.words import name_of

PAIRED = "Not worked out: there are people with scans of both groups."


def analyse_predictions(
    predictions: pd.DataFrame, again: pd.DataFrame, seed: int
) -> dict[str, Any]:
    """Compute figures of all models, their differences and the network's spread.

    Parameters
    ----------
    predictions : DataFrame
        Out-of-fold table, perhaps with a column ``unit``, see `fmnet.evaluation.metrics.add_units`.
    again : DataFrame
        The folds of the first repeat once more under other seeds; may be empty.
    seed : int
        Of the bootstrap.
    """
    metrics = study_metrics(predictions, seed)
    return metrics | {"spread": seed_spread(predictions, again, NETWORK)}


def power_of(predictions: pd.DataFrame, metrics: dict[str, Any]) -> dict[str, Any]:
    """Say what this many people can show, above all against the best linear model.

    Parameters
    ----------
    predictions : DataFrame
        Out-of-fold table, perhaps with a column ``unit``: families count once then.
    metrics : dict
        Figures and comparisons.
    """
    network = predictions[predictions["model"] == NETWORK]
    label = network.groupby("participant_id")["label"].agg(["min", "max"])
    rival = best_rival(metrics["models"])
    if (label["min"] != label["max"]).any():
        return {"lines": [PAIRED]}
    if not rival:
        return {}
    row = comparison_with(metrics, rival) or {}
    tested = [one for one in metrics["comparisons"] if one.get("p_holm_first") is not None]
    evidence = Evidence(
        name_of(rival),
        metrics["models"][rival]["auc"],
        row.get("se"),
        row.get("df"),
        len(tested),
        int(network["repeat"].nunique()),
    )
    counts = count_pairs(network).n_units()
    noun = "people" if sum(counts) == len(label) else "families"
    return study_power(*counts, evidence, noun)
