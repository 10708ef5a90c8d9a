"""Audit confounds: relate covariates to the label, to a model's score, and to both."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm, rankdata, spearmanr
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fmnet.evaluation.comparison import holm
from fmnet.evaluation.metrics import auc_draws, count_pairs

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
#: What a column of the participants table is, by its name. ``usual`` are other confounds that can
#: explain a result in any study, ``name`` are columns that name or remark on participants.
CovariateKind = Literal["motion", "age", "head size", "usual", "name", "other"]

#: Bootstrap draws and permutations.
N_DRAWS = 1000
#: A larger difference, in pooled SDs, is called an imbalance (Stuart 2010).
LIMIT = 0.25
#: Steps of pairwise swaps between one permutation and the next.
N_STEPS = 50


@dataclass(frozen=True)
class AuditPlan:
    """What is asked of covariates.

    Parameters
    ----------
    symptoms : list of str
        Columns that belong to the condition itself; that they tell the groups apart is no confound.
    """

    symptoms: Sequence[str] = ()


@dataclass(frozen=True)
class Unread:
    """Why a column of the participants table is not examined, or not all of its cells.

    Parameters
    ----------
    kind : str
        ``constant``: the same for all; ``both groups``: participants have scans of both, and no
        label of their own; ``cells``: some were taken as missing; ``other``.
    words : str
        The reason in words.
    """

    kind: Literal["constant", "both groups", "cells", "other"]
    words: str

    def __str__(self) -> str:
        return f"{self.words}, taken as missing" if self.kind == "cells" else self.words


@dataclass(frozen=True, eq=False)
class Participants:
    """What is known of the participants of a study.

    Parameters
    ----------
    table : DataFrame
        Index: participant id; ``label`` (0 or 1) and one column per covariate, float where it holds
        numbers, else text; missing is NaN or None. Empty where they have no label of their own.
    kinds : dict
        What each covariate is, of those that could not be read as well.
    unread : dict
        Columns that are not in the table, or not in full.
    passed_over : list of str
        The same in words, with columns that are no covariates.
    look_alikes : list of dict
        Participants who may be one person under several names: ``people``, ``labels``,
        ``correlation``, ``next_correlation``.
    lacks_motion : bool
        Whether nothing says how much they moved though they were scanned by BOLD.
    """

    table: pd.DataFrame
    kinds: Mapping[str, CovariateKind]
    unread: Mapping[str, Unread]
    passed_over: Sequence[str] = ()
    look_alikes: Sequence[Mapping[str, Any]] = ()
    lacks_motion: bool = False


def audit_model(
    participants: Participants, predictions: pd.DataFrame, model: str, floor: float, seed: int
) -> dict[str, Any]:
    """Ask of every covariate whether it could explain a model's result.

    `floor` is the lower end of the interval of its AUC.

    Returns
    -------
    dict
        ``model``; ``balance``; ``covariates``: name, AUC of the label from it, relation to the
        score, and the partial confounder test with its Holm-corrected p; for head motion that
        reaches the model also ``left_p``, whether the score tells those apart who moved alike;
        ``score_r2`` from all covariates; ``passed_over``: columns that were not looked at, and why;
        ``look_alikes``: participants who may be one person under several names.
    """
    table = participants.table
    found: dict[str, Any] = {"model": model, "balance": [], "covariates": [], "score_r2": None}
    found["passed_over"] = list(participants.passed_over)
    found["look_alikes"] = [dict(group) for group in participants.look_alikes]
    if table.empty or len(table.columns) < 2:
        return found
    scores = participant_scores(predictions, model).reindex(table.index)
    rows: list[dict[str, Any]] = [
        {"covariate": name}
        | label_auc(table, name, N_DRAWS, seed)
        | score_association(table, scores, name)
        | {"partial_p": _tested_p(partial_confounder_test, table, scores, name, seed)}
        for name in map(str, table.columns.drop("label"))
    ]
    tested = [row for row in rows if row["partial_p"] is not None]
    for row, p in zip(tested, holm([row["partial_p"] for row in tested]), strict=True):
        row["partial_p_holm"] = p
    for row in rows:
        if participants.kinds[row["covariate"]] == "motion" and reaches(row, floor):
            row["left_p"] = _tested_p(full_confounder_test, table, scores, row["covariate"], seed)
    complete = table.dropna()
    design = pd.get_dummies(complete.drop(columns="label"), dtype=float)
    found["balance"], found["covariates"] = balance_table(table), rows
    score = scores.reindex(complete.index).to_numpy(float)
    found["score_r2"] = predicted_fraction(design, score)
    return found


def reaches(row: Mapping[str, Any], floor: float) -> bool:
    """Tell whether a covariate alone is above chance and reaches the model's interval."""
    return row["auc"] is not None and row["auc_ci"][0] > 0.5 and row["auc"] >= floor


def participant_scores(predictions: pd.DataFrame, model: str) -> pd.Series:
    """Standardise a model's scores within each test fold and average them by participant."""
    rows = predictions[predictions["model"] == model]
    folds = rows.groupby(["repeat", "fold"])["score"]
    sd = folds.transform("std").replace(0, np.nan)
    standard = ((rows["score"] - folds.transform("mean")) / sd).fillna(0.0)
    means: pd.Series = standard.groupby(rows["participant_id"]).mean()
    return means


def _tested_p(
    test: Callable[..., float], table: pd.DataFrame, scores: pd.Series, name: str, seed: int
) -> float | None:
    """Test a model's scores, a covariate and the label; None where too few are known."""
    known = table[["label", name]].dropna()
    label = known["label"].to_numpy()
    score = scores.reindex(known.index).to_numpy(float)
    if len(known) < 10 or len(set(label)) < 2 or score.std() == 0:
        return None
    return test(score, known[name], label, N_DRAWS, seed)


def label_auc(table: pd.DataFrame, covariate: str, n_draws: int, seed: int) -> dict[str, Any]:
    """Tell the groups apart by one covariate alone.

    Numbers, and categories of two levels, are ranked as they are. More levels are ranked by their
    fraction of the positive class among others, so that small ones don't tell on themselves.

    Returns
    -------
    dict
        ``auc``, at least 0.5 for numbers because their direction is free, and ``auc_ci``, its 95 %
        bootstrap interval over participants; None where it can't be said.
    """
    known = table[["label", covariate]].dropna()
    label, column = known["label"].to_numpy(), known[covariate]
    if len(set(label)) < 2:
        return {"auc": None, "auc_ci": None}
    if pd.api.types.is_numeric_dtype(column):
        return _ranked_auc(column.to_numpy(float), label, n_draws, seed)
    if column.nunique() <= 2:
        codes = pd.factorize(column, sort=True)[0].astype(float)
        return _ranked_auc(codes, label, n_draws, seed)
    fractions = _fractions_of_others(column, label, seed)
    draws = auc_draws(fractions, n_draws, seed)
    interval = _interval(draws[np.isfinite(draws)])
    return {"auc": count_pairs(fractions).plain_auc(), "auc_ci": interval}


def _ranked_auc(value: Floats, label: Labels, n_draws: int, seed: int) -> dict[str, Any]:
    plain = float(roc_auc_score(label, value))
    value, plain = (value, plain) if plain >= 0.5 else (-value, 1 - plain)
    rng = np.random.default_rng(seed)
    # how often each participant is drawn; a draw without one of the groups has no AUC
    n = len(label)
    drawn = np.stack(
        [np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(n_draws)]
    ).astype(float)
    one, other = drawn[:, label == 1], drawn[:, label == 0]
    gap = value[label == 1][:, None] - value[label == 0]
    won = np.einsum("dp,pn,dn->d", one, (np.sign(gap) + 1) / 2, other, optimize=True)
    met = one.sum(axis=1) * other.sum(axis=1)
    return {"auc": plain, "auc_ci": _interval(won[met > 0] / met[met > 0])}


def _fractions_of_others(column: pd.Series, label: Labels, seed: int) -> pd.DataFrame:
    """Give each participant the positive fraction of their category in other folds.

    They are compared within a fold only: what a fold holds is missing from its own fractions.
    """
    codes = pd.factorize(column)[0]
    fraction, fold = np.zeros(len(label)), np.zeros(len(label), dtype=int)
    n_splits = max(2, min(5, int(np.bincount(label).min())))
    folds = StratifiedKFold(n_splits, shuffle=True, random_state=seed)
    for number, (rows, left) in enumerate(folds.split(codes, label)):
        counts = np.bincount(codes[rows], minlength=codes.max() + 1)
        positives = np.bincount(codes[rows], label[rows], minlength=codes.max() + 1)
        fraction[left] = ((positives + label[rows].mean()) / (counts + 1))[codes[left]]
        fold[left] = number
    ids = [f"{row:05d}" for row in range(len(label))]
    scores = {"repeat": 0, "fold": fold, "label": label, "score": fraction}
    return pd.DataFrame({"participant_id": ids, "scan_id": ids} | scores)


def _interval(aucs: Floats) -> list[float]:
    low, high = np.quantile(aucs, [0.025, 0.975])
    return [float(low), float(high)]


def score_association(table: pd.DataFrame, scores: pd.Series, covariate: str) -> dict[str, Any]:
    """Relate a model's scores to one covariate.

    Returns
    -------
    dict
        ``r2``, cross-validated over participants, of predicting the score; for numbers also ``rho``
        and ``p``, Spearman's correlation within groups (label's fraction taken out of the ranks),
        None where one of them doesn't vary there.
    """
    known = table[["label", covariate]].dropna()
    score = scores.reindex(known.index).to_numpy(float)
    design = pd.get_dummies(known[[covariate]], dtype=float)
    found: dict[str, Any] = {"r2": predicted_fraction(design, score), "rho": None, "p": None}
    if pd.api.types.is_numeric_dtype(known[covariate]):
        label = known["label"]
        ranks = [pd.Series(v, known.index).rank() for v in (known[covariate], score)]
        inner = [rank - rank.groupby(label).transform("mean") for rank in ranks]
        if all(np.ptp(rank.to_numpy()) > 0 for rank in inner):
            rho, p = spearmanr(inner[0].to_numpy(), inner[1].to_numpy())
            found |= {"rho": float(rho), "p": float(p)}
    return found


def predicted_fraction(design: pd.DataFrame, score: Floats) -> float | None:
    """Cross-validated fraction of the score's variance that covariates predict; may be negative."""
    if len(score) < 10 or not len(design.columns) or np.ptp(score) == 0:
        return None
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 3, 11)))
    folds = KFold(5, shuffle=True, random_state=0)
    return float(r2_score(score, cross_val_predict(model, design, score, cv=folds)))


def balance_table(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Compare the groups in each covariate.

    Returns
    -------
    list of dict
        ``covariate``; ``negative`` and ``positive``, mean (SD) or counts in words; ``missing``, how
        many of each group; ``smd``, see `standardised_difference`; ``is_imbalanced``.
    """
    groups = [table[table["label"] == label] for label in (0, 1)]
    rows = []
    for name in table.columns.drop("label"):
        negative, positive = (group[name] for group in groups)
        smd = standardised_difference(negative, positive)
        row: dict[str, Any] = {"covariate": str(name), "smd": smd}
        row |= {"negative": _describe(negative), "positive": _describe(positive)}
        row["missing"] = [int(column.isna().sum()) for column in (negative, positive)]
        rows.append(row | {"is_imbalanced": smd is not None and abs(smd) > LIMIT})
    return rows


def standardised_difference(negative: pd.Series, positive: pd.Series) -> float | None:
    """Mean difference in pooled SDs, positive minus negative; for categories without a sign.

    None where a group has fewer than two values.

    References
    ----------
    Yang, D., & Dalton, J. (2012). A unified approach to measuring the effect size between two
    groups using SAS. SAS Global Forum, for categories.
    """
    one, other = negative.dropna(), positive.dropna()
    if min(len(one), len(other)) < 2:
        return None
    if pd.api.types.is_numeric_dtype(one):
        pooled = float(np.sqrt((one.var() + other.var()) / 2))
        gap = float(other.mean() - one.mean())
        return gap / pooled if pooled > 0 else 9.99 * float(np.sign(gap))
    levels = sorted({*one, *other})[1:]
    fractions = [
        np.array([(column == level).mean() for level in levels]) for column in (one, other)
    ]
    # Half a participant more a level: fractions of 0 and 1 have no variance to divide by.
    smooth = [
        (fraction * n + 0.5) / (n + 0.5 * (len(levels) + 1))
        for fraction, n in zip(fractions, (len(one), len(other)), strict=True)
    ]
    covariance = sum((np.diag(p) - np.outer(p, p)) / 2 for p in smooth)
    gap_by_level = fractions[1] - fractions[0]
    return float(np.sqrt(max(gap_by_level @ np.linalg.pinv(covariance) @ gap_by_level, 0.0)))


def _describe(column: pd.Series) -> str:
    known = column.dropna()
    if known.empty:
        return "not known"
    if pd.api.types.is_numeric_dtype(known):
        mean, sd = float(f"{known.mean():.3g}"), float(f"{known.std():.2g}")
        return f"{mean:g} ({sd:g})"  # 1450 (120), not 1.45e+03 (1.2e+02)
    counts = known.value_counts().sort_index()
    return ", ".join(f"{level} {count}" for level, count in counts.items())


def partial_confounder_test(
    score: Floats, covariate: pd.Series, label: Labels, n_draws: int, seed: int
) -> float:
    """Test the null hypothesis that score and covariate are independent given the label.

    Permutations of the covariate are drawn that keep how it depends on the label; the statistic is
    the fraction of the score's variance that the covariate explains.

    `score`, one per participant, is out of fold; `covariate` has no missing values. Numbers are
    replaced by their normal scores, and those are taken as normal around a mean for each class. The
    p-value is ``(b + 1) / (m + 1)``.

    References
    ----------
    Spisak, T. (2022). Statistical quantification of confounding bias in machine learning models.
    GigaScience, 11. For the sampler: Berrett, T. B., et al. (2020). The conditional permutation
    test for independence while controlling for confounders. J. R. Stat. Soc. B, 82.
    """
    orders = _conditional_orders(covariate, label, n_draws, seed)
    design = pd.get_dummies(normal_scores(covariate).to_frame(), dtype=float).to_numpy()
    explained = explained_fractions(score, design, orders)
    return (int((explained[1:] >= explained[0] - 1e-12).sum()) + 1) / (n_draws + 1)


def full_confounder_test(
    score: Floats, covariate: pd.Series, label: Labels, n_draws: int, seed: int
) -> float:
    """Test the null hypothesis that the score says nothing of the label but through a covariate.

    As `partial_confounder_test`, but scores and covariate are permuted together, in such a way that
    the covariate depends on the label as before; the statistic is the difference between the
    groups' mean scores, one-sided: positives score higher. A large p doesn't say that nothing
    is left, only that it can't be shown.
    """
    placed = score[_conditional_orders(covariate, label, n_draws, seed)]
    is_positive = label == 1
    gaps = placed[:, is_positive].mean(axis=1) - placed[:, ~is_positive].mean(axis=1)
    return (int((gaps[1:] >= gaps[0] - 1e-12).sum()) + 1) / (n_draws + 1)


def _conditional_orders(
    covariate: pd.Series, label: Labels, n_draws: int, seed: int
) -> NDArray[np.intp]:
    """Draw orders of a covariate's values that keep how it depends on the label: (D + 1, N).

    The first is the order observed. All others start from one common state, so that they are
    exchangeable with it, which may itself have been reached from there.
    """
    logs = conditional_logs(normal_scores(covariate), label)
    rng = np.random.default_rng(seed)
    observed = np.arange(len(label))[None]
    hub = _walk(observed, logs, label, rng)
    return np.concatenate([observed, _walk(np.repeat(hub, n_draws, axis=0), logs, label, rng)])


def normal_scores(covariate: pd.Series) -> pd.Series:
    """Turn numbers into normal quantiles by their ranks; head motion is far from normal itself."""
    if not pd.api.types.is_numeric_dtype(covariate):
        return covariate
    ranks = rankdata(covariate.to_numpy(float))
    return pd.Series(norm.ppf((ranks - 0.5) / len(ranks)), covariate.index, name=covariate.name)


def conditional_logs(covariate: pd.Series, label: Labels) -> Floats:
    """Log density of each value of the covariate under each class: (N, 2)."""
    if pd.api.types.is_numeric_dtype(covariate):
        value = covariate.to_numpy(float)
        means = [value[label == k].mean() for k in (0, 1)]
        residual = value - np.where(label == 1, means[1], means[0])
        sd = max(float(residual.std()), 1e-12)
        return np.stack([norm.logpdf(value, mean, sd) for mean in means], axis=1)
    levels = sorted(set(covariate))
    counts = np.array(
        [[((covariate == v) & (label == k)).sum() + 0.5 for k in (0, 1)] for v in levels]
    )
    fractions = np.log(counts / counts.sum(axis=0))
    return np.asarray(fractions[[levels.index(value) for value in covariate]])


def explained_fractions(score: Floats, design: NDArray[Any], orders: NDArray[np.intp]) -> Floats:
    """Compute the fraction of the score's variance, (N,), that a linear model explains.

    For D orders, (D, N), of the rows of its design, (N, K): (D,), from 0 to 1.
    """
    centred = design - design.mean(axis=0)
    axes, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    basis = axes[:, sizes > 1e-10 * max(float(sizes.max(initial=0.0)), 1.0)]  # (N, R)
    left = score - score.mean()
    total = float(left @ left)
    if total <= 0:
        return np.zeros(len(orders))
    along = np.einsum("dnr,n->dr", basis[orders], left)
    return np.asarray((along**2).sum(axis=1) / total)


def _walk(
    orders: NDArray[np.intp], logs: Floats, label: Labels, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Swap random disjoint pairs of covariate values with the odds that their densities give.

    `orders`, (D, N), walk independently of one another.
    """
    orders = orders.copy()
    half = orders.shape[1] // 2
    rows = np.arange(len(orders))[:, None]
    for _ in range(N_STEPS):
        shuffled = rng.random(orders.shape).argsort(axis=1)
        one, other = shuffled[:, :half], shuffled[:, half : 2 * half]
        first, second = orders[rows, one], orders[rows, other]
        gain = (
            logs[second, label[one]]
            + logs[first, label[other]]
            - logs[first, label[one]]
            - logs[second, label[other]]
        )
        swaps = rng.random(gain.shape) < 1 / (1 + np.exp(-np.clip(gain, -50, 50)))
        orders[rows, one] = np.where(swaps, second, first)
        orders[rows, other] = np.where(swaps, first, second)
    return orders
