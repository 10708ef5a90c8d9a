"""3D networks that turn a prepared scan into a score, or several; the layers are MONAI's.

Each builder takes the input's shape, ``(C, X, Y, Z)``, and plain settings, and returns a
`ScoreNetwork`. With a keyword ``head`` it gives as many outputs as that head asks for; without one
the score is the logit of the positive one of two groups. A new network is a new builder, here or in
a package of one's own, named in a config file; `fmnet.networks.monai_networks` builds what MONAI
has.
"""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge
from numpy.typing import NDArray
from torch import nn

from fmnet.errors import Fault
from fmnet.networks.features import watched_features
from fmnet.networks.heads import BinaryHead, Head
from fmnet.networks.residual import fast_classifier
from fmnet.types import Count, Counts, FourCounts, PartialShare

InputShape = tuple[int, int, int, int]
#: Scans that gradients are computed of at once.
GRADIENTS = 8
#: What building and computing raise where settings or the grid don't suit a network.
UNFIT = (
    ValueError, TypeError, AttributeError, ImportError, RuntimeError, LookupError, ArithmeticError,
    AssertionError, OSError,
)  # fmt: skip


def mean_gradient(
    score: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor
) -> torch.Tensor:
    """Average the gradient of scores over scans: (N, C, X, Y, Z) to (C, X, Y, Z).

    Of a linear `score`, from (B, C, X, Y, Z) to (B,), that is the weight of each voxel, whichever
    scans are given.
    """
    total = torch.zeros_like(images[0])
    for some in torch.split(images, GRADIENTS):
        with torch.enable_grad():
            image = some.detach().clone().requires_grad_()
            (gradient,) = torch.autograd.grad(score(image).sum(), image)
        total += gradient.sum(0)
    return total / len(images)


class ClosedFormBackbone(nn.Module):
    """A backbone whose weights are fitted on training scans in closed form, without gradients."""

    @property
    def is_complete(self) -> bool:
        """Whether the fit sets all weights, so that a score means something after it."""
        return True

    def check(self, input_shape: InputShape) -> None:
        """Raise `FmnetError` unless scans of a shape, (C, X, Y, Z), can be fitted to.

        Nothing that only the fit needs is looked for when a network is built, as one that was
        fitted before has no need of it.
        """

    def fit(self, images: torch.Tensor, labels: torch.Tensor, folds: torch.Tensor) -> None:
        """Set the weights.

        Parameters
        ----------
        images : Tensor, shape (N, C, X, Y, Z)
            Prepared training scans.
        labels : Tensor, shape (N,) or (N, K)
            0 or 1, of an integer type; or K numeric responses, one for each score, of a
            floating-point type, NaN where not known.
        folds : Tensor, shape (N,)
            Which inner fold a scan belongs to: choices that the scans of one fold must not see
            themselves are made on the others.
        """
        raise NotImplementedError

    @torch.no_grad()
    def scores_of_labelings(
        self,
        train: torch.Tensor,
        labelings: torch.Tensor,
        folds: torch.Tensor,
        unseen: torch.Tensor,
    ) -> torch.Tensor:
        """Fit to the same scans under many labelings, and score others by each fit.

        Parameters
        ----------
        train, unseen : Tensor, shapes (N, C, X, Y, Z) and (M, C, X, Y, Z)
            Prepared scans.
        labelings : Tensor, shape (L, N) or (L, N, K)
            See `fit`.
        folds : Tensor, shape (N,)
            See `fit`.

        Returns
        -------
        Tensor, shape (L, M) or (L, M, K)
            What `fit` and `forward` give, labeling by labeling.
        """
        scores = []
        for labels in labelings:
            self.fit(train, labels, folds)
            scores.append(self(unseen)[:, 0] if labels.ndim == 1 else self(unseen))
        return torch.stack(scores)

    def voxel_weights(self, images: torch.Tensor) -> torch.Tensor | None:
        """Say what each voxel of a fitted network's input weighs: (C, X, Y, Z).

        Exact for what is linear; otherwise the mean gradient of the score over `images`,
        (N, C, X, Y, Z). None where nothing can be said. Of K > 1 scores, (K, C, X, Y, Z).
        """
        with torch.no_grad():
            n_scores = self(images[:1]).shape[1]

        def score(image: torch.Tensor, number: int) -> torch.Tensor:
            own: torch.Tensor = self(image)[:, number]
            return own

        each = range(n_scores)
        weights = [mean_gradient(partial(score, number=number), images) for number in each]
        return weights[0] if n_scores == 1 else torch.stack(weights)

    @torch.no_grad()
    def weights_of_labelings(
        self,
        train: torch.Tensor,
        labelings: torch.Tensor,
        folds: torch.Tensor,
        inside: torch.Tensor,
    ) -> torch.Tensor | None:
        """Fit to the same scans under many labelings, and say what voxels weigh in each fit.

        Parameters
        ----------
        train, labelings, folds
            See `scores_of_labelings`.
        inside : Tensor of bool, shape (X, Y, Z)
            The V voxels that weights are wanted of.

        Returns
        -------
        Tensor, shape (L, C, V), or (L, K, C, V) of labelings with K responses; or None
            What `fit` and `voxel_weights` give, labeling by labeling.
        """
        weights = []
        for labels in labelings:
            self.fit(train, labels, folds)
            if (own := self.voxel_weights(train)) is None:
                return None
            own = own[..., inside]
            is_alone = labels.ndim == 2 and labels.shape[1] == 1
            weights.append(own[None] if is_alone else own)
        return torch.stack(weights)


class ScoreNetwork(nn.Module):
    """A backbone and the head that turns its outputs into the scores of each scan.

    Parameters
    ----------
    backbone : Module
        From prepared scans, (B, C, X, Y, Z), to outputs, (B, ``head.n_outputs``).
    head : Head, optional
        A copy is taken. By default a `BinaryHead`: the score is the logit of the positive class.
    """

    def __init__(self, backbone: nn.Module, head: Head | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = BinaryHead() if head is None else copy.deepcopy(head)

    @property
    def window_volumes(self) -> int | None:
        """Volumes of time series that are read at a time, 0 for all; None where maps are read."""
        window: int | None = getattr(self.backbone, "window_volumes", None)
        return window

    def check(self, input_shape: InputShape) -> None:
        """See `ClosedFormBackbone.check`."""
        if isinstance(self.backbone, ClosedFormBackbone):
            self.backbone.check(input_shape)

    def outputs(self, image: torch.Tensor) -> torch.Tensor:
        """Compute what the head reads: (B, C, X, Y, Z) to (B, n_outputs)."""
        outputs: torch.Tensor = self.backbone(image)
        return outputs

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Score prepared scans: (B, C, X, Y, Z) to (B,) for two groups, else to (B, K)."""
        score: torch.Tensor = self.head(self.outputs(image))
        return score

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """Compute what prepared scans are like: (B, C, X, Y, Z) to (B, F).

        See `fmnet.networks.features`.
        """
        return self.scores_and_features(image)[1]

    def scores_and_features(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the scores, as `forward` does, and the features of scans at once."""
        with watched_features(self.backbone, image, self.head.n_outputs) as features:
            score = self(image)
            return score, features()


#: Input shape to a network; those for targets other than two groups take a keyword ``head``.
NetworkBuilder = Callable[..., ScoreNetwork]


def with_head(build: NetworkBuilder, head: Head) -> NetworkBuilder:
    """Let the same network end in a head, whatever it ends in by itself."""
    if isinstance(build, partial):  # one partial of the builder itself, which can be described
        return partial(build.func, *build.args, **{**build.keywords, "head": head})
    return partial(build, head=head)


def count_outputs(head: Head | None) -> int:
    """Say how many outputs a head reads; for two groups, without a head, 1."""
    return BinaryHead.n_outputs if head is None else head.n_outputs


def grid_fault(input_shape: InputShape, error: Exception) -> Fault:
    """Say that a network can't compute scores for scans of this shape, (C, X, Y, Z)."""
    grid = " x ".join(map(str, input_shape[1:]))
    return Fault(
        "network",
        f"a grid of {grid} voxels, too small for this network or not fit for it "
        f"({reason_of(error)})",
        "a grid that can be halved, or cut into patches, as often as the network does",
        "choose fewer stages or smaller patches, or another preparation.voxel_size_mm; with "
        "network=monai, set network.multiple_of, which fills the grid up",
    )


def reason_of(error: Exception) -> str:
    """Name an error of another library, with its first line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def build_small_cnn(
    input_shape: InputShape,
    channels: Counts = (8, 16, 32),
    n_residual_units: Annotated[int, Ge(0)] = 1,
    dropout: PartialShare = 0.0,
    head: Head | None = None,
) -> ScoreNetwork:
    """Build a few strided convolutions and a flattened linear layer, which keeps location.

    Parameters
    ----------
    channels : sequence of int
        Feature maps after each convolution; each halves the grid.
    n_residual_units : int
        Residual units per stage; 0 for plain convolutions.
    dropout : float
        Probability, in [0, 1).
    head : Head, optional
        See `ScoreNetwork`.
    """
    return ScoreNetwork(
        fast_classifier(
            in_shape=input_shape,
            classes=count_outputs(head),
            channels=tuple(channels),
            strides=(2,) * len(channels),
            num_res_units=n_residual_units,
            dropout=dropout or None,
        ),
        head,
    )


def build_resnet(
    input_shape: InputShape,
    layers: FourCounts = (1, 1, 1, 1),
    channels: FourCounts = (32, 64, 128, 256),
    head: Head | None = None,
) -> ScoreNetwork:
    """Build a 3D residual network with global pooling; ``layers=(1, 1, 1, 1)`` is ResNet-10.

    Parameters
    ----------
    layers, channels : sequence of int
        Blocks and feature maps of the four stages.
    head : Head, optional
        See `ScoreNetwork`.
    """
    from monai.networks.nets import ResNet  # here, as it takes seconds

    return ScoreNetwork(
        ResNet(
            block="basic",
            layers=list(layers),
            block_inplanes=list(channels),
            spatial_dims=3,
            n_input_channels=input_shape[0],
            conv1_t_size=3,
            conv1_t_stride=2,
            num_classes=count_outputs(head),
            norm=("instance", {"affine": True}),
        ),
        head,
    )


def build_densenet(
    input_shape: InputShape,
    init_features: Count = 16,
    growth_rate: Count = 8,
    layers: Counts = (2, 2, 2),
    norm: Literal["instance", "batch"] = "instance",
    head: Head | None = None,
) -> ScoreNetwork:
    """Build a small 3D DenseNet with global pooling.

    Parameters
    ----------
    init_features, growth_rate : int
        Feature maps at the start and added by each layer.
    layers : sequence of int
        Layers in each dense block.
    norm : {"instance", "batch"}
        Normalisation; batch statistics are poor with batches of a few scans.
    head : Head, optional
        See `ScoreNetwork`.
    """
    from monai.networks.nets import DenseNet  # here, as it takes seconds

    return ScoreNetwork(
        DenseNet(
            spatial_dims=3,
            in_channels=input_shape[0],
            out_channels=count_outputs(head),
            init_features=init_features,
            growth_rate=growth_rate,
            block_config=tuple(layers),
            norm=norm,
        ),
        head,
    )


def build_linear(input_shape: InputShape, head: Head | None = None) -> ScoreNetwork:
    """Build one weight for each voxel of each channel, (C, X, Y, Z), and a bias, for each score."""
    layer = nn.Linear(prod(input_shape), count_outputs(head))
    return ScoreNetwork(nn.Sequential(nn.Flatten(), layer), head)


def linear_network(
    weight: NDArray[np.float32], bias: float | Sequence[float], head: Head | None = None
) -> ScoreNetwork:
    """Build the network that scores an image by ``(image * weight).sum() + bias``.

    The weight of each voxel has shape (C, X, Y, Z), or (K, C, X, Y, Z) with a head of K outputs,
    for which there are K biases.
    """
    each = weight if head is not None else weight[None]
    channels, x, y, z = each.shape[1:]
    network = build_linear((channels, x, y, z), head)
    state = network.state_dict()
    state["backbone.1.weight"] = torch.from_numpy(each.reshape(len(each), -1).copy())
    state["backbone.1.bias"] = torch.tensor(np.atleast_1d(bias), dtype=torch.float32)
    network.load_state_dict(state)
    return network.eval()
