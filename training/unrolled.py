"""A streaming network over a whole window of frames, its membranes carried in and handed on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from esdnet.planes import LIMITED, code_scale
from esdnet.state import MembraneState
from esdnet.streaming import StreamNet
from training.windows import Window


def run_window(
    network: StreamNet, window: Window, state: MembraneState, device: torch.device | str, forget: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, MembraneState]:
    """Derained, clean and rainy (T, N, 6, h, w), normalised, and the state after the window.

    `forget` (T, N), boolean, resets a stream before a frame. Without it the network leans on the past alone, which is
    the easier cue, and learns nothing of what a streak looks like.
    """
    scale, offset = code_scale(LIMITED, torch.empty(0, device=device))
    rainy, clean = ((x.to(device).float() - offset) / scale for x in (window.rainy, window.clean))
    state = state.reset(window.fresh.to(device))
    derained = []
    for index, frame in enumerate(rainy):
        if forget is not None:
            state = state.reset(forget[index].to(device))
        picture, state = network.step(frame.contiguous(memory_format=torch.channels_last), state)
        derained.append(picture)
    return torch.stack(derained), clean, rainy, state


class Unrolled(nn.Module):
    """`run_window` as a module, so that gradients are exchanged once a window and not once a frame."""

    def __init__(self, network: StreamNet, device: torch.device) -> None:
        super().__init__()
        self.network, self._device = network, device

    def forward(
        self, window: Window, state: MembraneState, forget: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, MembraneState]:
        return run_window(self.network, window, state, self._device, forget)
