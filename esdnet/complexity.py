"""What a network costs: parameters, multiply-accumulates a pixel and frame, bytes of state. Counted, not estimated.

Only convolutions are counted, as in the tables of the field; a spike convolution counts like any other here (what its
spikes save is energy: `energy.py`). Element-wise steps and the streaming networks' search for motion are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from esdnet.energy import energy_meter
from esdnet.errors import ModelError
from esdnet.network import ESDNet
from esdnet.streaming import StreamNet


@dataclass(frozen=True)
class Complexity:
    parameters: int
    kmacs_per_pixel: float  # thousand multiply-accumulates a pixel of the full picture and frame, all time steps
    state_values_per_pixel: float  # values that are carried to the next frame, a pixel of the full picture


def complexity(network: nn.Module, height: int = 64, width: int = 64) -> Complexity:
    """Count one step of a `StreamNet`, or one picture of an `ESDNet`, at `height` × `width` pixels (multiples of 8).

    ModelError for another network.
    """
    values = 0
    with torch.no_grad(), energy_meter(network) as counted:
        if isinstance(network, StreamNet):
            state = network.initial_state(1, height // 2, width // 2)
            values = sum(t.numel() for t in state.tensors())
            network.step(network.stem.weight.new_zeros(1, 6, height // 2, width // 2), state)
        elif isinstance(network, ESDNet):
            network(network.patch_embed.proj.weight.new_zeros(1, 3, height, width))
        else:
            raise ModelError(f"cannot count a {type(network).__name__}: neither a StreamNet nor an ESDNet")
    macs = sum(layer.macs for layer in counted.values())
    pixels = height * width
    parameters = sum(p.numel() for p in network.parameters())
    return Complexity(parameters, macs / pixels / 1000, values / pixels)
