"""What a network costs: parameters, multiply-accumulates a pixel and frame, bytes of state. Counted, not estimated.

Only convolutions are counted, as in the tables of the field; a spike convolution counts like any other here (what its
spikes save is energy). Element-wise steps and the block matching of the streaming networks are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from esdnet.streaming import StreamNet


@dataclass(frozen=True)
class Complexity:
    parameters: int
    kmacs_per_pixel: float  # thousand multiply-accumulates a pixel of the full picture and frame
    state_values_per_pixel: float  # values that are carried to the next frame, a pixel of the full picture


def complexity(network: StreamNet, height: int = 64, width: int = 64) -> Complexity:
    """Count one step of a streaming network at `height` × `width` pixels (multiples of 8)."""
    macs = 0

    def count(module: nn.Conv2d, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        macs += module.weight.numel() * output.shape[-2] * output.shape[-1]

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d)]
    try:
        state = network.initial_state(1, height // 2, width // 2)
        frame = network.stem.weight.new_zeros(1, 6, height // 2, width // 2)
        with torch.no_grad():
            network.step(frame, state)
    finally:
        for hook in hooks:
            hook.remove()
    pixels = height * width
    values = sum(t.numel() for t in state.tensors())
    return Complexity(sum(p.numel() for p in network.parameters()), macs / pixels / 1000, values / pixels)
