"""What a step must move through memory when it is carried out layer by layer: the other side of the roofline.

The roofline model (Williams et al., Communications of the ACM, 2009) bounds a program's speed by its arithmetic and by
its memory traffic. Counted here is the least traffic without fusion across layers: every convolution and every layer
of neurons reads its inputs and writes its outputs once, weights once; the state is read and written, its membranes as
what goes between layers, its pictures always float32.
The search for motion is left out, as in `complexity.py`. A cache that holds a layer's pictures makes the real traffic
less; reorders between memory layouts make it more.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from esdnet.streaming import StreamNet

_PICTURE_BYTES = 4
_PICTURES = ("picture", "seen")


def bytes_per_frame(network: StreamNet, height: int, width: int, value_bytes: int = 4) -> int:
    """Bytes of one step of one stream at `height` × `width` pixels (multiples of 8), values between layers being of
    `value_bytes` (float32: 4, bfloat16: 2)."""
    values = sum(p.numel() for p in network.parameters())

    def count(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal values
        given = output if isinstance(output, tuple) else (output,)
        values += sum(t.numel() for t in (*inputs, *given) if isinstance(t, Tensor))

    layers = [
        module
        for module in network.modules()
        if isinstance(module, nn.Conv2d) or getattr(type(module), "is_spiking", False)
    ]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    # Small, and scaled up: every layer's pictures grow with the pixels, and pooled ones are too few to matter.
    small = 64
    try:
        with torch.no_grad():
            state = network.initial_state(1, small // 2, small // 2)
            network.step(network.stem.weight.new_zeros(1, 6, small // 2, small // 2), state)
    finally:
        for hook in hooks:
            hook.remove()
    pictures = sum(2 * state[name].numel() for name in _PICTURES if name in state)  # the rest are among inputs
    return round((values * value_bytes + pictures * _PICTURE_BYTES) * height * width / small**2)


def state_bytes(network: StreamNet, height: int, width: int, value_bytes: int = 4) -> int:
    """Bytes that one stream of `height` × `width` pixels carries from frame to frame, potentials of `value_bytes`."""
    state = network.initial_state(1, height // 2, width // 2, device="meta")
    return sum(state[name].numel() * (_PICTURE_BYTES if name in _PICTURES else value_bytes) for name in state)
