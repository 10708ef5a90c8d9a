"""A 3D CNN that turns statistics of a small training cohort into the weights of a signature.

It is pretrained on simulated cohorts (`fmnet.training.pretraining`): how a group difference looks
in t-values of 20 to 110 participants is learned there, from as many cohorts as are asked for.
In a study it reads the statistics of the training participants alone, once, and no gradient is
needed. The signature that it writes is a linear map of a scan.
"""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import avg_pool3d, pad, softplus

from fmnet.networks.feature_weighting import SD_FLOOR, VARIANCE_FLOOR
from fmnet.networks.scale_space import ScaleSpace
from fmnet.types import Bands

#: Edge length of the voxels that statistics are computed on.
GRID_MM = 8.0
#: Bands of the scale space on that grid, in mm; a width of 0 leaves the voxels as they are.
BANDS_MM: Bands = ((0.0, 24.0), (9.0, 32.0), (14.0, 48.0))
#: Strength of the whitening, see `fmnet.networks.feature_weighting.fit_whitening`.
WHITENING = 10.0
#: Sizes of the grid are filled up to a multiple of this, so that networks can halve it.
MULTIPLE = 4
#: Maps of each band: whitened t, plain t, log ratio of variances, third power of whitened t.
N_MAPS = 4
#: Maps of all bands together: log SD, mask, log number of participants.
N_COMMON = 3
#: A t-value of 1 in units of the network's input, and the same of its third power.
T_UNIT, CUBE_UNIT = 0.5, 1 / 30
#: Weights that are learned for each voxel of a band: four for whitened values, four for plain ones.
N_LEARNED = 8
#: Moments of a t map from which a band's mixture of terms is chosen.
N_MOMENTS = 4


def n_input_channels(n_bands: int) -> int:
    """Count the maps that the network reads."""
    return n_bands * N_MAPS + N_COMMON


class Whitened(NamedTuple):
    """Training scans in one band, standardised and whitened, without a label; E sets at once.

    ``plain`` and ``white`` are (E, N, V), ``scale``, ``last`` and ``sd`` (E, V), ``dual`` is
    (E, N, N): weights ``w`` of whitened voxels are those of the band's after ``u = w * last``,
    ``(u - plain.T @ dual @ plain @ u) * scale``.
    """

    plain: torch.Tensor
    white: torch.Tensor
    scale: torch.Tensor
    last: torch.Tensor
    dual: torch.Tensor
    sd: torch.Tensor

    def unwhitened(self, weight: torch.Tensor) -> torch.Tensor:
        """Turn weights of whitened voxels, (E, L, V), into weights of the band's voxels."""
        u = weight * self.last[:, None]
        away = (u @ self.plain.mT) @ self.dual @ self.plain
        return (u - away) * self.scale[:, None]


def whiten(features: torch.Tensor, strength: float = WHITENING) -> Whitened:
    """Whiten sets of scans, (E, N, V), as `fit_whitening` does, in the space of the scans."""
    n = features.shape[1]
    centred = features - features.mean(1, keepdim=True)
    sd = centred.square().mean(1).sqrt()
    known = torch.where(sd > 0, sd, torch.nan)
    floor = SD_FLOOR * known.nanmedian(-1, keepdim=True).values.nan_to_num(1.0)
    scale = torch.where(sd > 0, 1 / torch.maximum(sd, floor), 0)
    plain = centred * scale[:, None]
    variance, across = torch.linalg.eigh((plain @ plain.mT).double())
    largest = variance[:, -1:].clamp(min=1e-12)
    is_kept = variance > largest * 1e-6
    variance = torch.where(is_kept, variance, torch.inf)
    total = torch.where(is_kept, variance, 0).sum(-1, keepdim=True)
    typical = total / max(n - 1, 1) / max(strength, 1e-12)
    shrink = torch.where(is_kept, 1 - (typical / (typical + variance)).sqrt(), 0)
    across_t = across.mT
    taken = ((across * shrink[:, None]) @ across_t).to(features.dtype)
    dual = ((across * (shrink / variance)[:, None]) @ across_t).to(features.dtype)
    white = plain - taken @ plain
    spread = (white - white.mean(1, keepdim=True)).square().mean(1).sqrt()
    last = torch.where(spread > 0, 1 / spread.clamp(min=1e-6), 0)
    return Whitened(plain, white * last[:, None], scale, last, dual, sd)


def group_t(features: torch.Tensor, labelings: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Compare groups under many labelings by two matrix products.

    Parameters
    ----------
    features : Tensor, shape (E, N, V)
        With a mean of 0 over the N scans.
    labelings : Tensor, shape (E, L, N)
        0 or 1.

    Returns
    -------
    tuple of Tensor, shape (E, L, V)
        Welch's t as `fmnet.networks.feature_weighting.t_values` has it, and the logarithm of the
        ratio of variances.
    """
    one = labelings.to(features.dtype)
    n_one = one.sum(-1, keepdim=True)
    n_other = one.shape[-1] - n_one
    squared = features.square()
    first, second = one @ features, one @ squared
    total, total_squared = features.sum(1, keepdim=True), squared.sum(1, keepdim=True)
    mean, mean_other = first / n_one, (total - first) / n_other
    variance = (second / n_one - mean.square()).clamp(min=0) + VARIANCE_FLOOR
    other = ((total_squared - second) / n_other - mean_other.square()).clamp(min=0) + VARIANCE_FLOOR
    t = (mean - mean_other) / (variance / n_one + other / n_other).sqrt()
    return t, (variance / other).log()


class Support(NamedTuple):
    """What the network is shown of training cohorts: (E, L) of them on a grid.

    ``maps`` are its input, (E, L, channels, X, Y, Z); ``white_t`` and ``plain_t`` the t-values of
    the voxels inside the mask, (E, L, S, V); ``bands`` what takes weights back to the bands.
    """

    maps: torch.Tensor
    white_t: torch.Tensor
    plain_t: torch.Tensor
    bands: list[Whitened]


def support_statistics(bands: torch.Tensor, labelings: torch.Tensor, mask: torch.Tensor) -> Support:
    """Compute what the network is shown of training scans.

    Parameters
    ----------
    bands : Tensor, shape (E, N, S, X, Y, Z)
        The scale space of the N scans of each of E sets, one contrast.
    labelings : Tensor, shape (E, L, N)
        0 or 1.
    mask : Tensor, shape (X, Y, Z)
        1 inside the brain, else 0; the same for all sets.
    """
    inside = mask.bool()
    n_labelings, n = labelings.shape[1:]
    count = torch.stack([labelings.sum(-1), n - labelings.sum(-1)]).to(bands.dtype)  # (2, E, L)
    by_chance = (2 / count).sum(0).sqrt()[..., None]
    whitened, white_t, plain_t, channels = [], [], [], []
    for band in bands.unbind(2):
        one = whiten(band[:, :, inside])
        t, _ = group_t(one.white, labelings)
        plain, ratio = group_t(one.plain, labelings)
        whitened.append(one)
        white_t.append(t)
        plain_t.append(plain)
        ratio = ratio / by_chance
        channels += [t * T_UNIT, plain * T_UNIT, ratio * T_UNIT, t**3 * CUBE_UNIT]
    sd = whitened[0].sd
    middle = sd.median(-1, keepdim=True).values.clamp(min=1e-12)
    log_sd = (sd / middle).clamp(min=SD_FLOOR).log()[:, None].expand(-1, n_labelings, -1)
    channels += [log_sd, torch.ones_like(log_sd), torch.ones_like(log_sd) * (n / 56) ** 0.5]
    values = torch.stack(channels, 2)  # (E, L, channels, V)
    maps = values.new_zeros(*values.shape[:3], *mask.shape)
    maps[..., inside] = values
    return Support(maps, torch.stack(white_t, 2), torch.stack(plain_t, 2), whitened)


class SignatureCnn(nn.Module):
    """Turns statistics of training cohorts into weights of voxels.

    With a new network it gives what the closed form gives, third powers of whitened t-values; what
    is learned is added to that.

    Parameters
    ----------
    backbone : Module
        From (B, channels in, X, Y, Z) to (B, `features`, X, Y, Z), without normalisation, which
        would take away how large t-values are.
    n_bands : int
    features : int
        Channels out of `backbone`.
    """

    def __init__(self, backbone: nn.Module, n_bands: int, features: int) -> None:
        super().__init__()
        self.backbone, self.n_bands = backbone, n_bands
        self.last = nn.Conv3d(features, n_bands * N_LEARNED, 1)
        # of each band: third power and first of whitened and of plain t, whitened, plain
        first = nn.Linear(n_bands * 2 * N_MOMENTS + features + 1, 48)
        mixed = nn.Linear(48, n_bands * 6)
        self.mixture = nn.Sequential(first, nn.ReLU(), mixed)
        for weight in (*self.last.parameters(), *mixed.parameters()):
            nn.init.zeros_(weight)
        start = torch.tensor([0.54, -4.0, 0.54, -4.0, 0.54, -3.0]).repeat(n_bands)
        self.register_buffer("start", start)

    def forward(self, support: Support, mask: torch.Tensor) -> torch.Tensor:
        """Write signatures: (E, L) cohorts to weights of their bands, (E, L, S, V)."""
        features = self.backbone(support.maps.flatten(0, 1)).float()
        with torch.autocast(features.device.type, enabled=False):  # small sums of large numbers
            return self._weigh(features, support, mask)

    def _weigh(self, features: torch.Tensor, support: Support, mask: torch.Tensor) -> torch.Tensor:
        sets, n_labelings = support.maps.shape[:2]
        inside = mask.bool()
        learned = self.last(features)[..., inside]
        learned = learned.view(sets, n_labelings, self.n_bands, N_LEARNED, -1)
        pooled = features[..., inside].mean(-1).view(sets, n_labelings, -1)
        moments = [
            moment
            for t in (support.white_t, support.plain_t)
            for moment in (
                t.square().mean(-1).log(),
                t.abs().amax(-1) * 0.2,
                (t**4).mean(-1).log() * 0.5 - t.square().mean(-1).log(),
                (t.mean(-1).square() + 1e-3).log() * 0.3,
            )
        ]
        count = support.maps.new_full(
            (sets, n_labelings, 1), (support.bands[0].plain.shape[1] / 56) ** 0.5
        )
        summary = torch.cat([*moments, pooled, count], -1)
        mixture = softplus(self.mixture(summary) + self.start)
        mixture = mixture.view(sets, n_labelings, self.n_bands, 6, 1)
        cube, line, plain_cube, plain_line, white, plain = mixture.unbind(3)
        o = learned.unbind(3)
        weights = []
        for t, third, first, own in (
            (support.white_t, cube, line, o[:4]),
            (support.plain_t, plain_cube, plain_line, o[4:]),
        ):
            weight = (
                t**3 * CUBE_UNIT * third * softplus(own[0] + 0.54)
                + t * T_UNIT * first * softplus(own[1] + 0.54)
                + t.abs() * T_UNIT * own[2]
                + own[3]
            )
            norm = torch.linalg.vector_norm(weight, dim=-1, keepdim=True).clamp(min=1e-6)
            weights.append(weight / norm)
        total = []
        for number, band in enumerate(support.bands):
            from_white = band.unwhitened(weights[0][:, :, number])
            from_plain = weights[1][:, :, number] * band.scale[:, None]
            total.append(from_white * white[:, :, number] + from_plain * plain[:, :, number])
        return torch.stack(total, 2)


def pool(image: torch.Tensor, mask: torch.Tensor, factor: int) -> torch.Tensor:
    """Average voxels inside the mask over blocks: (..., X, Y, Z) to (..., X', Y', Z')."""
    lead, shape = image.shape[:-3], image.shape[-3:]
    filled = [-size % factor for size in shape]
    padding = (0, filled[2], 0, filled[1], 0, filled[0])

    def averaged(values: torch.Tensor) -> torch.Tensor:
        return avg_pool3d(pad(values, padding)[:, None], factor)[:, 0]

    covered = averaged(mask[None])
    coarse = averaged((image * mask).flatten(0, -4))
    is_in = covered >= 0.5
    coarse = torch.where(is_in, coarse / covered.clamp(min=1e-6), 0)
    more = [-size % MULTIPLE for size in coarse.shape[-3:]]
    coarse = pad(coarse, (0, more[2], 0, more[1], 0, more[0]))
    return coarse.view(*lead, *coarse.shape[-3:])


def coarse_space(
    mask: torch.Tensor, bands_mm: Bands = BANDS_MM, voxel_size_mm: float = GRID_MM
) -> ScaleSpace:
    """Build the scale space of the CNN's grid, (X, Y, Z), with the voxels of a mask."""
    x, y, z = mask.shape
    with mask.device:
        space = ScaleSpace((1, x, y, z), bands_mm, voxel_size_mm)
    space.mask.copy_(mask)
    return space
