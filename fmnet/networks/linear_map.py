"""A linear model as a network, so that it is kept, exported and used as any other."""

from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fmnet.networks.backbones import InputShape, ScoreNetwork


def build_linear(input_shape: InputShape) -> ScoreNetwork:
    """Build one weight for each voxel of each channel, and a bias.

    Parameters
    ----------
    input_shape : tuple of int
        (C, X, Y, Z).
    """
    return ScoreNetwork(nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), 1)))


def linear_network(weight: NDArray[np.float32], bias: float) -> ScoreNetwork:
    """Build the network that scores an image by ``(image * weight).sum() + bias``.

    Parameters
    ----------
    weight : ndarray of float32, shape (C, X, Y, Z)
        Of each voxel.
    bias : float
        The score of an image of zeros.
    """
    channels, x, y, z = weight.shape
    network = build_linear((channels, x, y, z))
    state = {
        "backbone.1.weight": torch.from_numpy(weight.reshape(1, -1).copy()),
        "backbone.1.bias": torch.tensor([bias]),
    }
    network.load_state_dict(state)
    return network.eval()
