"""Scans of a cohort on the way into a training."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fmnet.data.folds import rows_of
from fmnet.data.grid import Grid
from fmnet.data.maps import Series
from fmnet.data.volume import FloatArray
from fmnet.inference.preparation import Preparation, PreparationSettings, fit_preparation
from fmnet.inference.series_preparation import SeriesPreparation
from fmnet.networks.backbones import ScoreNetwork
from fmnet.training.scoring import predict_scores
from fmnet.training.series import FittedSeries

Rows = NDArray[np.intp]
#: What a cleaned series is called where a map has the name of its contrast.
SERIES_CHANNEL = ("bold",)
#: All scans, (N, C, V), and the rows of those that may be learned from, to all scans harmonised.
Harmoniser = Callable[[FloatArray, Rows], FloatArray]


@dataclass(frozen=True, eq=False)
class FittedCohort:
    """All scans as the training scans of one fold ask for.

    Parameters
    ----------
    values : ndarray of float32, shape (N, C, V)
        On the grid, smoothed and, if so asked, harmonised.
    labels : ndarray of int, shape (N,)
        0 or 1.
    preparation : Preparation
        Fitted on the training scans.
    units : list of str
        Whose scan it is, or which family's: what is never split.
    """

    values: FloatArray
    labels: NDArray[np.int64]
    preparation: Preparation
    units: list[str]

    def images(self, rows: Rows) -> FloatArray:
        """Prepare these scans for the network: (N_rows, C, X, Y, Z)."""
        return self.preparation.images(self.values[rows])

    def scores(self, network: ScoreNetwork, rows: Rows) -> NDArray[np.float32]:
        """Score these scans: (N_rows,)."""
        return predict_scores(network, self.images(rows))


@dataclass(frozen=True, eq=False)
class SmoothedCohort:
    """Scans of a cohort, smoothed but with nothing fitted to them.

    Parameters
    ----------
    values : ndarray of float32, shape (N, C, V)
        On the grid, smoothed by ``settings.fwhm_mm``, NaN where missing.
    labels : ndarray of int, shape (N,)
        0 or 1.
    participant_ids : list of str
        Whose scan it is.
    grid : Grid
        Where the values lie.
    contrasts : tuple of str
        Names of the channels.
    settings : PreparationSettings
        How scans are prepared.
    harmonise : callable, optional
        See `Harmoniser`.
    unit_of : dict, optional
        Family of each participant; who isn't in it is alone.
    series : tuple of Series
        What the network reads instead of the values, one per scan; empty for a network of maps.
    window_volumes : int
        How many volumes of a series the network reads at a time; 0 for all.
    """

    values: FloatArray
    labels: NDArray[np.int64]
    participant_ids: list[str]
    grid: Grid
    contrasts: tuple[str, ...]
    settings: PreparationSettings
    harmonise: Harmoniser | None = None
    unit_of: Mapping[str, str] = field(default_factory=dict)
    series: tuple[Series, ...] = ()
    window_volumes: int = 0

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Shape of the network's input for one scan: (C, X, Y, Z), or of a window: T for C."""
        if self.series:
            return self._series_preparation().input_shape
        return len(self.contrasts), *self.grid.shape

    def rows(self, subjects: tuple[str, ...]) -> Rows:
        """Find the scans of these subjects."""
        return rows_of(subjects, self.participant_ids)

    def relabelled(self, labels: NDArray[np.int64]) -> "SmoothedCohort":
        """Take the same scans under other labels."""
        return replace(self, labels=labels)

    def subset(self, rows: Rows) -> "SmoothedCohort":
        """Take the scans in these rows."""
        return replace(
            self,
            values=self.values[rows],
            labels=self.labels[rows],
            participant_ids=[self.participant_ids[row] for row in rows],
            series=tuple(self.series[row] for row in rows) if self.series else (),
        )

    def fit(self, train: Rows) -> FittedCohort | FittedSeries:
        """Learn from these scans alone how all scans are harmonised and prepared."""
        units = [self.unit_of.get(person, person) for person in self.participant_ids]
        if self.series:
            return FittedSeries(self.series, self.labels, self._series_preparation(), units)
        values = self.values if self.harmonise is None else self.harmonise(self.values, train)
        preparation = fit_preparation(values[train], self.grid, self.contrasts, self.settings)
        return FittedCohort(values, self.labels, preparation, units)

    def _series_preparation(self) -> SeriesPreparation:
        """Describe how series are prepared; nothing of it is fitted."""
        return SeriesPreparation(
            self.grid, SERIES_CHANNEL, self.settings.min_coverage, self.window_volumes
        )
