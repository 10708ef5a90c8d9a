"""MONAI's classifier of residual units, computed in fewer and faster operations.

Function, weights and their names are those of `monai.networks.nets.Classifier`; sums are rounded in
another order. ``scripts/benchmark.py suite=train`` measures what it gains.

MONAI takes seconds to import: it is where such a network is built, and nowhere else.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import conv3d, group_norm, relu

#: From as many channels on a CPU gains by having them innermost.
FEWEST_CHANNELS = 8


class MergedResidualUnit(nn.Module):
    """Convolves its input once for both of its paths, whose first kernels are alike in form.

    Parameters
    ----------
    unit : monai.networks.blocks.ResidualUnit
        Its layers, and their names, are taken over.
    """

    #: Whether it learns on a CPU, where gradients of strided convolutions with 8 channels or more
    #: take half the time if channels lie innermost in memory; other operations take longer then.
    is_on_cpu = False

    def __init__(self, unit: Any) -> None:
        super().__init__()
        self.conv, self.residual = unit.conv, unit.residual

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the unit: (B, C, X, Y, Z) to (B, C', X', Y', Z')."""
        if self.is_on_cpu and x.requires_grad and x.shape[1] >= FEWEST_CHANNELS:
            x = _ChannelsInnermost.apply(x)  # type: ignore[no-untyped-call]
        first, *others = self.conv.children()
        main, residual = _convolve_both(first.conv, self.residual, x)
        if hasattr(first, "adn"):
            main = first.adn(main)
        for unit in others:
            main = unit(main)
        return main + residual


def fast_classifier(**settings: Any) -> nn.Module:
    """Build `monai.networks.nets.Classifier`, whose stages each change the grid, and speed it up.

    Parameters
    ----------
    **settings
        Of MONAI's class.

    Returns
    -------
    Module
        MONAI's classifier, with units and layers that compute the same.
    """
    from monai.networks.blocks import ADN, ResidualUnit
    from monai.networks.nets import Classifier

    network: nn.Module = Classifier(**settings)
    units = [(name, one) for name, one in network.named_modules() if isinstance(one, ResidualUnit)]
    for name, unit in units:
        network.set_submodule(name, MergedResidualUnit(unit))
    for module in network.modules():
        if isinstance(module, ADN):
            _quicken(module)
    return network


class GroupedInstanceNorm(nn.InstanceNorm3d):
    """Instance normalisation as group normalisation with one channel a group."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalise each channel of each scan: (B, C, X, Y, Z) to the same."""
        if input[0, 0].numel() == 1:
            raise ValueError(f"one voxel is no image to normalise: {tuple(input.shape)}")
        if input.is_cuda:  # there group_norm refuses volumes whose channels come last
            input = input.contiguous()
        return group_norm(input, input.shape[1], eps=self.eps)


class SummedPReLU(nn.PReLU):
    """PReLU with one slope as a sum, whose gradient takes a third of the time on a CPU."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Multiply negative values by the slope."""
        return self.weight * input + (1 - self.weight) * relu(input)


def learn_on_cpu(network: nn.Module) -> None:
    """Let the units of a network choose what is fast on a CPU."""
    for module in network.modules():
        if isinstance(module, MergedResidualUnit):
            module.is_on_cpu = True


class _ChannelsInnermost(torch.autograd.Function):
    """Changes the layout in memory on the way in, and back for the gradient."""

    @staticmethod
    def forward(_: Any, image: torch.Tensor) -> torch.Tensor:
        return image.contiguous(memory_format=torch.channels_last_3d)

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient.contiguous()


def _quicken(block: nn.Module) -> None:
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
    # the weights take the layout of the image by themselves, the result is given that of the rest
    both = conv3d(image, weight, bias, one.stride, one.padding).contiguous()
    # not by slices: their gradients would be put together from zeros
    main, residual = torch.split(both, [one.out_channels, other.out_channels], dim=1)
    return main, residual
