"""Stems: layers that turn time series into maps.

All take series (B, T, X, Y, Z), for any T, and give maps (B, C, X, Y, Z). Voxels outside the brain,
or without data, are 0 at all times. Where a variance is divided by, an inner `torch.where` keeps
gradients finite as well.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fmnet.bold.components import MIN_FRACTION, find_networks
from fmnet.data.volume import FloatArray

#: A series whose standard deviation is a smaller fraction of its mean varies by rounding alone.
LEAST_VARIATION = 1e-3
#: The same where the mean was taken away beforehand.
ROUNDING = 1e-5
#: Largest correlation that Fisher's z is taken of; a seed of one voxel is wholly like itself.
MAX_CORRELATION = 0.999
#: Added to the diagonal of a correlation matrix, so that nearly equal time series have an inverse.
RIDGE = 1e-4
#: Added to what a filter lets through, as a fraction of a voxel's variance: beyond the band that
#: the cleaning left there is only rounding, whose logarithm would be noise.
FLOOR = 1e-4
#: Fraction of the variance that the first filters leave out at either end of the spectrum.
TAIL = 0.005
#: Half the sampling rate, in cycles per volume.
NYQUIST = 0.5
#: Narrowest band of a first filter, in cycles per volume.
LEAST_WIDTH = 1e-3

GridShape = tuple[int, int, int]


class Stem(nn.Module):
    """Turns the series of scans into ``n_maps`` maps, see this module."""

    n_maps: int

    def fit(self, scans: Sequence[torch.Tensor]) -> None:
        """Set the weights from training scans, each (T, X, Y, Z), whose lengths may differ.

        Labels are not given: what is fitted here is not supervised.
        """
        raise NotImplementedError


class Frames(Stem):
    """Take some volumes as they are, from the middles of equally long stretches of the series.

    Runs with fewer volumes than `n_frames` give some of them more than once.
    """

    def __init__(self, n_frames: int) -> None:
        super().__init__()
        self.n_maps = n_frames

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """Take volumes: (B, T, X, Y, Z) to (B, n_frames, X, Y, Z)."""
        odd = 2 * torch.arange(self.n_maps, device=series.device) + 1
        return series[:, odd * series.shape[1] // (2 * self.n_maps)]

    def fit(self, scans: Sequence[torch.Tensor]) -> None:
        """Leave all as it is: there is nothing to learn."""


class LearnedSeeds(Stem):
    """Correlate K learned seeds with every voxel, as Fisher's z.

    A seed is a weight for every voxel: its series is the weighted sum of the voxels' standardised
    series. Neither the scale nor the mean of a voxel counts, nor the norm of a seed's weights.

    The series themselves are never copied: voxels are standardised by dividing weights and
    correlations, and means drop out because seeds are centred. They should lie around 0, as
    percent of the mean do, so that rounding stays small.

    `shape` is (X, Y, Z); `seed` is that of the random first weights and of the fit.
    """

    def __init__(self, shape: GridShape, n_seeds: int, seed: int = 0) -> None:
        super().__init__()
        self.n_maps, self.seed = n_seeds, seed
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(n_seeds, *shape, generator=generator))

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """Correlate with the seeds: (B, T, X, Y, Z) to (B, K, X, Y, Z)."""
        values = series.flatten(2)
        scale = inverse_sd(values)[:, None]  # (B, 1, V)
        weight = self.weight.flatten(1) * scale
        seeds = standardised(torch.bmm(values, weight.transpose(1, 2)))
        correlation = torch.bmm(seeds.transpose(1, 2), values) * scale / values.shape[1]
        z = torch.atanh(correlation.clamp(-MAX_CORRELATION, MAX_CORRELATION))
        return on_grid(z, series)

    @torch.no_grad()
    def fit(self, scans: Sequence[torch.Tensor]) -> None:
        """Take networks of the training scans, see `fmnet.bold.components.find_networks`."""
        self.weight.copy_(networks_of(scans, self.n_maps, self.seed))


class DualRegression(Stem):
    """Make maps of K networks by dual regression; nothing of it is learned by gradient.

    First each volume is regressed on all networks together, over the voxels that the scan has data
    for: K time series. Then each voxel's series is regressed on all of them together: its betas,
    per standard deviation of a time series. Both with an intercept.

    `shape` is (X, Y, Z); `seed` is that of the fit.
    """

    networks: torch.Tensor

    def __init__(self, shape: GridShape, n_networks: int, seed: int = 0) -> None:
        super().__init__()
        self.n_maps, self.seed = n_networks, seed
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("networks", torch.randn(n_networks, *shape, generator=generator))

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """Regress twice: (B, T, X, Y, Z) to (B, K, X, Y, Z)."""
        values = series.flatten(2)
        known = (inverse_sd(values) > 0).to(values.dtype)[:, None]  # (B, 1, V)
        maps = self.networks.flatten(1) * known
        mean = maps.sum(2, keepdim=True) / known.sum(2, keepdim=True).clamp(min=1)
        design = (maps - mean) * known  # centred, as an intercept leaves it
        projected = torch.bmm(values, design.transpose(1, 2))  # (B, T, K)
        time_series = standardised(projected @ ridged_inverse(design @ design.transpose(1, 2)))
        inner = torch.bmm(time_series.transpose(1, 2), time_series)
        betas = ridged_inverse(inner) @ torch.bmm(time_series.transpose(1, 2), values)
        return on_grid(betas * known, series)

    @torch.no_grad()
    def fit(self, scans: Sequence[torch.Tensor]) -> None:
        """Find the networks of the training scans, see `fmnet.bold.components.find_networks`."""
        self.networks.copy_(networks_of(scans, self.n_maps, self.seed))


class TemporalFilters(Stem):
    """Take the log power that each of K filters leaves of a voxel's series, in percent squared.

    Filters are finite impulse responses, the same for all voxels; there are zeros before and after
    a run. The norm of a filter does not count. The scale of a voxel does, as for ALFF: it adds the
    same constant to all maps of the voxel, so that their differences are free of it, as fALFF is.

    The power is taken from the Fourier transforms of series and filters: it hardly takes longer
    with more filters, and gradients need no more than a spectrum of each voxel.

    Each filter spans `length` volumes.
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
        log_power = torch.where(is_varying, torch.where(is_varying, power, 1).log(), 0)
        return on_grid(log_power, series)

    @torch.no_grad()
    def fit(self, scans: Sequence[torch.Tensor]) -> None:
        """Take filters for equal parts of the band that holds nearly all of the scans' variance."""
        grid = np.linspace(0, NYQUIST, 257)
        below = np.mean([_variance_below(scan.flatten(1), grid) for scan in scans], axis=0)
        low, high = (float(np.interp(edge, below, grid)) for edge in (TAIL, 1 - TAIL))
        self.weight.copy_(torch.from_numpy(band_passes(self.n_maps, self.length, low, high)))


def inverse_sd(series: torch.Tensor) -> torch.Tensor:
    """Return one over the standard deviation along time: (B, T, V) to (B, V); 0 without any.

    From the mean square, which takes a quarter of the time of `torch.var`; means are small in
    series that lie around 0.
    """
    mean = series.mean(1)
    variance = torch.linalg.vector_norm(series, dim=1).square() / series.shape[1] - mean**2
    is_varying = variance > (LEAST_VARIATION * mean) ** 2
    return torch.where(is_varying, torch.where(is_varying, variance, 1).rsqrt(), 0)


def standardised(series: torch.Tensor) -> torch.Tensor:
    """Standardise along time: (B, T, K); what doesn't vary becomes 0."""
    mean = series.mean(1, keepdim=True)
    centred = series - mean
    variance = centred.square().mean(1, keepdim=True)
    is_varying = variance > (ROUNDING * mean) ** 2
    return torch.where(is_varying, centred * torch.where(is_varying, variance, 1).rsqrt(), 0)


def on_grid(maps: torch.Tensor, series: torch.Tensor) -> torch.Tensor:
    """Put maps, (B, C, V), where the series, (B, T, X, Y, Z), come from: (B, C, X, Y, Z)."""
    return maps.reshape(*maps.shape[:2], *series.shape[2:])


def networks_of(scans: Sequence[torch.Tensor], n_networks: int, seed: int) -> torch.Tensor:
    """Find K networks where at least half of the scans have data: (K, X, Y, Z), 0 elsewhere.

    Scans, (T, X, Y, Z), are read twice, one at a time. See `fmnet.bold.components.find_networks`.
    """
    covered = sum((scan != 0).any(0).int() for scan in scans)
    inside = torch.as_tensor(covered) >= max(MIN_FRACTION * len(scans), 1)
    networks = torch.zeros(n_networks, *inside.shape)
    found = find_networks(_InMask(scans, inside), n_networks, seed)
    networks[:, inside] = torch.from_numpy(found)
    return networks


class _InMask(Sequence[FloatArray]):
    """Series inside a mask, (T, V), each made when it is asked for."""

    def __init__(self, scans: Sequence[torch.Tensor], inside: torch.Tensor) -> None:
        self.scans, self.inside = scans, inside

    def __len__(self) -> int:
        return len(self.scans)

    def __getitem__(self, index: int) -> FloatArray:  # type: ignore[override]
        values: FloatArray = self.scans[index][:, self.inside].numpy()
        return values


def ridged_inverse(gram: torch.Tensor) -> torch.Tensor:
    """Invert Gram matrices, (B, K, K), in operations that ONNX has.

    A small ridge, relative to the diagonal, bounds the inverse where columns are nearly alike; rows
    and columns whose diagonal is 0 come out as 0.
    """
    diagonal = gram.diagonal(dim1=1, dim2=2)
    is_there = diagonal > 0
    scale = torch.where(is_there, torch.where(is_there, diagonal, 1).rsqrt(), 0)
    both = scale[:, :, None] * scale[:, None, :]
    ridge = torch.where(is_there, RIDGE, 1)
    identity = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    return gauss_jordan_inverse(gram * both + ridge[:, None] * identity) * both


def gauss_jordan_inverse(matrix: torch.Tensor) -> torch.Tensor:
    """Invert positive definite matrices, (B, K, K), by elimination, which needs no pivots then."""
    size = matrix.shape[1]
    identity = torch.eye(size, dtype=matrix.dtype, device=matrix.device)
    rows = torch.cat([matrix, identity.expand_as(matrix)], dim=2)  # (B, K, 2 K)
    for n in range(size):
        pivot = rows[:, n : n + 1] / rows[:, n : n + 1, n : n + 1]
        # every other row loses its multiple of the pivot's row; that row itself is replaced
        rows = rows - (rows[:, :, n : n + 1] - identity[:, n : n + 1]) * pivot
    return rows[:, :, size:]


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
    index = torch.arange(power.shape[1], device=power.device)
    is_twice = (index > 0) & (2 * index < size)  # negative frequencies are left out
    return power * torch.where(is_twice, 2 / size, 1 / size)[:, None]


def _variance_below(values: torch.Tensor, grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fraction of variance, of the mean standardised voxel, up to each frequency of a grid."""
    scale = inverse_sd(values[None])[0]
    if not scale.any():  # nothing varies: as if it did at all frequencies
        return grid / NYQUIST
    values, scale = values[:, scale > 0], scale[scale > 0]
    centred = (values - values.mean(0)) * scale
    power = _power_spectrum(centred[None], 2 * len(values))[0].sum(1).double().numpy()
    frequencies = np.linspace(0, NYQUIST, len(power))
    return np.asarray(np.interp(grid, frequencies, power.cumsum() / power.sum()))
