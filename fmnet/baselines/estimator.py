"""Classifiers of scikit-learn and nilearn as baselines."""

import math
import warnings
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
        if not (hasattr(self.estimator, "decision_function") or self._has_probabilities()):
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

    def _has_probabilities(self) -> bool:
        return hasattr(self.estimator, "predict_proba")


#: Smoothing of the maps, full width at half maximum.
FWHM_MM = 8.0
#: Half of them train in an outer fold, half of these in an inner one, and 2 can still be split.
LEAST = 8


@dataclass(frozen=True)
class Frem(Baseline):
    """Ensemble of clustered linear models (fast regularised ensemble of models).

    Parameters
    ----------
    screening_percentile : float
        Share of voxels, in percent of a standard brain, kept by a univariate screen.
    clustering_percentile : float
        Clusters, in percent of the voxels kept.
    cv : int
        Models in the ensemble, each on another four fifths of the training scans.

    References
    ----------
    Hoyos-Idrobo et al. (2018). FReM: scalable and stable decoding. NeuroImage, 180.
    """

    model_kind = "linear"
    title = "FREM"

    screening_percentile: float = 20.0
    clustering_percentile: float = 10.0
    cv: Several = 5

    def lacks(self, data: ScanSet) -> str:
        """Say that these decoders take one map per scan, of participants enough to split."""
        return one_contrast(data) or people_enough(data)

    def scores(self, data: ScanSet, train: Rows, test: Rows, choice: Any) -> Scores:
        """Fit on the images of the training scans; all its choices are made among them."""
        model = FREMClassifier(
            mask=mask_image(data),
            screening_percentile=self.screening_percentile,
            clustering_percentile=self.clustering_percentile,
            cv=StratifiedShuffleSplit(
                self.cv, test_size=max(2, math.ceil(0.2 * len(train))), random_state=0
            ),
            standardize=False,
        )
        return fit_decoder(model, data, train, test)


@dataclass(frozen=True)
class SpaceNet(Baseline):
    """Linear model with a spatial penalty on its weights.

    Parameters
    ----------
    penalty : {"graph-net", "tv-l1"}
        Smooth, or piecewise constant.
    screening_percentile : float
        Share of voxels kept by a univariate screen.
    cv : int
        Folds among the training scans for its own choices; fewer where a class has fewer scans.

    References
    ----------
    Grosenick et al. (2013). Interpretable whole-brain prediction with GraphNet. NeuroImage, 72.
    """

    model_kind = "linear"
    title = "SpaceNet"

    penalty: Literal["graph-net", "tv-l1"] = "graph-net"
    screening_percentile: float = 20.0
    cv: Several = 4

    def lacks(self, data: ScanSet) -> str:
        """Say that these decoders take one map per scan, of participants enough to split."""
        return one_contrast(data) or people_enough(data)

    def scores(self, data: ScanSet, train: Rows, test: Rows, choice: Any) -> Scores:
        """Fit on the images of the training scans; all its choices are made among them."""
        model = SpaceNetClassifier(
            mask=mask_image(data),
            penalty=self.penalty,
            screening_percentile=self.screening_percentile,
            cv=min(self.cv, np.bincount(data.labels[train]).min()),
            standardize=False,
            verbose=0,
        )
        return fit_decoder(model, data, train, test)


def one_contrast(data: ScanSet) -> str:
    """Say what is missing where a scan has several maps."""
    return "" if data.values.shape[1] == 1 else "a cohort of one contrast"


def people_enough(data: ScanSet) -> str:
    """Say how many participants a class lacks for the decoders' own splits, whatever the folds."""
    units = [data.cohort.unit_of[participant] for participant in data.participant_ids]
    counts = Counter(label for _, label in set(zip(units, data.labels.tolist(), strict=True)))
    return "" if min(counts.values()) >= LEAST else f"{LEAST} people or families of each class"


def mask_image(data: ScanSet) -> Any:
    """Turn the grid's mask into an image."""
    grid = data.cohort.grid
    return to_image(grid.mask.astype(np.float32), grid.affine)


def fit_decoder(model: Any, data: ScanSet, train: Rows, test: Rows) -> Scores:
    """Fit a nilearn decoder on images and score others."""
    grid = data.cohort.grid
    # Standardised here: nilearn's masker would standardise the test scans by themselves.
    volumes = np.moveaxis(grid.unmask(data.features(train, FWHM_MM)), 0, -1)
    with warnings.catch_warnings():
        # about masks and solvers inside nilearn: nothing that a user could change
        warnings.simplefilter("ignore")
        model.fit(to_image(volumes[..., train], grid.affine), data.labels[train])
        scores = model.decision_function(to_image(volumes[..., test], grid.affine))
    sign = 1.0 if model.classes_[-1] == 1 else -1.0
    return np.asarray(scores, dtype=float).ravel() * sign
