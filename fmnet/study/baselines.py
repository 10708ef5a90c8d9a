"""Models that every network has to be compared with, in the same folds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.svm import SVC

from fmnet.data.cohort import Cohort
from fmnet.data.folds import Fold, rows_of
from fmnet.data.grid import smooth_values
from fmnet.data.volume import FloatArray
from fmnet.deploy.preparation import PreparationSettings, fit_preparation
from fmnet.limits import NonNegatives, Positives


class Baseline(Protocol):
    """Whatever learns from the training subjects of a fold and scores its test subjects."""

    def scores(self, data: "BaselineData", fold: Fold) -> NDArray[np.float64]:
        """Score the scans of ``fold.test``: (N_test,); larger means the positive class."""
        ...


class BaselineData:
    """Scans of a cohort at every smoothing width that a baseline asks for.

    Parameters
    ----------
    cohort : Cohort
        Whose scans.
    """

    def __init__(self, cohort: Cohort) -> None:
        self.cohort = cohort
        self.labels = cohort.labels
        self.participant_ids = cohort.participant_ids
        self._values = cohort.values()
        self._smoothed: dict[float, FloatArray] = {}

    def smoothed(self, fwhm_mm: float) -> FloatArray:
        """Smooth all scans, (N, C, V); smoothing a scan learns nothing from the others."""
        if fwhm_mm not in self._smoothed:
            self._smoothed[fwhm_mm] = smooth_values(self._values, self.cohort.grid, fwhm_mm)
        return self._smoothed[fwhm_mm]

    def rows(self, subjects: tuple[str, ...]) -> NDArray[np.intp]:
        """Find the scans of these subjects."""
        return rows_of(subjects, self.participant_ids)


@dataclass(frozen=True)
class Dummy:
    """Scores everybody alike: what no information looks like."""

    def scores(self, data: BaselineData, fold: Fold) -> NDArray[np.float64]:
        """Score the scans of ``fold.test`` with 0."""
        return np.zeros(len(data.rows(fold.test)))


@dataclass(frozen=True)
class LinearSvm:
    """Linear support vector machine on smoothed, standardised voxels.

    Smoothing width and C are chosen together by AUC on the inner folds.

    Parameters
    ----------
    fwhm_mm : list of float
        Smoothing widths to choose from.
    c : list of float
        Values of C to choose from, for features scaled to a mean squared norm of 1.
    """

    fwhm_mm: NonNegatives = (0.0, 8.0, 16.0)
    c: Positives = (0.01, 0.1, 1.0, 10.0)

    def scores(self, data: BaselineData, fold: Fold) -> NDArray[np.float64]:
        """Choose, fit on ``fold.train`` and score the scans of ``fold.test``."""
        fwhm_mm, c = self.choose(data, fold)
        train, test = data.rows(fold.train), data.rows(fold.test)
        return self._decisions(data, train, test, fwhm_mm, (c,))[0]

    def choose(self, data: BaselineData, fold: Fold) -> tuple[float, float]:
        """Choose smoothing width and C on the inner folds; ties go to the first named."""
        best, choice = -np.inf, (self.fwhm_mm[0], self.c[0])
        for fwhm_mm in self.fwhm_mm:
            auc = np.mean(
                [self._inner_auc(data, fold, part, fwhm_mm) for part in fold.validation], 0
            )
            if auc.max() > best:
                best, choice = auc.max(), (fwhm_mm, self.c[int(auc.argmax())])
        return choice

    def _inner_auc(
        self, data: BaselineData, fold: Fold, held_out: tuple[str, ...], fwhm_mm: float
    ) -> NDArray[np.float64]:
        train = data.rows(tuple(set(fold.train) - set(held_out)))
        rows = data.rows(held_out)
        decisions = self._decisions(data, train, rows, fwhm_mm, self.c)
        return np.array([roc_auc_score(data.labels[rows], scores) for scores in decisions])

    def _decisions(
        self,
        data: BaselineData,
        train: NDArray[np.intp],
        test: NDArray[np.intp],
        fwhm_mm: float,
        c_values: Sequence[float],
    ) -> list[NDArray[np.float64]]:
        """Fit with each C and score the test rows; all share one kernel."""
        values, grid = data.smoothed(fwhm_mm), data.cohort.grid
        settings = PreparationSettings(fwhm_mm=fwhm_mm)
        fitted = fit_preparation(values[train], grid, data.cohort.listing.contrasts, settings)
        features = fitted.standardise(values).reshape(len(values), -1)
        kernel = features @ features[train].T  # (N, N_train)
        kernel /= np.diag(kernel[train]).mean()
        decisions = []
        for c in c_values:
            machine = SVC(kernel="precomputed", C=c, class_weight="balanced")
            machine.fit(kernel[train], data.labels[train])
            decisions.append(machine.decision_function(kernel[test]))
        return decisions
