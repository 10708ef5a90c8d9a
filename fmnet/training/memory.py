"""How much memory trainings will take, known before they start."""

import psutil
import torch
from torch import nn

from fmnet.networks.backbones import InputShape, ScoreNetwork

#: Memory of parameters in training, in copies: themselves, gradient and AdamW's two moments.
COPIES = 4
#: Room for what convolutions need to work in and for what the allocator can't use.
WORKING_ROOM = 1.5


def training_bytes(network: ScoreNetwork, input_shape: InputShape, batch_size: int) -> int:
    """Estimate the memory that training one network takes, without computing anything.

    Parameters
    ----------
    network : ScoreNetwork
        On the "meta" device, where tensors have a shape and no data.
    input_shape : tuple of int
        (C, X, Y, Z).
    batch_size : int
        Scans per step.

    Returns
    -------
    int
        Bytes: everything that is kept for the backward pass in float32, twice the input, and
        parameters with their gradients and moments, with room to work in.
    """
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[id(storage)] = storage.nbytes()
        alive.append(storage)  # so that no other gets its id
        return tensor

    alive: list[torch.UntypedStorage] = []
    image = torch.empty((batch_size, *input_shape), device="meta")
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        network.train()(image).sum()
    activations = sum(kept.values()) + 2 * image.nbytes
    return int(WORKING_ROOM * activations + COPIES * _parameter_bytes(network))


def free_bytes(device: torch.device) -> int:
    """Ask how much memory a device has left."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def choose_stack(one_training: int, cohort: int, free: int, largest: int, share: float) -> int:
    """Say how many trainings fit beside the cohort in a share of the memory that is free.

    Parameters
    ----------
    one_training, cohort, free : int
        Bytes.
    largest : int
        No more than these.
    share : float
        Of the free memory that is planned with.
    """
    return max(1, min(largest, int((share * free - cohort) // one_training)))


def _parameter_bytes(network: nn.Module) -> int:
    return sum(one.numel() * one.element_size() for one in network.parameters())
