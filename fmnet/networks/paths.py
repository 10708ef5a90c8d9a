"""What a path is: one way from scans to a score that is fitted in closed form."""

from typing import ClassVar, NamedTuple

import torch
from torch import nn

from fmnet.networks.backbones import InputShape, mean_gradient
from fmnet.networks.scale_space import ScaleSpace

#: Scans that go through the scale space, or labelings through its transpose, at once.
BATCH = 16


class Views(NamedTuple):
    """Scans as paths see them: prepared, (N, C, X, Y, Z), and filtered, (N, S, C, X, Y, Z).

    Both of the others are there so that they are made once for many fits: ``own`` is what a path's
    `look` makes of scans, (N, ...), and ``inside`` the voxels of each band inside the mask,
    (N, S, V).
    """

    image: torch.Tensor
    bands: torch.Tensor
    own: torch.Tensor | None = None
    inside: torch.Tensor | None = None

    def rows(self, chosen: torch.Tensor) -> "Views":
        """Take some of the scans."""
        own = None if self.own is None else self.own[chosen]
        inside = None if self.inside is None else self.inside[chosen]
        return Views(self.image[chosen], self.bands[chosen], own, inside)

    def features(self, band: int, mask: torch.Tensor) -> torch.Tensor:
        """Take the voxels of a band inside a mask, (X, Y, Z): (N, V)."""
        if self.inside is not None:
            return self.inside[:, band]
        bands = self.bands[:, band]
        return take_inside(bands, mask.bool().expand(bands.shape[1:]))


def take_inside(image: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Take the voxels inside a mask, (C, X, Y, Z), of scans: (N, C, X, Y, Z) to (N, V)."""
    # by their numbers, which takes a quarter of the time that a mask does
    return image.flatten(1).index_select(1, inside.flatten().nonzero()[:, 0])


class Path(nn.Module):
    """Score scans, by their voxels or by the bands of their scale space, in one way."""

    #: Whether the score is a weighted sum of voxels.
    is_linear: ClassVar[bool] = False

    def forward(self, views: Views) -> torch.Tensor:
        """Score scans: B of them to (B,)."""
        raise NotImplementedError

    def look(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor | None:  # noqa: ARG002
        """Compute what only this path sees of scans, (N, C, X, Y, Z); None for nothing."""
        return None

    def check(self, input_shape: InputShape) -> None:
        """Raise `FmnetError` unless scans of a shape, (C, X, Y, Z), can be fitted to."""

    def prepare(self, images: torch.Tensor, mask: torch.Tensor) -> None:
        """Learn of training scans, (N, C, X, Y, Z), what needs no labels, before all fits."""

    def fit(self, views: Views, labels: torch.Tensor, mask: torch.Tensor) -> None:
        """Set all weights from training scans.

        Parameters
        ----------
        views : Views
            Of N scans.
        labels : Tensor, shape (N,)
            0 or 1, of an integer type; or numeric responses, NaN where not known.
        mask : Tensor, shape (X, Y, Z)
            1 inside the brain, else 0.
        """
        raise NotImplementedError

    @torch.no_grad()
    def scores_of_labelings(
        self,
        train: Views,
        labelings: torch.Tensor,
        mask: torch.Tensor,
        unseen: Views,
    ) -> torch.Tensor:
        """Fit to the same scans under many labelings, and score others by each fit.

        Parameters
        ----------
        train, unseen : Views
            Of N and of M scans.
        labelings : Tensor, shape (L, N)
            As those of `fit`.
        mask : Tensor, shape (X, Y, Z)
            1 inside the brain, else 0.

        Returns
        -------
        Tensor, shape (L, M)
            What `fit` and `forward` give, labeling by labeling.
        """
        scores = []
        for labels in labelings:
            self.fit(train, labels, mask)
            scores.append(self(unseen))
        return torch.stack(scores)

    @torch.no_grad()
    def weights_of_labelings(
        self, train: Views, labelings: torch.Tensor, mask: torch.Tensor, stem: ScaleSpace
    ) -> torch.Tensor:
        """Fit a linear path to the same scans under many labelings, and write down each fit.

        Parameters
        ----------
        train : Views
            Of N scans.
        labelings : Tensor, shape (L, N)
            As those of `fit`.
        mask : Tensor, shape (X, Y, Z)
            1 inside the brain, else 0.
        stem : ScaleSpace
            What made the bands.

        Returns
        -------
        Tensor, shape (L, C, V)
            Weight of each voxel inside the mask, as `fit` sets it, labeling by labeling.
        """
        weights, nothing = [], torch.zeros_like(train.image[:1])
        for labels in labelings:
            self.fit(train, labels, mask)
            whole = mean_gradient(lambda image: self(Views(image, stem(image))), nothing)
            weights.append(whole[:, mask.bool()])
        return torch.stack(weights)
