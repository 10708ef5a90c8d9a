"""A small CNN as pretraining writes it, with weights that are no one's."""

import torch

from fmnet.networks.signature_file import Backbone, build_signature_cnn, write_signature_cnn

SMALL = Backbone(
    "UNet",
    4,
    {"channels": [4, 6], "strides": [2], "num_res_units": 0, "norm": None, "act": "relu"},
)


def write_small_cnn(path, voxel_size_mm=8.0, record=None):
    """Write a network whose last layers aren't 0, as they are before it has learned."""
    torch.manual_seed(3)
    network = build_signature_cnn(SMALL, (16, 16, 16))
    for layer in (network.last, network.mixture[-1]):
        torch.nn.init.normal_(layer.weight, std=0.2)
    record = {"figures": {"episodes": 1200.0}} if record is None else record
    return write_signature_cnn(path, network.state_dict(), SMALL, record, voxel_size_mm)
