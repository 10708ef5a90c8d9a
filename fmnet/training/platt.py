"""From out-of-fold scores to a `Calibration` (Platt 1999)."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression

from fmnet.deploy.calibration import Calibration


def fit_calibration(scores: ArrayLike, labels: ArrayLike, n_repeats: int = 1) -> Calibration:
    """Fit the map on scores of scans that the scoring network had not seen.

    Platt's softened targets keep the slope finite where scores separate the classes. Where higher
    scores go with the negative class the slope is 0: such scores say nothing, and the probability
    is the share of the positive class.

    Parameters
    ----------
    scores : array-like of float, shape (N,)
        Out-of-fold scores.
    labels : array-like of int, shape (N,)
        0 or 1.
    n_repeats : int
        How many scores each scan has.

    References
    ----------
    Platt, J. (1999). Probabilistic outputs for support vector machines.
    """
    x, y = np.asarray(scores, dtype=float), np.asarray(labels, dtype=int)
    positives, negatives = int(y.sum()), int((1 - y).sum())
    scans = positives / n_repeats, negatives / n_repeats
    target = np.where(y == 1, (scans[0] + 1) / (scans[0] + 2), 1 / (scans[1] + 2))
    scale = float(x.std()) or 1.0
    model = LogisticRegression(C=np.inf)
    model.fit(
        np.concatenate([x, x])[:, None] / scale,
        np.repeat([1, 0], len(x)),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    slope = float(model.coef_[0, 0]) / scale
    if slope <= 0:
        prevalence = (positives + 1) / (len(y) + 2)
        return Calibration(0.0, float(np.log(prevalence / (1 - prevalence))))
    return Calibration(slope, float(model.intercept_[0]))
