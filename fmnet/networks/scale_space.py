"""A stem that looks at a map at several scales: differences of Gaussians, inside the brain."""

import torch
from torch import nn

from fmnet.networks.backbones import InputShape
from fmnet.types import Bands

#: Full width at half maximum of a Gaussian, in standard deviations.
FWHM_PER_SD = 2.354820045


class ScaleSpace(nn.Module):
    """Band-pass filters: each is a narrow Gaussian less a broad one, and nothing is learned.

    What lies outside the brain doesn't count: every Gaussian is divided by its own weight inside
    the mask, as `fmnet.data.grid.smooth_values` does.

    Parameters
    ----------
    input_shape : tuple of int
        (C, X, Y, Z).
    bands_mm : sequence of (float, float)
        Full widths at half maximum of the two Gaussians of each of S bands; 0 leaves as it is.
    voxel_size_mm : float
        Edge length of a voxel.
    """

    mask: torch.Tensor

    def __init__(
        self,
        input_shape: InputShape,
        bands_mm: Bands,
        voxel_size_mm: float,
    ) -> None:
        super().__init__()
        self.widths = sorted({width for band in bands_mm for width in band})
        self.places = [tuple(self.widths.index(width) for width in band) for band in bands_mm]
        self.register_buffer("mask", torch.ones(input_shape[1:]))
        for axis, size in enumerate(input_shape[1:]):
            blurs = [_blur(size, width / voxel_size_mm) for width in self.widths]
            self.register_buffer(f"blur_{axis}", torch.stack(blurs))  # (W, size, size)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Filter prepared scans: (B, C, X, Y, Z) to (B, S, C, X, Y, Z)."""
        smoothed = [self._smooth(image * self.mask, n) for n in range(len(self.widths))]
        bands = [smoothed[narrow] - smoothed[broad] for narrow, broad in self.places]
        return torch.stack(bands, dim=1)

    def _smooth(self, image: torch.Tensor, place: int) -> torch.Tensor:
        if self.widths[place] == 0:
            return image
        weight = self._blurred(self.mask, place)
        return self._blurred(image, place) * self.mask / weight.clamp(min=1e-6)

    def _blurred(self, image: torch.Tensor, place: int) -> torch.Tensor:
        """Convolve along each axis, as products with matrices: (..., X, Y, Z) to the same."""
        x, y, z = (getattr(self, f"blur_{axis}")[place] for axis in range(3))
        image = image @ z
        image = (image.transpose(-1, -2) @ y).transpose(-1, -2)
        blurred: torch.Tensor = (image.transpose(-1, -3) @ x).transpose(-1, -3)
        return blurred


def _blur(size: int, fwhm_voxels: float) -> torch.Tensor:
    """Gaussian weights of every voxel of a line for every other: (size, size), symmetric."""
    if fwhm_voxels == 0:
        return torch.eye(size)
    sigma = fwhm_voxels / FWHM_PER_SD
    offset = torch.arange(size)[:, None] - torch.arange(size)
    reach = torch.arange(-10 * size, 10 * size + 1)  # for the sum of the whole kernel
    whole = torch.exp(-0.5 * (reach / sigma) ** 2).sum()
    return torch.exp(-0.5 * (offset / sigma) ** 2) / whole
