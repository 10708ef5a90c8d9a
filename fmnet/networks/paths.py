"""Ways from a scale space to a score, each of which can be started from a few people's scans."""

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

#: Principal axes of the places that a network keeps.
N_AXES = 64
WHITENING = tuple(field.name for field in fields(Whitening))


class Path(nn.Module):
    """One way from the bands of a scale space to a score."""

    def start(self, bands: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> None:
        """Set all weights from training scans.

        Parameters
        ----------
        bands : Tensor, shape (N, S, C, X, Y, Z)
            The scale space of each scan.
        labels : Tensor, shape (N,)
            0 or 1.
        mask : Tensor, shape (X, Y, Z)
            1 inside the brain, else 0.
        """
        raise NotImplementedError


class PlacePath(Path):
    """A weight for every voxel of every band: a linear map, which keeps location.

    Parameters
    ----------
    input_shape : tuple of int
        (C, X, Y, Z).
    n_bands : int
        S.
    power : float
        How much is left to the places with the best evidence, see `weigh`.
    whitening : float
        Strength, see `fmnet.networks.feature_weighting.fit_whitening`.
    """

    def __init__(
        self, input_shape: InputShape, n_bands: int, power: float, whitening: float
    ) -> None:
        super().__init__()
        self.power, self.whitening = power, whitening
        self.weight = nn.Parameter(torch.zeros(n_bands, *input_shape))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, bands: torch.Tensor) -> torch.Tensor:
        """Score scans: (B, S, C, X, Y, Z) to (B,)."""
        return bands.flatten(1) @ self.weight.flatten() + self.bias

    @torch.no_grad()
    def start(self, bands: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> None:
        """Set the weights from training scans, (N, S, C, X, Y, Z), inside the mask, (X, Y, Z)."""
        inside = mask.bool().expand(bands.shape[2:])
        self.weight.zero_()
        self.bias.zero_()
        n_bands = bands.shape[1]
        for band, weight in zip(bands.unbind(1), self.weight, strict=True):
            features = band[:, inside]
            whitening, z = fit_whitening(features, self.whitening, len(features))
            own = weigh(t_values(z, labels), self.power) / n_bands
            weight[inside] = raw = whitening.unwhitened(own)
            self.bias.sub_(whitening.mean @ raw)


@dataclass(frozen=True)
class PairForm:
    """Which products a `PairPath` looks at.

    Parameters
    ----------
    stride_mm : float
        Distance between places along each axis.
    is_within_place : bool
        Whether only different contrasts at one place are multiplied, instead of all pairs.
    n_pairs : int
        How many products are kept in each band.
    power : float
        See `fmnet.networks.feature_weighting.weigh`.
    """

    stride_mm: float
    is_within_place: bool
    n_pairs: int
    power: float


CHANNELS = PairForm(8, True, 5000, 5)
#: Of half a million products some stand out by chance: only the very best are relied on.
PAIRS = PairForm(12, False, 500, 12)


class PairPath(Path):
    """Products of two places: what neither shows alone, as when two regions go together.

    Parameters
    ----------
    input_shape : tuple of int
        (C, X, Y, Z).
    bands : tuple of int
        Which bands of the scale space are looked at.
    form : PairForm
        Which products.
    voxel_size_mm : float
        Edge length of a voxel.
    whitening : float
        See `fmnet.networks.feature_weighting.fit_whitening`.
    """

    first: torch.Tensor
    second: torch.Tensor

    def __init__(
        self,
        input_shape: InputShape,
        bands: tuple[int, ...],
        form: PairForm,
        voxel_size_mm: float,
        whitening: float,
    ) -> None:
        super().__init__()
        self.bands, self.form, self.whitening = bands, form, whitening
        self.stride = max(1, round(form.stride_mm / voxel_size_mm))
        s, n = len(bands), form.n_pairs
        n_places = _lattice(torch.empty(1, *input_shape, device="meta"), self.stride).shape[1]
        for name in ("mean", "scale", "last"):
            self.register_buffer(name, torch.zeros(s, n_places))
        self.register_buffer("axes", torch.zeros(s, n_places, N_AXES))
        self.register_buffer("shrink", torch.zeros(s, N_AXES))
        for name in ("first", "second"):
            self.register_buffer(name, torch.zeros(s, n, dtype=torch.int64))
        self.weight = nn.Parameter(torch.zeros(s, n))

    def forward(self, bands: torch.Tensor) -> torch.Tensor:
        """Score scans: (B, S, C, X, Y, Z) to (B,)."""
        scores = []
        for n, band in enumerate(self.bands):
            z = self._whitening(n)(_lattice(bands[:, band], self.stride))
            products = z[:, self.first[n]] * z[:, self.second[n]]
            scores.append(products @ self.weight[n])
        return torch.stack(scores).mean(0)

    @torch.no_grad()
    def start(self, bands: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> None:
        """Choose pairs and set their weights from training scans, see `Path.start`."""
        n_pairs = self.form.n_pairs
        for n, band in enumerate(self.bands):
            places = _lattice(bands[:, band] * mask, self.stride)
            whitening, z = fit_whitening(places, self.whitening, N_AXES)
            for name in WHITENING:
                getattr(self, name)[n] = getattr(whitening, name)
            first, second, t = (
                _within_place(z, labels, bands.shape[2])
                if self.form.is_within_place
                else _all_pairs(z, labels, n_pairs)
            )
            best = t.abs().topk(min(len(t), n_pairs)).indices
            filled = (n, slice(len(best)))
            self.weight[n] = 0
            self.weight[filled] = weigh(t[best], self.form.power)
            self.first[filled], self.second[filled] = first[best], second[best]

    def _whitening(self, n: int) -> Whitening:
        return Whitening(*(getattr(self, name)[n] for name in WHITENING))


def _lattice(image: torch.Tensor, stride: int) -> torch.Tensor:
    """Take every so many voxels, one along a thin axis: (B, C, X, Y, Z) to (B, C * places)."""
    x, y, z = (slice(min(stride // 2, size - 1), None, stride) for size in image.shape[2:])
    return image[:, :, x, y, z].flatten(1)


def _within_place(
    z: torch.Tensor, labels: torch.Tensor, n_channels: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compare the products of different channels at one place: first, second, t."""
    n_places = z.shape[1] // n_channels
    one, other = torch.triu_indices(n_channels, n_channels, 1, device=z.device)
    place = torch.arange(n_places, device=z.device)
    first = (one[:, None] * n_places + place).flatten()
    second = (other[:, None] * n_places + place).flatten()
    return first, second, t_values(z[:, first] * z[:, second], labels)


def _all_pairs(
    z: torch.Tensor, labels: torch.Tensor, n_pairs: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compare all products of two places: first, second, t of those that may be the largest."""
    inside = z.any(dim=0).nonzero()[:, 0]  # of no use are places outside the brain
    t = product_t_values(z[:, inside], labels).triu_()
    # the largest of a row bounds how large the n largest of all are: few are left to be sorted
    largest = t.abs().amax(dim=1).sort(descending=True).values
    least = largest[min(n_pairs, len(t)) - 1].clamp(min=1e-6)
    first, second = (t.abs() >= least).nonzero(as_tuple=True)
    return inside[first], inside[second], t[first, second]
