"""Time series on the way into a training: whole scans to start from, random windows to learn."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from fmnet.data.volume import FloatArray
from fmnet.training.scan_set import Rows, SeriesScans


class Volumes(Sequence[torch.Tensor]):
    """Whole scans as volumes, (T, X, Y, Z), each read when it is asked for.

    Parameters
    ----------
    scans : SeriesScans
        All scans.
    rows : ndarray of int
        Which of them.
    """

    def __init__(self, scans: SeriesScans, rows: Rows) -> None:
        self.scans, self.rows = scans, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> torch.Tensor:  # type: ignore[override]
        row = self.rows[index]
        preparation = self.scans.preparation
        assert preparation is not None
        return torch.from_numpy(preparation.images(self.scans.series[row].values()))


class RandomWindows(Dataset[dict[str, torch.Tensor]]):
    """Windows of the scans of a step, each from a random start.

    Parameters
    ----------
    scans : SeriesScans
        All scans, with the labels of one training.
    window_volumes : int
        Length of a window; 0 for as many volumes as the shortest scan of a step has.
    source : torch.Generator
        Of the starts.
    """

    def __init__(self, scans: SeriesScans, window_volumes: int, source: torch.Generator) -> None:
        self.scans, self.window_volumes, self.source = scans, window_volumes, source

    def __getitem__(self, step: tuple[torch.Tensor, torch.Tensor]) -> dict[str, torch.Tensor]:
        rows, weight = step
        (own,) = rows.tolist()  # of the one training
        shortest = min(self.scans.series[row].n_volumes for row in own)
        length = self.window_volumes or shortest
        values = np.stack([self._window(row, length) for row in own])[None]
        label = torch.from_numpy(self.scans.labels[np.array(own)])[None]
        return {"values": torch.from_numpy(values), "label": label, "weight": weight}

    def _window(self, row: int, length: int) -> FloatArray:
        """Cut (length, V) volumes out of a scan; 0 where any of its runs has no data."""
        series = self.scans.series[row]
        last = series.n_volumes - length
        start = int(torch.randint(last + 1, (1,), generator=self.source))
        values = series.values()[start : start + length]
        return np.where(series.known, values, np.float32(0))
