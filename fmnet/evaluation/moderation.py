"""Tell whether scores moderate the effect of an arm, or only foretell how people fare in any arm.

Somebody who fares well under a drug may have fared as well under placebo. So a score that goes with
improvement in the drug arm says nothing of who responds to the drug: only the interaction of score
and arm does. All figures here are of *gain*, the outcome with the sign that makes larger values
better, and of scores of people who had been left out of the fit.

Scores of different folds have no common scale: they are standardised, or ranked, within test folds.
Repeats of a cross-validation are computed one by one and averaged; what a person adds to all of
them counts as one when a standard error is computed, so that repeats don't feign further people.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from fmnet.evaluation.graded import centred_within, ranks_within

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

#: Error of the first kind, two-sided.
ALPHA = 0.05
#: Directions in which columns vary by less than this part of the most are none.
SMALLEST = 1e-10
#: What regressions with and without arms estimate, as sums of their coefficients.
WITH_ARMS: dict[str, dict[int, float]] = {
    "arm": {1: 1.0},
    "interaction": {3: 1.0},
    "control": {2: 1.0},
    "active": {2: 1.0, 3: 1.0},
    "main": {2: 1.0, 3: 0.5},
}
WITHOUT_ARMS: dict[str, dict[int, float]] = {"arm": {0: 1.0}, "interaction": {1: 1.0}}


@dataclass(frozen=True, eq=False)
class ScoredTrial:
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
        return np.flatnonzero(np.diff(self.repeat, prepend=-1))

    def is_enough(self) -> bool:
        """Tell whether a regression has people to stand on, in both arms."""
        n_columns = self.adjusted.shape[1]
        if self.arm is None:
            return bool(len(np.unique(self.unit)) > n_columns + 3)
        counts = [len(np.unique(self.unit[self.arm == one])) for one in (0, 1)]
        return bool(min(counts) >= 3 and sum(counts) > n_columns + 5)


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

    estimate: Mapping[str, float]
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

    def standardised(self, name: str) -> float:
        """Give an estimate in SD of gains about the regression."""
        return self.estimate[name] / self.sd if self.sd > 0 else float("nan")

    def interval(self, name: str) -> tuple[float, float]:
        """Give the 95 % confidence interval of an estimate."""
        half = float(student.ppf(1 - ALPHA / 2, max(self.df, 1))) * self.se(name)
        return self.estimate[name] - half, self.estimate[name] + half


def standardised_within(score: Floats, fold: Integers) -> Floats:
    """Give scores, (N,), mean 0 and SD 1 within each test fold; 0 where they are all alike."""
    n, centred = np.maximum(np.bincount(fold), 1), centred_within(score, fold)
    sd = np.sqrt(np.bincount(fold, centred**2) / n)[fold]
    is_flat = sd <= 1e-9 * np.abs(score).max(initial=0.0)
    return np.asarray(np.where(is_flat, 0.0, centred) / np.where(is_flat, 1.0, sd))


def ranked_within(score: Floats, fold: Integers) -> Floats:
    """Rank scores, (N,), within each test fold, as fractions between 0 and 1; ties share theirs."""
    return np.asarray((ranks_within(score, fold) - 0.5) / np.bincount(fold)[fold])


def fit_slopes(trial: ScoredTrial, is_beyond: bool = False) -> Slopes:
    """Regress gain on arm, score, arm x score and what is adjusted for, with HC3 standard errors.

    With `is_beyond`, the effect of the arm may also vary with what is adjusted for: what is left is
    what the score tells beyond it. In crossover designs the gain is a difference within persons, in
    which what is adjusted for has its say on the effect in either case.

    References
    ----------
    MacKinnon, J. G., & White, H. (1985). Some heteroskedasticity-consistent covariance matrix
    estimators with improved finite sample properties. Journal of Econometrics, 29.
    """
    one, z = np.ones(len(trial.gain)), standardised_within(trial.score, trial.fold)
    extra = _unit_columns(trial.adjusted)
    if trial.arm is None:
        return _regress(np.column_stack([one, z, extra]), trial, WITHOUT_ARMS)
    more = extra * trial.arm[:, None] if is_beyond else extra[:, :0]
    design = np.column_stack([one, trial.arm, z, trial.arm * z, extra, more])
    return _regress(design, trial, WITH_ARMS)


def _regress(
    design: Floats, trial: ScoredTrial, contrasts: Mapping[str, Mapping[int, float]]
) -> Slopes:
    """Regress gain on a design, (N, P), repeat by repeat, and average."""
    starts, gain, unit = trial.starts(), trial.gain, trial.unit
    n_repeats, index = len(starts), np.cumsum(np.diff(trial.repeat, prepend=trial.repeat[0]) != 0)
    products = np.add.reduceat(design[:, :, None] * design[:, None, :], starts)  # (R, P, P)
    values, axes = np.linalg.eigh(products)
    is_there = values > SMALLEST * values[:, -1:]
    inverted = np.where(is_there, 1 / np.where(is_there, values, 1), 0.0)
    inverse = (axes * inverted[:, None]) @ axes.transpose(0, 2, 1)
    beta = (inverse @ np.add.reduceat(design * gain[:, None], starts)[:, :, None])[:, :, 0]
    residual = gain - (design * beta[index]).sum(axis=1)
    pulls = (inverse[index] @ design[:, :, None])[:, :, 0]
    leverage = (pulls * design).sum(axis=1)
    shares = pulls * (residual / np.maximum(1 - leverage, 1e-6))[:, None] / n_repeats
    weights = np.zeros((design.shape[1], len(contrasts)))
    for column, contrast in enumerate(contrasts.values()):
        weights[list(contrast), column] = list(contrast.values())
    by_unit: Floats = np.stack([np.bincount(unit, own) for own in (shares @ weights).T])
    n_columns = int(is_there[0].sum())
    n_left = len(gain) - n_repeats * n_columns
    sd = float(np.sqrt(residual @ residual / n_left)) if n_left > 0 else float("nan")
    estimate = dict(zip(contrasts, (beta.mean(axis=0) @ weights).tolist(), strict=True))
    return Slopes(estimate, by_unit @ by_unit.T, sd, len(np.unique(unit)) - n_columns)


def _unit_columns(values: Floats) -> Floats:
    """Centre columns, (N, P), and give them unit variance."""
    centred = values - values.mean(axis=0)
    sd = np.sqrt((centred**2).mean(axis=0))
    return np.asarray(centred / np.where(sd > 0, sd, 1))


def gain_left(trial: ScoredTrial, has_score: bool = False) -> tuple[Floats, float]:
    """Take from gains what is adjusted for (and the score, alike in both arms).

    Returns
    -------
    tuple
        What is left, (N,): 0 on average in the control arm, the effect of the arm in the other; and
        that effect. In crossover designs what is left is the effect on average.
    """
    extra, one = _unit_columns(trial.adjusted), np.ones((len(trial.gain), 1))
    if trial.arm is None:  # in a difference, the score has its say on the effect alone
        beta = np.linalg.lstsq(np.hstack([one, extra]), trial.gain, rcond=None)[0]
        return trial.gain - extra @ beta[1:], float(beta[0])
    if has_score:
        extra = np.column_stack([extra, standardised_within(trial.score, trial.fold)])
    design = np.hstack([one, trial.arm[:, None], extra])
    beta = np.linalg.lstsq(design, trial.gain, rcond=None)[0]
    return trial.gain - beta[0] - extra @ beta[2:], float(beta[1])


def effect_by_thirds(trial: ScoredTrial) -> list[dict[str, float]]:
    """Compute the gains of both arms, and the effect, in thirds of people by score.

    Thirds are taken within test folds, from the lowest scores to the highest. Gains are adjusted,
    by one regression of all, to people who are average in what is adjusted for.

    Returns
    -------
    list of dict
        ``control`` and ``active``, each with its ``_se`` and ``_n`` (scans, on average over
        repeats), and ``effect`` with ``effect_se``. Of crossovers ``effect`` alone, with ``_n``.
    """
    left, _ = gain_left(trial)
    left = left + (trial.gain.mean() - left.mean())
    third = np.minimum((ranked_within(trial.score, trial.fold) * 3).astype(np.intp), 2)
    arm = np.zeros(len(left), dtype=np.intp) if trial.arm is None else trial.arm.astype(np.intp)
    cell, n_cells = third + 3 * arm, 3 if trial.arm is None else 6
    rows = np.bincount(cell, minlength=n_cells)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(cell, left, n_cells) / rows
        squares = np.bincount(cell, (left - mean[cell]) ** 2, n_cells)
        n = rows / len(trial.starts())
        se = np.sqrt(squares / rows / (n - 1))
    se[n <= 1] = np.nan
    if trial.arm is None:
        return [
            {"effect": float(mean[k]), "effect_se": float(se[k]), "effect_n": float(n[k])}
            for k in range(3)
        ]
    return [
        {
            "control": float(mean[k]),
            "control_se": float(se[k]),
            "control_n": float(n[k]),
            "active": float(mean[k + 3]),
            "active_se": float(se[k + 3]),
            "active_n": float(n[k + 3]),
            "effect": float(mean[k + 3] - mean[k]),
            "effect_se": float(np.hypot(se[k], se[k + 3])),
        }
        for k in range(3)
    ]
