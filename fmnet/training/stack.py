"""Networks of one architecture trained side by side, as one module."""

import copy
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from fmnet.networks.backbones import ScoreNetwork

State = dict[str, torch.Tensor]


class NetworkStack(nn.Module):
    """M networks: (M, B, C, X, Y, Z) to (M, B), each on its own scans.

    Their parameters are stacked along a new first axis, so that one operation serves all: a
    convolution becomes a grouped one. What happens to one network doesn't depend on the others,
    but for the rounding of sums and for dropout, whose draws they share.

    Parameters
    ----------
    networks : list of ScoreNetwork
        Alike but for their weights.
    """

    def __init__(self, networks: list[ScoreNetwork]) -> None:
        super().__init__()
        parameters, buffers = stack_module_state(networks)
        self.names, self.buffer_names = list(parameters), list(buffers)
        self.stacked = nn.ParameterList(nn.Parameter(parameters[name]) for name in self.names)
        for place, name in enumerate(self.buffer_names):
            self.register_buffer(f"stacked_buffer_{place}", buffers[name])
        # In a tuple: a module without data must not move to the device with the rest.
        self._form = (copy.deepcopy(networks[0]).to("meta"),)

    def train(self, mode: bool = True) -> "NetworkStack":
        """Set training or evaluation mode, of the form that all networks share as well."""
        self._form[0].train(mode)
        return super().train(mode)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Score prepared scans: (M, B, C, X, Y, Z) to (M, B)."""
        parameters = dict(zip(self.names, self.stacked, strict=True))
        scores: torch.Tensor = vmap(self._score_one, randomness="different")(
            parameters, self._buffers_by_name(), image
        )
        return scores

    def state(self, index: int) -> State:
        """Copy parameters and buffers of one network."""
        both = dict(zip(self.names, self.stacked, strict=True)) | self._buffers_by_name()
        return {name: values[index].detach().cpu().clone() for name, values in both.items()}

    def _buffers_by_name(self) -> State:
        found = (getattr(self, f"stacked_buffer_{n}") for n in range(len(self.buffer_names)))
        return dict(zip(self.buffer_names, found, strict=True))

    def _score_one(self, parameters: Any, buffers: Any, image: torch.Tensor) -> Any:
        return functional_call(self._form[0], (parameters, buffers), (image,))


class SingleNetwork(nn.Module):
    """One network behind the interface of a stack: (1, B, C, X, Y, Z) to (1, B).

    Parameters
    ----------
    network : ScoreNetwork
        The network.
    is_channels_last : bool
        Whether volumes are kept with channels innermost in memory.
    """

    def __init__(self, network: ScoreNetwork, is_channels_last: bool = False) -> None:
        super().__init__()
        self.layout = torch.channels_last_3d if is_channels_last else torch.contiguous_format
        self.network = network.to(memory_format=self.layout)  # type: ignore[call-overload]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Score prepared scans: (1, B, C, X, Y, Z) to (1, B)."""
        scores: torch.Tensor = self.network(image[0].contiguous(memory_format=self.layout))
        return scores[None]

    def state(self, _: int) -> State:
        """Copy parameters and buffers of the network."""
        state = self.network.state_dict()
        return {name: values.detach().cpu().clone() for name, values in state.items()}


def stack_networks(
    networks: list[ScoreNetwork], is_channels_last: bool = False
) -> NetworkStack | SingleNetwork:
    """Put networks side by side; one alone stays as it is."""
    if len(networks) == 1:
        return SingleNetwork(networks[0], is_channels_last)
    return NetworkStack(networks)
