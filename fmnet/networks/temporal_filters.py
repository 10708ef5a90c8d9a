"""A stem of learned filters along time: how strongly each voxel fluctuates at which pace."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fmnet.data.volume import FloatArray
from fmnet.networks.stems import LEAST_VARIATION, Stem, inverse_spread, on_grid

#: Added to what a filter lets through, as a share of a voxel's variance: beyond the band that the
#: cleaning left there is only rounding, whose logarithm would be noise.
FLOOR = 1e-4
#: Share of the variance that the first filters leave out at either end of the spectrum.
TAIL = 0.005
#: Half the sampling rate, in cycles per volume.
NYQUIST = 0.5
#: Narrowest band of a first filter, in cycles per volume.
LEAST_WIDTH = 1e-3


class TemporalFilters(Stem):
    """Logarithm of the power that each of K filters leaves of a voxel's series, in percent squared.

    Filters are finite impulse responses, the same for all voxels; there are zeros before and after
    a run. The norm of a filter does not count. The scale of a voxel does, as for ALFF: it adds the
    same constant to all maps of the voxel, so that their differences are free of it, as fALFF is.

    The power is taken from the Fourier transforms of series and filters: it hardly takes longer
    with more filters, and gradients need no more than a spectrum of each voxel.

    Parameters
    ----------
    n_filters : int
        K.
    length : int
        Volumes that a filter spans.
    """

    def __init__(self, n_filters: int, length: int) -> None:
        super().__init__()
        self.n_maps, self.length = n_filters, length
        self.weight = nn.Parameter(torch.from_numpy(band_passes(n_filters, length, 0, NYQUIST)))

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """Filter and take the power: (B, T, X, Y, Z) to (B, K, X, Y, Z)."""
        values = series.flatten(2)
        mean = values.mean(1, keepdim=True)
        size = values.shape[1] + self.length  # long enough that nothing comes round
        spectrum = _power_spectrum(values - mean, size) / values.shape[1]
        norm = torch.linalg.vector_norm(self.weight, dim=1, keepdim=True).clamp(min=1e-12)
        gain = torch.fft.rfft(self.weight / norm, size, dim=1).abs().square()  # (K, F)
        variance = spectrum.sum(1, keepdim=True)  # (B, 1, V)
        power = torch.matmul(gain, spectrum) + FLOOR * variance
        is_varying = variance > (LEAST_VARIATION * mean) ** 2
        # the inner `where` keeps gradients finite as well
        log_power = torch.where(is_varying, torch.where(is_varying, power, 1).log(), 0)
        return on_grid(log_power, series)

    @torch.no_grad()
    def start(self, scans: Sequence[torch.Tensor]) -> None:
        """Start from filters for equal parts of the band in which the training scans fluctuate."""
        low, high = _band(scans)
        self.weight.copy_(torch.from_numpy(band_passes(self.n_maps, self.length, low, high)))


def band_passes(n_filters: int, length: int, low: float, high: float) -> FloatArray:
    """Make windowed band-pass filters side by side from `low` to `high` cycles per volume: (K, L).

    All have a norm of 1.
    """
    high = max(high, low + n_filters * LEAST_WIDTH)
    edges = np.linspace(low, high, n_filters + 1)[:, None]
    time = np.arange(length) - (length - 1) / 2
    low_passes = 2 * edges * np.sinc(2 * edges * time)
    filters = np.diff(low_passes, axis=0) * np.hamming(length)
    filters /= np.linalg.norm(filters, axis=1, keepdims=True)
    return np.asarray(filters, dtype=np.float32)


def _power_spectrum(values: torch.Tensor, size: int) -> torch.Tensor:
    """Power at each frequency: (B, T, V) to (B, size / 2 + 1, V); its sum is that of squares."""
    transformed = torch.fft.rfft(values, size, dim=1)
    power: torch.Tensor = transformed.real.square() + transformed.imag.square()
    place = torch.arange(power.shape[1], device=power.device)
    is_twice = (place > 0) & (2 * place < size)  # negative frequencies are left out
    power = power * torch.where(is_twice, 2 / size, 1 / size)[:, None]
    return power


def _band(scans: Sequence[torch.Tensor]) -> tuple[float, float]:
    """Lowest and highest frequency of the band that holds nearly all of the scans' variance."""
    grid = np.linspace(0, NYQUIST, 257)
    shares = [_cumulative_share(scan.flatten(1), grid) for scan in scans]
    mean = np.mean(shares, axis=0)
    return float(np.interp(TAIL, mean, grid)), float(np.interp(1 - TAIL, mean, grid))


def _cumulative_share(values: torch.Tensor, grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of variance, of the mean standardised voxel, up to each frequency of a grid."""
    scale = inverse_spread(values[None])[0]
    if not scale.any():  # nothing varies: as if it did at all paces
        return grid / NYQUIST
    values, scale = values[:, scale > 0], scale[scale > 0]
    centred = (values - values.mean(0)) * scale
    power = _power_spectrum(centred[None], 2 * len(values))[0].sum(1).double().numpy()
    frequencies = np.linspace(0, NYQUIST, len(power))
    share: NDArray[np.float64] = np.interp(grid, frequencies, power.cumsum() / power.sum())
    return share
