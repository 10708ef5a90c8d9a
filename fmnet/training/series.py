"""Time series of a cohort on the way into a training: windows for learning, whole runs for use."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from fmnet.data.maps import Series
from fmnet.data.volume import FloatArray
from fmnet.inference.series_preparation import SeriesPreparation
from fmnet.networks.backbones import ScoreNetwork
from fmnet.training.scoring import mean_scores_of_windows

Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class FittedSeries:
    """All scans of a cohort of time series.

    Nothing is fitted to several scans before the network's own stem is.

    Parameters
    ----------
    series : tuple of Series
        One per scan; read when they are needed.
    labels : ndarray of int, shape (N,)
        0 or 1.
    preparation : SeriesPreparation
        From a series to windows of volumes.
    units : list of str
        Whose scan it is, or which family's: what is never split.
    """

    series: tuple[Series, ...]
    labels: NDArray[np.int64]
    preparation: SeriesPreparation
    units: list[str]

    @property
    def values(self) -> tuple[Series, ...]:
        """What trainings on the same scans have in common."""
        return self.series

    def windows(self, row: int) -> FloatArray:
        """Cut the whole of a scan into windows: (W, T, X, Y, Z)."""
        return self.preparation.windows(self.series[row].values())

    def scores(self, network: ScoreNetwork, rows: Rows) -> NDArray[np.float32]:
        """Score scans, each the mean over all of its windows: (N_rows,)."""
        return mean_scores_of_windows(network, (self.windows(row) for row in rows))


class Volumes(Sequence[torch.Tensor]):
    """Whole scans as volumes, (T, X, Y, Z), each read when it is asked for.

    Parameters
    ----------
    cohort : FittedSeries
        All scans.
    rows : ndarray of int
        Which of them.
    """

    def __init__(self, cohort: FittedSeries, rows: Rows) -> None:
        self.cohort, self.rows = cohort, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> torch.Tensor:  # type: ignore[override]
        row = self.rows[index]
        return torch.from_numpy(self.cohort.preparation.images(self.cohort.series[row].values()))


class RandomWindows(Dataset[dict[str, torch.Tensor]]):
    """Windows of the scans of a step, each from a random start.

    Parameters
    ----------
    cohort : FittedSeries
        All scans, with the labels of one training.
    window_volumes : int
        Length of a window; 0 for as many volumes as the shortest scan of a step has.
    source : torch.Generator
        Of the starts.
    """

    def __init__(self, cohort: FittedSeries, window_volumes: int, source: torch.Generator) -> None:
        self.cohort, self.window_volumes, self.source = cohort, window_volumes, source

    def __getitem__(self, step: tuple[torch.Tensor, torch.Tensor]) -> dict[str, torch.Tensor]:
        rows, weight = step
        (own,) = rows.tolist()  # of the one training
        shortest = min(self.cohort.series[row].n_volumes for row in own)
        length = self.window_volumes or shortest
        values = np.stack([self._window(row, length) for row in own])[None]
        label = torch.from_numpy(self.cohort.labels[np.array(own)])[None]
        return {"values": torch.from_numpy(values), "label": label, "weight": weight}

    def _window(self, row: int, length: int) -> FloatArray:
        """Cut (length, V) volumes out of a scan; 0 where any of its runs has no data."""
        series = self.cohort.series[row]
        last = series.n_volumes - length
        start = int(torch.randint(last + 1, (1,), generator=self.source))
        values = series.values()[start : start + length]
        return np.where(series.known, values, np.float32(0))
