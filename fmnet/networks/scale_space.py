"""Gaussian smoothing in torch, and a scale space of band-pass filtered maps inside the brain."""

import torch
from torch import nn

from fmnet.networks.backbones import InputShape
from fmnet.types import Bands

#: Full width at half maximum of a Gaussian, in standard deviations.
FWHM_PER_SD = 2.354820045


def gaussian_weights(size: int, sigma: torch.Tensor) -> torch.Tensor:
    """Compute Gaussian weights of all voxels of a line for all others: (...) to (..., size, size).

    Each kernel sums to 1 and is not cut off; zeros lie beyond the line. `sigma` is in voxels; 0
    smooths nothing.
    """
    sigma = sigma[..., None, None].clamp(min=1e-3)
    index = torch.arange(size, device=sigma.device)
    reach = torch.arange(-10 * size, 10 * size + 1, device=sigma.device)
    total = torch.exp(-0.5 * (reach / sigma) ** 2).sum(-1, keepdim=True)
    return torch.exp(-0.5 * ((index[:, None] - index) / sigma) ** 2) / total


def smooth_axes(
    image: torch.Tensor, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor
) -> torch.Tensor:
    """Smooth along each axis by the weights of its line: (..., X, Y, Z) to the same."""
    image = y.mT @ (image @ z)
    # one large product for the first axis instead of many small ones
    smoothed: torch.Tensor = (x.mT @ image.flatten(-2)).view(image.shape)
    return smoothed


class ScaleSpace(nn.Module):
    """Band-pass filters: each is a narrow Gaussian less a broad one, and nothing is learned.

    What lies outside the brain doesn't count: every Gaussian is divided by its own weight inside
    the mask, as `fmnet.data.resample.smooth_values` does.

    Parameters
    ----------
    input_shape : tuple of int
        (C, X, Y, Z).
    bands_mm : sequence of (float, float)
        Full widths at half maximum of the two Gaussians of each of S bands; 0 leaves as it is.
    voxel_size_mm : float
        Edge length of a voxel.
    """

    #: What its output is for `fmnet.networks.features`.
    shows = "bands"
    mask: torch.Tensor

    def __init__(self, input_shape: InputShape, bands_mm: Bands, voxel_size_mm: float) -> None:
        super().__init__()
        self.widths = sorted({width for band in bands_mm for width in band})
        self.bands = [tuple(self.widths.index(width) for width in band) for band in bands_mm]
        self.register_buffer("mask", torch.ones(input_shape[1:]))
        sigmas = torch.tensor(self.widths) / voxel_size_mm / FWHM_PER_SD
        for axis, size in enumerate(input_shape[1:]):
            self.register_buffer(f"blur_{axis}", gaussian_weights(size, sigmas))  # (W, size, size)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Filter prepared scans: (B, C, X, Y, Z) to (B, S, C, X, Y, Z)."""
        smoothed = [self._smooth(image * self.mask, n) for n in range(len(self.widths))]
        return torch.stack([smoothed[narrow] - smoothed[broad] for narrow, broad in self.bands], 1)

    def _smooth(self, image: torch.Tensor, width: int) -> torch.Tensor:
        if self.widths[width] == 0:
            return image
        x, y, z = (getattr(self, f"blur_{axis}")[width] for axis in range(3))
        weight = smooth_axes(self.mask, x, y, z)
        return smooth_axes(image, x, y, z) * self.mask / weight.clamp(min=1e-6)

    def weights_of_image(self, weights: torch.Tensor, band: int) -> torch.Tensor:
        """Turn weights of the voxels of one band into weights of the scan's voxels.

        A filtered scan times `weights`, (..., X, Y, Z), comes to the scan times what is returned.
        """
        narrow, broad = self.bands[band]
        return (self._transposed(weights, narrow) - self._transposed(weights, broad)) * self.mask

    def _transposed(self, weights: torch.Tensor, width: int) -> torch.Tensor:
        """Apply the transpose of `_smooth`."""
        if self.widths[width] == 0:
            return weights
        x, y, z = (getattr(self, f"blur_{axis}")[width] for axis in range(3))
        divided = weights * self.mask / smooth_axes(self.mask, x, y, z).clamp(min=1e-6)
        return smooth_axes(divided, x.mT, y.mT, z.mT)
