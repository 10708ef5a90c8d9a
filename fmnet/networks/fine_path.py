"""A dense linear map at the scans' own resolution, for differences that are fine and widespread."""

from typing import NamedTuple

import torch
from torch import nn

from fmnet.networks.backbones import InputShape
from fmnet.networks.feature_weighting import fit_scan_whitening, read_responses
from fmnet.networks.paths import Path, Views, take_inside
from fmnet.networks.scale_space import ScaleSpace

#: Strength of the whitening after which voxels are given equal spread: a voxel counts by what is
#: left of it beside the broad patterns, which hide a difference least where they are weak.
WHITENING = 10.0
#: Most that a voxel is raised, in units of the median one.
MOST_RAISED = 3.0
#: Added to the variance along each principal axis, in units of their mean.
RIDGE = 0.03
#: Power of the inverse covariance. 1 is the discriminant of known means. What is known of a small
#: difference is uncertain in proportion to the variance along each axis as well, so that an axis
#: counts by its inverse square (see docs/recipe.md).
POWER = 2
#: Least variance along an axis, in units of their mean, below which it is but rounding.
LEAST_VARIANCE = 1e-4


class _Fit(NamedTuple):
    """What the training scans give without their labels; R is scans inside the mask, rescaled."""

    inside: torch.Tensor  # (C, X, Y, Z), which voxels
    mean: torch.Tensor  # (V,)
    scale: torch.Tensor  # (V,)
    rescaled: torch.Tensor  # (N, V), R
    solver: torch.Tensor  # (N, N), from differences of scans to weights of scans


class FinePath(Path):
    """Weigh all voxels at once by a shrunken discriminant, without any filter.

    With means ``d`` apart, or slopes ``d`` on a response, and covariance ``S`` of the training
    scans, both in voxels that have the same spread beside the broad patterns, weights are
    ``(S + r) ** -2 d``. Labels enter linearly, through ``d`` alone: all else is done once for any
    number of labelings.

    Parameters
    ----------
    input_shape : tuple of int
        (C, X, Y, Z).
    """

    is_linear = True

    def __init__(self, input_shape: InputShape) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(input_shape))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, views: Views) -> torch.Tensor:
        """Score scans. See `Path.forward`."""
        return views.image.flatten(1) @ self.weight.flatten() + self.bias

    @torch.no_grad()
    def fit(self, views: Views, labels: torch.Tensor, mask: torch.Tensor) -> None:
        """Set the weight of every voxel; no weight outside the mask. See `Path.fit`."""
        known = _fit_unlabelled(views, mask)
        raw = (known.solver @ _contrast(labels)) @ known.rescaled * known.scale
        self.weight.zero_()
        self.weight[known.inside] = raw
        self.bias.copy_(-(known.mean @ raw))

    @torch.no_grad()
    def scores_of_labelings(
        self, train: Views, labelings: torch.Tensor, mask: torch.Tensor, unseen: Views
    ) -> torch.Tensor:
        """Score scans by the fit to each labeling. See `Path.scores_of_labelings`."""
        known = _fit_unlabelled(train, mask)
        new = (take_inside(unseen.image, known.inside) - known.mean) * known.scale
        return _contrast(labelings) @ known.solver @ (known.rescaled @ new.T)

    @torch.no_grad()
    def weights_of_labelings(
        self,
        train: Views,
        labelings: torch.Tensor,
        mask: torch.Tensor,
        stem: ScaleSpace,  # noqa: ARG002
    ) -> torch.Tensor:
        """Weigh voxels by the fit to each labeling. See `Path.weights_of_labelings`."""
        known = _fit_unlabelled(train, mask)
        raw = (_contrast(labelings) @ known.solver) @ known.rescaled * known.scale
        return raw.view(len(labelings), train.image.shape[1], -1)


def _contrast(labels: torch.Tensor) -> torch.Tensor:
    """Weigh scans so that their sum is the difference of the groups' means: (..., N) to same.

    Of numeric responses the sum is the slope.
    """
    if labels.is_floating_point():
        return read_responses(labels).weights
    one = labels.float()
    other = 1 - one
    return one / one.sum(-1, keepdim=True) - other / other.sum(-1, keepdim=True)


def _bounded(scale: torch.Tensor) -> torch.Tensor:
    """Bound how much a voxel is raised, (V,): unsmoothed, some hardly differ between scans."""
    known = scale[scale > 0]
    return scale.clamp(max=float(known.median()) * MOST_RAISED) if len(known) else scale


def _fit_unlabelled(views: Views, mask: torch.Tensor) -> _Fit:
    inside = mask.bool().expand(views.image.shape[1:])
    features = take_inside(views.image, inside)
    whitening, _ = fit_scan_whitening(features, WHITENING)
    scale = _bounded(whitening.scale * whitening.last)
    rescaled = (features - whitening.mean) * scale
    variance, axes = torch.linalg.eigh((rescaled @ rescaled.T).double())
    # one axis less than scans, as they are taken from their mean
    mean = (variance.sum() / max(len(variance) - 1, 1)).clamp(min=1e-12)
    gain = (variance / mean + RIDGE) ** -POWER / mean * (variance > LEAST_VARIANCE * mean)
    return _Fit(inside, whitening.mean, scale, rescaled, (axes * gain @ axes.T).float())
