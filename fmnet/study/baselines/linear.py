"""Linear models on smoothed, standardised voxels."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.svm import SVC

from fmnet.data.folds import Fold
from fmnet.data.volume import FloatArray
from fmnet.limits import NonNegatives, Positives
from fmnet.study.baselines.base import Baseline, BaselineData, Rows, Scores


@dataclass(frozen=True)
class KernelModel(Baseline):
    """A linear model that needs only the inner products of scans.

    Smoothing width and C are chosen together by AUC on the inner folds; ties go to the first named.

    Parameters
    ----------
    fwhm_mm : list of float
        Smoothing widths to choose from.
    c : list of float
        Values of C to choose from, for features scaled to a mean squared norm of 1.
    """

    fwhm_mm: NonNegatives = (0.0, 8.0, 16.0)
    c: Positives = (0.01, 0.1, 1.0, 10.0)

    def choose(self, data: BaselineData, fold: Fold) -> tuple[float, float]:
        """Choose smoothing width and C."""
        aucs = [
            [
                float(roc_auc_score(data.labels[held_out], scores))
                for fwhm_mm in self.fwhm_mm
                for scores in self._decisions(data, train, held_out, fwhm_mm, self.c)
            ]
            for train, held_out in data.inner_rows(fold)
        ]
        options = [(fwhm_mm, c) for fwhm_mm in self.fwhm_mm for c in self.c]
        return options[int(np.mean(aucs, axis=0).argmax())]

    def scores(self, data: BaselineData, train: Rows, test: Rows, choice: Any) -> Scores:
        """Fit with the width and C chosen."""
        fwhm_mm, c = choice
        return self._decisions(data, train, test, fwhm_mm, (c,))[0]

    def _decisions(
        self, data: BaselineData, train: Rows, test: Rows, fwhm_mm: float, c_values: Sequence[float]
    ) -> list[Scores]:
        """Fit with each C and score the test rows; all share one kernel."""
        features = self._features(data, train, fwhm_mm)
        kernel = features @ features[train].T  # (N, N_train)
        # 0 where the training scans are all alike, as coverage may be
        kernel /= np.diag(kernel[train]).mean() or 1.0
        labels = data.labels[train]
        return [self._fit(kernel[train], labels, kernel[test], c) for c in c_values]

    def _features(self, data: BaselineData, train: Rows, fwhm_mm: float) -> FloatArray:
        return data.features(train, fwhm_mm)

    @abstractmethod
    def _fit(self, train: Any, labels: Any, test: Any, c: float) -> Scores:
        """Fit on a kernel, (N_train, N_train), and score from one, (N_test, N_train)."""


@dataclass(frozen=True)
class VoxelModel(KernelModel):
    """A linear model of standardised voxels, which can be written down as their weights."""

    def weights(
        self, data: BaselineData, train: Rows, choice: tuple[float, float]
    ) -> tuple[FloatArray, float]:
        """Fit with the width and C chosen; what is scored is ``features @ weight + bias``.

        Parameters
        ----------
        data, train, choice
            As for `scores`.

        Returns
        -------
        tuple
            Weight of each standardised voxel, shape (C, V), and the bias.
        """
        fwhm_mm, c = choice
        features = self._features(data, train, fwhm_mm)[train]  # (N_train, C * V)
        kernel = features @ features.T
        scale = float(np.diag(kernel).mean()) or 1.0
        # Scores are linear in the kernel: those of nothing and of one unit of each training scan.
        probes = np.eye(len(train) + 1, len(train), k=-1)
        bias, *units = self._fit(kernel / scale, data.labels[train], probes, c)
        weight = (np.array(units) - bias) / scale @ features
        n_channels = data.values.shape[1]
        return weight.reshape(n_channels, -1).astype(np.float32), float(bias)


@dataclass(frozen=True)
class LinearSvm(VoxelModel):
    """Linear support vector machine."""

    def _fit(self, train: Any, labels: Any, test: Any, c: float) -> Scores:
        return fit_svm(train, labels, test, c)


def fit_svm(train: Any, labels: Any, test: Any, c: float) -> Scores:
    """Fit a linear SVM on a kernel, (N_train, N_train), and score from one, (N_test, N_train)."""
    machine = SVC(kernel="precomputed", C=c, class_weight="balanced").fit(train, labels)
    return np.asarray(machine.decision_function(test))


@dataclass(frozen=True)
class LogisticRidge(VoxelModel):
    """Logistic regression with an L2 penalty.

    With more voxels than scans the solution lies in the span of the training scans, so it is found
    on the principal axes of their kernel, and is the same as on the voxels themselves.
    """

    def _fit(self, train: Any, labels: Any, test: Any, c: float) -> Scores:
        variance, axes = np.linalg.eigh(np.asarray(train, dtype=float))
        kept = variance > variance.max() * 1e-6
        axes = axes[:, kept] / np.sqrt(variance[kept])
        model = LogisticRegression(C=c, class_weight="balanced", max_iter=1000)
        return np.asarray(model.fit(train @ axes, labels).decision_function(test @ axes))
