"""What a path is: one way from scans to a score that is fitted in closed form."""

from typing import NamedTuple

import torch
from torch import nn

from fmnet.networks.backbones import InputShape


class Views(NamedTuple):
    """Scans as paths see them: prepared, (N, C, X, Y, Z), and filtered, (N, S, C, X, Y, Z).

    ``own`` is what a path's `look` makes of them, (N, ...), so that it is done once.
    """

    image: torch.Tensor
    bands: torch.Tensor
    own: torch.Tensor | None = None

    def rows(self, chosen: torch.Tensor) -> "Views":
        """Take some of the scans."""
        own = None if self.own is None else self.own[chosen]
        return Views(self.image[chosen], self.bands[chosen], own)


def take_inside(image: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Take the voxels inside a mask, (C, X, Y, Z), of scans: (N, C, X, Y, Z) to (N, V)."""
    # by their numbers, which takes a quarter of the time that a mask does
    return image.flatten(1).index_select(1, inside.flatten().nonzero()[:, 0])


class Path(nn.Module):
    """Score scans, by their voxels or by the bands of their scale space, in one way."""

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
            0 or 1.
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
            0 or 1.
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
