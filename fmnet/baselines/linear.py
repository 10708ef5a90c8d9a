"""Linear models on smoothed, standardised voxels."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.svm import SVC

from fmnet.baselines.base import Baseline, Scores
from fmnet.baselines.labelings import aucs_of_labelings, fit_logistic, lda_scores
from fmnet.data.folds import Fold
from fmnet.data.resample import weights_before_smoothing
from fmnet.data.volume import FloatArray
from fmnet.inference.preparation import fit_standard
from fmnet.training.scan_set import Rows, ScanSet
from fmnet.types import ModelKind, NonNegatives, Positives, Shares

#: Weight of each feature, (F,), and bias: the score is ``features @ weight + bias``.
Line = tuple[FloatArray, float]
#: Least variance within groups that shrinkage LDA grants a feature, whose variance over all
#: training scans is 1: two participants who happen to be alike in it tell of none.
LEAST_VARIANCE = 1e-3


@dataclass(frozen=True)
class LinearModel(Baseline):
    """A linear model of smoothed scans that has one more setting.

    Smoothing width and setting are chosen together by AUC on the inner folds; ties go to the first
    named.

    Parameters
    ----------
    fwhm_mm : list of float
        Smoothing widths to choose from.
    """

    model_kind: ClassVar[ModelKind] = "linear"
    #: What `fmnet.runs.final_models.FinalModel` calls the other setting.
    setting_name: ClassVar[str]

    fwhm_mm: NonNegatives = (0.0, 8.0, 16.0)

    @property
    @abstractmethod
    def settings(self) -> Sequence[float]:
        """Values of the other setting to choose from."""

    @abstractmethod
    def _fit(self, features: FloatArray, labels: Any, settings: Sequence[float]) -> list[Line]:
        """Fit on the training scans, (N_train, F), once with each setting."""

    def choose(self, data: ScanSet, fold: Fold) -> tuple[float, float]:
        """Choose smoothing width and setting."""
        return self._options[int(self._inner_aucs(data, fold, data.labels[None])[0].argmax())]

    def scores(self, data: ScanSet, train: Rows, test: Rows, choice: Any) -> Scores:
        """Fit with the width and setting chosen."""
        fwhm_mm, setting = choice
        features, labels = self._features(data, train, fwhm_mm), data.labels[None, train]
        scores: Scores = self._score(features[train], labels, features[test], (setting,))[0, 0]
        return scores

    def scores_of_labelings(
        self, data: ScanSet, fold: Fold, labelings: NDArray[np.int64]
    ) -> Scores:
        """Smooth and multiply scans once for all. See `Baseline.scores_of_labelings`."""
        best = self._inner_aucs(data, fold, labelings).argmax(axis=1)
        train, test = data.rows(fold.train), data.rows(fold.test)
        scores = np.empty((len(labelings), len(test)))
        for n, (fwhm_mm, setting) in enumerate(self._options):
            own = np.flatnonzero(best == n)
            if len(own):
                features = self._features(data, train, fwhm_mm)
                labels = labelings[np.ix_(own, train)]
                scores[own] = self._score(features[train], labels, features[test], (setting,))[0]
        return scores

    @property
    def _options(self) -> list[tuple[float, float]]:
        return [(fwhm_mm, one) for fwhm_mm in self.fwhm_mm for one in self.settings]

    def _inner_aucs(self, data: ScanSet, fold: Fold, labelings: NDArray[np.int64]) -> Scores:
        """AUC on inner folds, their mean, under each labeling with each option: (L, options).

        0 where there is nothing to choose, without a fit.
        """
        if len(self._options) == 1:
            return np.zeros((len(labelings), 1))
        total = []
        for train, held_out in data.inner_rows(fold):
            aucs = []
            for fwhm_mm in self.fwhm_mm:
                features = self._features(data, train, fwhm_mm)
                given = features[train], labelings[:, train], features[held_out], self.settings
                aucs.append(aucs_of_labelings(self._score(*given), labelings[:, held_out]))
            total.append(np.concatenate(aucs))
        return np.asarray(np.mean(total, axis=0).T)

    def _score(
        self,
        features: FloatArray,
        labelings: NDArray[np.int64],
        others: FloatArray,
        settings: Sequence[float],
    ) -> Scores:
        """Fit to scans, (N, F), under each labeling, (L, N), and score others: (S, L, M)."""
        scores = np.empty((len(settings), len(labelings), len(others)))
        for n, labels in enumerate(labelings):
            lines = self._fit(features, labels, settings)
            scores[:, n] = [others @ weight + bias for weight, bias in lines]
        return scores

    def _features(self, data: ScanSet, train: Rows, fwhm_mm: float) -> FloatArray:
        return data.features(train, fwhm_mm)


@dataclass(frozen=True)
class VoxelModel(LinearModel):
    """A linear model of standardised voxels, which can be written down as their weights."""

    is_exportable = True

    def weights(self, data: ScanSet, train: Rows, choice: tuple[float, float]) -> Line:
        """Fit with the width and setting chosen: weight of each voxel, (C, V), and the bias."""
        fwhm_mm, setting = choice
        features = self._features(data, train, fwhm_mm)[train]
        ((weight, bias),) = self._fit(features, data.labels[train], (setting,))
        return weight.reshape(data.values.shape[1], -1), bias

    def weights_of_labelings(
        self, data: ScanSet, fold: Fold, labelings: NDArray[np.int64]
    ) -> FloatArray:
        """Smooth and multiply scans once for all. See `Model.weights_of_labelings`."""
        best = self._inner_aucs(data, fold, labelings).argmax(axis=1)
        train, shape = data.rows(fold.train), data.values.shape[1:]
        weights = np.empty((len(labelings), *shape), np.float32)
        for n, (fwhm_mm, setting) in enumerate(self._options):
            own = np.flatnonzero(best == n)
            if len(own):
                features = self._features(data, train, fwhm_mm)[train]
                found = self._weigh(features, labelings[np.ix_(own, train)], setting)
                values = data.smoothed(fwhm_mm)
                if data.harmonise is not None:
                    values = data.harmonise(values, train)
                _, scale = fit_standard(values[train])
                found = found.reshape(-1, *shape) * scale
                weights[own] = weights_before_smoothing(found, data.grid, fwhm_mm)
        return weights

    def _weigh(
        self, features: FloatArray, labelings: NDArray[np.int64], setting: float
    ) -> FloatArray:
        """Fit to scans, (N, F), under each labeling, (L, N): weights of features, (L, F)."""
        lines = [self._fit(features, labels, (setting,))[0] for labels in labelings]
        return np.stack([weight for weight, _ in lines])


@dataclass(frozen=True)
class KernelModel(LinearModel):
    """A linear model that needs only the inner products of scans, and has a penalty.

    Parameters
    ----------
    fwhm_mm : list of float
        See `LinearModel`.
    c : list of float
        Values of C to choose from, for features scaled to a mean squared norm of 1.
    """

    setting_name = "c"

    c: Positives = (0.01, 0.1, 1.0, 10.0)

    @property
    def settings(self) -> Sequence[float]:
        """Values of C."""
        return self.c

    def _fit(self, features: FloatArray, labels: Any, settings: Sequence[float]) -> list[Line]:
        kernel = features @ features.T  # (N_train, N_train)
        # 0 where the training scans are all alike, as coverage may be
        scale = float(np.diag(kernel).mean()) or 1.0
        solved = [self._solve(kernel / scale, labels, c) for c in settings]
        return [((each / scale).astype(np.float32) @ features, bias) for each, bias in solved]

    def _score(
        self,
        features: FloatArray,
        labelings: NDArray[np.int64],
        others: FloatArray,
        settings: Sequence[float],
    ) -> Scores:
        kernel, across = features @ features.T, others @ features.T
        scale = float(np.diag(kernel).mean()) or 1.0
        kernel, across = kernel / scale, (across / scale).astype(float)
        scores = np.empty((len(settings), len(labelings), len(others)))
        for n, c in enumerate(settings):
            each, bias = self._solve_all(kernel, labelings, c)
            scores[n] = each @ across.T + bias[:, None]
        return scores

    def _weigh(
        self, features: FloatArray, labelings: NDArray[np.int64], setting: float
    ) -> FloatArray:
        kernel = features @ features.T
        scale = float(np.diag(kernel).mean()) or 1.0
        each, _ = self._solve_all(kernel / scale, labelings, setting)
        return (each / scale).astype(np.float32) @ features

    def _solve_all(
        self, kernel: Any, labelings: NDArray[np.int64], c: float
    ) -> tuple[Scores, Scores]:
        """Solve for each labeling, (L, N): weights of scans, (L, N), and biases, (L,)."""
        solved = [self._solve(kernel, labels, c) for labels in labelings]
        return np.stack([each for each, _ in solved]), np.array([bias for _, bias in solved])

    @abstractmethod
    def _solve(self, kernel: Any, labels: Any, c: float) -> tuple[Scores, float]:
        """Fit on a kernel, (N_train, N_train): weight of each training scan, and the bias."""


@dataclass(frozen=True)
class LinearSvm(KernelModel, VoxelModel):
    """Linear support vector machine."""

    title = "linear SVM"

    def _solve(self, kernel: Any, labels: Any, c: float) -> tuple[Scores, float]:
        return solve_svm(kernel, labels, c)


def solve_svm(kernel: Any, labels: Any, c: float) -> tuple[Scores, float]:
    """Fit a linear SVM on a kernel, (N_train, N_train): weight of each scan, and the bias."""
    with config_context(assume_finite=True, skip_parameter_validation=True):  # saves a sixth
        machine = SVC(kernel="precomputed", C=c, class_weight="balanced").fit(kernel, labels)
    each = np.zeros(len(kernel))
    each[machine.support_] = machine.dual_coef_[0]
    return each, float(machine.intercept_[0])


@dataclass(frozen=True)
class LogisticRidge(KernelModel, VoxelModel):
    """Logistic regression with an L2 penalty.

    With more voxels than scans the solution lies in the span of the training scans, so that their
    kernel is all it takes; it is the same as on the voxels themselves.
    """

    title = "logistic ridge"

    def _solve(self, kernel: Any, labels: Any, c: float) -> tuple[Scores, float]:
        each, bias = self._solve_all(kernel, np.asarray(labels)[None], c)
        return each[0], float(bias[0])

    def _solve_all(
        self, kernel: Any, labelings: NDArray[np.int64], c: float
    ) -> tuple[Scores, Scores]:
        return fit_logistic(np.asarray(kernel, dtype=float), labelings, c)


@dataclass(frozen=True)
class ShrinkageLda(VoxelModel):
    """Linear discriminant of the voxels in which the groups differ most.

    Voxels are screened by the t-value between the groups of the training scans. Of those kept, the
    covariance within each group is shrunk towards its diagonal by the amount that Ledoit and Wolf
    give, as scikit-learn's ``LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")`` does;
    both groups count alike.

    Parameters
    ----------
    fwhm_mm : list of float
        Smoothing widths to choose from.
    fraction : list of float
        Fractions of the voxels to keep, to choose from; 1 for all of them.

    References
    ----------
    Ledoit and Wolf (2004). A well-conditioned estimator for large-dimensional covariance matrices.
    Journal of Multivariate Analysis, 88.

    Cox and Savoy (2003). Functional magnetic resonance imaging (fMRI) "brain reading": detecting
    and classifying distributed patterns of fMRI activity in human visual cortex. NeuroImage, 19.
    """

    title = "shrinkage LDA"
    setting_name = "screen"

    fraction: Shares = (0.01, 0.1, 1.0)

    @property
    def settings(self) -> Sequence[float]:
        """Fractions of the voxels."""
        return self.fraction

    def _score(
        self,
        features: FloatArray,
        labelings: NDArray[np.int64],
        others: FloatArray,
        settings: Sequence[float],
    ) -> Scores:
        if len(labelings) == 1:  # in double precision, as what is exported
            return super()._score(features, labelings, others, settings)
        return lda_scores(features, labelings, others, settings, LEAST_VARIANCE)

    def _fit(self, features: FloatArray, labels: Any, settings: Sequence[float]) -> list[Line]:
        groups = [features[labels == label].astype(float) for label in (1, 0)]
        n_features = features.shape[1]
        difference = groups[0].mean(axis=0) - groups[1].mean(axis=0)
        within = sum(group.var(axis=0) * len(group) for group in groups) / len(features)
        # t without its factor of the group sizes, which all voxels share
        t_like = np.abs(difference) / np.sqrt(np.maximum(within, LEAST_VARIANCE))
        order = np.argsort(-t_like, kind="stable")
        lines: list[Line] = []
        for fraction in settings:
            kept = np.sort(order[: max(1, round(fraction * n_features))])
            weight = np.zeros(n_features, np.float32)
            weight[kept], bias = fit_shrinkage_lda(*(group[:, kept] for group in groups))
            lines.append((weight, bias))
        return lines


def fit_shrinkage_lda(one: NDArray[Any], other: NDArray[Any]) -> tuple[NDArray[Any], float]:
    """Fit a linear discriminant with a shrunken covariance and equally common groups.

    The covariance is diagonal but for the span of the scans, so that its inverse takes no more than
    a matrix of scans by scans (Woodbury).

    From the features of the groups, (N_1, F) and (N_0, F), those of the first to score above 0: the
    weight of each feature, (F,), and the bias.
    """
    diagonal, span = np.zeros(one.shape[1]), []
    for group in (one, other):
        centred = group - group.mean(axis=0)
        sd = centred.std(axis=0)
        sd = np.where(sd > 0, sd, 1.0)
        standard = centred / sd
        shrinkage = ledoit_wolf_dual(standard)
        diagonal += shrinkage * (standard**2).mean() * sd**2 / 2
        span.append(centred * np.sqrt((1 - shrinkage) / (2 * len(group))))
    diagonal = np.maximum(diagonal, LEAST_VARIANCE)
    rows = np.concatenate(span)  # (N, F): the covariance is diag(diagonal) + rows.T @ rows
    first, second = one.mean(axis=0), other.mean(axis=0)
    weight = (first - second) / diagonal
    narrow = rows / diagonal  # (N, F)
    inner = np.eye(len(rows)) + narrow @ rows.T
    weight -= np.linalg.solve(inner, rows @ weight) @ narrow
    return weight, float(-(first + second) @ weight / 2)


def ledoit_wolf_dual(centred: NDArray[Any]) -> float:
    """Ledoit and Wolf's shrinkage of centred features, (N, F), from inner products of scans alone.

    The same as `sklearn.covariance.ledoit_wolf_shrinkage`, which takes a product of all pairs of
    features: minutes for all voxels of a brain.
    """
    n, n_features = centred.shape
    gram = centred @ centred.T
    square = float((gram**2).sum()) / n**2  # of the covariance's entries
    distance = square - (float(np.trace(gram)) / n) ** 2 / n_features
    noise = (float((np.diag(gram) ** 2).sum()) / n - square) / n
    if distance <= 1e-12 * square:  # it is a multiple of the identity already
        return 0.0
    return float(np.clip(noise / distance, 0, 1))
