"""AUC of the model that was chosen by its AUC, corrected for that choice."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnet.evaluation.intervals import auc_interval
from fmnet.evaluation.metrics import count_pairs, draw_weights

#: Bootstrap draws: other draws change the figure by some 0.005 at 24 people, less at more.
N_DRAWS = 5000


def chosen_auc(
    predictions: pd.DataFrame, among: Sequence[str], figures: dict[str, Any], seed: int
) -> dict[str, Any]:
    """Correct the AUC of the best of several models for its having been chosen by that AUC.

    Parameters
    ----------
    predictions : DataFrame
        Out-of-fold table, perhaps with a column ``unit``, see `fmnet.evaluation.metrics.add_units`.
    among : list of str
        Models that could have been chosen; of equals the first named is.
    figures : dict
        Figures of the one that was: ``auc``, ``auc_ci`` and ``auc_logit_se``.
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        ``auc_corrected`` and ``auc_corrected_ci``; the AUC itself where there was no choice.
    """
    corrected, interval = figures["auc"], figures["auc_ci"]
    if len(among) > 1:
        # a choice can't have made the figure smaller
        corrected = float(np.fmin(corrected, bootstrap_corrected_auc(predictions, among, seed)))
        counts = count_pairs(predictions[predictions["model"] == among[0]]).n_units()
        low, high = auc_interval(corrected, figures["auc_logit_se"], *counts)
        if low is not None and interval[0] is not None:
            # that of an AUC of 1 is widened, which the corrected one, being below 1, would undo
            low = min(low, interval[0])
        interval = [low, high]
    return {"auc_corrected": corrected, "auc_corrected_ci": list(interval)}


def bootstrap_corrected_auc(
    predictions: pd.DataFrame, among: Sequence[str], seed: int, n_draws: int = N_DRAWS
) -> float:
    """Let the bootstrap choose the best model of each draw, and judge it by those not drawn.

    Subjects (families) are drawn with replacement; the model with the largest AUC among those drawn
    is judged by its AUC among the others, and the mean over draws is taken. No model is fitted
    again. What is drawn and what is left vary against each other around what was observed, which
    undoes the luck of the choice on average, however alike the models are. ``suite=validity``
    measures how far the figure is from the AUC on new people.

    Parameters
    ----------
    predictions, among, seed
        As for `chosen_auc`.
    n_draws : int
        Draws in which no pair of scans is left on one of the two sides are dropped; NaN if all are.

    References
    ----------
    Tsamardinos, I., Greasidou, E., & Borboudakis, G. (2018). Bootstrapping the out-of-sample
    predictions for efficient and accurate cross-validation. Machine Learning, 107.
    """
    pairs = [count_pairs(predictions[predictions["model"] == name]) for name in among]
    units = pairs[0].units
    drawn = draw_weights(int(units.max()) + 1, n_draws, seed)[:, units]  # (n_draws, N)
    inside = np.stack([one.aucs(drawn) for one in pairs])  # (models, n_draws)
    outside = np.stack([one.aucs((drawn == 0).astype(float)) for one in pairs])
    is_known = np.isfinite(inside[0]) & np.isfinite(outside[0])
    if not is_known.any():
        return np.nan
    inside, outside = inside[:, is_known], outside[:, is_known]
    best: NDArray[np.intp] = inside.argmax(axis=0)
    return float(outside[best, np.arange(len(best))].mean())
