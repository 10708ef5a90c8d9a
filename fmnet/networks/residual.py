"""MONAI's classifier of residual units, computed in fewer and faster operations.

Function, weights and their names are those of `monai.networks.nets.Classifier`; sums are rounded in
another order. ``scripts/benchmark.py suite=train`` measures what it gains.
"""

from typing import Any

import torch
from monai.networks.blocks import ADN, Convolution, ResidualUnit
from monai.networks.nets import Classifier
from torch import nn
from torch.nn.functional import conv3d, group_norm, relu


class MergedResidualUnit(ResidualUnit):  # type: ignore[misc]
    """Convolves its input once for both of its paths, whose first kernels are alike in form."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the unit: (B, C, X, Y, Z) to (B, C', X', Y', Z')."""
        first, *others = self.conv.children()
        main, residual = _convolve_both(first.conv, self.residual, x)
        if hasattr(first, "adn"):
            main = first.adn(main)
        for unit in others:
            main = unit(main)
        return main + residual


class FastClassifier(Classifier):  # type: ignore[misc]
    """See `monai.networks.nets.Classifier`; every stage changes the grid."""

    def _get_layer(self, *args: Any, **kwargs: Any) -> ResidualUnit | Convolution:
        layer = super()._get_layer(*args, **kwargs)
        if isinstance(layer, ResidualUnit):
            layer.__class__ = MergedResidualUnit
        for module in layer.modules():
            if isinstance(module, ADN):
                _quicken(module)
        return layer


class GroupedInstanceNorm(nn.InstanceNorm3d):
    """Instance normalisation as group normalisation with one channel a group."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalise each channel of each scan: (B, C, X, Y, Z) to the same."""
        if input[0, 0].numel() == 1:
            raise ValueError(f"one voxel is no image to normalise: {tuple(input.shape)}")
        return group_norm(input, input.shape[1], eps=self.eps)


class SummedPReLU(nn.PReLU):
    """PReLU with one slope as a sum, whose gradient takes a third of the time on a CPU."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Multiply negative values by the slope."""
        return self.weight * input + (1 - self.weight) * relu(input)


def _quicken(block: ADN) -> None:
    """Let plain normalisation and activation compute faster."""
    for module in block.children():
        if type(module) is nn.InstanceNorm3d and not (module.affine or module.track_running_stats):
            module.__class__ = GroupedInstanceNorm
        elif type(module) is nn.PReLU and module.num_parameters == 1:
            module.__class__ = SummedPReLU


def _convolve_both(
    one: nn.Conv3d, other: nn.Conv3d, image: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    assert one.bias is not None
    assert other.bias is not None
    weight, bias = torch.cat([one.weight, other.weight]), torch.cat([one.bias, other.bias])
    both = conv3d(image, weight, bias, one.stride, one.padding)
    return both[:, : one.out_channels], both[:, one.out_channels :]
