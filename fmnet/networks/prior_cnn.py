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

from fmnet.networks.feature_weighting import (
    SD_FLOOR,
    VARIANCE_FLOOR,
    ScanWhitening,
    fit_scan_whitening,
)
from fmnet.networks.labelings import read_labelings
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


class Support(NamedTuple):
    """What the network is shown of training cohorts: (E, L) of them on a grid.

    ``maps`` are its input, (E, L, channels, X, Y, Z); ``white_t`` and ``plain_t`` the t-values of
    the voxels inside the mask, (E, L, S, V); ``whitening``, of each band and set, takes weights
    back to the band's voxels.
    """

    maps: torch.Tensor
    white_t: torch.Tensor
    plain_t: torch.Tensor
    whitening: list[list[ScanWhitening]]


def support_statistics(bands: torch.Tensor, labelings: torch.Tensor, mask: torch.Tensor) -> Support:
    """Compute what the network is shown of training scans.

    Parameters
    ----------
    bands : Tensor, shape (E, N, S, X, Y, Z)
        The scale space of the N scans of each of E sets, one contrast.
    labelings : Tensor, shape (E, L, N)
        0 or 1, or numeric responses.
    mask : Tensor, shape (X, Y, Z)
        1 inside the brain, else 0; the same for all sets.
    """
    inside = mask.bool()
    n_labelings, n = labelings.shape[1:]
    read = [read_labelings(own) for own in labelings]
    whitening, white_t, plain_t, channels = [], [], [], []
    for band in bands.unbind(2):
        fits = [fit_scan_whitening(features, WHITENING) for features in band[:, :, inside]]
        whitening.append([one for one, _ in fits])
        pairs = list(zip(read, fits, strict=True))
        white_t.append(torch.stack([own.t_values(z) for own, (_, z) in pairs]))
        plain_t.append(torch.stack([own.t_values(one.plain) for own, (one, _) in pairs]))
        plain = torch.stack([one.plain for one, _ in fits])
        ratio = log_variance_ratio(plain, labelings) * T_UNIT
        t = white_t[-1]
        channels += [t * T_UNIT, plain_t[-1] * T_UNIT, ratio, t**3 * CUBE_UNIT]
    sd = bands[:, :, 0, inside].var(1, correction=0).sqrt()
    # the lower median; by sorting, since CUDA's own gives a warning for each fold
    at = (sd.shape[-1] - 1) // 2
    middle = sd.sort(-1).values[..., at : at + 1].clamp(min=1e-12)
    log_sd = (sd / middle).clamp(min=SD_FLOOR).log()[:, None].expand(-1, n_labelings, -1)
    channels += [log_sd, torch.ones_like(log_sd), torch.ones_like(log_sd) * (n / 56) ** 0.5]
    values = torch.stack(channels, 2)  # (E, L, channels, V)
    maps = values.new_zeros(*values.shape[:3], *mask.shape)
    maps[..., inside] = values
    return Support(maps, torch.stack(white_t, 2), torch.stack(plain_t, 2), whitening)


def log_variance_ratio(features: torch.Tensor, labelings: torch.Tensor) -> torch.Tensor:
    """Compare variances: log of one group's over the other's, in units of what it is by chance.

    Of standardised features, (E, N, V), under labelings of 0 and 1, (E, L, N): (E, L, V). 0 for
    numeric responses, which have no two groups.
    """
    if labelings.is_floating_point():
        return features.new_zeros(*labelings.shape[:2], features.shape[2])
    logs, by_chance = [], features.new_zeros(())
    squares = features.square()
    for member in (labelings.to(features.dtype), 1 - labelings.to(features.dtype)):
        n = member.sum(-1, keepdim=True)
        variance = member @ squares / n - (member @ features / n).square()
        logs.append((variance.clamp(min=0) + VARIANCE_FLOOR).log())
        by_chance = by_chance + 2 / n
    return (logs[0] - logs[1]) / by_chance.sqrt()


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
                _log_mean(t.square()),
                t.abs().amax(-1) * 0.2,
                _log_mean(t**4) * 0.5 - _log_mean(t.square()),
                (t.mean(-1).square() + 1e-3).log() * 0.3,
            )
        ]
        n = len(support.whitening[0][0].plain)
        count = support.maps.new_full((sets, n_labelings, 1), (n / 56) ** 0.5)
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
        for number, fits in enumerate(support.whitening):
            from_white, from_plain = (own[:, :, number] for own in weights)
            pairs = list(zip(fits, from_white, from_plain, strict=True))
            from_white = torch.stack([one.unwhitened(own) for one, own, _ in pairs])
            from_plain = torch.stack([own * one.scale for one, _, own in pairs])
            total.append(from_white * white[:, :, number] + from_plain * plain[:, :, number])
        return torch.stack(total, 2)


def _log_mean(values: torch.Tensor) -> torch.Tensor:
    """Average over voxels, of which a tiny grid may have none that varies, and take the log."""
    return values.mean(-1).clamp(min=1e-12).log()


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
