"""Tell whether scores moderate the effect of an arm, or only foretell how people fare in any arm.

Somebody who fares well under a drug may have fared as well under placebo. So a score that goes with
improvement in the drug arm says nothing of who responds to the drug: only the interaction of score
and arm does. All figures here are of *gain*, the outcome with the sign that makes larger values
better, and of scores of people who had been left out of the fit.

Scores of different folds have no common scale: they are standardised, or ranked, within test folds.
Repeats of a cross-validation are computed one by one and averaged; what a person adds to all of
them counts as one when a standard error is computed, so that repeats don't feign further people.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

#: Error of the first kind, two-sided, and power that is asked for.
ALPHA, POWER = 0.05, 0.80
#: Fractions of people, those with the highest scores, at which curves are given.
FRACTIONS = np.arange(1, 21) / 20
#: Quantiles that 95 % lie between.
ENDS = [0.025, 0.975]


@dataclass(frozen=True, eq=False)
class Trial:
    """Gains of people of two arms beside out-of-fold scores, one row for each scan and repeat.

    Rows are sorted by repeat.

    Parameters
    ----------
    gain : ndarray of float, shape (N,)
        Outcome, larger is better; in crossover designs that under the active arm less that under
        control, of the same person.
    arm, propensity : ndarray of float, shape (N,)
        0 for control, 1 for active, and how likely each row was to be active; both None in
        crossover designs.
    adjusted : ndarray of float, shape (N, P)
        What is adjusted for: baseline, strata, order of periods, ...
    score : ndarray of float, shape (N,)
        Larger where the arm is said to help more.
    repeat, fold, unit : ndarray of int, shape (N,)
        Number of the repeat, of the test fold over all repeats, and of the person or family.
    """

    gain: Floats
    arm: Floats | None
    propensity: Floats | None
    adjusted: Floats
    score: Floats
    repeat: Integers
    fold: Integers
    unit: Integers

    def starts(self) -> Integers:
        """Tell at which row each repeat begins."""
        return np.flatnonzero(np.r_[True, np.diff(self.repeat) != 0])


@dataclass(frozen=True, eq=False)
class Slopes:
    """What a regression of gain on arm, score and their product finds.

    Parameters
    ----------
    estimate : dict of float
        In units of the outcome for one SD of the score: ``arm``, the effect of the arm at a mean
        score; ``interaction``; ``control`` and ``active``, the slopes of the score in either arm;
        ``main``, their mean. Of a crossover ``arm`` and ``interaction``.
    covariance : ndarray of float, shape (C, C)
        Of the estimates, in their order: HC3, summed by unit.
    sd : float
        Of gains about the regression.
    df : int
        Units less coefficients.
    """

    estimate: dict[str, float]
    covariance: Floats
    sd: float
    df: int

    def se(self, name: str) -> float:
        """Give the standard error of an estimate."""
        place = list(self.estimate).index(name)
        return float(np.sqrt(self.covariance[place, place]))

    def t(self, name: str) -> float:
        """Divide an estimate by its standard error; 0 where scores are all alike."""
        se = self.se(name)
        return self.estimate[name] / se if se > 0 else 0.0

    def interval(self, name: str) -> tuple[float, float]:
        """Give the 95 % confidence interval of an estimate."""
        half = float(student.ppf(1 - ALPHA / 2, max(self.df, 1))) * self.se(name)
        return self.estimate[name] - half, self.estimate[name] + half


def standardised_within(score: Floats, fold: Integers) -> Floats:
    """Give scores, (N,), mean 0 and SD 1 within each test fold; 0 where they are all alike."""
    n = np.bincount(fold)
    centred = score - (np.bincount(fold, score) / np.maximum(n, 1))[fold]
    sd = np.sqrt(np.bincount(fold, centred**2) / np.maximum(n, 1))[fold]
    scale = np.abs(score).max(initial=0.0)
    return np.where(sd > 1e-9 * scale, centred / np.where(sd > 0, sd, 1), 0.0)


def ranked_within(score: Floats, fold: Integers) -> Floats:
    """Rank scores, (N,), within each test fold, as fractions between 0 and 1; ties share theirs."""
    order = np.lexsort((score, fold))
    ordered, folds = score[order], fold[order]
    is_first = np.r_[True, (np.diff(ordered) != 0) | (np.diff(folds) != 0)]
    starts = np.flatnonzero(is_first)
    sizes = np.diff(np.r_[starts, len(score)])
    middle = (starts + (sizes - 1) / 2)[np.cumsum(is_first) - 1]
    n = np.bincount(fold)
    first = np.r_[0, np.cumsum(n)[:-1]]
    ranks = np.empty(len(score))
    ranks[order] = (middle - first[folds] + 0.5) / n[folds]
    return ranks


def fit_slopes(trial: Trial, is_beyond: bool = False) -> Slopes:
    """Regress gain on arm, score, arm x score and what is adjusted for, with HC3 standard errors.

    With `is_beyond`, the effect of the arm may also vary with what is adjusted for: what is left is
    what the score tells beyond it. In crossover designs the gain is a difference within persons, in
    which what is adjusted for has its say on the effect in either case.
    """
    one, z = np.ones(len(trial.gain)), standardised_within(trial.score, trial.fold)
    extra = _unit_columns(trial.adjusted)
    if trial.arm is None:
        design = np.column_stack([one, z, extra])
        contrasts = {"arm": {0: 1.0}, "interaction": {1: 1.0}}
    else:
        more = extra * trial.arm[:, None] if is_beyond else extra[:, :0]
        design = np.column_stack([one, trial.arm, z, trial.arm * z, extra, more])
        contrasts = {
            "arm": {1: 1.0},
            "control": {2: 1.0},
            "interaction": {3: 1.0},
            "active": {2: 1.0, 3: 1.0},
            "main": {2: 1.0, 3: 0.5},
        }
    return _robust(design, trial, contrasts)


def _robust(design: Floats, trial: Trial, contrasts: dict[str, dict[int, float]]) -> Slopes:
    starts = trial.starts()
    n_repeats, index = len(starts), np.cumsum(np.diff(trial.repeat, prepend=trial.repeat[0]) != 0)
    products = np.add.reduceat(design[:, :, None] * design[:, None, :], starts)
    inverse = np.linalg.pinv(products, rcond=1e-10, hermitian=True)  # (R, P, P)
    moments = np.add.reduceat(design * trial.gain[:, None], starts)
    beta = np.einsum("rpq,rq->rp", inverse, moments)
    residual = trial.gain - np.einsum("np,np->n", design, beta[index])
    pulls = np.einsum("npq,nq->np", inverse[index], design)
    leverage = np.einsum("np,np->n", pulls, design)
    shares = pulls * (residual / np.maximum(1 - leverage, 1e-6))[:, None] / n_repeats
    n_units = int(trial.unit.max()) + 1
    weights = np.zeros((design.shape[1], len(contrasts)))
    for column, contrast in enumerate(contrasts.values()):
        for row, weight in contrast.items():
            weights[row, column] = weight
    own = shares @ weights
    by_unit = np.stack([np.bincount(trial.unit, one, n_units) for one in own.T])
    estimate = beta.mean(axis=0) @ weights
    rank = int(np.linalg.matrix_rank(products[0], hermitian=True))
    counts = len(trial.gain) - n_repeats * rank
    sd = float(np.sqrt((residual**2).sum() / counts)) if counts > 0 else float("nan")
    values = dict(zip(contrasts, map(float, estimate), strict=True))
    return Slopes(values, by_unit @ by_unit.T, sd, len(np.unique(trial.unit)) - rank)


def _unit_columns(values: Floats) -> Floats:
    centred = values - values.mean(axis=0)
    sd = np.sqrt((centred**2).mean(axis=0))
    return centred / np.where(sd > 0, sd, 1)


def gain_left(trial: Trial, has_score: bool = False) -> tuple[Floats, float]:
    """Take from gains what is adjusted for (and the score, alike in both arms), with a mean of 0.

    Returns
    -------
    tuple
        What is left, (N,), of which the effect of the arm is still a part; and that effect.
    """
    z = standardised_within(trial.score, trial.fold)[:, None]
    extra = _unit_columns(np.hstack([trial.adjusted, z]) if has_score else trial.adjusted)
    one = np.ones((len(trial.gain), 1))
    if trial.arm is None:
        extra = extra[:, : trial.adjusted.shape[1]]  # of a difference, the score is the effect
        beta = np.linalg.lstsq(np.hstack([one, extra]), trial.gain, rcond=None)[0]
        return trial.gain - extra @ beta[1:], float(beta[0])
    design = np.hstack([one, trial.arm[:, None], extra])
    beta = np.linalg.lstsq(design, trial.gain, rcond=None)[0]
    return trial.gain - beta[0] - extra @ beta[2:], float(beta[1])


def pseudo_effects(trial: Trial) -> Floats:
    """Compute a doubly robust score of each row, (N,), whose mean is the effect of the arm.

    With a known propensity its mean within any group of people, chosen without their outcomes, is
    the effect in that group, whatever gains were expected.
    """
    left, effect = gain_left(trial, has_score=True)
    if trial.arm is None:
        return left
    assert trial.propensity is not None
    share = trial.propensity
    return effect + (trial.arm - share) / (share * (1 - share)) * (left - effect * trial.arm)


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
        See `pseudo_effects` and `ranked_within`.
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
        own = effects[begin:end][order]
        shared = (np.bincount(group, own) / np.bincount(group))[group]
        total += _rate_weights(end - begin) @ shared
    autoc, qini = total / len(starts)
    return float(autoc), float(qini)


def _rates(
    effects: Floats, rank: Floats, trial: Trial, counts: Floats
) -> tuple[Floats, Floats, Floats]:
    """AUTOC and Qini, (D,) each, and TOC at `FRACTIONS`, (D, F), of units drawn (D, U) times."""
    starts, n_draws = trial.starts(), len(counts)
    autoc, qini, curve = np.zeros(n_draws), np.zeros(n_draws), np.zeros((n_draws, len(FRACTIONS)))
    for begin, end in zip(starts, [*starts[1:], len(rank)], strict=True):
        order = begin + np.argsort(-rank[begin:end], kind="stable")
        toc, fraction, step = _toc(effects[order], rank[order], counts[:, trial.unit[order]])
        autoc += (toc * step).sum(axis=1)
        qini += (toc * step * fraction).sum(axis=1)
        for draw in range(n_draws):
            curve[draw] += np.interp(FRACTIONS, fraction[draw], toc[draw])
    return autoc / len(starts), qini / len(starts), curve / len(starts)


def _toc(own: Floats, rank: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """TOC, fraction and step at each row in falling order, (D, n) each, for weights (D, n)."""
    group = np.cumsum(np.diff(rank, prepend=rank[0]) != 0)
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    held = np.add.reduceat(weights, starts, axis=1)
    summed = np.add.reduceat(weights * own, starts, axis=1)
    shared = np.divide(summed, held, out=np.zeros_like(summed), where=held > 0)[:, group]
    total = np.maximum(weights.sum(axis=1, keepdims=True), 1)
    reached = np.cumsum(weights, axis=1)
    mean = (weights * own).sum(axis=1, keepdims=True) / total
    gathered = np.cumsum(weights * shared, axis=1)
    toc = np.divide(gathered, reached, out=np.zeros_like(gathered), where=reached > 0) - mean
    return np.where(reached > 0, toc, 0.0), reached / total, weights / total


def arm_concordance(
    left: Floats, rank: Floats, chosen: NDArray[np.bool_], starts: Integers
) -> float:
    """Tell how likely the one of two people with the higher score fares better, among `chosen`.

    0.5 is chance. `left` is what is left of gains, see `gain_left`.
    """
    won = met = 0.0
    for begin, end in zip(starts, [*starts[1:], len(rank)], strict=True):
        rows = begin + np.flatnonzero(chosen[begin:end])
        gaps = np.sign(left[rows][:, None] - left[rows][None])
        agreed = float((gaps * np.sign(rank[rows][:, None] - rank[rows][None])).sum())
        n_pairs = float(np.abs(gaps).sum())
        won, met = won + agreed, met + n_pairs
    return 0.5 + 0.5 * won / met if met else float("nan")


def effect_by_thirds(trial: Trial) -> list[dict[str, float]]:
    """Compute the gains of both arms, and the effect, among the third with the lowest scores, ....

    Thirds are taken within test folds. Gains are adjusted, by one regression of all, to people who
    are average in what is adjusted for.

    Returns
    -------
    list of dict
        ``control`` and ``active``, each with ``_se`` and ``_n`` (scans), and ``effect`` with
        ``_se``; from the lowest to the highest. Of crossovers no ``control`` and ``active``.
    """
    left, _ = gain_left(trial)
    n_repeats = len(trial.starts())
    third = np.minimum((ranked_within(trial.score, trial.fold) * 3).astype(int), 2)
    shift = float(trial.gain.mean() - left.mean())
    found = []
    for k in range(3):
        own: dict[str, float] = {}
        parts = {"effect": third == k} if trial.arm is None else {}
        for name, value in (("control", 0), ("active", 1)) if trial.arm is not None else ():
            parts[name] = (third == k) & (trial.arm == value)
        for name, chosen in parts.items():
            n = round(int(chosen.sum()) / n_repeats)
            own[name] = float(left[chosen].mean() + shift) if n else float("nan")
            own[f"{name}_se"] = float(left[chosen].std(ddof=1) / n**0.5) if n > 1 else float("nan")
            own[f"{name}_n"] = n
        if trial.arm is not None:
            own["effect"] = own["active"] - own["control"]
            own["effect_se"] = float(np.hypot(own["active_se"], own["control_se"]))
        found.append(own)
    return found


def people_for_correlations(first: float, second: float = 0.0) -> int:
    """Count the people an arm needs to tell two correlations apart: of 0.4 and 0, 91.

    Of score and gain in the two arms, by Fisher's z; two-sided 5 %, power 80 %.
    """
    gap = abs(np.arctanh(first) - np.arctanh(second))
    return int(np.ceil(2 * ((norm.ppf(1 - ALPHA / 2) + norm.ppf(POWER)) / gap) ** 2 + 3))


def smallest_correlation(n_control: int, n_active: int) -> float:
    """Find the correlation in one arm that so many people tell from 0 in the other; see above."""
    if min(n_control, n_active) < 4:
        return 1.0
    both = norm.ppf(1 - ALPHA / 2) + norm.ppf(POWER)
    return float(np.tanh(both * np.sqrt(1 / (n_control - 3) + 1 / (n_active - 3))))


def smallest_interaction(n_control: int, n_active: int) -> float:
    """Find the interaction, in SD of gain for one SD of score, that so many people show.

    Two-sided 5 %, power 80 %, of a score that is known without error: a score that is learned from
    the same few people needs more.
    """
    df = max(n_control + n_active - 5, 1)
    both = student.ppf(1 - ALPHA / 2, df) + student.ppf(POWER, df)
    return float(both * np.sqrt(1 / n_control + 1 / n_active))


def standardised_difference(values: Floats, arm: Floats) -> tuple[float, float]:
    """Compare a number of two arms: difference of means in SD, and the p-value of Welch's test."""
    one, other = values[arm == 1], values[arm == 0]
    sd = np.sqrt((one.var(ddof=1) + other.var(ddof=1)) / 2)
    if not sd > 0:
        return 0.0, 1.0
    parts = one.var(ddof=1) / len(one), other.var(ddof=1) / len(other)
    df = sum(parts) ** 2 / (parts[0] ** 2 / (len(one) - 1) + parts[1] ** 2 / (len(other) - 1))
    gap = one.mean() - other.mean()
    return float(gap / sd), float(2 * student.sf(abs(gap) / np.sqrt(sum(parts)), df))


def smallest_slope(n: int) -> float:
    """Find the slope of differences within persons, in their SD for one SD of the score.

    Of a crossover of `n` people: two-sided 5 %, power 80 %.
    """
    df = max(n - 3, 1)
    both = student.ppf(1 - ALPHA / 2, df) + student.ppf(POWER, df)
    return float(both / np.sqrt(n))


def rate_curves(trial: Trial, n_draws: int = 200, seed: int = 0) -> dict[str, Any]:
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
    autoc, qini, toc = _rates(effects, rank, trial, counts)
    found: dict[str, Any] = {}
    for name, values in (("autoc", autoc), ("qini", qini)):
        found |= {name: float(values[0]), f"{name}_ci": np.quantile(values[1:], ENDS).tolist()}
    curve = {"fraction": FRACTIONS.tolist()}
    for name, values in (("toc", toc), ("qini", toc * FRACTIONS)):
        low, high = np.quantile(values[1:], ENDS, axis=0)
        for key, own in ((name, values[0]), (f"{name}_low", low), (f"{name}_high", high)):
            curve[key] = own.tolist()
    return found | {"curve": curve}
