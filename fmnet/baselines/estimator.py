"""Classifiers of scikit-learn and nilearn as baselines."""

import math
import warnings
from abc import abstractmethod
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from nilearn.decoding import FREMClassifier, SpaceNetClassifier
from sklearn.base import ClassifierMixin, clone
from sklearn.decomposition import PCA
from sklearn.model_selection import StratifiedShuffleSplit

from fmnet.baselines.base import Baseline, Scores
from fmnet.data.nifti import to_image
from fmnet.errors import ConfigError, Fault
from fmnet.training.scan_set import Rows, ScanSet
from fmnet.types import NonNegative, Several

#: Methods of which a classifier needs one.
SCORING = ("decision_function", "predict_proba")


@dataclass(frozen=True)
class Estimator(Baseline):
    """A scikit-learn classifier on smoothed, standardised voxels.

    On the command line: ``+baselines.forest._target_=fmnet.baselines.estimator.Estimator``
    and ``+baselines.forest.estimator._target_=sklearn.ensemble.RandomForestClassifier``.

    Parameters
    ----------
    estimator : sklearn classifier
        With ``decision_function`` or ``predict_proba``; cloned for every fit.
    fwhm_mm : float
        Smoothing.
    n_components : int, optional
        Principal components, found on the training scans, that stand for the voxels.

    Raises
    ------
    ConfigError
        If the estimator gives no scores.
    """

    estimator: ClassifierMixin
    fwhm_mm: NonNegative = 8.0
    n_components: int | None = None

    def __post_init__(self) -> None:
        if not any(hasattr(self.estimator, name) for name in SCORING):
            raise ConfigError(
                Fault(
                    "baselines",
                    f"{type(self.estimator).__name__}, which gives no scores",
                    "a classifier with decision_function or predict_proba",
                    "choose another, or ask it for probabilities (probability=true)",
                )
            )

    def scores(self, data: ScanSet, train: Rows, test: Rows, choice: Any) -> Scores:
        """Fit a fresh copy; probabilities are turned into log odds."""
        features = data.features(train, self.fwhm_mm)
        if self.n_components is not None:
            kept = min(self.n_components, len(train) - 1)
            features = PCA(kept, random_state=0).fit(features[train]).transform(features)
        fitted: Any = clone(self.estimator).fit(features[train], data.labels[train])
        if hasattr(fitted, "decision_function"):
            return np.asarray(fitted.decision_function(features[test]), dtype=float)
        probability = np.clip(fitted.predict_proba(features[test])[:, 1], 1e-6, 1 - 1e-6)
        return np.asarray(np.log(probability / (1 - probability)))


#: Smoothing of the maps, full width at half maximum.
FWHM_MM = 8.0
#: Half of them train in an outer fold, half of these in an inner one, and 2 can still be split.
LEAST = 8


@dataclass(frozen=True)
class Decoder(Baseline):
    """A decoder of nilearn, which makes its choices among the training scans by itself.

    Parameters
    ----------
    screening_percentile : float
        Percent of the voxels kept by a univariate screen.
    """

    model_kind = "linear"

    screening_percentile: float = 20.0

    def lacks(self, data: ScanSet) -> str:
        """Say that decoders take one map per scan, and enough participants for their own splits."""
        if data.values.shape[1] != 1:
            return "a cohort of one contrast"
        units = [data.cohort.unit_of[participant] for participant in data.participant_ids]
        counts = Counter(label for _, label in set(zip(units, data.labels.tolist(), strict=True)))
        return "" if min(counts.values()) >= LEAST else f"{LEAST} people or families of each class"

    @abstractmethod
    def _build(self, mask: Any, labels: Any) -> Any:
        """Build the decoder for a mask image and the labels of the training scans."""

    def scores(self, data: ScanSet, train: Rows, test: Rows, choice: Any) -> Scores:
        """Fit on the images of the training scans; all its choices are made among them."""
        grid, labels = data.cohort.grid, data.labels[train]
        model = self._build(to_image(grid.mask.astype(np.float32), grid.affine), labels)
        # Standardised here: nilearn's masker would standardise the test scans by themselves.
        volumes = np.moveaxis(grid.unmask(data.features(train, FWHM_MM)), 0, -1)
        with warnings.catch_warnings():
            # about masks and solvers inside nilearn: nothing that a user could change
            warnings.simplefilter("ignore")
            model.fit(to_image(volumes[..., train], grid.affine), labels)
            scores = model.decision_function(to_image(volumes[..., test], grid.affine))
        sign = 1.0 if model.classes_[-1] == 1 else -1.0
        return np.asarray(scores, dtype=float).ravel() * sign


@dataclass(frozen=True)
class Frem(Decoder):
    """Ensemble of clustered linear models (fast regularised ensemble of models).

    Parameters
    ----------
    screening_percentile : float
        Percent of a standard brain's voxels kept by a univariate screen.
    clustering_percentile : float
        Clusters, in percent of the voxels kept.
    cv : int
        Models in the ensemble, each on another four fifths of the training scans.

    References
    ----------
    Hoyos-Idrobo et al. (2018). FReM: scalable and stable decoding. NeuroImage, 180.
    """

    title = "FREM"

    clustering_percentile: float = 10.0
    cv: Several = 5

    def _build(self, mask: Any, labels: Any) -> Any:
        n_test = max(2, math.ceil(0.2 * len(labels)))
        return FREMClassifier(
            mask=mask,
            screening_percentile=self.screening_percentile,
            clustering_percentile=self.clustering_percentile,
            cv=StratifiedShuffleSplit(self.cv, test_size=n_test, random_state=0),
            standardize=False,
        )


@dataclass(frozen=True)
class SpaceNet(Decoder):
    """Linear model with a spatial penalty on its weights.

    Parameters
    ----------
    screening_percentile : float
        Percent of the voxels kept by a univariate screen.
    penalty : {"graph-net", "tv-l1"}
        Smooth, or piecewise constant.
    cv : int
        Folds among the training scans for its own choices; fewer where a class has fewer scans.

    References
    ----------
    Grosenick et al. (2013). Interpretable whole-brain prediction with GraphNet. NeuroImage, 72.
    """

    title = "SpaceNet"

    penalty: Literal["graph-net", "tv-l1"] = "graph-net"
    cv: Several = 4

    def _build(self, mask: Any, labels: Any) -> Any:
        return SpaceNetClassifier(
            mask=mask,
            penalty=self.penalty,
            screening_percentile=self.screening_percentile,
            cv=min(self.cv, np.bincount(labels).min()),
            standardize=False,
            verbose=0,
        )
