"""Connections between the time courses of networks or regions."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from nilearn.connectome import ConnectivityMeasure
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fmnet.baselines.base import Baseline, Scores
from fmnet.baselines.features import choose_c
from fmnet.baselines.time_series import (
    MIN_REGIONS,
    network_courses,
    read_regions,
    region_courses,
)
from fmnet.bold.components import find_networks
from fmnet.data.folds import Fold
from fmnet.data.volume import FloatArray
from fmnet.training.scan_set import Arrays, Rows, ScanSet
from fmnet.types import Count, Positives, Seed


@dataclass(frozen=True)
class Connectivity(Baseline):
    """Logistic ridge on the connectivity matrix of each scan.

    Networks, the reference of the tangent space and the scale of each connection are learned from
    the training scans, without their labels. C is chosen by AUC on the inner folds, each of which
    learns all of that anew; ties go to the first named.

    Parameters
    ----------
    kind : {"tangent", "correlation", "partial correlation"}
        Of connectivity, from covariances that are shrunk as Ledoit and Wolf do. ``tangent``
        describes each scan by how it departs from the mean of the training scans.
    n_networks : int
        Networks to find where there is no atlas.
    atlas : str, optional
        NIfTI image of labels, any grid, whose regions stand in the place of networks.
    space : str
        Space of the atlas.
    seed : int
        Of the search for networks.
    c : list of float
        Values of C to choose from, for connections of SD 1.

    References
    ----------
    Varoquaux et al. (2010). Detection of brain functional-connectivity difference in post-stroke
    patients using group-level covariance modeling. MICCAI. For how it compares: Dadi et al. (2019).
    Benchmarking functional connectome-based predictive models. NeuroImage, 192.
    """

    kind: Literal["tangent", "correlation", "partial correlation"] = "tangent"
    n_networks: Count = 10
    atlas: str | None = None
    space: str = "MNI152"
    seed: Seed = 0
    c: Positives = (0.001, 0.01, 0.1, 1.0)

    def lacks(self, data: ScanSet) -> str:
        """Say that maps have no time, and check the atlas before anything is computed.

        Raises
        ------
        VolumeError, ConfigError
            If the atlas can't be used, see `fmnet.baselines.time_series.read_regions`.
        """
        if not data.series:
            return "time series: a cohort of BOLD runs"
        if self.atlas is not None:
            self._regions(data, self.atlas)
        elif self.n_networks < MIN_REGIONS:
            return f"{MIN_REGIONS} networks or more (n_networks)"
        return ""

    def choose(self, data: ScanSet, fold: Fold) -> float:
        """Choose C."""
        return choose_c(self.c, data, fold, partial(self._fit, data))

    def scores(self, data: ScanSet, train: Rows, test: Rows, choice: Any) -> Scores:
        """Fit with the C chosen."""
        return self._fit(data, train, test, choice)

    def _fit(self, data: ScanSet, train: Rows, test: Rows, c: float) -> Scores:
        features = self.connections(data, train)
        logistic = LogisticRegression(C=c, class_weight="balanced", max_iter=1000)
        model = make_pipeline(StandardScaler(), logistic)
        model.fit(features[train], data.labels[train])
        return np.asarray(model.decision_function(features[test]))

    def connections(self, data: ScanSet, train: Rows) -> FloatArray:
        """Describe all scans as the training scans ask for: (N, P) float32."""

        def measure() -> Arrays:
            has_diagonal = self.kind == "tangent"  # of correlations it is 1
            fitted = ConnectivityMeasure(
                kind=self.kind, vectorize=True, discard_diagonal=not has_diagonal
            )
            courses = self._courses(data, train)
            fitted.fit([courses[row] for row in train])
            return [np.asarray(fitted.transform(courses), dtype=np.float32)]

        key = ("connections", self.kind, self._source, train.tobytes())
        found: FloatArray = data.memo.get(key, measure)[0]
        return found

    @property
    def _source(self) -> tuple[Any, ...]:
        """What courses depend on beside the training rows."""
        return (self.n_networks, self.seed) if self.atlas is None else (self.atlas, self.space)

    def _courses(self, data: ScanSet, train: Rows) -> Arrays:
        """Tell the time courses of all scans: N of shape (T, R)."""
        if self.atlas is not None:
            regions = self._regions(data, self.atlas)
            key: tuple[Any, ...] = ("courses", self._source)
            return data.memo.get(
                key, lambda: [region_courses(one.values(), regions) for one in data.series]
            )
        key = ("courses", self._source, train.tobytes())
        return data.memo.get(key, lambda: self._courses_of_networks(data, train))

    def _courses_of_networks(self, data: ScanSet, train: Rows) -> Arrays:
        scans: Sequence[FloatArray] = [data.series[row].values() for row in train]
        maps = find_networks(scans, self.n_networks, self.seed)
        return [network_courses(one.values(), maps) for one in data.series]

    def _regions(self, data: ScanSet, atlas: str) -> Any:
        grid = data.cohort.grid
        key = ("regions", self._source)
        return data.memo.get(key, lambda: [read_regions(Path(atlas), self.space, grid)])[0]
