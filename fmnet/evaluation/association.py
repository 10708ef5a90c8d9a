"""What each covariate says about the label, and about the score."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fmnet.evaluation.metrics import auc_draws, count_pairs

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def label_auc(people: pd.DataFrame, covariate: str, n_draws: int, seed: int) -> dict[str, Any]:
    """Tell the groups apart by one covariate alone.

    Numbers, and categories of two levels, are ranked as they are. More levels are ranked by their
    share of the positive class among other people, so that small ones don't tell on themselves.

    Returns
    -------
    dict
        ``auc``, at least 0.5 for numbers because their direction is free, and ``auc_ci``, its 95 %
        bootstrap interval over people; None where it can't be said.
    """
    known = people[["label", covariate]].dropna()
    label, column = known["label"].to_numpy(), known[covariate]
    if len(set(label)) < 2:
        return {"auc": None, "auc_ci": None}
    if pd.api.types.is_numeric_dtype(column):
        return _ranked_auc(column.to_numpy(float), label, n_draws, seed)
    if column.nunique() <= 2:
        codes = pd.factorize(column, sort=True)[0].astype(float)
        return _ranked_auc(codes, label, n_draws, seed)
    table = _shares_of_others(column, label, seed)
    pairs = count_pairs(table)
    draws = auc_draws(table, n_draws, seed)
    auc = pairs.auc(np.ones(len(pairs.units)))
    return {"auc": auc, "auc_ci": _interval([float(one) for one in draws if np.isfinite(one)])}


def _ranked_auc(value: Floats, label: Labels, n_draws: int, seed: int) -> dict[str, Any]:
    plain = float(roc_auc_score(label, value))
    value, plain = (value, plain) if plain >= 0.5 else (-value, 1 - plain)
    rng = np.random.default_rng(seed)
    # how often each person is drawn; a draw without one of the groups has no AUC
    n = len(label)
    drawn = np.stack(
        [np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(n_draws)]
    ).astype(float)
    one, other = drawn[:, label == 1], drawn[:, label == 0]
    gap = value[label == 1][:, None] - value[label == 0]
    won = np.einsum("dp,pn,dn->d", one, (np.sign(gap) + 1) / 2, other, optimize=True)
    met = one.sum(axis=1) * other.sum(axis=1)
    aucs = (won[met > 0] / met[met > 0]).tolist()
    return {"auc": plain, "auc_ci": _interval(aucs)}


def _shares_of_others(column: pd.Series, label: Labels, seed: int) -> pd.DataFrame:
    """Give each person the positive share of their category among people of other folds.

    People are compared within a fold only: what a fold holds is missing from its own shares.
    """
    codes = pd.factorize(column)[0]
    share, fold = np.zeros(len(label)), np.zeros(len(label), dtype=int)
    n_splits = max(2, min(5, int(np.bincount(label).min())))
    folds = StratifiedKFold(n_splits, shuffle=True, random_state=seed)
    for number, (rows, left) in enumerate(folds.split(codes, label)):
        counts = np.bincount(codes[rows], minlength=codes.max() + 1)
        positives = np.bincount(codes[rows], label[rows], minlength=codes.max() + 1)
        share[left] = ((positives + label[rows].mean()) / (counts + 1))[codes[left]]
        fold[left] = number
    people = [f"{row:05d}" for row in range(len(label))]
    return pd.DataFrame(
        {
            "participant_id": people,
            "scan_id": people,
            "repeat": 0,
            "fold": fold,
            "label": label,
            "score": share,
        }
    )


def _interval(aucs: list[float]) -> list[float]:
    low, high = np.quantile(aucs, [0.025, 0.975])
    return [float(low), float(high)]


def score_association(people: pd.DataFrame, scores: pd.Series, covariate: str) -> dict[str, Any]:
    """Relate a model's scores to one covariate.

    Returns
    -------
    dict
        ``r2``, cross-validated over people, of predicting the score; for numbers also ``rho`` and
        ``p``, Spearman's correlation within groups (label's share taken out of the ranks), None
        where one of them doesn't vary there.
    """
    known = people[["label", covariate]].dropna()
    score = scores.reindex(known.index).to_numpy(float)
    design = pd.get_dummies(known[[covariate]], dtype=float)
    found: dict[str, Any] = {"r2": predicted_share(design, score), "rho": None, "p": None}
    if pd.api.types.is_numeric_dtype(known[covariate]):
        label = known["label"]
        ranks = [pd.Series(v, known.index).rank() for v in (known[covariate], score)]
        inner = [rank - rank.groupby(label).transform("mean") for rank in ranks]
        if all(np.ptp(rank.to_numpy()) > 0 for rank in inner):
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
