"""Any 3-D classifier of `monai.networks.nets` by name, and encoders with pooling and a linear head.

What a study knows is filled in by the names of the constructor's parameters: three dimensions,
channels, the size of the grid, the number of outputs. Networks that give an image, as those for
segmentation do, lend their encoder: its last features are averaged over space.

MONAI takes seconds to import: it is where a network is looked up, and nowhere else.
"""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from math import lcm
from typing import Any

import torch
from torch import nn
from torch.nn.functional import batch_norm, pad

from fmnet.errors import ConfigError, Fault
from fmnet.networks.backbones import UNFIT, InputShape, ScoreNetwork, count_outputs, grid_fault
from fmnet.networks.heads import Head
from fmnet.types import Count

#: Names of parameters for what a study knows, as MONAI's constructors spell them.
CHANNELS = ("in_channels", "n_input_channels", "num_channels")
SIZES = ("img_size", "image_size", "input_image_size")
OUTPUTS = ("out_channels", "num_classes", "classes")
FILLED = ("spatial_dims", "in_shape", "out_shape", *CHANNELS, *SIZES, *OUTPUTS)
#: What makes a classifier of raw scores, where a constructor has a choice; may be set otherwise.
CHOSEN = {
    "feed_forward": True,
    "classification": True,
    "post_activation": "none",
    "last_act": None,
    "progress": False,
}
#: Edge of patches where a constructor doesn't ask for it.
PATCHES = {"UNETR": 16}
#: Encoders of networks that give an image, by the name of MONAI's class: from the network to a
#: module that gives features.
ENCODERS: dict[str, Callable[[Any], nn.Module]] = {
    "SwinUNETR": lambda net: net.swinViT,
    "UNETR": lambda net: net.vit,
    "SegResNetDS": lambda net: net.encoder,
    "FlexibleUNet": lambda net: net.encoder,
    "AutoEncoder": lambda net: net.encode,
    "SegResNet": lambda net: nn.Sequential(net.convInit, *net.down_layers),
    "BasicUNet": lambda net: nn.Sequential(
        net.conv_0, net.down_1, net.down_2, net.down_3, net.down_4
    ),
    "VNet": lambda net: nn.Sequential(
        net.in_tr, net.down_tr32, net.down_tr64, net.down_tr128, net.down_tr256
    ),
    "DynUNet": lambda net: nn.Sequential(net.input_block, *net.downsamples, net.bottleneck),
    "MedNeXt": lambda net: nn.Sequential(
        net.stem,
        *(one for pair in zip(net.enc_stages, net.down_blocks, strict=True) for one in pair),
        net.bottleneck,
    ),
    "HighResNet": lambda net: net.blocks[:-1],
    "UNet": lambda net: _downward(net.model),
    "ResNetFeatures": lambda net: net,
    "EfficientNetBNFeatures": lambda net: net,
}


class MonaiBackbone(nn.Module):
    """Fill scans up to a size that a network takes, apply it, and a linear layer if needed.

    Parameters
    ----------
    network : Module
        From scans to outputs, (B, n_outputs), or to features: maps, tokens, or a list of these of
        which the last is taken; of a pair, the first.
    padding : sequence of int
        Voxels of 0, the mean, before and after each axis, the last axis first.
    last : Module
        From features, (B, F), to outputs.
    """

    def __init__(self, network: nn.Module, padding: Sequence[int], last: nn.Module) -> None:
        super().__init__()
        self.network, self.padding, self.last = network, tuple(padding), last

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Compute outputs: (B, C, X, Y, Z) to (B, n_outputs)."""
        found = self.network(pad(image, self.padding) if any(self.padding) else image)
        outputs: torch.Tensor = self.last(_pooled(found))
        return outputs


class SmallBatchNorm3d(nn.BatchNorm3d):
    """Batch normalisation that takes a batch of one scan with one voxel left as in use.

    Such a batch, perhaps the last of an epoch, has no standard deviation, and torch refuses it.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalise each channel: (B, C, X, Y, Z) to the same."""
        if self.training and input.numel() == input.shape[1]:
            running = self.running_mean, self.running_var
            return batch_norm(input, *running, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


def build_monai(
    input_shape: InputShape,
    name: str = "resnet10",
    settings: dict[str, Any] | None = None,
    multiple_of: Count = 1,
    head: Head | None = None,
) -> ScoreNetwork:
    """Build a network of `monai.networks.nets` for 3-D scans, (C, X, Y, Z).

    Parameters
    ----------
    name : str
        A classifier, such as ``SEResNet50``, ``resnet10``, ``DenseNet121``, ``EfficientNetBN`` or
        ``ViT``; a network of features, such as ``ResNetFeatures``; or one for segmentation of which
        the encoder is known, such as ``SwinUNETR``, ``UNETR`` or ``SegResNet``.
    settings : dict, optional
        Further arguments of its constructor: plain values.
    multiple_of : int
        The grid is filled up with zeros, evenly on both sides, to multiples of so many voxels.
    head : Head, optional
        See `ScoreNetwork`.

    Raises
    ------
    ConfigError
        If there is no such network, a setting is unknown, missing or filled in already, or patches
        would leave a part of the grid out.
    """
    make, parameters = find_network(name)
    grid = tuple(-(-size // multiple_of) * multiple_of for size in input_shape[1:])
    n_outputs = count_outputs(head)
    arguments = fill_arguments(
        name, parameters, dict(settings or {}), input_shape[0], grid, n_outputs
    )
    _check_patches(name, arguments, grid, multiple_of)
    network = make(**arguments)
    kinds = [kind.__name__ for kind in type(network).__mro__]
    encoder = next((ENCODERS[kind] for kind in kinds if kind in ENCODERS), None)
    network = network if encoder is None else encoder(network)
    for module in network.modules():
        if type(module) is nn.BatchNorm3d:
            module.__class__ = SmallBatchNorm3d
    example = torch.empty(2, input_shape[0], *grid, device="meta")
    try:
        with torch.no_grad():
            found = copy.deepcopy(network).to("meta")(example)
    except UNFIT as error:
        raise ConfigError(grid_fault(input_shape, error)) from error
    features = _pooled(found)
    if encoder is None and _last(found).ndim == 5:
        gives = "a network that gives an image, and whose encoder isn't known here"
        accepted = f"a classifier, or one of {', '.join(ENCODERS)}"
        raise ConfigError(Fault("network.name", f"{name}, {gives}", accepted, "choose one of them"))
    is_classifier = features.shape[1:] == (n_outputs,)
    last = nn.Identity() if is_classifier else nn.Linear(features.shape[1], n_outputs)
    padding = [
        side
        for size, full in zip(reversed(input_shape[1:]), reversed(grid), strict=True)
        for side in ((full - size) // 2, full - size - (full - size) // 2)
    ]
    return ScoreNetwork(MonaiBackbone(network, padding, last), head)


def find_network(
    name: str, where: str = "network"
) -> tuple[Callable[..., nn.Module], Mapping[str, inspect.Parameter]]:
    """Find a network of MONAI by its name, and the named parameters of its constructor.

    Raises
    ------
    ConfigError
        If `monai.networks.nets` has none of that name; `where` is the key that named it.
    """
    from monai.networks import nets

    known = [
        one
        for one, made in sorted(vars(nets).items())
        if (inspect.isclass(made) and issubclass(made, nn.Module))
        or (inspect.isfunction(made) and one.lower().startswith(("resnet", "mednext")))
    ]
    if name not in known:
        by_lower = {one.lower(): one for one in known}  # MONAI has most under several spellings
        close = get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)
        action = f"did you mean {' or '.join(by_lower[one] for one in close)}?"
        accepted = "the name of a network in monai.networks.nets"
        fallback = "choose one, for instance resnet10, SEResNet50, DenseNet121 or ViT"
        raise ConfigError(Fault(f"{where}.name", name, accepted, action if close else fallback))
    make = getattr(nets, name)
    made: Any = make
    if inspect.isfunction(make):  # resnet10 and its like pass on what ResNet takes
        made = nets.ResNet if name.startswith("resnet") else nets.MedNeXt
    parameters = dict(inspect.signature(make).parameters)
    takes_more = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    more = (made, *made.__mro__[1:]) if inspect.isfunction(make) else made.__mro__[1:]
    for base in more if takes_more else ():
        if issubclass(base, nn.Module) and base is not nn.Module:
            inherited = inspect.signature(base).parameters.items()
            parameters |= {
                # what else it needs is passed on by the function or class itself
                key: one
                for key, one in inherited
                if key not in parameters and (one.default is not one.empty or key in FILLED)
            }
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return make, {key: one for key, one in parameters.items() if one.kind in kinds}


def fill_arguments(
    name: str,
    parameters: Mapping[str, inspect.Parameter],
    settings: dict[str, Any],
    n_channels: int,
    grid: tuple[int, ...],
    n_outputs: int,
    where: str = "network",
) -> dict[str, Any]:
    """Put together what a constructor is called with.

    Raises
    ------
    ConfigError
        With all faults of the settings; `where` is the key that they are below.
    """
    filled: dict[str, Any] = {"spatial_dims": 3, "pretrained": False}
    filled |= dict.fromkeys(CHANNELS, n_channels) | dict.fromkeys(OUTPUTS, n_outputs)
    filled |= {"in_shape": (n_channels, *grid), "out_shape": (n_outputs,)}
    filled |= dict.fromkeys(SIZES, grid)
    filled = {key: value for key, value in filled.items() if key in parameters}
    for key in SIZES:
        if key in filled and parameters[key].annotation in (int, "int"):
            filled[key] = max(grid)
    why = dict.fromkeys(filled, " from the scans and the grid") | {
        "pretrained": ": weights that are downloaded could not be downloaded again where a run is "
        "exported"
    }
    faults = [
        Fault(
            f"{where}.settings.{key}",
            f"{settings[key]!r}",
            f"{filled[key]!r}, which is filled in" + why[key],
            f"leave {key} out",
        )
        for key in settings.keys() & filled.keys()
        if settings[key] != filled[key]
    ]
    free = [key for key in parameters if key not in filled]
    for key in settings.keys() - parameters.keys():
        close = get_close_matches(key, free, n=1, cutoff=0.5)
        action = f"did you mean '{close[0]}'?" if close else "choose one of these"
        accepted = ", ".join(free)
        faults.append(
            Fault(f"{where}.settings.{key}", f"no such setting of {name}", accepted, action)
        )
    chosen = {key: value for key, value in CHOSEN.items() if key in parameters}
    arguments = chosen | settings | filled
    faults += [
        Fault(
            f"{where}.settings.{key}",
            "nothing",
            f"a value, which {name} can't be built without",
            f"set {where}.settings={{{key}: ...}}",
        )
        for key, one in parameters.items()
        if one.default is inspect.Parameter.empty and key not in arguments
    ]
    if faults:
        raise ConfigError(faults)
    return arguments


def _check_patches(
    name: str, arguments: Mapping[str, Any], grid: tuple[int, ...], multiple_of: int
) -> None:
    """Refuse patches that don't fill a grid: MONAI leaves what remains at its far sides out."""
    if not any(key in arguments for key in SIZES):
        return
    edge = arguments.get("patch_size", PATCHES.get(name, 1))
    edges = (edge,) * 3 if isinstance(edge, int) else tuple(edge)
    if len(edges) == 3 and any(size % one for size, one in zip(grid, edges, strict=True)):
        found = f"patches of {' x '.join(map(str, edges))} voxels, which don't fill a grid of "
        raise ConfigError(
            Fault(
                "network",
                found + f"{' x '.join(map(str, grid))} voxels",
                "patches of which a whole number fills each axis",
                f"set network.multiple_of={lcm(multiple_of, *edges)}, which fills the grid up with "
                "zeros, or another patch_size",
            )
        )


def _last(found: Any) -> torch.Tensor:
    """Take from a list the maps of the last size; or tokens, or scores, before hidden layers."""
    if isinstance(found, tuple | list):
        found = found[-1] if found[0].ndim == 5 else found[0]
    if not isinstance(found, torch.Tensor) or found.ndim not in {2, 3, 5}:
        gives = f"a network that gives {type(found).__name__}"
        accepted, action = "one that gives scores or features", "choose another network"
        raise ConfigError(Fault("network.name", gives, accepted, action))
    return found


def _pooled(found: Any) -> torch.Tensor:
    """Average the features of a network over space, or over tokens: to (B, F)."""
    last = _last(found)
    axes = {2: (), 3: (1,), 5: (2, 3, 4)}[last.ndim]
    return last.mean(axes) if axes else last


def _downward(block: Any) -> nn.Sequential:
    """Take the layers of a U-Net on its way down: those before each skip, and the lowest."""
    from monai.networks.layers import SkipConnection

    layers = []
    while isinstance(block, nn.Sequential) and any(
        isinstance(one, SkipConnection) for one in block
    ):
        layers.append(block[0])
        block = block[1].submodule
    return nn.Sequential(*layers, block)
