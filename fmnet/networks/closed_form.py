"""The default network: paths from a scan to a score, fitted without a gradient step.

Input shapes are (C, X, Y, Z). A pretrained CNN writes the weights of one path, those of the others
have a closed form. All is fitted on training scans alone: weights from group differences by voxel,
and how much each path counts from participants who were left out of its fit.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, MinLen
from torch import nn

from fmnet.errors import ConfigError, Fault
from fmnet.networks.backbones import (
    ClosedFormBackbone,
    InputShape,
    ScoreNetwork,
    mean_gradient,
)
from fmnet.networks.feature_weighting import (
    fit_scan_whitening,
    t_values,
    weigh,
)
from fmnet.networks.fine_path import FinePath
from fmnet.networks.labelings import read_labelings, scores_of_features, weights_of_features
from fmnet.networks.paths import Path, Views, take_inside
from fmnet.networks.prior_path import AdaptedPath, PriorPath
from fmnet.networks.product_path import CONTRAST_PRODUCTS, VOXEL_PAIRS, ProductPath
from fmnet.networks.scale_space import ScaleSpace
from fmnet.types import Bands, Count, NonNegative, Positive

PathName = Literal[
    "prior", "adapted", "focal", "distributed", "fine", "contrast_products", "voxel_pairs"
]

#: What a path must show on participants left out before it counts, in standard errors of it.
#: The difference of the means of ``n_1`` and ``n_0`` participants, in standard deviations within
#: groups, has the variance ``1 / n_1 + 1 / n_0`` where there is none: with equal groups a standard
#: error of ``2 / sqrt(n)``. Were scores independent, a path that shows nothing would count in one
#: fit of six whatever ``n`` is; as one fit scores many participants, it does in one of five.
LEAST_SEPARATION = 1.0
#: What the first path is taken to have shown at least. It is trusted beforehand, so that what it
#: shows counts from the first bit on.
LEAST_SHOWN = 0.05
#: A path counts by this power of what it has shown: those that are far better than the others are
#: left nearly alone, those that are about as good share the score.
PATH_POWER = 3
#: Scans that go through the scale space at once.
BATCH = 16


class VoxelPath(Path):
    """Weigh every voxel of every band: a linear map, which keeps location.

    Parameters
    ----------
    power : float
        How much is left to the voxels with the largest t-values, see `weigh`.
    whitening : float
        Strength, see `fit_whitening`.
    """

    is_linear = True

    def __init__(
        self, input_shape: InputShape, n_bands: int, power: float, whitening: float
    ) -> None:
        super().__init__()
        self.power, self.whitening = power, whitening
        self.weight = nn.Parameter(torch.zeros(n_bands, *input_shape))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, views: Views) -> torch.Tensor:
        """Score scans. See `Path.forward`."""
        return views.bands.flatten(1) @ self.weight.flatten() + self.bias

    @torch.no_grad()
    def fit(self, views: Views, labels: torch.Tensor, mask: torch.Tensor) -> None:
        """Weigh voxels by their t-values; no weight outside the mask. See `Path.fit`."""
        bands = views.bands
        inside = mask.bool().expand(bands.shape[2:])
        self.weight.zero_()
        self.bias.zero_()
        for band, weight in enumerate(self.weight):
            whitening, z = fit_scan_whitening(views.features(band, mask), self.whitening)
            weight[inside] = raw = whitening.unwhitened(
                weigh(t_values(z, labels), self.power) / bands.shape[1]
            )
            self.bias.sub_(whitening.mean @ raw)

    @torch.no_grad()
    def scores_of_labelings(
        self, train: Views, labelings: torch.Tensor, mask: torch.Tensor, unseen: Views
    ) -> torch.Tensor:
        """Whiten once for all labelings. See `Path.scores_of_labelings`."""
        read = read_labelings(labelings)
        scores = []
        for band in range(train.bands.shape[1]):
            whitening, z = fit_scan_whitening(train.features(band, mask), self.whitening)
            new = whitening(unseen.features(band, mask))
            scores.append(scores_of_features(z, read, new, self.power))
        return torch.stack(scores).mean(0)

    @torch.no_grad()
    def weights_of_labelings(
        self, train: Views, labelings: torch.Tensor, mask: torch.Tensor, stem: ScaleSpace
    ) -> torch.Tensor:
        """Whiten once for all labelings. See `Path.weights_of_labelings`."""
        read, inside = read_labelings(labelings), mask.bool()
        n_bands, n_channels = train.bands.shape[1:3]
        total = train.image.new_zeros(len(labelings), n_channels, int(inside.sum()))
        for band in range(n_bands):
            whitening, z = fit_scan_whitening(train.features(band, mask), self.whitening)
            of_band = whitening.unwhitened(weights_of_features(z, read, self.power) / n_bands)
            for start in range(0, len(labelings), BATCH):
                own = of_band[start : start + BATCH].view(-1, n_channels, total.shape[2])
                on_grid = own.new_zeros(*own.shape[:2], *mask.shape)
                on_grid[..., inside] = own
                total[start : start + BATCH] += stem.weights_of_image(on_grid, band)[..., inside]
        return total


class PathSum(ClosedFormBackbone):
    """Add up the scores of several paths, each by how well it told the groups left out apart.

    Parameters
    ----------
    stem : ScaleSpace
        Filters scans.
    paths : dict of Path
        By name. The first counts a little whatever it has shown.
    """

    fraction: torch.Tensor

    def __init__(self, stem: ScaleSpace, paths: Mapping[str, Path]) -> None:
        super().__init__()
        self.stem = stem
        self.paths = nn.ModuleDict(dict(paths))
        self.gate = nn.Parameter(torch.ones(len(paths)))
        self.bias = nn.Parameter(torch.zeros(()))
        self.register_buffer("fraction", torch.full((len(paths),), 1 / len(paths)))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Score prepared scans: (B, C, X, Y, Z) to (B, 1)."""
        score: torch.Tensor = self._scores(Views(image, self.stem(image))) @ self.gate + self.bias
        return score[:, None]

    def check(self, input_shape: InputShape) -> None:
        """See `ClosedFormBackbone.check`."""
        for path in self.paths.values():
            assert isinstance(path, Path)
            path.check(input_shape)

    def _scores(self, views: Views) -> torch.Tensor:
        """Score scans by each path: B of them to (B, P)."""
        return torch.stack([path(views) for path in self.paths.values()], dim=1)

    @torch.no_grad()
    def fit(self, images: torch.Tensor, labels: torch.Tensor, folds: torch.Tensor) -> None:
        """Fit every path, and weigh the paths by what they show on participants left out.

        See `ClosedFormBackbone.fit`; with one fold alone only the first path counts.
        """
        mask = self._prepare(images)
        views = self._views(images, mask)
        numbers = torch.unique(folds)
        if len(numbers) > 1:
            unseen = images.new_zeros(len(images), len(self.paths))
            for number in numbers:
                held_out = folds == number
                self._fit_paths(views.rows(~held_out), labels[~held_out], mask)
                unseen[held_out] = self._scores(views.rows(held_out))
            for own, value in zip(
                (self.fraction, self.gate, self.bias), weigh_paths(unseen, labels), strict=True
            ):
                own.copy_(value)
        else:  # too few participants to leave any out
            self.fraction.copy_(torch.arange(len(self.paths), device=images.device) == 0)
            self.gate.copy_(self.fraction)
            self.bias.zero_()
        self._fit_paths(views, labels, mask)

    @torch.no_grad()
    def scores_of_labelings(
        self,
        train: torch.Tensor,
        labelings: torch.Tensor,
        folds: torch.Tensor,
        unseen: torch.Tensor,
    ) -> torch.Tensor:
        """Filter and whiten once for all. See `ClosedFormBackbone.scores_of_labelings`."""
        mask = self._prepare(train)
        views, others = self._views(train, mask), self._views(unseen, mask)
        scores = self._path_scores(views, labelings, mask, others)
        _, gate, bias = self._weigh_labelings(views, labelings, folds, mask)
        return (scores @ gate[..., None])[..., 0] + bias[:, None]

    @property
    def linear_paths(self) -> dict[int, Path]:
        """The paths whose scores are weighted sums of voxels, by their numbers."""
        paths = enumerate(self.paths.values())
        return {n: path for n, path in paths if isinstance(path, Path) and path.is_linear}

    def linear_scores(self, image: torch.Tensor) -> torch.Tensor:
        """Score prepared scans by the linear paths alone: (B, C, X, Y, Z) to (B,)."""
        views, score = Views(image, self.stem(image)), image.new_zeros(len(image)) + self.bias
        for number, path in self.linear_paths.items():
            score = score + path(views) * self.gate[number]
        return score

    def voxel_weights(self, images: torch.Tensor) -> torch.Tensor | None:
        """Weigh voxels as the linear paths do. See `ClosedFormBackbone.voxel_weights`."""
        if not self.linear_paths:
            return None
        return mean_gradient(self.linear_scores, torch.zeros_like(images[:1]))

    @torch.no_grad()
    def weights_of_labelings(
        self,
        train: torch.Tensor,
        labelings: torch.Tensor,
        folds: torch.Tensor,
        inside: torch.Tensor,
    ) -> torch.Tensor | None:
        """Filter and whiten once for all. See `ClosedFormBackbone.weights_of_labelings`."""
        if not self.linear_paths:
            return None
        mask = self._prepare(train)
        views = self._views(train, mask)
        _, gate, _ = self._weigh_labelings(views, labelings, folds, mask)
        weights = train.new_zeros(len(labelings), train.shape[1], int(inside.sum()))
        used, kept = mask.bool()[inside].nonzero()[:, 0], inside[mask.bool()]
        for number, path in self.linear_paths.items():
            own = path.weights_of_labelings(views, labelings, mask, self.stem)
            weights.index_add_(2, used, own[..., kept] * gate[:, number, None, None])
        return weights

    def _weigh_labelings(
        self, views: Views, labelings: torch.Tensor, folds: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Weigh paths under each labeling as `fit` does: what `weigh_paths` gives."""
        numbers, n_paths = torch.unique(folds), len(self.paths)
        if len(numbers) < 2:
            first = (torch.arange(n_paths, device=labelings.device) == 0).to(views.image.dtype)
            alone = first.expand(len(labelings), -1)
            return alone, alone, torch.zeros_like(alone[:, 0])
        left_out = views.image.new_zeros(*labelings.shape, n_paths)
        for number in numbers:
            held_out = folds == number
            learned, labels = views.rows(~held_out), labelings[:, ~held_out]
            left_out[:, held_out] = self._path_scores(learned, labels, mask, views.rows(held_out))
        return weigh_paths(left_out, labelings)

    def _path_scores(
        self, train: Views, labelings: torch.Tensor, mask: torch.Tensor, unseen: Views
    ) -> torch.Tensor:
        """Score scans by each path under each labeling: (L, M, P)."""
        paths = [path for path in self.paths.values() if isinstance(path, Path)]
        scores = [path.scores_of_labelings(train, labelings, mask, unseen) for path in paths]
        return torch.stack(scores, dim=-1)

    def _prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Take from training scans what needs no labels: the mask, and what paths make of them."""
        mask = (images != 0).any(0).any(0).float()
        self.stem.mask.copy_(mask)
        for path in self.paths.values():
            assert isinstance(path, Path)
            path.prepare(images, mask)
        return mask

    def _views(self, images: torch.Tensor, mask: torch.Tensor) -> Views:
        inside, bands, features = mask.bool().expand(images.shape[1:]), [], []
        for some in torch.split(images, BATCH):
            bands.append(filtered := self.stem(some))
            each = take_inside(filtered.flatten(0, 1), inside)
            features.append(each.view(*filtered.shape[:2], -1))
        paths = [path for path in self.paths.values() if isinstance(path, Path)]
        looks = (path.look(images, mask) for path in paths)
        own = next((one for one in looks if one is not None), None)
        return Views(images, torch.cat(bands), own, torch.cat(features))

    def _fit_paths(self, views: Views, labels: torch.Tensor, mask: torch.Tensor) -> None:
        for path in self.paths.values():
            assert isinstance(path, Path)
            path.fit(views, labels, mask)


def weigh_paths(
    unseen: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weigh paths by how well they told apart participants who had been left out.

    The first is the one to fall back on: it always counts, the others do where they have shown more
    than chance would.

    Parameters
    ----------
    unseen : Tensor, shape (..., N, P)
        Scores of the participants by each path.
    labels : Tensor, shape (..., N)
        0 or 1.

    Returns
    -------
    tuple of Tensor, shapes (..., P), (..., P) and (...)
        Fraction of the summed score, which is in standard deviations within groups, that each path
        has; its factor; and what is added to the sum.
    """
    means, squares, counts = [], [], []
    for value in (1, 0):
        own = (labels == value).to(unseen.dtype)[..., None]
        counts.append(count := own.sum(-2))
        means.append(mean := (unseen * own).sum(-2) / count)
        away = (unseen - mean[..., None, :]) * own
        squares.append(away.square().sum(-2) / (count - 1))
    sd = ((squares[0] + squares[1]) / 2).sqrt().clamp(min=1e-6)
    separation = (means[0] - means[1]) / sd
    error = (1 / counts[0] + 1 / counts[1]).sqrt()
    first = separation[..., :1].clamp(min=LEAST_SHOWN)
    others = (separation[..., 1:] - LEAST_SEPARATION * error).clamp(min=0)
    worth = torch.cat([first, others], dim=-1) ** PATH_POWER
    fraction = worth / worth.sum(-1, keepdim=True)
    gate = fraction / sd
    bias = -((means[0] + means[1]) / 2 * gate).sum(-1)
    return fraction, gate, bias


def path_fractions(network: ScoreNetwork) -> dict[str, float]:
    """Say which fraction of the score each path was given; empty for a network without paths."""
    for module in network.modules():
        if isinstance(module, PathSum):
            return dict(zip(module.paths, module.fraction.tolist(), strict=True))
    return {}


def pretraining_of(network: ScoreNetwork) -> dict[str, Any]:
    """Say which pretrained CNN wrote a part of a network, see `fmnet.networks.prior_path.facts_of`.

    Where it was trained on with the training scans, ``adapted_steps`` has the numbers of steps.
    Empty for a network without such a part, and for one that wasn't fitted in this process.
    """
    paths = [module for module in network.modules() if isinstance(module, PriorPath)]
    if not paths or not (found := dict(paths[0].written_by)):
        return {}
    steps = [path.n_steps for path in paths if isinstance(path, AdaptedPath)]
    return found | ({"adapted_steps": steps} if steps else {})


def build_scale_space(
    input_shape: InputShape,
    voxel_size_mm: Positive = 4.0,
    bands_mm: Bands = ((8.0, 24.0), (12.0, 32.0), (16.0, 48.0)),
    paths: Annotated[Sequence[PathName], MinLen(1)] = (
        "focal", "distributed", "contrast_products", "voxel_pairs",
    ),
    power: Annotated[float, Ge(1)] = 3.0,
    whitening: NonNegative = 10.0,
    weights: str | None = None,
    adaptation_steps: Annotated[Sequence[Count], MinLen(1)] = (100,),
    adaptation_rate: Positive = 2e-4,
) -> ScoreNetwork:  # fmt: skip
    """Build a scale space and the paths from it to a score, fitted in closed form.

    Parameters
    ----------
    voxel_size_mm : float
        Edge length of a voxel.
    bands_mm : sequence of (float, float)
        Full widths at half maximum of the two Gaussians of each band; scans should come without
        further smoothing. Products are looked for in all bands but the last.
    paths : sequence of str
        ``prior``: what a pretrained CNN writes, see `PriorPath`; ``adapted``: what it writes after
        further training on the training scans, see `AdaptedPath`; ``focal``: a weight for every
        voxel of every band, for few and focal differences; ``distributed``: the same for
        differences all over the brain, without whitening and with a power of 1; ``fine``: the same
        at the voxels' own resolution, see `FinePath`; ``contrast_products``: products of contrasts
        at one voxel, where there are several contrasts; ``voxel_pairs``: of any two voxels.
    power : float
        1: all voxels count, as for a linear support vector machine; larger: the few with the
        largest t-values do. See `fmnet.networks.feature_weighting.weigh`.
    whitening : float
        How much less broad patterns count in which all participants differ; 0 for no less. See
        `fmnet.networks.feature_weighting.fit_whitening`.
    weights : str, optional
        File of the pretrained CNN; the one that fmnet brings along if there is none.
    adaptation_steps : sequence of int
        Numbers of steps of that further training; each has a path of its own, ``adapted_STEPS``.
    adaptation_rate : float
        Its largest learning rate.

    Raises
    ------
    ConfigError
        If a band's first width is not the smaller one, or no path is left.
    """
    _check_bands(bands_mm)
    product_bands = tuple(range(len(bands_mm)))[:-1] or (0,)
    built: dict[str, Path] = {}
    for name in dict.fromkeys(paths):
        if name == "focal":
            built[name] = VoxelPath(input_shape, len(bands_mm), power, whitening)
        elif name == "distributed":
            built[name] = VoxelPath(input_shape, len(bands_mm), 1, 0)
        elif name == "prior":
            built[name] = PriorPath(input_shape, voxel_size_mm, weights)
        elif name == "adapted":
            settings = (input_shape, voxel_size_mm, weights)
            built |= {
                f"adapted_{n}": AdaptedPath(*settings, n, adaptation_rate) for n in adaptation_steps
            }
        elif name == "fine":
            built[name] = FinePath(input_shape)
        elif name == "voxel_pairs" or input_shape[0] > 1:
            form = VOXEL_PAIRS if name == "voxel_pairs" else CONTRAST_PRODUCTS
            built[name] = ProductPath(input_shape, product_bands, form, voxel_size_mm, whitening)
    if not built:
        accepted = "'focal', 'distributed', 'fine' or 'voxel_pairs', as one contrast has them too"
        found = "only 'contrast_products' with a single contrast"
        action = "set network.paths=[focal,distributed,contrast_products,voxel_pairs]"
        raise ConfigError(Fault("network.paths", found, accepted, action))
    return ScoreNetwork(PathSum(ScaleSpace(input_shape, bands_mm, voxel_size_mm), built))


def _check_bands(bands_mm: Bands) -> None:
    if wrong := [band for band in bands_mm if not band[0] < band[1]]:
        found = ", ".join(f"[{narrow:g}, {broad:g}]" for narrow, broad in wrong)
        accepted = "the narrower width first, and a broader one"
        raise ConfigError(Fault("network.bands_mm", found, accepted, "swap or change them"))


def build_prior_cnn(
    input_shape: InputShape,
    voxel_size_mm: Positive = 4.0,
    weights: str | None = None,
    bands_mm: Bands = ((8.0, 24.0), (12.0, 32.0), (16.0, 48.0)),
    paths: Annotated[Sequence[PathName], MinLen(1)] = (
        "prior", "fine", "focal", "distributed", "contrast_products", "voxel_pairs",
    ),
    power: Annotated[float, Ge(1)] = 3.0,
    whitening: NonNegative = 10.0,
    adaptation_steps: Annotated[Sequence[Count], MinLen(1)] = (100,),
    adaptation_rate: Positive = 2e-4,
) -> ScoreNetwork:  # fmt: skip
    """Build a signature that a pretrained CNN writes, and the paths of `build_scale_space` beside.

    Parameters
    ----------
    voxel_size_mm, weights, bands_mm, paths, power, whitening, adaptation_steps, adaptation_rate
        See `build_scale_space`.

    Raises
    ------
    ConfigError
        As there.
    """
    return build_scale_space(
        input_shape, voxel_size_mm, bands_mm, paths, power, whitening, weights, adaptation_steps,
        adaptation_rate,
    )  # fmt: skip
