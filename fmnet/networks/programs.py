"""A network as programs that need none of its source: ``torch.export`` and ONNX."""

import io
import logging
import warnings
from pathlib import Path

import torch

from fmnet.errors import ExportError, Fault
from fmnet.networks.backbones import InputShape, ScoreNetwork

MAX_BATCH = 4096
MAX_VOLUMES = 100_000
#: Volumes of the series that a network is traced with.
EXAMPLE_VOLUMES = 50


def write_network_files(network: ScoreNetwork, input_shape: InputShape, folder: Path) -> None:
    """Write ``model.pt2`` (torch.export) and ``model.onnx``, both for any batch size."""
    _write(network, "image", torch.zeros((2, *input_shape)), {}, folder)


def write_series_files(network: ScoreNetwork, input_shape: InputShape, folder: Path) -> None:
    """Write the same two files of a network that takes series, for any batch size and length.

    Parameters
    ----------
    network : ScoreNetwork
        See `fmnet.networks.series`.
    input_shape : tuple of int
        (T, X, Y, Z); T doesn't matter: series may have any number of volumes from 2 on.
    folder : Path
        Where they go.
    """
    volumes = torch.export.Dim("volumes", min=2, max=MAX_VOLUMES)
    example = torch.zeros((2, EXAMPLE_VOLUMES, *input_shape[1:]))
    _write(network, "series", example, {1: volumes}, folder)


def _write(
    network: ScoreNetwork,
    name: str,
    example: torch.Tensor,
    free_axes: dict[int, torch.export.Dim],
    folder: Path,
) -> None:
    shapes = {0: torch.export.Dim("batch", min=1, max=MAX_BATCH), **free_axes}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Inside torch, about torch: nothing here that a user or we could change.
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.export.export(network, (example,), dynamic_shapes=(shapes,))
        for node in program.graph.nodes:
            # Paths of this machine, and in them its users' names, are no part of a signature.
            node.meta.pop("stack_trace", None)
        # Through memory: torch's own writing to a full disk ends in a C++ error without a reason.
        whole = io.BytesIO()
        torch.export.save(program, whole)
        (folder / "model.pt2").write_bytes(whole.getbuffer())
        onnx = torch.onnx.export(
            program,
            input_names=[name],
            output_names=["score"],
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        if onnx is None:
            raise ExportError(
                Fault("network", "no ONNX program", "a network that ONNX can hold", "change it")
            )
        (folder / "model.onnx").write_bytes(onnx.model_proto.SerializeToString())
