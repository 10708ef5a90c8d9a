"""Made-up people with many correlated features, and linear models that learn from them in no time.

Real maps have hundreds of thousands of voxels, and a few dozen people span a few dozen directions
of them. All that a linear model needs are the inner products of people, so that a whole repeated
cross-validation takes milliseconds, and its truth, the AUC on endlessly many new people, is known.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.random import Generator, SeedSequence
from numpy.typing import NDArray
from scipy.special import ndtr

from fmnet.data.cohort import Cohort
from fmnet.data.folds import build_folds
from fmnet.data.listing import Labels, Listing
from fmnet.data.scans import Scan
from fmnet.data.template import build_grid
from fmnet.synthetic.effects import HALF, Effect

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

#: Features of one half of a person; the other half is as many again, with an effect as large.
N_HALF = 200
#: Variances fall as 1/k, as those of smoothed maps do: two halves count as about 50 directions.
SPECTRUM = np.tile(1 / np.arange(1, N_HALF + 1), 2)
#: Directions of each half in which the groups differ, by as many SDs each.
AFFECTED = np.tile(np.isin(np.arange(N_HALF), np.arange(9, 49)), 2)
#: Ridge penalty, in mean squared norms of the training people.
PENALTY = 0.1
#: Outer and inner folds.
N_SPLITS, INNER_SPLITS = 5, 3
#: Deals of the folds that cohorts of one size share among themselves.
N_DEALS = 12
#: Cohorts and halvings by which the size of an effect is found that gives an AUC.
N_PILOTS, N_HALVINGS = 100, 14
#: Part of the seeds of these cohorts.
PILOT = 7_000_000

#: Which features a model sees.
BOTH = slice(None)
FIRST, SECOND = slice(0, N_HALF), slice(N_HALF, None)


class Split(NamedTuple):
    """Rows of one fold: to learn from, to test, and the inner folds of the former."""

    repeat: int
    fold: int
    train: Rows
    test: Rows
    inner: tuple[Rows, ...]


@dataclass(frozen=True)
class Fitted:
    """A linear model of some features: ``(x - middle) @ weight``.

    Parameters
    ----------
    weight, middle : ndarray of float, shape (P,)
        The latter halfway between the groups' training means.
    seen : slice
        Which features it sees.
    """

    weight: Floats
    middle: Floats
    seen: slice

    def scores(self, features: Floats) -> Floats:
        """Score people, (N, 2 * N_HALF): (N,)."""
        return np.asarray((features[:, self.seen] - self.middle) @ self.weight)

    def moments(self, strength: float) -> tuple[float, float, float]:
        """Mean score of endlessly many new people of each group, negative first, and its SD."""
        centre = means(strength)[:, self.seen]
        low, high = (centre - self.middle) @ self.weight
        return float(low), float(high), float(np.sqrt(self.weight**2 @ SPECTRUM[self.seen]))

    def true_auc(self, strength: float) -> float:
        """AUC on endlessly many new people."""
        low, high, sd = self.moments(strength)
        return float(ndtr((high - low) / (sd * np.sqrt(2))))


def means(strength: float) -> Floats:
    """Means of the groups, (2, P), negative first, `strength` SDs apart where they differ."""
    return _effect(strength).added([False, True])


def _effect(strength: float) -> Effect:
    """Move the groups apart, each by half of the effect."""
    pattern = AFFECTED[None].astype(float)
    return Effect(pattern, strength, np.sqrt(SPECTRUM), patient=HALF, control=-HALF)


def draw_people(labels: NDArray[np.int64], strength: float, rng: Generator) -> Floats:
    """Draw the features of people: (N, P)."""
    noise = rng.standard_normal((len(labels), len(SPECTRUM))) * np.sqrt(SPECTRUM)
    return _effect(strength).plant(noise, labels)


def fit(
    features: Floats, labels: NDArray[np.int64], seen: slice = BOTH, penalty: float = PENALTY
) -> Fitted:
    """Fit ridge regression on labels, (N,), which count by group alike, in its dual form."""
    own = features[:, seen]
    groups = np.stack([own[labels == value].mean(axis=0) for value in (0, 1)])
    centred = own - groups.mean(axis=0)
    kernel = centred @ centred.T
    target = np.where(labels == 1, 1 / (labels == 1).sum(), -1 / (labels == 0).sum())
    kernel.flat[:: len(kernel) + 1] += penalty * np.trace(kernel) / len(kernel)
    return Fitted(np.linalg.solve(kernel, target) @ centred, groups.mean(axis=0), seen)


@lru_cache
def labels_of(n_positive: int, n_negative: int) -> NDArray[np.int64]:
    """List the labels of a cohort, the positive first."""
    return np.repeat([1, 0], [n_positive, n_negative])


def build_cohort(labels: NDArray[np.int64], participants: pd.DataFrame | None = None) -> Cohort:
    """List people as folds and audit know them; there are no files.

    Parameters
    ----------
    labels : ndarray of int, shape (N,)
        0 or 1.
    participants : DataFrame, optional
        Text columns, ``participant_id`` among them, in the same order.
    """
    if participants is None:
        people = [f"sub-{number:03d}" for number in range(len(labels))]
        participants = pd.DataFrame({"participant_id": people})
    groups = ["patient" if label else "control" for label in labels]
    scans = tuple(
        Scan(person, person, (), "made up", group)
        for person, group in zip(participants["participant_id"], groups, strict=True)
    )
    known = Labels("group", "patient", "control")
    listing = Listing(scans, ("features",), "n/a", participants, known, origin="synthetic")
    return Cohort(scans, (), listing, build_grid(12))


@lru_cache(maxsize=400)
def deal(n_positive: int, n_negative: int, n_repeats: int, number: int) -> tuple[Split, ...]:
    """Deal people into folds as a study does; `number` is the seed."""
    labels = labels_of(n_positive, n_negative)
    return split_rows(build_cohort(labels), n_repeats, number)


def split_rows(cohort: Cohort, n_repeats: int, seed: int) -> tuple[Split, ...]:
    """Build the folds of a study and say who stands where in rows."""
    row_of = {person: row for row, person in enumerate(cohort.participant_ids)}

    def rows(people: tuple[str, ...]) -> Rows:
        return np.array([row_of[person] for person in people], dtype=np.intp)

    return tuple(
        Split(
            fold.repeat,
            fold.fold,
            rows(fold.train),
            rows(fold.test),
            tuple(rows(part) for part in fold.validation),
        )
        for fold in build_folds(cohort, N_SPLITS, n_repeats, INNER_SPLITS, seed)
    )


@dataclass(frozen=True, eq=False)
class People:
    """A cohort of made-up people with its folds.

    Parameters
    ----------
    features : ndarray of float, shape (N, P)
        Of each person.
    labels : ndarray of int, shape (N,)
        0 or 1.
    splits : tuple of Split
        Repeat by repeat.
    strength : float
        Of the effect.
    """

    features: Floats
    labels: NDArray[np.int64]
    splits: tuple[Split, ...]
    strength: float

    def fits(self, seen: slice = BOTH, penalty: float = PENALTY) -> Iterator[tuple[Split, Fitted]]:
        """Fit a model on each fold."""
        for split in self.splits:
            train = split.train
            yield split, fit(self.features[train], self.labels[train], seen, penalty)

    def out_of_fold(self, seen: slice = BOTH, penalty: float = PENALTY) -> Floats:
        """Score everybody once a repeat by models that haven't seen them: (R, N)."""
        scores = np.full((self.splits[-1].repeat + 1, len(self.labels)), np.nan)
        for split, model in self.fits(seen, penalty):
            scores[split.repeat, split.test] = model.scores(self.features[split.test])
        return scores

    def first_repeat(self) -> "People":
        """Take the first deal of the folds alone."""
        splits = tuple(split for split in self.splits if split.repeat == 0)
        return People(self.features, self.labels, splits, self.strength)

    def table(self, scores: dict[str, Floats]) -> pd.DataFrame:
        """Write scores of each model, (R, N), as the out-of-fold table of a study.

        Probabilities are one half throughout: they aren't calibrated here.
        """
        rows = np.concatenate([split.test for split in self.splits])
        sizes = [len(split.test) for split in self.splits]
        repeat, fold = (
            np.repeat([getattr(split, name) for split in self.splits], sizes)
            for name in ("repeat", "fold")
        )
        people = np.array([f"sub-{number:03d}" for number in range(len(self.labels))])[rows]
        tables = [
            pd.DataFrame(
                {
                    "participant_id": people,
                    "scan_id": people,
                    "repeat": repeat,
                    "fold": fold,
                    "model": name,
                    "label": self.labels[rows],
                    "score": score[repeat, rows],
                    "probability": 0.5,
                }
            )
            for name, score in scores.items()
        ]
        return pd.concat(tables, ignore_index=True)

    def fold_aucs(self, scores: dict[str, Floats]) -> pd.DataFrame:
        """Tabulate the AUC of each test fold as `fold_aucs` does, but faster.

        Scores are taken to have no ties, which those of a linear model on noise have none of.
        """
        found = []
        for split in self.splits:
            is_positive = self.labels[split.test] == 1
            n_positive, n = int(is_positive.sum()), len(split.test)
            n_pairs = n_positive * (n - n_positive)
            row = {"repeat": split.repeat, "fold": split.fold, "n_test": n}
            row |= {"n_train": len(split.train), "n_pairs": n_pairs}
            for name, score in scores.items():
                ranks = score[split.repeat, split.test].argsort().argsort()[is_positive]
                row[name] = (ranks.sum() - n_positive * (n_positive - 1) / 2) / n_pairs
            found.append(row)
        return pd.DataFrame(found)


def draw_cohort(
    n_positive: int, n_negative: int, n_repeats: int, strength: float, path: tuple[int, ...]
) -> People:
    """Draw a cohort of its own for each path of seeds."""
    labels = labels_of(n_positive, n_negative)
    rng = np.random.default_rng(SeedSequence(path))
    splits = deal(n_positive, n_negative, n_repeats, int(rng.integers(N_DEALS)))
    return People(draw_people(labels, strength, rng), labels, splits, strength)


@lru_cache(maxsize=200)
def strength_for(auc: float, n_positive: int, n_negative: int, half: bool = False) -> float:
    """Find the size of the effect with which models of so many people reach an AUC on average.

    The people are those who train: four fifths of a cohort, or all of it. `half` is for models that
    see one half of the features.
    """
    if auc <= 0.5:
        return 0.0
    labels, seen = labels_of(n_positive, n_negative), FIRST if half else BOTH
    rng = np.random.default_rng([PILOT, n_positive, n_negative])
    noise = [draw_people(labels, 0.0, rng) for _ in range(N_PILOTS)]
    low, high = 0.0, 2.0
    for _ in range(N_HALVINGS):
        middle = (low + high) / 2
        reached = np.mean(
            [fit(one + means(middle)[labels], labels, seen).true_auc(middle) for one in noise]
        )
        low, high = (middle, high) if reached < auc else (low, middle)
    return (low + high) / 2
