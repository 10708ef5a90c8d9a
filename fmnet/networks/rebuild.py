"""Networks on disk: a builder's name, plain settings and weights; or programs without source.

``network.json`` and ``weights.safetensors`` rebuild a network for export, and nothing is unpickled.
``model.pt2`` (torch.export) and ``model.onnx`` are what a bundle holds.
"""

import copy
import importlib
import io
import json
import logging
import warnings
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from fmnet.earlier import current_name, current_settings, current_state
from fmnet.errors import ConfigError, ExportError, Fault, FmnetError, RunError
from fmnet.networks.backbones import (
    UNFIT,
    InputShape,
    NetworkBuilder,
    ScoreNetwork,
    grid_fault,
    reason_of,
)
from fmnet.networks.heads import Head

#: Packages whose builders and heads are run when a saved network is rebuilt.
TRUSTED = ("fmnet.networks", "fmnet.targets")
#: What reading and rebuilding raise when a file is missing, damaged or doesn't fit.
DAMAGE = (
    OSError, ValueError, TypeError, AttributeError, ImportError, RuntimeError, SafetensorError,
)  # fmt: skip
#: Modules whose networks are exported in tests, with all of their settings.
KNOWN_TO_EXPORT = tuple(f"fmnet.networks.{name}" for name in ("backbones", "closed_form", "series"))
MAX_BATCH = 4096
MAX_VOLUMES = 100_000
#: Volumes of the series that a network is tried and traced with.
EXAMPLE_VOLUMES = 50


@dataclass(frozen=True)
class NetworkDescription:
    """How a network is built again.

    Parameters
    ----------
    builder : str
        Dotted name of the builder.
    settings : dict
        Its plain settings; a ``head`` as `fmnet.networks.heads.Head.describe` says it.
    input_shape : tuple of int
        (C, X, Y, Z).
    """

    builder: str
    settings: dict[str, Any]
    input_shape: tuple[int, ...]


def describe_builder(build: NetworkBuilder, input_shape: tuple[int, ...]) -> NetworkDescription:
    """Describe a builder, bare or as `functools.partial` with plain settings."""
    function, settings = (
        (build.func, dict(build.keywords)) if isinstance(build, partial) else (build, {})
    )
    if isinstance(head := settings.get("head"), Head):
        settings["head"] = head.describe()
    elif "head" in settings and head is None:
        del settings["head"]
    return NetworkDescription(
        f"{function.__module__}.{function.__qualname__}", settings, input_shape
    )


def check_network(build: NetworkBuilder, input_shape: InputShape) -> ScoreNetwork:
    """Build a network and try it on a grid, so that nothing is read for one that can't be used.

    It is tried on the "meta" device, where tensors have a shape and no data; and those of other
    libraries as a program too, since a network that can't be exported can't be used on new scans.

    Parameters
    ----------
    build : callable
        Input shape to network.
    input_shape : tuple of int
        (C, X, Y, Z).

    Returns
    -------
    ScoreNetwork
        As it was built.

    Raises
    ------
    ConfigError
        If it can't be built for this grid, rebuilt from plain settings, or exported.
    FmnetError
        If a file of weights that it starts from can't be read.
    """
    described = describe_builder(build, input_shape)
    try:
        json.dumps(described.settings, allow_nan=False)
    except (TypeError, ValueError) as error:
        accepted = "numbers, texts, lists and dicts, from which a run's network is built again"
        raise ConfigError(
            Fault("network", f"settings that are not plain ({error})", accepted, "change them")
        ) from error
    try:
        network = build(input_shape)
    except FmnetError:
        raise
    except UNFIT as error:
        found = f"settings with which it can't be built ({reason_of(error)})"
        accepted = f"settings that {described.builder} takes"
        raise ConfigError(Fault("network", found, accepted, "correct them")) from error
    window, n_first = network.window_volumes, input_shape[0]
    if window is not None:
        n_first = window or EXAMPLE_VOLUMES
    image = torch.zeros(2, n_first, *input_shape[1:])
    try:
        with torch.no_grad():
            outputs = copy.deepcopy(network).to("meta").outputs(image.to("meta"))
    except NotImplementedError:  # something that can't be told without data
        outputs = image.new_empty(2, network.head.n_outputs)
    except UNFIT as error:
        raise ConfigError(grid_fault(input_shape, error)) from error
    if outputs.shape != (2, n_outputs := network.head.n_outputs):
        found = f"output of shape {tuple(outputs.shape)} for 2 scans"
        accepted = f"a network with {n_outputs} output(s) for each scan: (2, {n_outputs})"
        raise ConfigError(Fault("network", found, accepted, "choose another network"))
    network.check(input_shape)
    if getattr(build, "func", build).__module__ not in KNOWN_TO_EXPORT:
        try:
            _programs(network.eval(), image)
        except ExportError as error:
            raise ConfigError(error.faults) from error
    return network


def write_network(network: ScoreNetwork, description: NetworkDescription, folder: Path) -> None:
    """Write ``network.json`` and ``weights.safetensors``."""
    (folder / "network.json").write_text(json.dumps(asdict(description), indent=2) + "\n", "utf-8")
    # not save_file: it makes files that only their owner may read
    (folder / "weights.safetensors").write_bytes(save(network.state_dict()))


def read_network(
    folder: Path, trusted: tuple[str, ...] = TRUSTED
) -> tuple[ScoreNetwork, NetworkDescription]:
    """Build the network that `write_network` wrote, in evaluation mode.

    Parameters
    ----------
    folder : Path
        Where it was written, perhaps by an earlier version.
    trusted : tuple of str
        Modules, or packages, whose builders may be run.

    Raises
    ------
    RunError
        If a file is missing or damaged, or the builder is not from a trusted package.
    """
    try:
        found = NetworkDescription(**json.loads((folder / "network.json").read_text("utf-8")))
        builder = current_name(found.builder)
        settings = current_settings(found.settings)
        description = NetworkDescription(builder, settings, found.input_shape)
        where = str(folder / "network.json")
        build = _find(builder, trusted, where, "a network built by")
        arguments = dict(settings)
        if (head := settings.get("head")) is not None:
            arguments["head"] = _build_head(head, trusted, where)
        network = build(tuple(description.input_shape), **arguments)
        network.load_state_dict(current_state(load_file(folder / "weights.safetensors")))
    except DAMAGE as error:
        raise RunError(
            Fault(
                str(folder),
                f"a network that can't be rebuilt ({error})",
                "network.json and weights.safetensors as training wrote them",
                "train again, or install the package that the network comes from",
            )
        ) from error
    return network.eval(), description


def _find(dotted: str, trusted: tuple[str, ...], where: str, what: str) -> Any:
    """Import what is to be called, if it is from a trusted module or package."""
    module, _, name = dotted.rpartition(".")
    if not any(module == one or module.startswith(f"{one}.") for one in trusted):
        accepted = f"builders from {', '.join(trusted)}"
        action = "if you trust that package, name it: trusted_packages=[...]"
        raise RunError(Fault(where, f"{what} '{module}'", accepted, action))
    return getattr(importlib.import_module(module), name)


def _build_head(described: dict[str, Any], trusted: tuple[str, ...], where: str) -> Head:
    """Build a head, and the heads among its settings, as `Head.describe` said them."""

    def built(value: Any) -> Any:
        if isinstance(value, list):
            return [built(one) for one in value]
        is_head = isinstance(value, dict) and value.keys() == {"name", "settings"}
        return _build_head(value, trusted, where) if is_head else value

    kind = _find(current_name(described["name"]), trusted, where, "a head of")
    if not (isinstance(kind, type) and issubclass(kind, Head)):
        raise TypeError(f"{described['name']} is no head of a network")
    settings = {name: built(value) for name, value in described["settings"].items()}
    return kind(**settings)


def write_network_files(network: ScoreNetwork, input_shape: InputShape, folder: Path) -> None:
    """Write ``model.pt2`` (torch.export) and ``model.onnx``, both for any batch size.

    The output is called ``score``: (B,) for two groups, else (B, K). That in ONNX has a second one,
    ``features``, (B, F), see `fmnet.networks.features`. Those of a network that reads series,
    (T, X, Y, Z), take any number of volumes from 2 on.
    """
    n_first = input_shape[0] if network.window_volumes is None else EXAMPLE_VOLUMES
    program, onnx = _programs(network, torch.zeros(2, n_first, *input_shape[1:]))
    # Through memory: torch's own writing to a full disk ends in a C++ error without a reason.
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.export.save(program, content)
    (folder / "model.pt2").write_bytes(content.getbuffer())
    (folder / "model.onnx").write_bytes(onnx.model_proto.SerializeToString())


class _Both(nn.Module):
    """Gives a network's scores and its features."""

    def __init__(self, network: ScoreNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.network.scores_and_features(image)


def _programs(
    network: ScoreNetwork, example: torch.Tensor
) -> tuple[torch.export.ExportedProgram, torch.onnx.ONNXProgram]:
    """Make both programs of a network; `ExportError` if torch can't."""
    shapes, name = {0: torch.export.Dim("batch", min=1, max=MAX_BATCH)}, "image"
    if network.window_volumes is not None:
        shapes[1], name = torch.export.Dim("volumes", min=2, max=MAX_VOLUMES), "series"
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Inside torch, about torch: nothing here that a user or we could change.
            warnings.simplefilter("ignore")
            program = torch.export.export(network, (example,), dynamic_shapes=(shapes,))
            both = torch.export.export(_Both(network), (example,), dynamic_shapes=(shapes,))
            for node in (*program.graph.nodes, *both.graph.nodes):
                # Paths of this machine, and in them its users' names, are no part of a signature.
                node.meta.pop("stack_trace", None)
            onnx = torch.onnx.export(
                both,
                input_names=[name],
                output_names=["score", "features"],
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        if onnx is None:
            raise RuntimeError("no ONNX program")
    except Exception as error:  # whatever an exporter raises
        found = f"a network that torch can't make a program of ({reason_of(error)})"
        accepted = "one that torch.export and ONNX can hold, by which new scans are scored"
        raise ExportError(Fault("network", found, accepted, "choose another network")) from error
    return program, onnx
