"""The default network: paths from a scan to a score, fitted without a gradient step.

Input shapes are (C, X, Y, Z). A pretrained CNN writes the weights of one path, those of the others
have a closed form. All is fitted on training scans alone: weights from group differences by voxel,
and how much each path counts from participants who were left out of its fit.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, MinLen
from torch import nn

from fmnet.errors import ConfigError, Fault
from fmnet.networks.backbones import InputShape, ScoreNetwork, count_outputs
from fmnet.networks.feature_weighting import fit_scan_whitening, t_values, weigh
from fmnet.networks.fine_path import FinePath
from fmnet.networks.heads import Head
from fmnet.networks.labelings import read_labelings, scores_of_features, weights_of_features
from fmnet.networks.path_sums import PathSum
from fmnet.networks.paths import BATCH, Path, Views
from fmnet.networks.prior_path import AdaptedPath, PriorPath
from fmnet.networks.product_path import CONTRAST_PRODUCTS, VOXEL_PAIRS, ProductPath
from fmnet.networks.scale_space import ScaleSpace
from fmnet.types import Bands, Count, NonNegative, Positive

PathName = Literal[
    "prior", "adapted", "focal", "distributed", "fine", "contrast_products", "voxel_pairs"
]


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
    head: Head | None = None,
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
    head : Head, optional
        What the scores are for, see `ScoreNetwork`; each has paths of its own.

    Raises
    ------
    ConfigError
        If a band's first width is not the smaller one, or no path is left.
    """
    _check_bands(bands_mm)
    product_bands = tuple(range(len(bands_mm)))[:-1] or (0,)

    def build_paths() -> dict[str, Path]:
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
                    f"adapted_{n}": AdaptedPath(*settings, n, adaptation_rate)
                    for n in adaptation_steps
                }
            elif name == "fine":
                built[name] = FinePath(input_shape)
            elif name == "voxel_pairs" or input_shape[0] > 1:
                form = VOXEL_PAIRS if name == "voxel_pairs" else CONTRAST_PRODUCTS
                built[name] = ProductPath(
                    input_shape, product_bands, form, voxel_size_mm, whitening
                )
        return built

    each = [build_paths() for _ in range(count_outputs(head))]
    if not each[0]:
        accepted = "'focal', 'distributed', 'fine' or 'voxel_pairs', as one contrast has them too"
        found = "only 'contrast_products' with a single contrast"
        action = "set network.paths=[focal,distributed,contrast_products,voxel_pairs]"
        raise ConfigError(Fault("network.paths", found, accepted, action))
    stem = ScaleSpace(input_shape, bands_mm, voxel_size_mm)
    return ScoreNetwork(PathSum(stem, *each), head)


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
    head: Head | None = None,
) -> ScoreNetwork:  # fmt: skip
    """Build a signature that a pretrained CNN writes, and the paths of `build_scale_space` beside.

    Parameters
    ----------
    voxel_size_mm, weights, bands_mm, paths, power, whitening, adaptation_steps, adaptation_rate, \
head
        See `build_scale_space`.

    Raises
    ------
    ConfigError
        As there.
    """
    return build_scale_space(
        input_shape, voxel_size_mm, bands_mm, paths, power, whitening, weights, adaptation_steps,
        adaptation_rate, head,
    )  # fmt: skip
