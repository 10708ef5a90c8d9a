"""A stem of learned seeds: where the brain goes together with places that training chooses."""

from collections.abc import Sequence

import torch
from torch import nn

from fmnet.networks.stems import GridShape, Stem, inverse_spread, networks_of, on_grid, standardised

#: Largest correlation that Fisher's z is taken of; a seed of one voxel is wholly like itself.
MAX_CORRELATION = 0.999


class LearnedSeeds(Stem):
    """Connectivity of K seeds with every voxel, as Fisher's z.

    A seed is a weight for every voxel: its series is the weighted sum of the voxels' standardised
    series. Neither the scale nor the mean of a voxel counts, nor the norm of a seed's weights.

    The series themselves are never copied: voxels are standardised by dividing weights and
    correlations, and means drop out because seeds are centred. They should lie around 0, as
    percent of the mean do, so that rounding stays small.

    Parameters
    ----------
    shape : tuple of int
        (X, Y, Z).
    n_seeds : int
        K.
    seed : int
        Of the random numbers that the start uses.
    """

    def __init__(self, shape: GridShape, n_seeds: int, seed: int = 0) -> None:
        super().__init__()
        self.n_maps, self.seed = n_seeds, seed
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(n_seeds, *shape, generator=generator))

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """Correlate with the seeds: (B, T, X, Y, Z) to (B, K, X, Y, Z)."""
        values = series.flatten(2)
        scale = inverse_spread(values)[:, None]  # (B, 1, V)
        weight = self.weight.flatten(1) * scale
        seeds = standardised(torch.bmm(values, weight.transpose(1, 2)))
        correlation = torch.bmm(seeds.transpose(1, 2), values) * scale / values.shape[1]
        z = torch.atanh(correlation.clamp(-MAX_CORRELATION, MAX_CORRELATION))
        return on_grid(z, series)

    @torch.no_grad()
    def start(self, scans: Sequence[torch.Tensor]) -> None:
        """Start from networks of the training scans, see `fmnet.bold.components.find_networks`."""
        self.weight.copy_(networks_of(scans, self.n_maps, self.seed))
