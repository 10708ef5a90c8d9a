"""Everything that is said about a study, computed from its out-of-fold table."""

from typing import Any

import pandas as pd

from fmnet.study.crossval import NETWORK
from fmnet.study.metrics import auc_draws, study_metrics
from fmnet.study.power import auc_correlation, study_power
from fmnet.study.report.words import name_of
from fmnet.study.spread import seed_spread
from fmnet.study.verdict import best_rival


def analyse_predictions(
    predictions: pd.DataFrame, again: pd.DataFrame, seed: int
) -> dict[str, Any]:
    """Compute figures of all models, their differences, the network's spread, and power.

    Parameters
    ----------
    predictions : DataFrame
        Out-of-fold table.
    again : DataFrame
        The folds of the first repeat once more under other seeds; may be empty.
    seed : int
        Of the bootstrap.
    """
    metrics = study_metrics(predictions, seed)
    metrics["spread"] = seed_spread(predictions, again, NETWORK)
    if rival := best_rival(metrics["models"]):
        metrics["power"] = power_against(predictions, rival, metrics, seed)
    return metrics


def power_against(
    predictions: pd.DataFrame, rival: str, metrics: dict[str, Any], seed: int
) -> dict[str, Any]:
    """Say what this many people can show, above all against the best linear model."""
    network, other = (predictions[predictions["model"] == name] for name in (NETWORK, rival))
    people = network.drop_duplicates("participant_id")["label"]
    correlation = auc_correlation(auc_draws(network, seed=seed), auc_draws(other, seed=seed))
    n_positive = int(people.sum())
    auc = metrics["models"][rival]["auc"]
    return study_power(n_positive, len(people) - n_positive, name_of(rival), auc, correlation)
