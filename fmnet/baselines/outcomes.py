"""Baselines of targets other than two groups: ridge regression of what a null model leaves.

All learn the responses of the target, see `fmnet.targets.base.Null`, so that each serves any of
them. A ridge needs nothing of scans but their inner products, and is linear in what it learns:
thousands of outcomes, as permutations need, take few matrix products.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnet.baselines.base import Baseline, Scores
from fmnet.baselines.shortcuts import Columns, Coverage, FeatureModel, encoder, missing_voxels
from fmnet.data.folds import Fold
from fmnet.data.outcomes import Outcomes
from fmnet.data.resample import weights_before_smoothing
from fmnet.data.volume import FloatArray
from fmnet.inference.preparation import fit_standard
from fmnet.training.scan_set import Rows, ScanSet
from fmnet.types import ModelKind, NonNegatives, Positives

Floats = NDArray[np.float64]
#: Width of smoothing, and penalty.
Choice = tuple[float, float]


@dataclass(frozen=True)
class OutcomeDummy(Baseline):
    """Scores everybody alike, so that its link says what the null model does."""

    model_kind = "chance"
    title = "dummy"
    is_for_outcomes = True

    def scores(self, data: ScanSet, train: Rows, test: Rows, choice: Any) -> Scores:
        """Score every scan with 0: (N_test, K)."""
        return np.zeros((len(test), _target(data).n_scores))


@dataclass(frozen=True)
class ResponseRidge(Baseline):
    """Ridge regression of a target's responses on features of scans.

    Width and penalty are chosen together by the mean correlation of scores and responses on the
    inner folds, over all scores; ties go to the first named. What isn't known of somebody is left
    out of the fit of that score alone.

    Parameters
    ----------
    penalty : list of float
        What is added to the eigenvalues of the features' covariance, in units of their mean over
        the training scans, to choose from.
    """

    is_for_outcomes = True

    penalty: Positives = (0.1, 1.0, 10.0, 100.0)

    @property
    def widths(self) -> Sequence[float]:
        """Smoothing widths to choose from, mm; 0 where nothing is smoothed."""
        return (0.0,)

    @abstractmethod
    def features(self, data: ScanSet, train: Rows, fwhm_mm: float) -> FloatArray:
        """Compute features of all scans, (N, F), all that is fitted from the training scans."""

    def choose(self, data: ScanSet, fold: Fold) -> Choice:
        """Choose width and penalty."""
        learned = data.learned(data.rows(fold.train))
        return self._options[int(self._best(data, fold, learned[None])[0])]

    def scores(self, data: ScanSet, train: Rows, test: Rows, choice: Any) -> Scores:
        """Fit with the width and penalty chosen: (N_test, K)."""
        fwhm_mm, penalty = choice
        gram = self._gram(data, train, fwhm_mm)
        kernels = gram[np.ix_(train, train)], gram[np.ix_(test, train)]
        scores: Scores = ridge_scores(*kernels, data.learned(train), [penalty])[0]
        return scores

    def scores_of_responses(self, data: ScanSet, fold: Fold, orders: Sequence[Outcomes]) -> Scores:
        """Fit to all outcomes at once, see `Model`."""
        train, test = data.rows(fold.train), data.rows(fold.test)
        learned = _learned(data, train, orders)
        best = self._best(data, fold, learned)
        scores = np.empty((len(orders), len(test), learned.shape[2]))
        for number in np.unique(best):
            own, (fwhm_mm, penalty) = np.flatnonzero(best == number), self._options[number]
            gram = self._gram(data, train, fwhm_mm)
            kernels = gram[np.ix_(train, train)], gram[np.ix_(test, train)]
            scores[own] = _unstack(ridge_scores(*kernels, _stack(learned[own]), [penalty])[0], own)
        return scores

    @property
    def _options(self) -> list[Choice]:
        return [(fwhm_mm, one) for fwhm_mm in self.widths for one in self.penalty]

    def _best(self, data: ScanSet, fold: Fold, learned: FloatArray) -> NDArray[np.intp]:
        """Choose an option for each of L sets of responses of the training scans, (L, T, K)."""
        if len(self._options) == 1:
            return np.zeros(len(learned), np.intp)
        train, stacked = data.rows(fold.train), _stack(learned)
        total = []
        for inner, held_out in data.inner_rows(fold):
            own, left = np.searchsorted(train, inner), np.searchsorted(train, held_out)
            found = []
            for fwhm_mm in self.widths:
                gram = self._gram(data, inner, fwhm_mm)
                kernels = gram[np.ix_(inner, inner)], gram[np.ix_(held_out, inner)]
                scores = ridge_scores(*kernels, stacked[own], self.penalty)
                found.append(correlations(scores, stacked[left]))
            total.append(np.concatenate(found))  # (options, L * K)
        mean = np.mean(total, axis=0).reshape(len(self._options), *learned[:, 0].shape)
        best: NDArray[np.intp] = mean.mean(axis=2).argmax(axis=0)
        return best

    def _gram(self, data: ScanSet, train: Rows, fwhm_mm: float) -> Floats:
        """Multiply features of all pairs of scans, (N, N); kept, as they are the same each time."""

        def multiply() -> list[Floats]:
            features = self.features(data, train, fwhm_mm)
            return [(features @ features.T).astype(float)]

        key = (repr(self), repr(data.target), data.harmonise, fwhm_mm, train.tobytes())
        return data.memo.get(key, multiply)[0]


def _target(data: ScanSet) -> Any:
    assert data.target is not None
    return data.target


def _learned(data: ScanSet, train: Rows, orders: Sequence[Outcomes]) -> FloatArray:
    """Learn responses of the training scans under each of L outcomes: (L, T, K)."""
    target = _target(data)
    return np.stack([target.fit_null(one, train).responses[train] for one in orders])


def _stack(learned: FloatArray) -> FloatArray:
    """Put responses, (L, T, K), side by side: (T, L * K)."""
    return learned.transpose(1, 0, 2).reshape(learned.shape[1], -1)


def _unstack(scores: Floats, own: NDArray[np.intp]) -> Floats:
    """Take scores that stand side by side, (M, L * K), apart: (L, M, K)."""
    return scores.reshape(len(scores), len(own), -1).transpose(1, 0, 2)


def ridge_scores(
    kernel: Floats, across: Floats, responses: NDArray[Any], penalties: Sequence[float]
) -> Floats:
    """Fit ridge regressions of several responses, and score other scans.

    Parameters
    ----------
    kernel, across : ndarray, shapes (T, T) and (M, T)
        Inner products of the training scans, and of others with them.
    responses : ndarray, shape (T, J)
        NaN where not known.
    penalties : list of float
        P of them, see `ResponseRidge`.

    Returns
    -------
    ndarray, shape (P, M, J)
    """
    each, bias = solve_ridge(kernel, responses, penalties)
    return np.asarray(across @ each + bias[:, None])


def solve_ridge(
    kernel: Floats, responses: NDArray[Any], penalties: Sequence[float]
) -> tuple[Floats, Floats]:
    """Solve ridge regressions with an intercept on a kernel, (T, T), of several responses, (T, J).

    Returns
    -------
    tuple of ndarray, shapes (P, T, J) and (P, J)
        Weight of each training scan, and the biases; 0 where nothing of a response is known.
    """
    each = np.zeros((len(penalties), *responses.shape))
    bias = np.zeros((len(penalties), responses.shape[1]))
    patterns, which = np.unique(~np.isnan(responses), axis=1, return_inverse=True)
    for number, is_known in enumerate(patterns.T):
        rows, columns = np.flatnonzero(is_known), np.flatnonzero(which.ravel() == number)
        if not len(rows):
            continue
        own = kernel[np.ix_(rows, rows)]
        mean = own.mean(axis=0)
        centred = own - mean - mean[:, None] + mean.mean()
        sizes, axes = np.linalg.eigh(centred)
        # 1 where the scans are all alike, as coverage may be
        scale = float(np.trace(centred)) / len(rows) or 1.0
        known = responses[np.ix_(rows, columns)].astype(float)
        average = known.mean(axis=0)
        along = axes.T @ (known - average)
        for k, penalty in enumerate(penalties):
            solved = axes @ (along / (np.maximum(sizes, 0) + penalty * scale)[:, None])
            each[k][np.ix_(rows, columns)] = solved
            bias[k][columns] = average - mean @ solved
    return each, bias


def correlations(scores: Floats, responses: NDArray[Any]) -> Floats:
    """Correlate scores, (..., M, J), with responses, (M, J), that are known: (..., J).

    0 where either doesn't vary.
    """
    is_known = ~np.isnan(responses)
    count = np.maximum(is_known.sum(axis=0), 1)
    one = np.where(is_known, scores, 0)
    other = np.where(is_known, responses, 0).astype(float)
    one = np.where(is_known, one - one.sum(axis=-2, keepdims=True) / count, 0)
    other = np.where(is_known, other - other.sum(axis=0) / count, 0)
    norm = np.sqrt((one**2).sum(axis=-2) * (other**2).sum(axis=0))
    product = (one * other).sum(axis=-2)
    return np.asarray(np.divide(product, norm, out=np.zeros_like(product), where=norm > 1e-12))


@dataclass(frozen=True)
class VoxelRidge(ResponseRidge):
    """Ridge regression on smoothed, standardised voxels, which comes to their weights.

    Parameters
    ----------
    fwhm_mm : list of float
        Smoothing widths to choose from.
    penalty : list of float
        See `ResponseRidge`.
    """

    model_kind: ClassVar[ModelKind] = "linear"
    title = "voxel ridge"
    is_exportable = True
    #: What records call the setting besides the width.
    setting_name: ClassVar[str] = "penalty"

    fwhm_mm: NonNegatives = (0.0, 8.0, 16.0)

    @property
    def widths(self) -> Sequence[float]:
        """Smoothing widths to choose from, mm."""
        return self.fwhm_mm

    def features(self, data: ScanSet, train: Rows, fwhm_mm: float) -> FloatArray:
        """Smooth all scans and standardise them: (N, C * V)."""
        return data.features(train, fwhm_mm)

    def weights(self, data: ScanSet, train: Rows, choice: Choice) -> tuple[FloatArray, Scores]:
        """Fit with the width and penalty chosen.

        Returns
        -------
        tuple of ndarray, shapes (K, C, V) and (K,)
            Weight of each smoothed, standardised voxel, and the biases.
        """
        fwhm_mm, penalty = choice
        learned, gram = data.learned(train), self._gram(data, train, fwhm_mm)
        each, bias = solve_ridge(gram[np.ix_(train, train)], learned, [penalty])
        features = self.features(data, train, fwhm_mm)[train]
        weight = each[0].T.astype(np.float32) @ features
        return weight.reshape(learned.shape[1], *data.values.shape[1:]), bias[0]

    def weights_of_responses(
        self, data: ScanSet, fold: Fold, orders: Sequence[Outcomes]
    ) -> FloatArray:
        """Learn a fold under many outcomes of all scans, and weigh voxels in each.

        Returns
        -------
        ndarray of float32, shape (L, K, C, V)
            In units of score per unit of the unsmoothed map.
        """
        train, shape = data.rows(fold.train), data.values.shape[1:]
        learned = _learned(data, train, orders)
        best = self._best(data, fold, learned)
        weights = np.empty((len(orders), learned.shape[2], *shape), np.float32)
        for number in np.unique(best):
            own, (fwhm_mm, penalty) = np.flatnonzero(best == number), self._options[number]
            gram = self._gram(data, train, fwhm_mm)[np.ix_(train, train)]
            each, _ = solve_ridge(gram, _stack(learned[own]), [penalty])
            features = self.features(data, train, fwhm_mm)[train]
            found = (each[0].T.astype(np.float32) @ features).reshape(len(own), -1, *shape)
            values = data.smoothed(fwhm_mm)
            if data.harmonise is not None:
                values = data.harmonise(values, train)
            _, scale = fit_standard(data.within_people(values)[train])
            weights[own] = weights_before_smoothing(found * scale, data.grid, fwhm_mm)
        return weights


@dataclass(frozen=True)
class TableRidge(ResponseRidge):
    """Ridge regression on a few numbers and categories per scan, see `FeatureModel.table`.

    Numbers are imputed by the median and standardised, texts become indicators.
    """

    model_kind: ClassVar[ModelKind] = "shortcut"

    @property
    @abstractmethod
    def source(self) -> FeatureModel:
        """Whose table is read."""

    def describe(self, name: str) -> tuple[ModelKind, str]:
        """Say what the table is, and what it is called in reports."""
        return self.source.describe(name)

    def lacks(self, data: ScanSet) -> str:
        """Say what the table lacks."""
        return self.source.lacks(data)

    def features(self, data: ScanSet, train: Rows, fwhm_mm: float) -> FloatArray:
        """Encode the table: (N, F)."""
        # kept, as it takes long to compute from many voxels
        columns = data.memo.get(
            (repr(self.source), repr(data.target)),
            lambda: [own.to_numpy() for _, own in self.source.table(data).items()],
        )
        table = pd.DataFrame(dict(enumerate(columns)))
        encoded = encoder().fit(table.iloc[train]).transform(table)
        dense = encoded.toarray() if hasattr(encoded, "toarray") else encoded
        return data.within_people(np.asarray(dense, float))


@dataclass(frozen=True)
class OutcomeColumns(TableRidge):
    """Predicts from columns of the participants table, without any image.

    Columns that hold what is predicted, or what its null model reads, are never among them.

    Parameters
    ----------
    columns, symptoms
        See `fmnet.baselines.shortcuts.Columns`.
    penalty : list of float
        See `ResponseRidge`.
    """

    columns: Sequence[str] = ()
    symptoms: bool | None = None

    @property
    def source(self) -> FeatureModel:
        """Those columns."""
        return Columns(columns=self.columns, symptoms=self.symptoms)


@dataclass(frozen=True)
class OutcomeShortcut(TableRidge):
    """Predicts from what images show besides activity.

    Parameters
    ----------
    shortcut : FeatureModel
        Whose table is read.
    penalty : list of float
        See `ResponseRidge`.
    """

    shortcut: FeatureModel = field(kw_only=True)

    @property
    def source(self) -> FeatureModel:
        """The shortcut given."""
        return self.shortcut


@dataclass(frozen=True)
class OutcomeCoverage(ResponseRidge):
    """Sees only where voxels are missing."""

    model_kind = "shortcut"
    title = Coverage.title

    def lacks(self, data: ScanSet) -> str:
        """Say that there is nothing to see where all scans cover the same voxels."""
        return Coverage().lacks(data)

    def features(self, data: ScanSet, train: Rows, fwhm_mm: float) -> FloatArray:
        """Mark the missing voxels: (N, C * V)."""
        return data.within_people(missing_voxels(data.values, train))
