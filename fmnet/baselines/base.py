"""What a baseline is, and what it may see."""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnet.baselines.memo import Memo
from fmnet.data.cohort import Cohort
from fmnet.data.folds import Fold, rows_of
from fmnet.data.grid import smooth_values
from fmnet.data.maps import Series
from fmnet.data.volume import FloatArray
from fmnet.inference.preparation import PreparationSettings, fit_preparation
from fmnet.training.calibration import ScoreScale, fit_calibration, score_scale
from fmnet.training.cohort import Harmoniser

Rows = NDArray[np.intp]
Scores = NDArray[np.float64]


class BaselineData:
    """Scans of a cohort at every smoothing width that a baseline asks for.

    Parameters
    ----------
    cohort : Cohort
        Whose scans.
    values : ndarray of float32, shape (N, C, V)
        On the grid, NaN where missing.
    series : tuple of Series
        Of BOLD cohorts, one per scan; else empty.

    Attributes
    ----------
    memo : Memo
        What was learned from the series of some rows without looking at labels.
    """

    def __init__(self, cohort: Cohort, values: FloatArray, series: tuple[Series, ...] = ()) -> None:
        self.cohort = cohort
        self.labels = cohort.labels
        self.participant_ids = cohort.participant_ids
        self.values = values
        self.series = series
        self.memo = Memo()
        self._smoothed: dict[float, FloatArray] = {}
        self._harmonise: Harmoniser | None = None

    def relabelled(self, cohort: Cohort) -> "BaselineData":
        """Take over what doesn't depend on labels for the same scans under other labels."""
        other = copy.copy(self)
        other.cohort, other.labels = cohort, cohort.labels
        return other

    def replaced(
        self, cohort: Cohort, values: FloatArray, series: tuple[Series, ...] | None = None
    ) -> "BaselineData":
        """Take other maps, (N, C, V), for the scans of a cohort in the same order.

        Other series too, if they are given.
        """
        other = BaselineData(cohort, values, self.series if series is None else series)
        other._harmonise = self._harmonise
        return other

    def subset(self, cohort: Cohort, rows: Rows) -> "BaselineData":
        """Take the scans in these rows, which make up `cohort`."""
        series = tuple(self.series[row] for row in rows) if self.series else ()
        other = BaselineData(cohort, self.values[rows], series)
        other._smoothed = {width: values[rows] for width, values in self._smoothed.items()}
        return other

    def harmonised(self, harmonise: Harmoniser) -> "BaselineData":
        """Take the same scans, whose `features` are harmonised as the training scans ask for."""
        other = copy.copy(self)
        other._harmonise = harmonise
        return other

    def smoothed(self, fwhm_mm: float) -> FloatArray:
        """Smooth all scans, (N, C, V); smoothing a scan learns nothing from the others."""
        if fwhm_mm not in self._smoothed:
            self._smoothed[fwhm_mm] = smooth_values(self.values, self.cohort.grid, fwhm_mm)
        return self._smoothed[fwhm_mm]

    def features(self, train: Rows, fwhm_mm: float) -> FloatArray:
        """Smooth all scans and standardise them as the training scans ask for: (N, C * V)."""
        values, grid = self.smoothed(fwhm_mm), self.cohort.grid
        if self._harmonise is not None:
            values = self._harmonise(values, train)
        settings = PreparationSettings(fwhm_mm=fwhm_mm)
        fitted = fit_preparation(values[train], grid, self.cohort.listing.contrasts, settings)
        return fitted.standardise(values).reshape(len(values), -1)

    def rows(self, subjects: tuple[str, ...]) -> Rows:
        """Find the scans of these subjects."""
        return rows_of(subjects, self.participant_ids)

    def inner_rows(self, fold: Fold) -> list[tuple[Rows, Rows]]:
        """List the scans to train on and to hold out for each inner fold."""
        return [
            (self.rows(tuple(set(fold.train) - set(part))), self.rows(part))
            for part in fold.validation
        ]


class Baseline(ABC):
    """Whatever learns from some scans of a cohort and scores others."""

    def lacks(self, data: BaselineData) -> str:
        """Say what the cohort would have to have; empty if nothing is missing."""
        return ""

    def choose(self, data: BaselineData, fold: Fold) -> Any:
        """Choose settings on the inner folds of ``fold.train``; None if there is no choice."""
        return None

    @abstractmethod
    def scores(self, data: BaselineData, train: Rows, test: Rows, choice: Any) -> Scores:
        """Fit on the training scans with the settings chosen and score others: (N_test,)."""


@dataclass(frozen=True, eq=False)
class FoldScores:
    """What a model says about the scans of one test fold.

    Parameters
    ----------
    score, probability : ndarray of float, shape (N_test,)
        Raw, and calibrated on the inner folds of the training subjects, for groups equally common.
    """

    score: Scores
    probability: Scores


def score_fold(
    baseline: Baseline, data: BaselineData, fold: Fold, is_calibrated: bool = True
) -> FoldScores:
    """Make all choices on the inner folds, fit on ``fold.train``, score ``fold.test`` once.

    Probabilities, which take fits of their own, are NaN unless they are asked for.
    """
    choice = baseline.choose(data, fold)
    score = baseline.scores(data, data.rows(fold.train), data.rows(fold.test), choice)
    if not is_calibrated:
        return FoldScores(score, np.full(len(score), np.nan))
    parts = data.inner_rows(fold)
    held_out = np.concatenate([rows for _, rows in parts])
    inner = np.concatenate([baseline.scores(data, *rows, choice) for rows in parts])
    people = [data.participant_ids[row] for row in held_out]
    # as if of one model: settings chosen on these scores flatter about as much as models of the
    # inner folds, which learned from fewer people, fall short
    calibration = fit_calibration(inner, data.labels[held_out], people)
    return FoldScores(score, calibration.probability(score))


def unseen_scale(baseline: Baseline, data: BaselineData, fold: Fold, choice: Any) -> ScoreScale:
    """Find the scale on which a baseline of these settings scores people it has not seen."""
    parts = data.inner_rows(fold)
    scores = np.concatenate([baseline.scores(data, *rows, choice) for rows in parts])
    return score_scale(scores, data.labels[np.concatenate([rows for _, rows in parts])])
