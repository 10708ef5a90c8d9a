"""Stems: layers that turn time series into maps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import torch
from torch import nn

from fmnet.bold.components import MIN_SHARE, find_networks
from fmnet.data.volume import FloatArray

#: A series whose standard deviation is a smaller share of its mean does not vary, but for rounding.
LEAST_VARIATION = 1e-3
#: The same where the mean was taken away beforehand.
ROUNDING = 1e-5

GridShape = tuple[int, int, int]


class Stem(nn.Module):
    """Turns the series of scans into maps: (B, T, X, Y, Z) to (B, C, X, Y, Z), for any T.

    Voxels outside the brain, or without data, are 0 at all times.
    """

    n_maps: int

    def start(self, scans: Sequence[torch.Tensor]) -> None:
        """Set the weights from training scans, each (T, X, Y, Z), whose lengths may differ.

        Labels are not given: what a stem starts from is not supervised.
        """
        raise NotImplementedError


class Frames(Stem):
    """Some of the volumes as they are, evenly spread: from the middles of equally long parts.

    Parameters
    ----------
    n_frames : int
        How many; runs with fewer volumes give some of them more than once.
    """

    def __init__(self, n_frames: int) -> None:
        super().__init__()
        self.n_maps = n_frames

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """Take volumes: (B, T, X, Y, Z) to (B, n_frames, X, Y, Z)."""
        odd = 2 * torch.arange(self.n_maps, device=series.device) + 1
        return series[:, odd * series.shape[1] // (2 * self.n_maps)]

    def start(self, scans: Sequence[torch.Tensor]) -> None:
        """Leave all as it is: there is nothing to learn."""


def inverse_spread(series: torch.Tensor) -> torch.Tensor:
    """Return one over the standard deviation along time: (B, T, V) to (B, V); 0 without any.

    From the mean square, which takes a quarter of the time of `torch.var`; means are small in
    series that lie around 0.
    """
    mean = series.mean(1)
    variance = torch.linalg.vector_norm(series, dim=1).square() / series.shape[1] - mean**2
    is_varying = variance > (LEAST_VARIATION * mean) ** 2
    # the inner `where` keeps gradients finite as well
    return torch.where(is_varying, torch.where(is_varying, variance, 1).rsqrt(), 0)


def standardised(courses: torch.Tensor) -> torch.Tensor:
    """Standardise along time: (B, T, K); what doesn't vary becomes 0."""
    mean = courses.mean(1, keepdim=True)
    centred = courses - mean
    variance = centred.square().mean(1, keepdim=True)
    is_varying = variance > (ROUNDING * mean) ** 2
    return torch.where(is_varying, centred * torch.where(is_varying, variance, 1).rsqrt(), 0)


def on_grid(maps: torch.Tensor, series: torch.Tensor) -> torch.Tensor:
    """Put maps, (B, C, V), where the series, (B, T, X, Y, Z), come from: (B, C, X, Y, Z)."""
    return maps.reshape(*maps.shape[:2], *series.shape[2:])


def networks_of(scans: Sequence[torch.Tensor], n_networks: int, seed: int) -> torch.Tensor:
    """Find networks where at least half of the scans have data: (K, X, Y, Z), 0 elsewhere.

    Parameters
    ----------
    scans : sequence of Tensor, shape (T, X, Y, Z)
        Read twice, one at a time; T may differ.
    n_networks : int
        K.
    seed : int
        See `fmnet.bold.components.find_networks`.
    """
    covered = sum((scan != 0).any(0).int() for scan in scans)
    inside = torch.as_tensor(covered) >= max(MIN_SHARE * len(scans), 1)
    networks = torch.zeros(n_networks, *inside.shape)
    found = find_networks(_InMask(scans, inside), n_networks, seed)
    networks[:, inside] = torch.from_numpy(found)
    return networks


@dataclass(frozen=True, eq=False)
class _InMask(Sequence[FloatArray]):
    """Series inside a mask, (T, V), each made when it is asked for."""

    scans: Sequence[torch.Tensor]
    inside: torch.Tensor

    def __len__(self) -> int:
        return len(self.scans)

    @overload
    def __getitem__(self, place: int) -> FloatArray: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[FloatArray]: ...
    def __getitem__(self, place: int | slice) -> FloatArray | Sequence[FloatArray]:
        if isinstance(place, slice):
            return [self[number] for number in range(len(self))[place]]
        values: FloatArray = self.scans[place][:, self.inside].numpy()
        return values

    def __iter__(self) -> Iterator[FloatArray]:
        return (self[number] for number in range(len(self)))
