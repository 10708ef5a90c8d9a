"""Tell how much more an arm does for people who are ranked higher: TOC, AUTOC and Qini."""

from functools import lru_cache
from typing import Any

import numpy as np

from fmnet.evaluation.moderation import Floats, Integers, ScoredTrial, gain_left, ranked_within

#: Fractions of people, those with the highest scores, at which curves are given.
FRACTIONS = np.arange(1, 21) / 20
#: Quantiles that 95 % lie between.
ENDS = [0.025, 0.975]


def pseudo_effects(trial: ScoredTrial) -> Floats:
    """Compute a doubly robust score of each row, (N,), whose mean is the effect of the arm.

    With a known propensity its mean within any group of people, chosen without their outcomes, is
    the effect in that group, whatever gains were expected.
    """
    left, effect = gain_left(trial, has_score=True)
    if trial.arm is None:
        return left
    assert trial.propensity is not None
    share = trial.propensity
    pull = (trial.arm - share) / (share * (1 - share))
    return np.asarray(effect + pull * (left - effect * trial.arm))


@lru_cache(maxsize=64)
def _rate_weights(n: int) -> Floats:
    """Weights, (2, n), of pseudo-effects in falling order of scores: AUTOC and Qini."""
    position = np.arange(1, n + 1)
    autoc = np.cumsum((1 / position)[::-1])[::-1] / n - 1 / n
    qini = (n - position + 1) / n**2 - position.mean() / n**2
    return np.stack([autoc, qini])


def rank_weighted_effects(effects: Floats, rank: Floats, starts: Integers) -> tuple[float, float]:
    """Compute AUTOC and the Qini coefficient: how much more the arm helps those ranked higher.

    With ``TOC(q)`` the mean effect in the fraction q with the highest ranks less that in all, AUTOC
    is its integral over q, the Qini coefficient that of ``q * TOC(q)``; both in units of the
    outcome, and 0 for ranks that know nothing. Tied ranks share their effects.

    Parameters
    ----------
    effects, rank : ndarray of float, shape (N,)
        See `pseudo_effects` and `fmnet.evaluation.moderation.ranked_within`.
    starts : ndarray of int, shape (R,)
        Row at which each repeat begins.

    References
    ----------
    Yadlowsky, S., Fleming, S., Shah, N., Brunskill, E., & Wager, S. (2025). Evaluating treatment
    prioritization rules via rank-weighted average treatment effects. Journal of the American
    Statistical Association, 120.
    """
    total = np.zeros(2)
    for begin, end in zip(starts, [*starts[1:], len(rank)], strict=True):
        order = np.argsort(-rank[begin:end], kind="stable")
        ordered = rank[begin:end][order]
        group = np.cumsum(np.diff(ordered, prepend=ordered[0]) != 0)
        shared = (np.bincount(group, effects[begin:end][order]) / np.bincount(group))[group]
        total += _rate_weights(int(end - begin)) @ shared
    autoc, qini = total / len(starts)
    return float(autoc), float(qini)


def rate_curves(trial: ScoredTrial, n_draws: int = 200, seed: int = 0) -> dict[str, Any]:
    """Compute AUTOC and Qini with their curves, all with 95 % intervals by a bootstrap of people.

    Returns
    -------
    dict
        ``autoc``, ``qini`` and their ``_ci``; ``curve``: ``fraction`` of people, those with the
        highest scores first, ``toc`` and ``qini`` there, each with ``_low`` and ``_high``.
    """
    effects, rank = pseudo_effects(trial), ranked_within(trial.score, trial.fold)
    n_units = int(trial.unit.max()) + 1
    share = np.full(n_units, 1 / n_units)
    drawn = np.random.default_rng(seed).multinomial(n_units, share, size=n_draws)
    counts = np.concatenate([np.ones((1, n_units)), drawn])
    starts = trial.starts()
    parts = []
    for begin, end in zip(starts, [*starts[1:], len(rank)], strict=True):
        order = begin + np.argsort(-rank[begin:end], kind="stable")
        parts.append(_toc(effects[order], rank[order], counts[:, trial.unit[order]]))
    autoc, qini, toc = (np.mean(one, axis=0) for one in zip(*parts, strict=True))
    found: dict[str, Any] = {}
    for name, values in (("autoc", autoc), ("qini", qini)):
        found |= {name: float(values[0]), f"{name}_ci": np.quantile(values[1:], ENDS).tolist()}
    curve = {"fraction": FRACTIONS.tolist()}
    for name, values in (("toc", toc), ("qini", toc * FRACTIONS)):
        low, high = np.quantile(values[1:], ENDS, axis=0)
        for key, own in ((name, values[0]), (f"{name}_low", low), (f"{name}_high", high)):
            curve[key] = own.tolist()
    return found | {"curve": curve}


def _toc(own: Floats, rank: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """AUTOC and Qini, (D,), and TOC at `FRACTIONS`, (D, F), of falling ranks, weights (D, n)."""
    group = np.cumsum(np.diff(rank, prepend=rank[0]) != 0)
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    held = np.add.reduceat(weights, starts, axis=1)
    summed = np.add.reduceat(weights * own, starts, axis=1)
    shared = np.divide(summed, held, out=np.zeros_like(summed), where=held > 0)[:, group]
    total = np.maximum(weights.sum(axis=1, keepdims=True), 1)
    reached, gathered = np.cumsum(weights, axis=1), np.cumsum(weights * shared, axis=1)
    mean = gathered[:, -1:] / total
    toc = np.divide(gathered, reached, out=np.zeros_like(gathered), where=reached > 0) - mean
    toc, fraction, step = np.where(reached > 0, toc, 0.0), reached / total, weights / total
    pairs = zip(fraction, toc, strict=True)
    curve = np.stack([np.interp(FRACTIONS, *one) for one in pairs])
    return (toc * step).sum(axis=1), (toc * step * fraction).sum(axis=1), curve


def arm_concordance(left: Floats, rank: Floats, chosen: Floats, starts: Integers) -> float:
    """Tell how likely the one of two people with the higher rank fares better, among `chosen`.

    0.5 is chance. `left` is what is left of gains, see `fmnet.evaluation.moderation.gain_left`.
    """
    won = met = 0.0
    for begin, end in zip(starts, [*starts[1:], len(rank)], strict=True):
        rows = begin + np.flatnonzero(chosen[begin:end])
        gaps = np.sign(left[rows][:, None] - left[rows][None])
        won += float((gaps * np.sign(rank[rows][:, None] - rank[rows][None])).sum())
        met += float(np.abs(gaps).sum())
    return 0.5 + 0.5 * won / met if met else float("nan")
