"""Standardisation of maps by voxel, as part of a network."""

import torch
from torch import nn

from fmnet.inference.preparation import fit_standard
from fmnet.networks.backbones import InputShape


class VoxelStandard(nn.Module):
    """Maps less their mean over training scans, divided by their standard deviation.

    What is missing, 0 in all maps of a scan, becomes 0, the mean.

    Parameters
    ----------
    shape : tuple of int
        (C, X, Y, Z).
    """

    mean: torch.Tensor
    weight: torch.Tensor

    def __init__(self, shape: InputShape) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("weight", torch.ones(shape))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Standardise maps: (B, C, X, Y, Z) to the same."""
        is_known = (maps != 0).any(1, keepdim=True)
        return torch.where(is_known, (maps - self.mean) * self.weight, 0)

    @torch.no_grad()
    def fit(self, maps: torch.Tensor) -> None:
        """Fit mean and weight on maps of training scans, (N, C, X, Y, Z).

        See `fmnet.inference.preparation.fit_standard`: voxels that few scans cover get weight 0.
        """
        is_known = (maps != 0).any(1)
        inside = is_known.any(0)
        missing = ~is_known[:, inside]
        self.mean.zero_()
        self.weight.zero_()
        for number in range(maps.shape[1]):  # one by one, for the memory that it takes
            values = maps[:, number, inside].masked_fill(missing, torch.nan)
            mean, weight = fit_standard(values[:, None].numpy())
            self.mean[number, inside] = torch.from_numpy(mean[0])
            self.weight[number, inside] = torch.from_numpy(weight[0])
