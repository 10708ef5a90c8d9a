"""A stem of group networks, found in the training scans, as each scan shows them."""

from collections.abc import Sequence

import torch

from fmnet.networks.stems import GridShape, Stem, inverse_spread, networks_of, on_grid, standardised

#: Added to the diagonal of a correlation matrix, so that likeness of two courses has an inverse.
RIDGE = 1e-4


class DualRegression(Stem):
    """Maps of K networks by dual regression; nothing of it is learned after the start.

    First each volume is regressed on all networks together, over the voxels that the scan has data
    for: K time courses. Then each voxel's series is regressed on all courses together: its betas,
    per standard deviation of a course. Both with an intercept.

    Parameters
    ----------
    shape : tuple of int
        (X, Y, Z).
    n_networks : int
        K.
    seed : int
        Of the random numbers that the start uses.
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
        known = (inverse_spread(values) > 0).to(values.dtype)[:, None]  # (B, 1, V)
        maps = self.networks.flatten(1) * known
        mean = maps.sum(2, keepdim=True) / known.sum(2, keepdim=True).clamp(min=1)
        design = (maps - mean) * known  # centred, as an intercept leaves it
        projected = torch.bmm(values, design.transpose(1, 2))  # (B, T, K)
        courses = standardised(projected @ ridged_inverse(design @ design.transpose(1, 2)))
        inner = torch.bmm(courses.transpose(1, 2), courses)
        betas = ridged_inverse(inner) @ torch.bmm(courses.transpose(1, 2), values)
        return on_grid(betas * known, series)

    @torch.no_grad()
    def start(self, scans: Sequence[torch.Tensor]) -> None:
        """Find the networks of the training scans, see `fmnet.bold.components.find_networks`."""
        self.networks.copy_(networks_of(scans, self.n_maps, self.seed))


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
    for place in range(size):
        pivot = rows[:, place : place + 1] / rows[:, place : place + 1, place : place + 1]
        # every other row loses its share of the pivot's row; that row itself is replaced
        share = rows[:, :, place : place + 1] - identity[:, place : place + 1]
        rows = rows - share * pivot
    return rows[:, :, size:]
