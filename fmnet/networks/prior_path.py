"""The path whose weights a pretrained CNN writes; of the CNN nothing is kept but what it wrote."""

from functools import lru_cache
from pathlib import Path as FilePath

import torch
from torch import nn

from fmnet.networks.backbones import InputShape
from fmnet.networks.paths import Path, Views
from fmnet.networks.prior_cnn import GRID_MM, SignatureCnn, coarse_space, pool, support_statistics
from fmnet.networks.signature_file import read_signature_cnn

#: The network that fmnet brings along.
OWN = FilePath(__file__).with_name("signature_cnn.safetensors")
#: Scans that are filtered at once, and labelings that the CNN is shown at once.
BATCH, LABELINGS = 32, 16


@lru_cache(maxsize=4)
def _cnn(weights: str | None, device: torch.device) -> SignatureCnn:
    return read_signature_cnn(weights or OWN).to(device)


class PriorPath(Path):
    """Let a pretrained CNN write the weights of all voxels: a linear map of a scan.

    Of the CNN nothing is kept but what it wrote.

    Parameters
    ----------
    input_shape : tuple of int
        (C, X, Y, Z).
    voxel_size_mm : float
        Edge length of a voxel; 8 mm at most.
    weights : str, optional
        File of the CNN, see `fmnet.networks.signature_file.read_signature_cnn`; by default the one
        that fmnet brings along.
    """

    def __init__(
        self, input_shape: InputShape, voxel_size_mm: float, weights: str | None = None
    ) -> None:
        super().__init__()
        self.weights = weights
        self.factor = max(1, round(GRID_MM / voxel_size_mm))
        self.weight = nn.Parameter(torch.zeros(input_shape))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, views: Views) -> torch.Tensor:
        """Score scans. See `Path.forward`."""
        return views.image.flatten(1) @ self.weight.flatten() + self.bias

    def look(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Filter scans on the grid of the CNN: (N, C, X, Y, Z) to (N, C, S, X', Y', Z')."""
        inside = self._inside(mask)
        space = coarse_space(inside)
        coarse = pool(image, mask, self.factor).flatten(0, 1)[:, None]
        bands = torch.cat([space(some) for some in torch.split(coarse, BATCH)])[:, :, 0]
        return bands.view(*image.shape[:2], *bands.shape[1:])

    def _inside(self, mask: torch.Tensor) -> torch.Tensor:
        return pool(mask[None], mask, self.factor)[0]

    @torch.no_grad()
    def fit(self, views: Views, labels: torch.Tensor, mask: torch.Tensor) -> None:
        """Let the CNN read the statistics of the training scans. See `Path.fit`."""
        inside = self._inside(mask)
        weights = self._write(self._seen(views, mask), labels[None], inside)[:, 0]  # (C, S, V)
        on_grid = weights.new_zeros(*weights.shape[:2], *inside.shape)
        on_grid[..., inside.bool()] = weights
        with torch.enable_grad():
            image = torch.zeros_like(self.weight)[None].requires_grad_()
            score = (self.look(image, mask)[0] * on_grid).sum()
            (gradient,) = torch.autograd.grad(score, image)
        self.weight.copy_(gradient[0])
        self.bias.copy_(-(views.image.mean(0) * self.weight).sum())

    @torch.no_grad()
    def scores_of_labelings(
        self, train: Views, labelings: torch.Tensor, mask: torch.Tensor, unseen: Views
    ) -> torch.Tensor:
        """Show the CNN many labelings at once. See `Path.scores_of_labelings`."""
        inside = self._inside(mask)
        bands = self._seen(train, mask)
        others = (self._seen(unseen, mask) - bands.mean(0))[..., inside.bool()]
        scores = []
        for some in torch.split(labelings, LABELINGS):
            weights = self._write(bands, some, inside)  # (C, L, S, V)
            scores.append(torch.einsum("clsv,mcsv->lm", weights, others))
        return torch.cat(scores)

    def _seen(self, views: Views, mask: torch.Tensor) -> torch.Tensor:
        return self.look(views.image, mask) if views.own is None else views.own

    def _write(
        self, bands: torch.Tensor, labelings: torch.Tensor, inside: torch.Tensor
    ) -> torch.Tensor:
        """Write a signature for each labeling, (L, N), and contrast: (C, L, S, V)."""
        cnn = _cnn(self.weights, bands.device)
        each = labelings.expand(bands.shape[1], *labelings.shape)
        support = support_statistics(bands.transpose(0, 1), each, inside)
        weights: torch.Tensor = cnn(support, inside)
        # of several contrasts those count in which the groups differ
        cubes = (support.white_t**3).flatten(2).square().mean(-1)
        weights = weights * (cubes / cubes.mean(0).clamp(min=1e-12)).sqrt()[..., None, None]
        return weights
