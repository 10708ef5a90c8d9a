"""The oracle: a model that knows what was planted, and learns only what backgrounds are like."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logsumexp

from benchmarks.power.planted import PlantedCohort
from benchmarks.power.regimes import Strengths
from fmnet.data.folds import Fold, rows_of
from fmnet.data.volume import FloatArray

#: Variance in every direction, beside that along the principal axes, relative to the mean over all
#: directions. Relative to the mean along the axes, which is hundreds of times as much, the same
#: share would be a lower bound where patients differ from one another.
REST = 0.1
#: Smallest standard deviation of a value that is looked at, relative to the median of all.
LEAST_SD = 1e-3

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Noise:
    """How backgrounds vary: along some axes by what was seen, and a little in every direction.

    Parameters
    ----------
    mean, weight : ndarray of float, shape (D,)
        Of each value, and one over its standard deviation; 0 where it doesn't vary.
    axes : ndarray of float, shape (R, D)
        Principal axes of the standardised values.
    variance : ndarray of float, shape (R,)
        Along them.
    rest : float
        Variance in every direction, the axes included.
    """

    mean: FloatArray
    weight: FloatArray
    axes: FloatArray
    variance: Floats
    rest: float

    def product(self, left: FloatArray, right: FloatArray) -> Floats:
        """Multiply standardised rows, (A, D) and (B, D), about the inverse covariance: (A, B)."""
        kept = self.variance / (self.variance + self.rest)  # Woodbury
        along = (left @ self.axes.T * kept) @ (right @ self.axes.T).T
        return np.asarray((left @ right.T - along) / self.rest, dtype=float)


def fit_noise(background: FloatArray) -> Noise:
    """Learn how backgrounds, (N, D), vary."""
    mean, sd = background.mean(axis=0), background.std(axis=0)
    # where nobody has data, the mean that is filled in varies by rounding alone
    varies = sd > LEAST_SD * np.median(sd)
    weight = np.divide(1, sd, out=np.zeros_like(sd), where=varies)
    standard = (background - mean) * weight
    eigenvalues, vectors = np.linalg.eigh(np.asarray(standard @ standard.T, dtype=float))
    kept = eigenvalues > eigenvalues.max() * 1e-6
    axes = (vectors[:, kept] / np.sqrt(eigenvalues[kept])).T @ standard
    variance = eigenvalues[kept] / (len(background) - 1)
    rest = REST * float(variance.sum() / background.shape[1])
    return Noise(mean, weight, axes.astype(np.float32), variance, rest)


def score_by_truth(
    planted: PlantedCohort, train: NDArray[np.intp], test: NDArray[np.intp]
) -> Floats:
    """Work out how much more probable some people's maps are in a patient than in a control.

    Parameters
    ----------
    planted : PlantedCohort
        Who, and what was planted.
    train, test : ndarray of int
        Rows whose backgrounds are learned from, and rows to score.

    Returns
    -------
    ndarray, shape (N_test,)
        Logarithm of the ratio of likelihoods, if backgrounds were normally distributed.
    """
    effect = planted.effect
    noise = fit_noise(planted.background[train].reshape(len(train), -1))
    maps = (planted.values[test].reshape(len(test), -1) - noise.mean) * noise.weight
    patterns = effect.sized.reshape(len(effect.sized), -1) * noise.weight
    with_maps, among = noise.product(patterns, maps), noise.product(patterns, patterns)
    ours, theirs = (
        _log_likelihood(states, with_maps, among) for states in (effect.patient, effect.control)
    )
    return ours - theirs


def _log_likelihood(states: Strengths, with_maps: Floats, among: Floats) -> Floats:
    """Average over hidden states, (H, K), what maps have over a plain background: (N,)."""
    size = np.einsum("hk,kl,hl->h", states, among, states, optimize=True)
    fit = states @ with_maps - size[:, None] / 2  # (H, N)
    return np.asarray(logsumexp(fit, axis=0) - np.log(len(states)))


@dataclass(frozen=True)
class Oracle:
    """A contender that is told the truth."""

    def predict(self, maps: PlantedCohort, folds: list[Fold]) -> pd.DataFrame:
        """Score the test people of each fold: ``fold, label, score``."""
        people = maps.cohort.participant_ids
        tables = []
        for fold in folds:
            train, test = rows_of(fold.train, people), rows_of(fold.test, people)
            score = score_by_truth(maps, train, test)
            columns = {"fold": fold.fold, "label": maps.labels[test], "score": score}
            tables.append(pd.DataFrame(columns))
        return pd.concat(tables, ignore_index=True)
