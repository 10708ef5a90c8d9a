"""Networks that take time series: a stem makes maps of them, a backbone scores the maps."""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from annotated_types import MinLen
from torch import nn

from fmnet.inference.preparation import fit_standard, window_starts
from fmnet.networks.backbones import (
    ClosedFormBackbone,
    InputShape,
    ScoreNetwork,
    build_resnet,
    build_small_cnn,
)
from fmnet.networks.closed_form import PathName, build_scale_space
from fmnet.networks.heads import Head
from fmnet.networks.stems import (
    DualRegression,
    Frames,
    LearnedSeeds,
    Stem,
    TemporalFilters,
)
from fmnet.types import Bands, Count, NonNegativeCount, Positive, Seed, Several

BackboneName = Literal["scale_space", "small_cnn", "resnet"]
Paths = Annotated[Sequence[PathName], MinLen(1)]

#: Fewer bands than for one contrast: a scan has as many maps as the stem makes.
BANDS_MM = ((8.0, 24.0), (16.0, 48.0))
#: Pairs of voxels in many maps are many, and take long.
PATHS: tuple[PathName, ...] = ("focal", "distributed")


class VoxelStandard(nn.Module):
    """Standardise maps by voxel, with mean and standard deviation of the training scans.

    What is missing, 0 in all maps of a scan, becomes 0, the mean. `shape` is (C, X, Y, Z).
    """

    #: What its output is for `fmnet.networks.features`.
    shows = "maps"
    mean: torch.Tensor
    weight: torch.Tensor

    def __init__(self, shape: InputShape) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("weight", torch.ones(shape))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Standardise maps: (B, C, X, Y, Z) to the same."""
        is_known = (maps != 0).any(1, keepdim=True)
        return torch.where(is_known, (maps - self.mean) * self.weight, 0)

    @torch.no_grad()
    def fit(self, maps: torch.Tensor) -> None:
        """Fit mean and weight on maps of training scans, (N, C, X, Y, Z).

        See `fmnet.inference.preparation.fit_standard`: voxels that few scans cover get weight 0.
        """
        is_known = (maps != 0).any(1)
        inside = is_known.any(0)
        missing = ~is_known[:, inside]
        self.mean.zero_()
        self.weight.zero_()
        for number in range(maps.shape[1]):  # one by one, for the memory that it takes
            values = maps[:, number, inside].masked_fill(missing, torch.nan)
            mean, weight = fit_standard(values[:, None].numpy())
            self.mean[number, inside] = torch.from_numpy(mean[0])
            self.weight[number, inside] = torch.from_numpy(weight[0])


class SeriesBackbone(ClosedFormBackbone):
    """Make maps of series by a stem, standardise them by voxel and score them by a backbone.

    Parameters
    ----------
    stem : Stem
        From series to C maps.
    inner : Module
        From maps, (B, C, X, Y, Z), to outputs, (B, K).
    shape : tuple of int
        (C, X, Y, Z).
    window_volumes : int
        Volumes that the network sees at once; 0 for complete runs.
    """

    def __init__(
        self, stem: Stem, inner: nn.Module, shape: InputShape, window_volumes: int = 0
    ) -> None:
        super().__init__()
        self.stem, self.inner, self.window_volumes = stem, inner, window_volumes
        self.standard, self.n_channels = VoxelStandard(shape), shape[0]

    @property
    def is_complete(self) -> bool:
        """Whether the backbone is fitted as well, and is not left random."""
        return isinstance(self.inner, ClosedFormBackbone)

    def check(self, input_shape: InputShape) -> None:
        """See `ClosedFormBackbone.check`; what is fitted to is maps."""
        if isinstance(self.inner, ClosedFormBackbone):
            self.inner.check((self.n_channels, *input_shape[1:]))

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """Score series: (B, T, X, Y, Z) to (B, K)."""
        score: torch.Tensor = self.inner(self.standard(self.maps(series)))
        return score

    def maps(self, series: torch.Tensor) -> torch.Tensor:
        """Make maps: (B, T, X, Y, Z) to (B, C, X, Y, Z), 0 where there are no data."""
        maps: torch.Tensor = self.stem(series)
        return maps

    def fit(self, images: torch.Tensor, labels: torch.Tensor, folds: torch.Tensor) -> None:
        """Fit on series of one length, (N, T, X, Y, Z); see `fit_series`."""
        self.fit_series(images.unbind(), labels, folds)

    @torch.no_grad()
    def fit_series(
        self, scans: Sequence[torch.Tensor], labels: torch.Tensor, folds: torch.Tensor
    ) -> None:
        """Fit the stem, then the standardisation of its maps, then the backbone.

        Parameters
        ----------
        scans : sequence of Tensor, shape (T, X, Y, Z)
            Training scans; T may differ but is at least ``window_volumes``; 0 where there are no
            data. Asked for one at a time, and more than once, so that they may lie on disk.
        labels, folds : Tensor, shape (N,) or (N, K), and (N,)
            See `ClosedFormBackbone.fit`; a backbone without closed form keeps its random weights.
        """
        self.stem.fit(scans)
        each = [self.scan_maps(scan) for scan in scans]
        maps = torch.cat(each)
        self.standard.fit(maps)
        if isinstance(self.inner, ClosedFormBackbone):
            n_each = torch.tensor([len(one) for one in each])
            labels, folds = (values.repeat_interleave(n_each, dim=0) for values in (labels, folds))
            self.inner.fit(self.standard(maps), labels, folds)

    def scan_maps(self, scan: torch.Tensor) -> torch.Tensor:
        """Make the maps of one scan, (T, X, Y, Z), mean over its windows: (1, C, X, Y, Z)."""
        starts = window_starts(len(scan), self.window_volumes)
        length = self.window_volumes or len(scan)
        windows = [self.maps(scan[None, start : start + length]) for start in starts]
        return torch.stack(windows).mean(0)


class FrameBackbone(SeriesBackbone):
    """Score volumes of a scan one by one, and average: ``shape`` is (1, X, Y, Z).

    The fit takes volumes of complete runs, whatever ``window_volumes`` is.
    """

    @property
    def n_looks(self) -> int:
        """How many inputs the backbone gets of one scan."""
        return self.stem.n_maps

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """Score series: (B, T, X, Y, Z) to (B, K)."""
        scores = super().forward(series)
        each = scores.reshape(series.shape[0], self.stem.n_maps, -1)  # (B, n_frames, K)
        return each.mT.mean(2)

    def maps(self, series: torch.Tensor) -> torch.Tensor:
        """Take volumes: (B, T, X, Y, Z) to (B * n_frames, 1, X, Y, Z)."""
        return super().maps(series).flatten(0, 1)[:, None]

    def scan_maps(self, scan: torch.Tensor) -> torch.Tensor:
        """Take volumes of one scan, (T, X, Y, Z): (n_frames, 1, X, Y, Z)."""
        return self.maps(scan[None])


def build_learned_seeds(
    input_shape: InputShape,
    n_seeds: Count = 10,
    backbone: BackboneName = "scale_space",
    voxel_size_mm: Positive = 4.0,
    bands_mm: Bands = BANDS_MM,
    paths: Paths = PATHS,
    window_volumes: NonNegativeCount = 0,
    seed: Seed = 0,
    head: Head | None = None,
) -> ScoreNetwork:
    """Build a network on the connectivity of learned seeds, see `LearnedSeeds`.

    Parameters
    ----------
    input_shape : tuple of int
        (T, X, Y, Z); T doesn't matter.
    n_seeds : int
        Seeds; their first weights are as many networks of the training scans.
    backbone : {"scale_space", "small_cnn", "resnet"}
        What scores the maps; see `build_scale_space`, `build_small_cnn` and `build_resnet`.
    voxel_size_mm : float
        Edge length of a voxel.
    bands_mm, paths : sequence
        Of the scale space, see `build_scale_space`; other backbones have none.
    window_volumes : int
        Volumes that the network sees at once; 0 for complete runs.
    seed : int
        Of the random numbers of the search for networks.
    head : Head, optional
        See `ScoreNetwork`.
    """
    stem = LearnedSeeds(input_shape[1:], n_seeds, seed)
    shape = (n_seeds, *input_shape[1:])
    inner = _inner(shape, backbone, voxel_size_mm, bands_mm, paths, head)
    return ScoreNetwork(SeriesBackbone(stem, inner, shape, window_volumes), head)


def build_temporal_filters(
    input_shape: InputShape,
    n_filters: Count = 6,
    length: Several = 32,
    backbone: BackboneName = "scale_space",
    voxel_size_mm: Positive = 4.0,
    bands_mm: Bands = BANDS_MM,
    paths: Paths = PATHS,
    window_volumes: NonNegativeCount = 0,
    head: Head | None = None,
) -> ScoreNetwork:
    """Build a network on the power that learned filters leave, see `TemporalFilters`.

    Its ``n_filters`` filters lie side by side, at first, over the band in which training scans
    fluctuate, and span ``length`` volumes. For the others see `build_learned_seeds`.
    """
    shape = (n_filters, *input_shape[1:])
    inner = _inner(shape, backbone, voxel_size_mm, bands_mm, paths, head)
    stem = TemporalFilters(n_filters, length)
    return ScoreNetwork(SeriesBackbone(stem, inner, shape, window_volumes), head)


def build_dual_regression(
    input_shape: InputShape,
    n_networks: Count = 10,
    backbone: BackboneName = "scale_space",
    voxel_size_mm: Positive = 4.0,
    bands_mm: Bands = BANDS_MM,
    paths: Paths = PATHS,
    window_volumes: NonNegativeCount = 0,
    seed: Seed = 0,
    head: Head | None = None,
) -> ScoreNetwork:
    """Build a network on each scan's own form of `n_networks` group networks, `DualRegression`.

    So many networks are looked for in the training scans. For the others see
    `build_learned_seeds`.
    """
    stem = DualRegression(input_shape[1:], n_networks, seed)
    shape = (n_networks, *input_shape[1:])
    inner = _inner(shape, backbone, voxel_size_mm, bands_mm, paths, head)
    return ScoreNetwork(SeriesBackbone(stem, inner, shape, window_volumes), head)


def build_frames(
    input_shape: InputShape,
    n_frames: Count = 8,
    backbone: BackboneName = "small_cnn",
    voxel_size_mm: Positive = 4.0,
    bands_mm: Bands = BANDS_MM,
    paths: Paths = PATHS,
    window_volumes: NonNegativeCount = 0,
    head: Head | None = None,
) -> ScoreNetwork:
    """Build a network that scores `n_frames` volumes one by one and averages, `FrameBackbone`.

    So many are taken, evenly spaced over what the network sees. For the others see
    `build_learned_seeds`.
    """
    shape = (1, *input_shape[1:])
    inner = _inner(shape, backbone, voxel_size_mm, bands_mm, paths, head)
    return ScoreNetwork(FrameBackbone(Frames(n_frames), inner, shape, window_volumes), head)


def _inner(
    shape: InputShape,
    backbone: BackboneName,
    voxel_size_mm: float,
    bands_mm: Bands,
    paths: Sequence[PathName],
    head: Head | None,
) -> nn.Module:
    if backbone == "scale_space":
        return build_scale_space(shape, voxel_size_mm, bands_mm, paths, head=head).backbone
    return (build_small_cnn if backbone == "small_cnn" else build_resnet)(shape, head=head).backbone
