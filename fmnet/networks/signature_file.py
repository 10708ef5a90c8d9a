"""The file of a pretrained `SignatureCnn`: weights, and a description that rebuilds the network.

Both are in one safetensors file, the description as JSON in its header. Nothing is unpickled, and
no class but those of `monai.networks.nets` is looked up by a name that the file holds.
"""

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn
from torch.nn.functional import pad

from fmnet.data.files import write_atomically
from fmnet.errors import ConfigError, Fault, FmnetError, LeakError
from fmnet.networks.backbones import UNFIT
from fmnet.networks.monai_networks import fill_arguments, find_network
from fmnet.networks.prior_cnn import BANDS_MM, GRID_MM, MULTIPLE, SignatureCnn, n_input_channels
from fmnet.types import Bands, Count

#: Name of the description in the file's header, and the version of its form.
HEADER, FORMAT = "fmnet_signature_cnn", 1
#: Where a record has the hashes of the files whose maps were seen.
PEOPLE = "people_sha256"
#: Weights that take more than this in float32 are kept in float16.
LARGEST_BYTES = 5_000_000


@dataclass(frozen=True)
class Backbone:
    """A network of MONAI that turns an image into an image of the same size.

    Parameters
    ----------
    name : str
        Of `monai.networks.nets`: ``UNet``, ``BasicUNet``, ``DynUNet`` and their like.
    features : int
        Channels that it gives.
    settings : dict
        Further arguments of its constructor: plain values. Dimensions, channels and size are filled
        in.
    channels_last : bool
        Whether its weights have channels innermost, which is faster on most processors.
    multiple_of : int
        Images are filled up with zeros to multiples of so many voxels, and what it gives is cut to
        their size: for networks that can't halve all grids, such as ``SwinUNETR`` (32).
    """

    name: str = "UNet"
    features: Count = 16
    settings: dict[str, Any] = field(default_factory=dict)
    channels_last: bool = True
    multiple_of: Count = 1

    def build(self, n_channels: int, shape: tuple[int, int, int]) -> nn.Module:
        """Build the network, and see that it gives what is asked for.

        Parameters
        ----------
        n_channels : int
            Channels in.
        shape : tuple of int
            Size of the grid.

        Raises
        ------
        ConfigError
            If there is no such network, its settings are wrong, or it gives something else than an
            image of this size.
        """
        make, parameters = find_network(self.name, "backbone")
        grid = tuple(-(-size // self.multiple_of) * self.multiple_of for size in shape)
        arguments = fill_arguments(
            self.name, parameters, dict(self.settings), n_channels, grid, self.features, "backbone"
        )
        expected, found = (1, self.features, *shape), ""
        try:
            network = make(**arguments)
            if self.multiple_of > 1:
                network = _Filled(network, self.multiple_of)
            with torch.no_grad():
                example = torch.empty(1, n_channels, *shape, device="meta")
                given = copy.deepcopy(network).to("meta").eval()(example)
            if not isinstance(given, torch.Tensor):
                found = f"{type(given).__name__} of images or features"
            elif tuple(given.shape) != expected:
                found = f"an output of shape {tuple(given.shape)}"
        except (*UNFIT, KeyError, AssertionError, AttributeError) as error:
            found = f"a network that can't be applied ({' '.join(str(error).split())[:300]})"
        if found:
            raise ConfigError(
                Fault(
                    "backbone",
                    f"{self.name}: {found}",
                    f"a network that turns an image of {n_channels} channels and "
                    f"{' x '.join(map(str, shape))} voxels into one of shape {expected}",
                    "choose one that gives an image at the size of its input, such as UNet, or "
                    "correct backbone.settings",
                )
            )
        layout = torch.channels_last_3d if self.channels_last else torch.contiguous_format
        network.to(memory_format=layout)  # type: ignore[call-overload]
        return network


class _Filled(nn.Module):
    """Fills images up at their far sides, applies a network, and cuts what it gives."""

    def __init__(self, network: nn.Module, multiple_of: int) -> None:
        super().__init__()
        self.network, self.multiple_of = network, multiple_of

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x, y, z = image.shape[2:]
        more = [-size % self.multiple_of for size in (z, y, x)]
        given: torch.Tensor = self.network(pad(image, (0, more[0], 0, more[1], 0, more[2])))
        return given[:, :, :x, :y, :z]


def build_signature_cnn(
    backbone: Backbone, shape: tuple[int, int, int], n_bands: int = len(BANDS_MM)
) -> SignatureCnn:
    """Build a network that hasn't learned anything, for a grid of `shape`."""
    return SignatureCnn(
        backbone.build(n_input_channels(n_bands), shape), n_bands, backbone.features
    )


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A pretrained network, and what its file says of it.

    Parameters
    ----------
    network : SignatureCnn
        In evaluation mode.
    backbone : Backbone
    voxel_size_mm : float
        Of the grid that it was trained on.
    bands_mm : Bands
    record : dict
        How it was trained: priors, episodes seen, command, versions, hashes of participants.
    sha256 : str
        Of the file.
    """

    network: SignatureCnn
    backbone: Backbone
    voxel_size_mm: float
    bands_mm: Bands
    record: dict[str, Any]
    sha256: str


def write_signature_cnn(
    path: Path,
    weights: Mapping[str, torch.Tensor],
    backbone: Backbone,
    record: Mapping[str, Any],
    voxel_size_mm: float = GRID_MM,
    bands_mm: Bands = BANDS_MM,
) -> str:
    """Write weights of a `SignatureCnn` with its description; return the file's SHA-256."""
    own = _shared_names(_rebuild(backbone, len(bands_mm))).values()
    plain = {name: weights[name].detach().cpu().contiguous() for name in dict.fromkeys(own)}
    n_bytes = sum(value.numel() * 4 for value in plain.values())
    kind = torch.float16 if n_bytes > LARGEST_BYTES else torch.float32
    # indices, which some networks keep among their weights, stay what they are
    plain = {k: v.to(kind) if v.is_floating_point() else v for k, v in plain.items()}
    description = {
        "format": FORMAT,
        "backbone": asdict(backbone),
        "voxel_size_mm": voxel_size_mm,
        "bands_mm": [list(band) for band in bands_mm],
        "record": dict(record),
    }
    content = save(plain, {HEADER: json.dumps(description, sort_keys=True)})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
    return hashlib.sha256(content).hexdigest()


def read_signature_cnn(path: Path | str) -> SignatureCnn:
    """Read the network of a file that `write_signature_cnn` wrote, see `read_pretrained`."""
    return read_pretrained(path).network


def read_pretrained(path: Path | str) -> Pretrained:
    """Read a pretrained network and what is known of it.

    Raises
    ------
    FmnetError
        If the file is of another kind or form, or its weights don't fit its description.
    """
    path = Path(path)
    try:
        with safe_open(path, "pt") as file:
            header = dict(file.metadata() or {})
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        description = json.loads(header[HEADER])
        form = description["format"]
        if form != FORMAT:
            raise _unlike(path, f"form {form} of the description")
        backbone = Backbone(**description["backbone"])
        bands_mm = tuple((float(low), float(high)) for low, high in description["bands_mm"])
        voxel_size_mm = float(description["voxel_size_mm"])
        network = _rebuild(backbone, len(bands_mm))
        stored_as = _shared_names(network)
        if extra := sorted(weights.keys() - set(stored_as.values())):
            raise _unlike(path, f"weights that are not of this network ({extra[0]})")
        network.load_state_dict({name: weights[own] for name, own in stored_as.items()})
    except FileNotFoundError as error:
        raise _unlike(path, "no such file") from error
    except ConfigError as error:
        raise _unlike(path, f"a network that can't be built ({error.faults[0]})") from error
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise _unlike(path, f"something else ({type(error).__name__}: {reason})") from error
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Pretrained(
        network.eval(), backbone, voxel_size_mm, bands_mm, dict(description["record"]), digest
    )


def _rebuild(backbone: Backbone, n_bands: int) -> SignatureCnn:
    """Build a network for a grid that each can halve: its weights don't depend on the size."""
    size = MULTIPLE * 8
    return build_signature_cnn(backbone, (size, size, size), n_bands)


def _shared_names(network: SignatureCnn) -> dict[str, str]:
    """Name the first of each weight's names: networks such as DynUNet have some under two."""
    first: dict[int, str] = {}
    return {
        name: first.setdefault(value.data_ptr(), name)
        for name, value in network.state_dict().items()
    }


def check_unseen(pretrained: Pretrained, hashes: Iterable[str], where: str) -> None:
    """Refuse people whose maps a network was pretrained on: it may know them.

    Parameters
    ----------
    pretrained : Pretrained
    hashes : iterable of str
        SHA-256 of the contents of a study's files.
    where : str
        For the message.

    Raises
    ------
    LeakError
        If any of the files is among them.
    """
    shared = set(pretrained.record.get(PEOPLE, ())) & set(hashes)
    if shared:
        raise LeakError(
            Fault(
                where,
                f"weights that were pretrained on {len(shared)} of this study's files "
                f"(SHA-256 {sorted(shared)[0][:12]}...)",
                "weights of people who are in no fold",
                "pretrain on others, or leave these people out of the study",
            )
        )


def _unlike(path: Path, found: str) -> FmnetError:
    return FmnetError(
        Fault(
            str(path),
            found,
            f"a safetensors file, form {FORMAT}, that scripts/pretrain.py wrote",
            "give the path of such a file, or make one with fmnet pretrain",
        )
    )
