"""Networks on disk: a builder's name, its plain settings and weights; nothing is unpickled."""

import importlib
import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from fmnet.earlier import current_name
from fmnet.errors import Fault, RunError
from fmnet.networks.backbones import NetworkBuilder, ScoreNetwork

#: Packages whose builders are run when a saved network is rebuilt.
TRUSTED = ("fmnet.networks",)
#: What reading and rebuilding raise when a file is missing, damaged or doesn't fit.
DAMAGE = (
    OSError, ValueError, TypeError, AttributeError, ImportError, RuntimeError, SafetensorError,
)  # fmt: skip


@dataclass(frozen=True)
class NetworkDescription:
    """What is needed to build a network again.

    Parameters
    ----------
    builder : str
        Dotted name of the builder.
    settings : dict
        Its plain settings.
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
    return NetworkDescription(
        f"{function.__module__}.{function.__qualname__}", settings, input_shape
    )


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
        Where it was written.
    trusted : tuple of str
        Modules, or packages, whose builders may be run.

    Raises
    ------
    RunError
        If a file is missing or damaged, or the builder is not from a trusted package.
    """
    try:
        description = NetworkDescription(**json.loads((folder / "network.json").read_text("utf-8")))
        module, _, name = current_name(description.builder).rpartition(".")
        _check_trusted(module, trusted, folder)
        build = getattr(importlib.import_module(module), name)
        network = build(tuple(description.input_shape), **description.settings)
        network.load_state_dict(load_file(folder / "weights.safetensors"))
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


def _check_trusted(module: str, trusted: tuple[str, ...], folder: Path) -> None:
    if not any(module == name or module.startswith(f"{name}.") for name in trusted):
        raise RunError(
            Fault(
                str(folder / "network.json"),
                f"a network built by '{module}'",
                f"builders from {', '.join(trusted)}",
                "if you trust that package, name it: trusted_packages=[...]",
            )
        )
