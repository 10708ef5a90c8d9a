"""Whether the score depends on a covariate beyond what the label explains."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

Floats = NDArray[np.float64]
#: Steps of pairwise swaps between one permutation and the next.
N_STEPS = 50


def partial_confounder_test(
    score: Floats, covariate: pd.Series, label: NDArray[np.int64], n_draws: int, seed: int
) -> float:
    """Test the null hypothesis that score and covariate are independent given the label.

    Permutations of the covariate are drawn that keep how it depends on the label; the statistic is
    the share of the score's variance that the covariate explains.

    Parameters
    ----------
    score : ndarray of float, shape (N,)
        Out of fold, one per person.
    covariate : Series of float or text, shape (N,)
        Without missing values. Numbers are replaced by their normal scores, and those are taken as
        normal around a mean for each class.
    label : ndarray of int, shape (N,)
        0 or 1.
    n_draws : int
        Permutations.
    seed : int
        Of the draws.

    Returns
    -------
    float
        ``p = (b + 1) / (m + 1)``.

    References
    ----------
    Spisak, T. (2022). Statistical quantification of confounding bias in machine learning models.
    GigaScience, 11. For the sampler: Berrett, T. B., et al. (2020). The conditional permutation
    test for independence while controlling for confounders. J. R. Stat. Soc. B, 82.
    """
    covariate = normal_scores(covariate)
    logs = conditional_logs(covariate, label)
    design = pd.get_dummies(covariate.to_frame(), dtype=float).to_numpy()
    rng = np.random.default_rng(seed)
    start = np.arange(len(score))
    # All permutations start from one common state, so that they are exchangeable with the order
    # observed, which may itself have been reached from there.
    hub = _walk(start[None], logs, label, rng)
    orders = _walk(np.repeat(hub, n_draws, axis=0), logs, label, rng)
    observed = explained_shares(score, design, start[None])[0]
    null = explained_shares(score, design, orders)
    return (int((null >= observed - 1e-12).sum()) + 1) / (n_draws + 1)


def full_confounder_test(
    score: Floats, covariate: pd.Series, label: NDArray[np.int64], n_draws: int, seed: int
) -> float:
    """Test the null hypothesis that the score says nothing of the label but through a covariate.

    Scores and covariate are permuted together in such a way that the covariate depends on the label
    as before; the statistic is the difference between the groups' mean scores. A large p doesn't
    say that nothing is left, only that it can't be shown.

    Parameters
    ----------
    score, covariate, label, n_draws, seed
        As for `partial_confounder_test`.

    Returns
    -------
    float
        ``p = (b + 1) / (m + 1)``, one-sided: positive people score higher.
    """
    logs = conditional_logs(normal_scores(covariate), label)
    rng = np.random.default_rng(seed)
    start = np.arange(len(score))
    hub = _walk(start[None], logs, label, rng)
    orders = _walk(np.repeat(hub, n_draws, axis=0), logs, label, rng)
    is_positive = label == 1
    placed = score[np.concatenate([start[None], orders])]
    gaps = placed[:, is_positive].mean(axis=1) - placed[:, ~is_positive].mean(axis=1)
    return (int((gaps[1:] >= gaps[0] - 1e-12).sum()) + 1) / (n_draws + 1)


def normal_scores(covariate: pd.Series) -> pd.Series:
    """Turn numbers into normal quantiles by their ranks; head motion is far from normal itself."""
    if not pd.api.types.is_numeric_dtype(covariate):
        return covariate
    ranks = rankdata(covariate.to_numpy(float))
    return pd.Series(norm.ppf((ranks - 0.5) / len(ranks)), covariate.index, name=covariate.name)


def conditional_logs(covariate: pd.Series, label: NDArray[np.int64]) -> Floats:
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
    shares = np.log(counts / counts.sum(axis=0))
    return np.asarray(shares[[levels.index(value) for value in covariate]])


def explained_shares(score: Floats, design: NDArray[Any], orders: NDArray[np.intp]) -> Floats:
    """Shares of the score's variance that a linear model explains, for D orders of its design.

    Parameters
    ----------
    score : ndarray of float, shape (N,)
        What is explained.
    design : ndarray, shape (N, K)
        By what.
    orders : ndarray of int, shape (D, N)
        Which of its rows stands where.

    Returns
    -------
    ndarray of float, shape (D,)
        From 0 to 1.
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
    orders: NDArray[np.intp], logs: Floats, label: NDArray[np.int64], rng: np.random.Generator
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
