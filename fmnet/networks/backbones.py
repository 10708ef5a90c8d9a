"""3D networks that turn a prepared scan into one score; the layers are MONAI's.

Each builder takes the input's shape, ``(C, X, Y, Z)``, and plain settings, and returns a
`ScoreNetwork`. A new network is a new builder, here or in a package of one's own, named in a
config file.
"""

import copy
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from monai.networks.nets import DenseNet, ResNet
from torch import nn

from fmnet.errors import ConfigError, Fault
from fmnet.networks.heads import BinaryHead, Head
from fmnet.networks.residual import FastClassifier
from fmnet.types import Count, Counts, FourCounts, PartialShare

InputShape = tuple[int, int, int, int]


class StartingBackbone(nn.Module):
    """A backbone whose weights can start from training scans instead of random numbers."""

    @property
    def is_complete(self) -> bool:
        """Whether all weights are set by a start, so that a score means something after it."""
        return True

    def start(self, images: torch.Tensor, labels: torch.Tensor, parts: torch.Tensor) -> None:
        """Set all weights.

        Parameters
        ----------
        images : Tensor, shape (N, C, X, Y, Z)
            Prepared training scans.
        labels : Tensor, shape (N,)
            0 or 1.
        parts : Tensor, shape (N,)
            Which part of the training people a scan belongs to: choices that the scans of one part
            must not see themselves are made on the others.
        """
        raise NotImplementedError


class ScoreNetwork(nn.Module):
    """A backbone and the head that turns its outputs into one score for each scan.

    Parameters
    ----------
    backbone : Module
        From prepared scans, (B, C, X, Y, Z), to outputs, (B, ``head.n_outputs``).
    head : Head, optional
        By default a `BinaryHead`: the score is the logit of the positive class.
    """

    def __init__(self, backbone: nn.Module, head: Head | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = BinaryHead() if head is None else head

    def outputs(self, image: torch.Tensor) -> torch.Tensor:
        """Compute what the head reads: (B, C, X, Y, Z) to (B, n_outputs)."""
        outputs: torch.Tensor = self.backbone(image)
        return outputs

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Score prepared scans: (B, C, X, Y, Z) to (B,)."""
        score: torch.Tensor = self.head(self.outputs(image))
        return score


NetworkBuilder = Callable[[InputShape], ScoreNetwork]


def build_small_cnn(
    input_shape: InputShape,
    channels: Counts = (8, 16, 32),
    n_residual_units: Annotated[int, Ge(0)] = 1,
    dropout: PartialShare = 0.0,
) -> ScoreNetwork:
    """Build a few strided convolutions and a flattened linear layer, which keeps location.

    Parameters
    ----------
    input_shape : tuple of int
        (C, X, Y, Z).
    channels : sequence of int
        Feature maps after each convolution; each halves the grid.
    n_residual_units : int
        Residual units per stage; 0 for plain convolutions.
    dropout : float
        Probability, in [0, 1).
    """
    return _checked(
        FastClassifier(
            in_shape=input_shape,
            classes=1,
            channels=tuple(channels),
            strides=(2,) * len(channels),
            num_res_units=n_residual_units,
            dropout=dropout or None,
        ),
        input_shape,
    )


def build_resnet(
    input_shape: InputShape,
    layers: FourCounts = (1, 1, 1, 1),
    channels: FourCounts = (32, 64, 128, 256),
) -> ScoreNetwork:
    """Build a 3D residual network with global pooling; ``layers=(1, 1, 1, 1)`` is ResNet-10.

    Parameters
    ----------
    input_shape : tuple of int
        (C, X, Y, Z).
    layers, channels : sequence of int
        Blocks and feature maps of the four stages.
    """
    return _checked(
        ResNet(
            block="basic",
            layers=list(layers),
            block_inplanes=list(channels),
            spatial_dims=3,
            n_input_channels=input_shape[0],
            conv1_t_size=3,
            conv1_t_stride=2,
            num_classes=1,
            norm=("instance", {"affine": True}),
        ),
        input_shape,
    )


def build_densenet(
    input_shape: InputShape,
    init_features: Count = 16,
    growth_rate: Count = 8,
    layers: Counts = (2, 2, 2),
    norm: Literal["instance", "batch"] = "instance",
) -> ScoreNetwork:
    """Build a small 3D DenseNet with global pooling.

    Parameters
    ----------
    input_shape : tuple of int
        (C, X, Y, Z).
    init_features, growth_rate : int
        Feature maps at the start and added by each layer.
    layers : sequence of int
        Layers in each dense block.
    norm : {"instance", "batch"}
        Normalisation; batch statistics are poor with batches of a few scans.
    """
    return _checked(
        DenseNet(
            spatial_dims=3,
            in_channels=input_shape[0],
            out_channels=1,
            init_features=init_features,
            growth_rate=growth_rate,
            block_config=tuple(layers),
            norm=norm,
        ),
        input_shape,
    )


def _checked(backbone: nn.Module, input_shape: InputShape) -> ScoreNetwork:
    """Refuse a backbone that shrinks this grid to nothing; tried without computing anything."""
    network = ScoreNetwork(backbone)
    probe = copy.deepcopy(network).to("meta")
    try:
        probe(torch.empty((2, *input_shape), device="meta"))
    except (RuntimeError, ValueError) as error:
        x, y, z = input_shape[1:]
        raise ConfigError(
            Fault(
                "network",
                f"a grid of {x} x {y} x {z} voxels, too small for this network ({error})",
                "a grid that can be halved as often as the network does",
                "choose fewer stages or a smaller preparation.voxel_size_mm",
            )
        ) from error
    return network
