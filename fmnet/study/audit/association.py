"""What each covariate says about the label, and about the score."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Rows = NDArray[np.intp]


def label_auc(people: pd.DataFrame, covariate: str, n_draws: int, seed: int) -> dict[str, Any]:
    """Tell the groups apart by one covariate alone.

    Numbers are ranked as they are. Categories are ranked by their share of the positive class among
    the people of a bootstrap draw, and judged by those who were not drawn, so that small categories
    don't tell on themselves.

    Returns
    -------
    dict
        ``auc``, at least 0.5 for numbers because their direction is free, and ``auc_ci``, its 95 %
        bootstrap interval over people; None where it can't be said.
    """
    known = people[["label", covariate]].dropna()
    label = known["label"].to_numpy()
    if len(set(label)) < 2:
        return {"auc": None, "auc_ci": None}
    rng = np.random.default_rng(seed)
    draws = [rng.integers(0, len(label), len(label)) for _ in range(n_draws)]
    if pd.api.types.is_numeric_dtype(known[covariate]):
        return _number_auc(known[covariate].to_numpy(float), label, draws)
    return _category_auc(known[covariate], label, draws)


def _number_auc(value: Floats, label: Labels, draws: list[Rows]) -> dict[str, Any]:
    plain = float(roc_auc_score(label, value))
    direction = -1.0 if plain < 0.5 else 1.0
    aucs = [
        roc_auc_score(label[rows], direction * value[rows])
        for rows in draws
        if len(set(label[rows])) == 2
    ]
    return {"auc": max(plain, 1 - plain), "auc_ci": _interval(aucs)}


def _category_auc(category: pd.Series, label: Labels, draws: list[Rows]) -> dict[str, Any]:
    codes = pd.factorize(category)[0]
    aucs = []
    for rows in draws:
        left = np.setdiff1d(np.arange(len(label)), rows)
        if len(set(label[left])) == 2:
            counts = np.bincount(codes[rows], minlength=codes.max() + 1)
            positives = np.bincount(codes[rows], label[rows], minlength=codes.max() + 1)
            shares = (positives + label.mean()) / (counts + 1)
            aucs.append(roc_auc_score(label[left], shares[codes[left]]))
    if not aucs:
        return {"auc": None, "auc_ci": None}
    return {"auc": float(np.mean(aucs)), "auc_ci": _interval(aucs)}


def _interval(aucs: list[float]) -> list[float]:
    low, high = np.quantile(aucs, [0.025, 0.975])
    return [float(low), float(high)]


def score_association(people: pd.DataFrame, scores: pd.Series, covariate: str) -> dict[str, Any]:
    """Relate a model's scores to one covariate.

    Returns
    -------
    dict
        ``r2``, cross-validated over people, of predicting the score; for numbers also ``rho`` and
        ``p``, Spearman's correlation within groups (label's share taken out of the ranks).
    """
    known = people[["label", covariate]].dropna()
    score = scores.reindex(known.index).to_numpy(float)
    design = pd.get_dummies(known[[covariate]], dtype=float)
    found: dict[str, Any] = {"r2": predicted_share(design, score), "rho": None, "p": None}
    if pd.api.types.is_numeric_dtype(known[covariate]):
        label = known["label"]
        ranks = [pd.Series(v, known.index).rank() for v in (known[covariate], score)]
        inner = [rank - rank.groupby(label).transform("mean") for rank in ranks]
        rho, p = spearmanr(inner[0].to_numpy(), inner[1].to_numpy())
        found |= {"rho": float(rho), "p": float(p)}
    return found


def predicted_share(design: pd.DataFrame, score: Floats) -> float | None:
    """Cross-validated share of the score's variance that covariates predict; may be negative."""
    if len(score) < 10 or not len(design.columns) or np.ptp(score) == 0:
        return None
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 3, 11)))
    folds = KFold(5, shuffle=True, random_state=0)
    return float(r2_score(score, cross_val_predict(model, design, score, cv=folds)))
