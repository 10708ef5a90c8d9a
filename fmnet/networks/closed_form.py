"""The default network: a scale space, and paths that start from what the training scans show."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Ge, MinLen
from torch import nn

from fmnet.errors import ConfigError, Fault
from fmnet.networks.backbones import InputShape, ScoreNetwork, StartingBackbone
from fmnet.networks.paths import CHANNELS, PAIRS, PairPath, Path, PlacePath
from fmnet.networks.scale_space import ScaleSpace
from fmnet.types import Bands, NonNegative, Positive

PathName = Literal["places", "whole", "channels", "pairs"]

#: What a path must show on people left out before it counts, in standard errors of what it shows.
#: The difference of the means of ``n_1`` and ``n_0`` people, in standard deviations within groups,
#: has the variance ``1 / n_1 + 1 / n_0`` where there is none: with equal groups a standard error of
#: ``2 / sqrt(n)``. Were scores independent, a path that shows nothing would count in one start
#: of six whatever ``n`` is; as people left out share what scores them, it does so in one of five.
LEAST_SEPARATION = 1.0
#: What the first path counts at least, so that there is always a score.
LEAST_GATE = 0.05
#: Scans that go through the scale space at once.
BATCH = 16


class PathSum(StartingBackbone):
    """Add up the scores of several paths, each as far as it proved itself on people left out.

    Parameters
    ----------
    stem : ScaleSpace
        Filters scans.
    paths : dict of Path
        By name. The first counts a little whatever it has shown.
    """

    share: torch.Tensor

    def __init__(self, stem: ScaleSpace, paths: Mapping[str, Path]) -> None:
        super().__init__()
        self.stem = stem
        self.paths = nn.ModuleDict(dict(paths))
        self.gate = nn.Parameter(torch.ones(len(paths)))
        self.bias = nn.Parameter(torch.zeros(()))
        self.register_buffer("share", torch.full((len(paths),), 1 / len(paths)))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Score prepared scans: (B, C, X, Y, Z) to (B, 1)."""
        score: torch.Tensor = self._scores(self.stem(image)) @ self.gate + self.bias
        return score[:, None]

    def _scores(self, bands: torch.Tensor) -> torch.Tensor:
        """Score scans by each path: (B, S, C, X, Y, Z) to (B, P)."""
        return torch.stack([path(bands) for path in self.paths.values()], dim=1)

    @torch.no_grad()
    def start(self, images: torch.Tensor, labels: torch.Tensor, parts: torch.Tensor) -> None:
        """Start every path, and let people left out say what each is worth.

        See `StartingBackbone.start`; with one part alone only the first path counts.
        """
        mask = (images != 0).any(0).any(0).float()
        self.stem.mask.copy_(mask)
        bands = torch.cat([self.stem(some) for some in torch.split(images, BATCH)])
        numbers = torch.unique(parts)
        if len(numbers) > 1:
            unseen = torch.zeros(len(images), len(self.paths))
            for number in numbers:
                held_out = parts == number
                self._start_paths(bands[~held_out], labels[~held_out], mask)
                unseen[held_out] = self._scores(bands[held_out])
            self._set_gates(unseen, labels)
        else:  # too few people to leave any out
            self.share.copy_(torch.eye(len(self.paths))[0])
            self.gate.copy_(self.share)
            self.bias.zero_()
        self._start_paths(bands, labels, mask)

    def _start_paths(self, bands: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> None:
        for path in self.paths.values():
            assert isinstance(path, Path)
            path.start(bands, labels, mask)

    def _set_gates(self, unseen: torch.Tensor, labels: torch.Tensor) -> None:
        """Set gates and bias from the scores, (N, P), that people got who had been left out.

        Scores come out in standard deviations within groups; calibration makes probabilities of
        them.
        """
        one, other = unseen[labels == 1], unseen[labels == 0]
        spread = ((one.var(0) + other.var(0)) / 2).sqrt().clamp(min=1e-6)
        separation = (one.mean(0) - other.mean(0)) / spread
        error = (1 / len(one) + 1 / len(other)) ** 0.5
        worth = (separation - LEAST_SEPARATION * error).clamp(min=0)
        worth[0] = worth[0].clamp(min=LEAST_GATE)
        self.share.copy_(worth / worth.sum())
        self.gate.copy_(self.share / spread)
        middle = (one.mean(0) + other.mean(0)) / 2
        self.bias.copy_(-middle @ self.gate)


def path_shares(network: ScoreNetwork) -> dict[str, float]:
    """Say what share of the score each path was given; empty for a network without paths.

    Paths may lie deeper in a network, as where they follow a stem.
    """
    for part in network.modules():
        if isinstance(part, PathSum):
            return dict(zip(part.paths, part.share.tolist(), strict=True))
    return {}


def build_scale_space(
    input_shape: InputShape,
    voxel_size_mm: Positive = 4.0,
    bands_mm: Bands = ((8.0, 24.0), (12.0, 32.0), (16.0, 48.0)),
    paths: Annotated[Sequence[PathName], MinLen(1)] = ("places", "whole", "channels", "pairs"),
    power: Annotated[float, Ge(1)] = 3.0,
    whitening: NonNegative = 10.0,
) -> ScoreNetwork:
    """Build a scale space and the paths from it to a score, which start from the training scans.

    Parameters
    ----------
    input_shape : tuple of int
        (C, X, Y, Z).
    voxel_size_mm : float
        Edge length of a voxel.
    bands_mm : sequence of (float, float)
        Full widths at half maximum of the two Gaussians of each band; scans should come without
        further smoothing. Pairs are looked for in all bands but the last.
    paths : sequence of {"places", "whole", "channels", "pairs"}
        A weight for every voxel, chosen for few and focal differences; the same for differences all
        over the brain, without whitening and with a power of 1; products of contrasts at one place,
        where there are several contrasts; products of any two places.
    power : float
        1: all places count, as for a linear support vector machine; larger: the few with the best
        evidence do. See `fmnet.networks.feature_weighting.weigh`.
    whitening : float
        How much less broad patterns count in which all people differ; 0 for no less. See
        `fmnet.networks.feature_weighting.fit_whitening`.

    Raises
    ------
    ConfigError
        If a band's first width is not the smaller one, or no path is left.
    """
    _check_bands(bands_mm)
    pair_bands = tuple(range(len(bands_mm)))[:-1] or (0,)
    built: dict[str, Path] = {}
    for name in dict.fromkeys(paths):
        if name == "places":
            built[name] = PlacePath(input_shape, len(bands_mm), power, whitening)
        elif name == "whole":
            built[name] = PlacePath(input_shape, len(bands_mm), 1, 0)
        elif name == "pairs" or input_shape[0] > 1:
            form = CHANNELS if name == "channels" else PAIRS
            built[name] = PairPath(input_shape, pair_bands, form, voxel_size_mm, whitening)
    if not built:
        accepted = "'places', 'whole' or 'pairs', which one contrast has as well"
        found = "only 'channels' with a single contrast"
        action = "set network.paths=[places,whole,channels,pairs]"
        raise ConfigError(Fault("network.paths", found, accepted, action))
    return ScoreNetwork(PathSum(ScaleSpace(input_shape, bands_mm, voxel_size_mm), built))


def _check_bands(bands_mm: Bands) -> None:
    wrong = [band for band in bands_mm if not band[0] < band[1]]
    if wrong:
        found = ", ".join(f"[{narrow:g}, {broad:g}]" for narrow, broad in wrong)
        accepted = "the narrower width first, and a broader one"
        raise ConfigError(Fault("network.bands_mm", found, accepted, "swap or change them"))
