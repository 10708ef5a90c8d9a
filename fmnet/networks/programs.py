"""A network as programs that need none of its source: ``torch.export`` and ONNX."""

import io
import logging
import warnings
from pathlib import Path
from typing import Any

import torch

from fmnet.errors import ExportError, Fault
from fmnet.networks.backbones import InputShape, ScoreNetwork

MAX_BATCH = 4096
MAX_VOLUMES = 100_000


def write_network_files(network: ScoreNetwork, input_shape: InputShape, folder: Path) -> None:
    """Write ``model.pt2`` (torch.export) and ``model.onnx``, both for any batch size."""
    _write_files(network, torch.zeros((2, *input_shape)), {0: _batch()}, "image", folder)


def write_series_files(network: ScoreNetwork, input_shape: InputShape, folder: Path) -> None:
    """Write the same files of a network that reads series, (B, T, X, Y, Z), for any B and T."""
    # of a length that no program takes for a constant
    example = torch.randn((2, max(input_shape[0], 8), *input_shape[1:]))
    axes = {0: _batch(), 1: torch.export.Dim("time", min=2, max=MAX_VOLUMES)}
    _write_files(network, example, axes, "series", folder)


def _batch() -> Any:
    return torch.export.Dim("batch", min=1, max=MAX_BATCH)


def _write_files(
    network: ScoreNetwork, example: torch.Tensor, axes: dict[int, Any], name: str, folder: Path
) -> None:
    """Write both programs; `axes` says which of the example's may have another length."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Inside torch, about torch: nothing here that a user or we could change.
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.export.export(network, (example,), dynamic_shapes={"image": axes})
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
