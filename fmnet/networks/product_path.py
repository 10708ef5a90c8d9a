"""Paths of products: of two contrasts at one voxel, or of any two voxels."""

from dataclasses import dataclass, fields

import torch
from torch import nn

from fmnet.networks.backbones import InputShape
from fmnet.networks.feature_weighting import (
    Whitening,
    fit_whitening,
    product_t_values,
    t_values,
    weigh,
)
from fmnet.networks.labelings import read_labelings, scores_of_products
from fmnet.networks.paths import Path, Views

#: Principal axes of the voxels of a lattice that a network keeps.
N_AXES = 64
#: Responses from which on all products are made, for all of them; for fewer that takes longer than
#: to look for the best of each.
FEWEST_TOGETHER = 8
WHITENING = tuple(field.name for field in fields(Whitening))


@dataclass(frozen=True)
class ProductForm:
    """Settings of which products a `ProductPath` looks at.

    Parameters
    ----------
    stride_mm : float
        Distance between voxels of the lattice along each axis.
    is_within_voxel : bool
        Whether only different contrasts at one voxel are multiplied, instead of all pairs.
    n_products : int
        How many products are kept in each band.
    power : float
        See `weigh`.
    """

    stride_mm: float
    is_within_voxel: bool
    n_products: int
    power: float


CONTRAST_PRODUCTS = ProductForm(8, True, 5000, 5)
#: Of half a million products some stand out by chance: only the very best are relied on.
VOXEL_PAIRS = ProductForm(12, False, 500, 12)


class ProductPath(Path):
    """Weigh products of two values: of two contrasts at one voxel, or of any two voxels.

    Parameters
    ----------
    bands : tuple of int
        Which bands of the scale space are looked at.
    whitening : float
        Strength, see `fit_whitening`.
    """

    first: torch.Tensor
    second: torch.Tensor

    def __init__(
        self,
        input_shape: InputShape,
        bands: tuple[int, ...],
        form: ProductForm,
        voxel_size_mm: float,
        whitening: float,
    ) -> None:
        super().__init__()
        self.bands, self.form, self.whitening = bands, form, whitening
        self.stride = max(1, round(form.stride_mm / voxel_size_mm))
        s, n = len(bands), form.n_products
        n_values = _lattice(torch.empty(1, *input_shape, device="meta"), self.stride).shape[1]
        for name in ("mean", "scale", "last"):
            self.register_buffer(name, torch.zeros(s, n_values))
        self.register_buffer("axes", torch.zeros(s, n_values, N_AXES))
        self.register_buffer("shrink", torch.zeros(s, N_AXES))
        for name in ("first", "second"):
            self.register_buffer(name, torch.zeros(s, n, dtype=torch.int64))
        self.weight = nn.Parameter(torch.zeros(s, n))

    def forward(self, views: Views) -> torch.Tensor:
        """Score scans. See `Path.forward`."""
        bands = views.bands
        scores = []
        for n, band in enumerate(self.bands):
            whitening = Whitening(*(getattr(self, name)[n] for name in WHITENING))
            z = whitening(_lattice(bands[:, band], self.stride))
            products = z[:, self.first[n]] * z[:, self.second[n]]
            scores.append(products @ self.weight[n])
        return torch.stack(scores).mean(0)

    @torch.no_grad()
    def fit(self, views: Views, labels: torch.Tensor, mask: torch.Tensor) -> None:
        """Choose the products with the largest t-values and weigh them. See `Path.fit`."""
        bands = views.bands
        for n, band in enumerate(self.bands):
            values = _lattice(bands[:, band] * mask, self.stride)
            whitening, z = fit_whitening(values, self.whitening, N_AXES)
            for name in WHITENING:
                getattr(self, name)[n] = getattr(whitening, name)
            first, second, t = (
                _products_within_voxels(z, labels, bands.shape[2])
                if self.form.is_within_voxel
                else _products_of_pairs(z, labels, self.form.n_products)
            )
            best = t.abs().topk(min(len(t), self.form.n_products)).indices
            filled = (n, slice(len(best)))
            self.weight[n] = 0
            self.weight[filled] = weigh(t[best], self.form.power)
            self.first[filled], self.second[filled] = first[best], second[best]

    @torch.no_grad()
    def scores_of_labelings(
        self, train: Views, labelings: torch.Tensor, mask: torch.Tensor, unseen: Views
    ) -> torch.Tensor:
        """Whiten and multiply once for all labelings. See `Path.scores_of_labelings`."""
        if labelings.is_floating_point() and len(labelings) < FEWEST_TOGETHER:
            return super().scores_of_labelings(train, labelings, mask, unseen)
        read = read_labelings(labelings)
        scores = []
        for band in self.bands:
            values = _lattice(train.bands[:, band] * mask, self.stride)
            whitening, z = fit_whitening(values, self.whitening, N_AXES)
            others = whitening(_lattice(unseen.bands[:, band], self.stride))
            if self.form.is_within_voxel:
                first, second = _pairs_within_voxels(z, train.bands.shape[2])
            else:
                first, second = _all_pairs(z)
            n, power = self.form.n_products, self.form.power
            scores.append(scores_of_products(z, first, second, read, others, n, power))
        return torch.stack(scores).mean(0)


def _lattice(image: torch.Tensor, stride: int) -> torch.Tensor:
    """Take every so many voxels, one along a thin axis: (B, C, X, Y, Z) to (B, C * voxels)."""
    x, y, z = (slice(min(stride // 2, size - 1), None, stride) for size in image.shape[2:])
    return image[:, :, x, y, z].flatten(1)


def _pairs_within_voxels(z: torch.Tensor, n_channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pair different channels at one voxel: indices of the first and second values."""
    n_voxels = z.shape[1] // n_channels
    one, other = torch.triu_indices(n_channels, n_channels, 1, device=z.device)
    voxel = torch.arange(n_voxels, device=z.device)
    first = (one[:, None] * n_voxels + voxel).flatten()
    second = (other[:, None] * n_voxels + voxel).flatten()
    return first, second


def _products_within_voxels(
    z: torch.Tensor, labels: torch.Tensor, n_channels: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compare the products of different channels at one voxel: first, second, t."""
    first, second = _pairs_within_voxels(z, n_channels)
    return first, second, t_values(z[:, first] * z[:, second], labels)


def _all_pairs(z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pair all values inside the brain: indices of the first and second ones."""
    inside = z.any(dim=0).nonzero()[:, 0]
    first, second = torch.triu_indices(len(inside), len(inside), 1, device=z.device)
    return inside[first], inside[second]


def _products_of_pairs(
    z: torch.Tensor, labels: torch.Tensor, n_products: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compare all products of two values: first, second, t of those that may be the largest."""
    inside = z.any(dim=0).nonzero()[:, 0]  # of no use is what lies outside the brain
    t = product_t_values(z[:, inside], labels).triu_()
    # the largest of a row bounds how large the n largest of all are: few are left to be sorted
    largest = t.abs().amax(dim=1).sort(descending=True).values
    least = largest[min(n_products, len(t)) - 1].clamp(min=1e-6)
    first, second = (t.abs() >= least).nonzero(as_tuple=True)
    return inside[first], inside[second], t[first, second]
