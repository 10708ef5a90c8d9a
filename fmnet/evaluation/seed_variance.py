"""How much of the network's AUC is luck of the folds, and how much luck of the seed."""

from typing import Any

import numpy as np
import pandas as pd

from fmnet.evaluation.metrics import model_metrics


def seed_spread(predictions: pd.DataFrame, again: pd.DataFrame, model: str) -> dict[str, Any]:
    """Tell the spread over splits from the spread over seeds.

    Parameters
    ----------
    predictions : DataFrame
        Out-of-fold table.
    again : DataFrame
        The folds of the first repeat once more under other seeds, column ``seed``; may be empty.
    model : str
        Whose spread.

    Returns
    -------
    dict
        ``splits_sd``: SD of the AUC over repeats, each with folds and a seed of its own; None for
        one. ``seeds_sd``: SD of the AUC over seeds in the same folds; None for one.
    """
    own = predictions[predictions["model"] == model]
    by_repeat = [_auc(rows) for _, rows in own.groupby("repeat")]
    by_seed = [_auc(own[own["repeat"] == 0])]
    if len(again):
        by_seed += [_auc(rows) for _, rows in again.groupby("seed")]
    return {
        "n_splits": len(by_repeat),
        "splits_sd": float(np.std(by_repeat, ddof=1)) if len(by_repeat) > 1 else None,
        "n_seeds": len(by_seed),
        "seeds_sd": float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 else None,
    }


def _auc(rows: pd.DataFrame) -> float:
    return float(model_metrics(rows, n_draws=1)["auc"])
