"""A network as programs that need none of its source: ``torch.export`` and ONNX."""

import io
import logging
import warnings
from pathlib import Path

import torch

from fmnet.errors import ExportError, Fault
from fmnet.networks.backbones import InputShape, ScoreNetwork

MAX_BATCH = 4096


def write_network_files(network: ScoreNetwork, input_shape: InputShape, folder: Path) -> None:
    """Write ``model.pt2`` (torch.export) and ``model.onnx``, both for any batch size."""
    example = torch.zeros((2, *input_shape))
    shapes = {"image": {0: torch.export.Dim("batch", min=1, max=MAX_BATCH)}}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Inside torch, about torch: nothing here that a user or we could change.
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.export.export(network, (example,), dynamic_shapes=shapes)
        for node in program.graph.nodes:
            # Paths of this machine, and in them its users' names, are no part of a signature.
            node.meta.pop("stack_trace", None)
        # Through memory: torch's own writing to a full disk ends in a C++ error without a reason.
        whole = io.BytesIO()
        torch.export.save(program, whole)
        (folder / "model.pt2").write_bytes(whole.getbuffer())
        onnx = torch.onnx.export(
            program,
            input_names=["image"],
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
