"""Sums of paths: a scan's scores by all paths together, each as far as it proved itself.

Input shapes are (C, X, Y, Z). All is fitted on training scans alone: how much each path counts
comes from participants who were left out of its fit.
"""

from collections.abc import Mapping
from functools import partial

import torch
from torch import nn

from fmnet.networks.backbones import (
    ClosedFormBackbone,
    InputShape,
    ScoreNetwork,
    mean_gradient,
)
from fmnet.networks.feature_weighting import read_responses
from fmnet.networks.paths import BATCH, Path, Views, take_inside
from fmnet.networks.scale_space import ScaleSpace

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


class PathSum(ClosedFormBackbone):
    """Add up the scores of several paths, each by what it told of participants left out.

    There are K sums for K scores, each with paths of its own: all see the same filtered scans.

    Parameters
    ----------
    stem : ScaleSpace
        Filters scans.
    *paths : dict of Path
        By name, for each score, all alike. The first path of each counts a little whatever it has
        shown.
    """

    fraction: torch.Tensor

    def __init__(self, stem: ScaleSpace, *paths: Mapping[str, Path]) -> None:
        super().__init__()
        self.stem = stem
        self.paths = nn.ModuleDict(dict(paths[0]))
        self.further = nn.ModuleList(nn.ModuleDict(dict(own)) for own in paths[1:])
        # (P,) and () for one score
        shape = (len(paths),) if self.further else ()
        self.gate = nn.Parameter(torch.ones(*shape, len(self.paths)))
        self.bias = nn.Parameter(torch.zeros(shape))
        fraction = torch.full((*shape, len(self.paths)), 1 / len(self.paths))
        self.register_buffer("fraction", fraction)

    @property
    def n_scores(self) -> int:
        """How many scores a scan gets: K."""
        return 1 + len(self.further)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Score prepared scans: (B, C, X, Y, Z) to (B, K)."""
        views = Views(image, self.stem(image))
        gates, biases = self.gate.view(self.n_scores, -1), self.bias.view(-1)
        sums = [
            self._scores(views, number) @ gate + bias
            for number, (gate, bias) in enumerate(zip(gates, biases, strict=True))
        ]
        return torch.stack(sums, dim=1)

    def check(self, input_shape: InputShape) -> None:
        """See `ClosedFormBackbone.check`."""
        for path in self._paths(0):
            path.check(input_shape)

    def _paths(self, number: int) -> list[Path]:
        """List the paths of one of the scores."""
        own = self.paths if number == 0 else self.further[number - 1]
        assert isinstance(own, nn.ModuleDict)
        return [path for path in own.values() if isinstance(path, Path)]

    def _scores(self, views: Views, number: int) -> torch.Tensor:
        """Score scans by each path of one of the scores: B of them to (B, P)."""
        return torch.stack([path(views) for path in self._paths(number)], dim=1)

    @torch.no_grad()
    def fit(self, images: torch.Tensor, labels: torch.Tensor, folds: torch.Tensor) -> None:
        """Fit every path, and weigh the paths by what they show on participants left out.

        See `ClosedFormBackbone.fit`; with one fold alone only the first path counts.
        """
        mask = self._prepare(images)
        views = self._views(images, mask)
        if labels.is_floating_point():
            responses = labels.view(len(labels), -1).T  # (K, N)
            weighed = self._weigh_labelings(views, responses, folds, mask)
        else:
            responses = labels[None]
            weighed = self._weigh_labels(views, labels, folds, mask)
        assert len(responses) == self.n_scores, "one response for each score"
        for own, value in zip((self.fraction, self.gate, self.bias), weighed, strict=True):
            own.copy_(value.view(own.shape))
        for number, response in enumerate(responses):
            self._fit_paths(views, response, mask, number)

    def _weigh_labels(
        self, views: Views, labels: torch.Tensor, folds: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Weigh paths by two groups, with fits to all folds but one: what `weigh_paths` gives."""
        numbers = torch.unique(folds)
        if len(numbers) < 2:  # too few participants to leave any out
            return self._first_alone(labels[None], views.image)
        unseen = views.image.new_zeros(len(labels), len(self.paths))
        for number in numbers:
            held_out = folds == number
            self._fit_paths(views.rows(~held_out), labels[~held_out], mask)
            unseen[held_out] = self._scores(views.rows(held_out), 0)
        return weigh_paths(unseen, labels)

    def _first_alone(
        self, labelings: torch.Tensor, image: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Let only the first path count, under each labeling: what `weigh_paths` gives."""
        first = torch.arange(len(self.paths), device=image.device) == 0
        alone = first.to(image.dtype).expand(len(labelings), -1)
        return alone, alone, torch.zeros_like(alone[:, 0])

    @torch.no_grad()
    def scores_of_labelings(
        self,
        train: torch.Tensor,
        labelings: torch.Tensor,
        folds: torch.Tensor,
        unseen: torch.Tensor,
    ) -> torch.Tensor:
        """Filter and whiten once for all. See `ClosedFormBackbone.scores_of_labelings`."""
        mask, flat = self._prepare(train), _flat(labelings)
        views, others = self._views(train, mask), self._views(unseen, mask)
        scores = self._path_scores(views, flat, mask, others)
        _, gate, bias = self._weigh_labelings(views, flat, folds, mask)
        total = (scores @ gate[..., None])[..., 0] + bias[:, None]
        if labelings.ndim == 2:
            return total
        return total.view(len(labelings), -1, len(unseen)).mT

    @property
    def linear_paths(self) -> dict[int, Path]:
        """The paths of the first score that are weighted sums of voxels, by their numbers."""
        return {number: path for number, path in enumerate(self._paths(0)) if path.is_linear}

    def linear_scores(self, image: torch.Tensor, number: int = 0) -> torch.Tensor:
        """Score prepared scans by the linear paths of one score: (B, C, X, Y, Z) to (B,)."""
        gate, bias = self.gate.view(self.n_scores, -1)[number], self.bias.view(-1)[number]
        views, score = Views(image, self.stem(image)), image.new_zeros(len(image)) + bias
        paths = self._paths(number)
        for linear in self.linear_paths:
            score = score + paths[linear](views) * gate[linear]
        return score

    def voxel_weights(self, images: torch.Tensor) -> torch.Tensor | None:
        """Weigh voxels as the linear paths do. See `ClosedFormBackbone.voxel_weights`."""
        if not self.linear_paths:
            return None
        nothing = torch.zeros_like(images[:1])
        weights = [
            mean_gradient(partial(self.linear_scores, number=number), nothing)
            for number in range(self.n_scores)
        ]
        return torch.stack(weights) if self.further else weights[0]

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
        mask, flat = self._prepare(train), _flat(labelings)
        views = self._views(train, mask)
        _, gate, _ = self._weigh_labelings(views, flat, folds, mask)
        weights = train.new_zeros(len(flat), train.shape[1], int(inside.sum()))
        used, kept = mask.bool()[inside].nonzero()[:, 0], inside[mask.bool()]
        for number, path in self.linear_paths.items():
            own = path.weights_of_labelings(views, flat, mask, self.stem)
            weights.index_add_(2, used, own[..., kept] * gate[:, number, None, None])
        return weights.view(len(labelings), *labelings.shape[2:], *weights.shape[1:])

    def _weigh_labelings(
        self, views: Views, labelings: torch.Tensor, folds: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Weigh paths under each labeling as `fit` does: what `weigh_paths` gives."""
        numbers = torch.unique(folds)
        if len(numbers) < 2:
            return self._first_alone(labelings, views.image)
        left_out = views.image.new_zeros(*labelings.shape, len(self.paths))
        for number in numbers:
            held_out = folds == number
            learned, labels = views.rows(~held_out), labelings[:, ~held_out]
            left_out[:, held_out] = self._path_scores(learned, labels, mask, views.rows(held_out))
        return weigh_paths(left_out, labelings)

    def _path_scores(
        self, train: Views, labelings: torch.Tensor, mask: torch.Tensor, unseen: Views
    ) -> torch.Tensor:
        """Score scans by each path under each labeling: (L, M, P)."""
        scores = [
            path.scores_of_labelings(train, labelings, mask, unseen) for path in self._paths(0)
        ]
        return torch.stack(scores, dim=-1)

    def _prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Take from training scans what needs no labels: the mask, and what paths make of them."""
        mask = (images != 0).any(0).any(0).float()
        self.stem.mask.copy_(mask)
        for number in range(self.n_scores):
            for path in self._paths(number):
                path.prepare(images, mask)
        return mask

    def _views(self, images: torch.Tensor, mask: torch.Tensor) -> Views:
        inside, bands, features = mask.bool().expand(images.shape[1:]), [], []
        for some in torch.split(images, BATCH):
            bands.append(filtered := self.stem(some))
            each = take_inside(filtered.flatten(0, 1), inside)
            features.append(each.view(*filtered.shape[:2], -1))
        looks = (path.look(images, mask) for path in self._paths(0))
        own = next((one for one in looks if one is not None), None)
        return Views(images, torch.cat(bands), own, torch.cat(features))

    def _fit_paths(
        self, views: Views, labels: torch.Tensor, mask: torch.Tensor, number: int = 0
    ) -> None:
        for path in self._paths(number):
            path.fit(views, labels, mask)


def _flat(labelings: torch.Tensor) -> torch.Tensor:
    """List the responses of all scores and labelings: (L, N, K) to (L * K, N); (L, N) as it is."""
    return labelings.mT.flatten(0, 1) if labelings.ndim == 3 else labelings


def weigh_paths(
    unseen: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weigh paths by how well they told apart participants who had been left out.

    Of numeric responses it counts how well scores go along with them, in the same units: a
    correlation of ``r`` is what groups that lie ``2 r / sqrt(1 - r ** 2)`` apart would have. The
    first path is the one to fall back on: it always counts, the others do where they have shown
    more than chance would.

    Parameters
    ----------
    unseen : Tensor, shape (..., N, P)
        Scores of the participants by each path.
    labels : Tensor, shape (..., N)
        0 or 1, of an integer type; or numeric responses, NaN where not known.

    Returns
    -------
    tuple of Tensor, shapes (..., P), (..., P) and (...)
        Fraction of the summed score, which is in standard deviations within groups (or of what is
        left by the regression on the response), that each path has; its factor; and what is added
        to the sum.
    """
    if labels.is_floating_point():
        separation, sd, middle, error = _separate_by_response(unseen, labels)
    else:
        separation, sd, middle, error = _separate_groups(unseen, labels)
    first = separation[..., :1].clamp(min=LEAST_SHOWN)
    others = (separation[..., 1:] - LEAST_SEPARATION * error).clamp(min=0)
    worth = torch.cat([first, others], dim=-1) ** PATH_POWER
    fraction = worth / worth.sum(-1, keepdim=True)
    gate = fraction / sd
    bias = -(middle * gate).sum(-1)
    return fraction, gate, bias


def _separate_groups(unseen: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Compare the groups' scores: difference in SD, SD, what lies halfway, error by chance."""
    means, squares, counts = [], [], []
    for value in (1, 0):
        own = (labels == value).to(unseen.dtype)[..., None]
        counts.append(count := own.sum(-2))
        means.append(mean := (unseen * own).sum(-2) / count)
        away = (unseen - mean[..., None, :]) * own
        squares.append(away.square().sum(-2) / (count - 1))
    sd = ((squares[0] + squares[1]) / 2).sqrt().clamp(min=1e-6)
    error = (1 / counts[0] + 1 / counts[1]).sqrt()
    return (means[0] - means[1]) / sd, sd, (means[0] + means[1]) / 2, error


def _separate_by_response(unseen: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Compute the same of numeric responses, as of two equal groups that a slope lies between."""
    slopes = read_responses(labels)
    known = labels.isfinite().to(unseen.dtype)[..., None]
    count = known.sum(-2).clamp(min=3)
    mean = (unseen * known).sum(-2) / count
    centred = (unseen - mean[..., None, :]) * known
    slope = (slopes.weights[..., None] * centred).sum(-2)
    left = (centred.square().sum(-2) - slope.square() / slopes.plain).clamp(min=0)
    sd = (left / (count - 2)).sqrt().clamp(min=1e-6)
    # two SDs of the response are how far apart two equal groups of numbers lie
    apart = 2 / (slopes.plain * count).sqrt()
    return slope * apart / sd, sd, mean, 2 / count.sqrt()


def path_fractions(network: ScoreNetwork) -> dict[str, float]:
    """Say which fraction of the score each path was given; empty for a network without paths.

    Of several scores, the mean over them.
    """
    for module in network.modules():
        if isinstance(module, PathSum):
            fraction = module.fraction.view(module.n_scores, -1).mean(0)
            return dict(zip(module.paths, fraction.tolist(), strict=True))
    return {}
