"""Stems: layers that turn time series into maps."""

from collections.abc import Sequence

import torch
from torch import nn


class Stem(nn.Module):
    """Turns the series of scans into maps: (B, T, X, Y, Z) to (B, C, X, Y, Z), for any T.

    Voxels outside the brain, or without data, are 0 at all times.
    """

    n_maps: int

    def start(self, scans: Sequence[torch.Tensor]) -> None:
        """Set the weights from training scans, each (T, X, Y, Z), whose lengths may differ.

        Labels are not given: what a stem starts from is not supervised.
        """
        raise NotImplementedError
