"""The scans of a cohort as models learn from them, maps or time series alike: `ScanSet`."""

import warnings
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from fmnet.data.cohort import Cohort
from fmnet.data.folds import Fold, rows_of
from fmnet.data.grid import Grid
from fmnet.data.outcomes import Outcomes, outcomes_of, with_outcomes
from fmnet.data.resample import smooth_values
from fmnet.data.scans import Series
from fmnet.data.volume import FloatArray
from fmnet.errors import ConfigError, Fault
from fmnet.inference.preparation import (
    MapPreparation,
    Preparation,
    PreparationSettings,
    SeriesPreparation,
    fit_preparation,
    fit_standard,
    standardise,
)
from fmnet.targets.base import Null, Target

Rows = NDArray[np.intp]
Arrays = Sequence[NDArray[Any]]
#: All scans, (N, C, V), and the rows of the training scans, to all scans harmonised.
Harmoniser = Callable[[FloatArray, Rows], FloatArray]
#: Network inputs, (B, C, X, Y, Z), to their scores, (B,).
ScoreFunction = Callable[[FloatArray], NDArray[np.float32]]

Scans = TypeVar("Scans", bound="ScanSet")

#: What a cleaned series is called where a map has the name of its contrast.
SERIES_CHANNEL = ("bold",)
#: Bytes of all that a memo keeps: enough for what a fold needs of 200 participants and 200 regions.
LIMIT = 512 * 2**20


class Memo:
    """Results that take long to compute, kept up to `limit` bytes; other processes get none.

    The result used last is kept whatever its size.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._kept: OrderedDict[Hashable, Arrays] = OrderedDict()
        self._size = 0

    def __reduce__(self) -> tuple[type["Memo"], tuple[int]]:
        """Reach another process empty: it works on other folds."""
        return type(self), (self.limit,)

    def get(self, key: Hashable, compute: Callable[[], Arrays]) -> Arrays:
        """Look up arrays, or compute and keep them, at the cost of those not used for longest."""
        if key not in self._kept:
            self._kept[key] = own = compute()
            self._size += _size_of(own)
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and self._size > self.limit:
            self._size -= _size_of(self._kept.popitem(last=False)[1])
        return self._kept[key]


def _size_of(arrays: Arrays) -> int:
    return sum(np.asarray(one).nbytes for one in arrays)


@dataclass(frozen=True, eq=False)
class ScanSet(ABC):
    """The scans of a cohort as the network and every baseline learn from them.

    Parameters
    ----------
    cohort : Cohort
        Checked scans with labels; N of them.
    values : ndarray of float32, shape (N, C, V)
        Maps on the grid, NaN where missing. Of a fitted set of maps: smoothed and, if so asked,
        harmonised, as its preparation expects them.
    settings : PreparationSettings
        How scans are prepared for the network.
    series : tuple of Series
        Of BOLD cohorts, one per scan; else empty.
    preparation : Preparation, optional
        Turns scans into the network's input; None until the set is fitted.
    harmonise : callable, optional
        See `Harmoniser`.
    window_volumes : int
        How many volumes of a series the network reads at a time; 0 for all.
    target : Target, optional
        What is predicted; None for two groups.
    null : Null, optional
        Of a fitted set: what the training scans' people show without them; None for two groups.

    Attributes
    ----------
    memo : Memo
        What was learned from the series of some rows without looking at labels.
    """

    #: Whether the network reads the series in the place of the values.
    reads_series: ClassVar[bool]

    cohort: Cohort
    values: FloatArray
    settings: PreparationSettings = field(default_factory=PreparationSettings)
    series: tuple[Series, ...] = ()
    preparation: Preparation | None = None
    harmonise: Harmoniser | None = None
    window_volumes: int = 0
    target: Target | None = None
    null: Null | None = None
    # not taken over by `dataclasses.replace`, which may change what they were computed from
    memo: Memo = field(default_factory=Memo, init=False, repr=False)
    _smoothed: dict[float, FloatArray] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """1 for the positive class, 0 for the negative: (N,)."""
        return self.cohort.labels

    @cached_property
    def outcomes(self) -> Outcomes:
        """What is predicted of the people of each scan, where that isn't one of two groups."""
        return outcomes_of(self.cohort)

    @property
    def strata(self) -> NDArray[Any]:
        """What parts of the cohort have to be alike in, one value per scan: (N,)."""
        if self.target is None:
            return self.labels
        known = np.flatnonzero(self.target.is_known(self.outcomes))
        found = np.full(len(self.outcomes), "", dtype=object)
        found[known] = self.target.strata(self.outcomes.take(known))
        return found.astype(str)

    @cached_property
    def participant_ids(self) -> list[str]:
        """Whose scan it is, one per scan."""
        return self.cohort.participant_ids

    @cached_property
    def units(self) -> list[str]:
        """Whose scan it is, or which family's: what is never split."""
        unit_of = self.cohort.unit_of
        return [unit_of[participant] for participant in self.participant_ids]

    @property
    def grid(self) -> Grid:
        """Where the values lie."""
        return self.cohort.grid

    @property
    def contrasts(self) -> tuple[str, ...]:
        """Names of the channels of the values."""
        return self.cohort.listing.contrasts

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, int, int, int]:
        """Shape of the network's input for one scan: (C, X, Y, Z), or of a window: T for C."""

    @abstractmethod
    def fit(self, train: Rows) -> Self:
        """Learn from these scans alone how all scans are harmonised and prepared."""

    @abstractmethod
    def inputs(self, rows: Rows) -> FloatArray:
        """Prepare scans of a fitted set for the network: (N_rows, C, X, Y, Z) float32.

        Of series: all windows of one scan, (W, T, X, Y, Z).
        """

    @abstractmethod
    def scores(self, score: ScoreFunction, rows: Rows) -> NDArray[np.float32]:
        """Score scans of a fitted set, (N_rows,) or (N_rows, K); a series by its windows' mean."""

    def rows(self, subjects: tuple[str, ...]) -> Rows:
        """Find the scans of these subjects."""
        return rows_of(subjects, self.participant_ids)

    def inner_rows(self, fold: Fold) -> list[tuple[Rows, Rows]]:
        """List the scans to train on and to hold out for each inner fold."""
        return [
            (self.rows(tuple(set(fold.train) - set(part))), self.rows(part))
            for part in fold.validation
        ]

    def smoothed(self, fwhm_mm: float) -> FloatArray:
        """Smooth all scans, (N, C, V); smoothing a scan learns nothing from the others."""
        if fwhm_mm not in self._smoothed:
            self._smoothed[fwhm_mm] = smooth_values(self.values, self.grid, fwhm_mm)
        return self._smoothed[fwhm_mm]

    def features(self, train: Rows, fwhm_mm: float) -> FloatArray:
        """Smooth all scans and standardise them as the training scans ask for: (N, C * V)."""
        values = self.smoothed(fwhm_mm)
        if self.harmonise is not None:
            values = self.harmonise(values, train)
        values = self.within_people(values)
        mean, weight = fit_standard(values[train])
        return standardise(values, mean, weight).reshape(len(values), -1)

    def within_people(self, values: NDArray[Any]) -> NDArray[Any]:
        """Take each person's mean out of values, (N, ...), where the target is about change.

        It is a mean over the person's own scans, those to test as well: nothing is learned from it.
        """
        if self.target is None or not self.target.is_within:
            return values
        found = np.empty_like(values)
        for person in dict.fromkeys(self.participant_ids):
            rows = self.rows((person,))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # of voxels without any data
                found[rows] = values[rows] - np.nanmean(values[rows], axis=0)
        return found

    def relabel(self, cohort: Cohort) -> Self:
        """Take the same scans under the labels of another cohort; the smoothed ones are shared."""
        return self._with_results(replace(self, cohort=cohort))

    def with_outcomes(self, outcomes: Outcomes) -> Self:
        """Take the same scans with other outcomes, in their order."""
        return self.relabel(with_outcomes(self.cohort, outcomes))

    def fit_null(self, train: Rows) -> Null | None:
        """Learn what these people show without their scans; None where there are two groups."""
        if self.target is None:
            return None
        return self.target.fit_null(self.outcomes, train)

    def learned(self, train: Rows) -> NDArray[Any]:
        """Say what models fitted in closed form learn from these scans.

        Returns
        -------
        ndarray, shape (N_train,) or (N_train, K)
            Labels, 0 or 1, as whole numbers; of other targets the responses, float32.
        """
        if self.target is None:
            return self.labels[train]
        found = self.null or self.fit_null(train)
        assert found is not None
        return found.responses[train]

    def harmonised(self, harmonise: Harmoniser) -> Self:
        """Take the same scans, harmonised as the training scans of each fold ask for."""
        return self._with_results(replace(self, harmonise=harmonise))

    def replace(
        self, cohort: Cohort, values: FloatArray, series: tuple[Series, ...] | None = None
    ) -> Self:
        """Take other maps, (N, C, V), and perhaps series, for a cohort's scans in their order."""
        series = self.series if series is None else series
        return replace(self, cohort=cohort, values=values, series=series)

    def subset(self, participants: tuple[str, ...]) -> Self:
        """Take the scans of some participants alone."""
        rows = self.rows(participants)
        series = tuple(self.series[row] for row in rows) if self.series else ()
        values = self.values[rows]
        chosen = replace(self, cohort=self.cohort.subset(rows), values=values, series=series)
        chosen._smoothed.update({mm: values[rows] for mm, values in self._smoothed.items()})
        return chosen

    def for_network(self, build_network: Callable[[tuple[int, int, int, int]], Any]) -> "ScanSet":
        """Let the network read time series if it is one that does; see `reading_series`."""
        window = build_network(self.input_shape).window_volumes
        return self if window is None else self.reading_series(window)

    def with_smoothing(self, fwhm_mm: float | None) -> "MapScans":
        """Take the same maps, not fitted, for a network of its own smoothing; None for that of now.

        What was computed of them is shared.
        """
        width = self.settings.fwhm_mm if fwhm_mm is None else fwhm_mm
        settings = replace(self.settings, fwhm_mm=width)
        same = (self.cohort, self.values, settings, self.series)
        return self._with_results(MapScans(*same, harmonise=self.harmonise, target=self.target))

    def reading_series(self, window_volumes: int) -> "SeriesScans":
        """Let the network read `window_volumes` of the time series at a time; 0 for all.

        Raises
        ------
        ConfigError
            If the cohort has no time series, or some are shorter than that.
        """
        if not self.series:
            accepted = "a network of maps, for a cohort of maps"
            action = "choose another network, for instance prior_cnn, or cohort=bold"
            raise ConfigError(Fault("network", "one that reads time series", accepted, action))
        short = [
            Fault(
                scan.scan_id,
                f"{series.n_volumes} volumes after cleaning",
                f"{window_volumes} or more, the network's window",
                "set a smaller network.window_volumes, or leave the person out",
                scan.participant_id,
            )
            for scan, series in zip(self.cohort.scans, self.series, strict=True)
            if series.n_volumes < window_volumes
        ]
        if short:
            raise ConfigError(short)
        same = (self.cohort, self.values, self.settings, self.series)
        own = (None, self.harmonise, window_volumes, self.target)
        return self._with_results(SeriesScans(*same, *own))

    def prepared_by(self, preparation: Preparation) -> "ScanSet":
        """Prepare the scans as a model that was fitted elsewhere asks for."""
        if isinstance(preparation, SeriesPreparation):
            scans: ScanSet = self.reading_series(preparation.window_volumes)
            return replace(scans, preparation=preparation)
        assert isinstance(preparation, MapPreparation)
        same = (self.cohort, self.smoothed(preparation.fwhm_mm), self.settings, self.series)
        return MapScans(*same, preparation=preparation, target=self.target)

    def _with_results(self, other: "Scans") -> "Scans":
        """Let a set of the same values and series use what was computed of them."""
        object.__setattr__(other, "memo", self.memo)
        object.__setattr__(other, "_smoothed", self._smoothed)
        return other


@dataclass(frozen=True, eq=False)
class MapScans(ScanSet):
    """Scans whose network reads maps."""

    reads_series = False

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Shape of the network's input for one scan: (C, X, Y, Z)."""
        return len(self.contrasts), *self.grid.shape

    def fit(self, train: Rows) -> Self:
        """Learn from these scans alone how all scans are harmonised and prepared."""
        values = self.smoothed(self.settings.fwhm_mm)
        if self.harmonise is not None:
            values = self.harmonise(values, train)
        values = self.within_people(values)
        fitted = fit_preparation(values[train], self.grid, self.contrasts, self.settings)
        # the smoothed values are one array for all fits: trainings on the same ones share it
        null = self.fit_null(train)
        return replace(self, values=values, preparation=fitted, harmonise=None, null=null)

    def inputs(self, rows: Rows) -> FloatArray:
        """Prepare these scans for the network: (N_rows, C, X, Y, Z) float32."""
        assert self.preparation is not None
        return self.preparation.images(self.values[rows])

    def scores(self, score: ScoreFunction, rows: Rows) -> NDArray[np.float32]:
        """Score these scans: (N_rows,)."""
        return score(self.inputs(rows))


@dataclass(frozen=True, eq=False)
class SeriesScans(ScanSet):
    """BOLD scans whose network reads time series; baselines still have the maps."""

    reads_series = True

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Shape of a window of volumes: (T, X, Y, Z)."""
        return self._unfitted().input_shape

    def fit(self, train: Rows) -> Self:
        """Say how series are cut into windows; nothing of that depends on the training scans."""
        return replace(self, preparation=self._unfitted(), null=self.fit_null(train))

    def inputs(self, rows: Rows) -> FloatArray:
        """Cut the whole of one scan into windows: (W, T, X, Y, Z) float32."""
        assert self.preparation is not None
        (row,) = rows
        return self.preparation.inputs(self.series[row].values())

    def scores(self, score: ScoreFunction, rows: Rows) -> NDArray[np.float32]:
        """Score scans one after the other, each by the mean over its windows: (N_rows,)."""
        each = [score(self.inputs(np.array([row]))).mean(axis=0) for row in rows]
        return np.array(each, dtype=np.float32)

    def _unfitted(self) -> SeriesPreparation:
        return SeriesPreparation(
            self.grid, SERIES_CHANNEL, self.settings.min_coverage, self.window_volumes
        )


def read_scans(
    cohort: Cohort, settings: PreparationSettings, target: Target | None = None
) -> MapScans:
    """Load all maps of a cohort, and smooth them once for all models and processes."""
    scans = MapScans(cohort, cohort.values(), settings, cohort.series, target=target)
    scans.smoothed(settings.fwhm_mm)
    return scans
