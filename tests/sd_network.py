"""A network on series that is small enough to be computed by hand."""

import torch
from torch import nn

from fmnet.networks.backbones import ScoreNetwork


class SdBackbone(nn.Module):
    """Weigh how much each voxel varies in time."""

    def __init__(self, shape, window_volumes):
        super().__init__()
        self.window_volumes = window_volumes
        self.weight = nn.Parameter(torch.linspace(-1, 1, shape.numel()).reshape(shape))

    def forward(self, series):
        deviation = series - series.mean(1, keepdim=True)
        return (deviation.square().mean(1).sqrt() * self.weight).flatten(1).sum(1, keepdim=True)


def build_sd_network(input_shape, window_volumes=0):
    return ScoreNetwork(SdBackbone(torch.Size(input_shape[1:]), window_volumes))
