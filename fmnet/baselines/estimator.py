"""Any scikit-learn classifier as a baseline, named in the configuration."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, clone
from sklearn.decomposition import PCA

from fmnet.baselines.base import Baseline, Scores
from fmnet.errors import ConfigError, Fault
from fmnet.training.scan_set import Rows, ScanSet
from fmnet.types import NonNegative


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
