"""Ridge regression cross-validated on made-up people, in milliseconds a cohort."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from fmnet.evaluation.metrics import PairCounts

N_FOLDS, N_FEATURES = 5, 150


class Draw(NamedTuple):
    """What two models that learn from independent halves of the features made of a cohort."""

    pairs: PairCounts  # of the first
    fold_aucs: pd.DataFrame


class Cohorts:
    """Cohorts of one kind: both halves of the features tell groups apart by `size` alike."""

    def __init__(self, n_per_class: int, size: float, n_repeats: int) -> None:
        self.n, self.n_repeats, self.size = n_per_class, n_repeats, size
        self.scale = np.arange(1, N_FEATURES + 1) ** -0.35
        effect = np.random.default_rng(0).normal(size=N_FEATURES)
        self.effect = size * effect / np.linalg.norm(effect)

    def draw(self, seed: int) -> Draw:
        """Draw one cohort and cross-validate both models in the same folds."""
        rng, n = np.random.default_rng([seed, 11]), self.n
        deals = np.concatenate([rng.permutation(n) for _ in range(2 * self.n_repeats)]) % N_FOLDS
        folds = deals.reshape(self.n_repeats, 2 * n)
        is_positive = np.arange(2 * n) < n
        halves = [
            (rng.normal(size=(2 * n, N_FEATURES)) + np.outer(is_positive, self.effect)) * self.scale
            for _ in range(2)
        ]
        scores = [_out_of_fold(half, folds) for half in halves]  # (R, N) each
        met = folds[:, :n, None] == folds[:, None, n:]
        won = [(np.sign(s[:, :n, None] - s[:, None, n:]) / 2 + 0.5) * met for s in scores]
        place = (folds[:, :n] + N_FOLDS * np.arange(self.n_repeats)[:, None]).ravel()
        n_pairs = np.bincount(place, met.sum(axis=2).ravel())
        aucs = [np.bincount(place, one.sum(axis=2).ravel()) / n_pairs for one in won]
        table = pd.DataFrame(
            {
                "repeat": np.repeat(np.arange(self.n_repeats), N_FOLDS),
                "fold": np.tile(np.arange(N_FOLDS), self.n_repeats),
                "n_test": 2 * n / N_FOLDS,
                "n_train": 2 * n * (1 - 1 / N_FOLDS),
                "n_pairs": n_pairs,
                "network": aucs[0],
                "linear_svm": aucs[1],
            }
        )
        counts = np.zeros((2, 2 * n, 2 * n))
        counts[:, :n, n:] = won[0].sum(axis=0), met.sum(axis=0)
        return Draw(PairCounts(counts[0], counts[1], np.arange(2 * n)), table)


def _out_of_fold(features: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Score people, (R, N), by ridge regression on the other folds, without fitting any again."""
    n = len(features)
    target = np.where(np.arange(n) < n // 2, 1.0, -1.0)
    kernel = features @ features.T
    mean = np.trace(kernel) / n
    hat = (kernel + 10 * mean) @ np.linalg.inv(kernel + 10 * mean + mean * np.eye(n))
    residual, score = target - hat @ target, np.zeros(folds.shape)
    for repeat, fold in enumerate(folds):
        for k in range(N_FOLDS):
            own = np.flatnonzero(fold == k)
            left = np.eye(len(own)) - hat[own][:, own]
            score[repeat, own] = target[own] - np.linalg.solve(left, residual[own])
    return score
