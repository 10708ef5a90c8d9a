"""Classify scans by the connectivity between the time series of networks or regions."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from nilearn.connectome import ConnectivityMeasure
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fmnet.baselines.base import Baseline, Scores
from fmnet.baselines.shortcuts import choose_c
from fmnet.bold.components import find_networks
from fmnet.data.folds import Fold
from fmnet.data.grid import Grid
from fmnet.data.nifti import read_volume
from fmnet.data.resample import nearest_on_grid
from fmnet.data.volume import FloatArray
from fmnet.errors import ConfigError, Fault
from fmnet.training.scan_set import Arrays, Rows, ScanSet
from fmnet.types import Count, ModelKind, Positives, Seed

TimeSeries = NDArray[np.float64]
Regions = NDArray[np.int64]

#: In percent of the mean; below it is rounding.
SMALLEST_SD = 1e-6
#: Fewer regions have next to no connections.
MIN_REGIONS = 3


def network_series(values: FloatArray, maps: FloatArray) -> TimeSeries:
    """Fit each volume by maps and a constant, as the first stage of dual regression does.

    The constant takes up what all voxels share, such as what breathing and motion do to the whole
    brain.

    From `values`, (T, V), NaN where there are no data, and `maps`, (K, V), all of them 0 where
    nothing is known of networks: (T, K), see `standardise_series`.
    """
    known = np.isfinite(values).all(axis=0) & maps.any(axis=0)
    design = maps[:, known].astype(np.float64)
    design -= design.mean(axis=1, keepdims=True)
    weights = np.linalg.pinv(design).astype(np.float32)  # (V_known, K)
    return standardise_series(values[:, known] @ weights)


def region_series(values: FloatArray, regions: Regions) -> TimeSeries:
    """Average voxels by region.

    From `values`, (T, V), NaN where there are no data, and the number of each voxel's region, (V,),
    -1 for none: (T, R), see `standardise_series`; 0 for regions of which the scan has no voxel.
    """
    known = np.isfinite(values).all(axis=0)
    series = np.zeros((len(values), int(regions.max()) + 1))
    for region in range(series.shape[1]):
        if (inside := known & (regions == region)).any():
            series[:, region] = values[:, inside].mean(axis=1, dtype=np.float64)
    return standardise_series(series)


def standardise_series(series: NDArray[np.floating]) -> TimeSeries:
    """Give each series, (T, R), mean 0 and SD 1 over time; those that don't vary are 0.

    How large signals are differs between scanners, and is no connection.
    """
    centred = series.astype(np.float64) - series.mean(axis=0, dtype=np.float64)
    sd = centred.std(axis=0)
    return np.asarray(centred / np.where(sd > SMALLEST_SD, sd, np.inf))


def read_regions(path: Path, space: str, grid: Grid) -> Regions:
    """Put an atlas, a NIfTI image of whole numbers, on the grid by nearest neighbour.

    Parameters
    ----------
    path, grid
        The image, whose grid may be any, and the grid it is put on.
    space : str
        One of `fmnet.data.volume.MNI_SPACES`.

    Returns
    -------
    ndarray of int, shape (V,)
        Numbered from 0 in the order of the labels, without those that have no voxel in the mask; -1
        for voxels of none.

    Raises
    ------
    VolumeError
        If the image can't be read.
    ConfigError
        If it is no atlas of labels, or has too few regions in the mask.
    """
    volume = read_volume(path, space)
    labels = np.nan_to_num(volume.data[0])
    if (labels != np.rint(labels)).any() or (labels < 0).any():
        found, action = "values that are no whole numbers from 0 on", "give an atlas of labels"
        raise ConfigError(Fault(str(path), found, "one whole number for each region", action))
    found_labels = np.nan_to_num(nearest_on_grid(volume, grid))
    kept, numbers = np.unique(found_labels, return_inverse=True)
    n_regions = int((kept > 0).sum())
    if n_regions < MIN_REGIONS:
        found = f"{n_regions} regions with a voxel in the mask"
        action = "check space and affine of the atlas, or give one of more regions"
        raise ConfigError(Fault(str(path), found, f"{MIN_REGIONS} or more", action))
    return numbers.astype(np.int64) - int(kept[0] == 0)


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

    model_kind = "connectivity"

    kind: Literal["tangent", "correlation", "partial correlation"] = "tangent"
    n_networks: Count = 10
    atlas: str | None = None
    space: str = "MNI152"
    seed: Seed = 0
    c: Positives = (0.001, 0.01, 0.1, 1.0)

    def describe(self, name: str) -> tuple[ModelKind, str]:
        """Name it by what it measures."""
        return self.model_kind, f"{self.kind.replace(' ', '-')} connectivity"

    def lacks(self, data: ScanSet) -> str:
        """Say that maps have no time, and check the atlas before anything is computed.

        Raises
        ------
        VolumeError, ConfigError
            If the atlas can't be used, see `fmnet.baselines.connectivity.read_regions`.
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
        return choose_c(self.c, data, fold, partial(self.scores, data))

    def scores(self, data: ScanSet, train: Rows, test: Rows, choice: Any) -> Scores:
        """Fit with the C chosen."""
        features = self.connections(data, train)
        logistic = LogisticRegression(C=choice, class_weight="balanced", max_iter=1000)
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
            series = self._series(data, train)
            fitted.fit([series[row] for row in train])
            return [np.asarray(fitted.transform(series), dtype=np.float32)]

        key = ("connections", self.kind, self._source, train.tobytes())
        found: FloatArray = data.memo.get(key, measure)[0]
        return found

    @property
    def _source(self) -> tuple[Any, ...]:
        """What series depend on besides the training rows."""
        return (self.n_networks, self.seed) if self.atlas is None else (self.atlas, self.space)

    def _series(self, data: ScanSet, train: Rows) -> Arrays:
        """Compute the time series of all scans: N of shape (T, R)."""

        def of_networks() -> Arrays:
            scans = [data.series[row].values() for row in train]
            maps = find_networks(scans, self.n_networks, self.seed)
            return [network_series(one.values(), maps) for one in data.series]

        if self.atlas is None:
            return data.memo.get(("series", self._source, train.tobytes()), of_networks)
        regions = self._regions(data, self.atlas)
        return data.memo.get(
            ("series", self._source),
            lambda: [region_series(one.values(), regions) for one in data.series],
        )

    def _regions(self, data: ScanSet, atlas: str) -> Any:
        grid = data.cohort.grid
        key = ("regions", self._source)
        return data.memo.get(key, lambda: [read_regions(Path(atlas), self.space, grid)])[0]
