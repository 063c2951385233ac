"""PlaneStep: a streaming network's step from planes of 8-bit samples to planes of 8-bit samples, as one module.

For runtimes that compile: padding, packing, normalising, rounding and unpacking become part of the graph, so that what
crosses its border are the bytes that the pipeline has and wants.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esdnet.planes import CHANNELS, Range, pack, unpack
from esdnet.streaming import STRIDE, StreamNet

MULTIPLE = 2 * STRIDE
"""Pictures are padded to multiples of it, at the bottom and the right."""


def packed_size(height: int, width: int) -> tuple[int, int]:
    """(H/2, W/2) of the packed picture that the network sees of a `height` × `width` one."""
    return -(-height // MULTIPLE) * STRIDE, -(-width // MULTIPLE) * STRIDE


def pad(plane: Tensor, height: int, width: int) -> Tensor:
    """(N, C, h, w) grown at the bottom and the right by reflection; by repetition where it is too small to reflect."""
    down, right = height - plane.shape[-2], width - plane.shape[-1]
    if not (down or right):
        return plane
    mode = "reflect" if down < plane.shape[-2] and right < plane.shape[-1] else "replicate"
    if plane.dtype == torch.uint8:
        return F.pad(plane.float(), (0, right, 0, down), mode=mode).to(torch.uint8)
    return F.pad(plane, (0, right, 0, down), mode=mode)


class PlaneStep(nn.Module):
    """``(y, u, v, *state) → (y, u, v, *state)`` for pictures of one size.

    y is (N, 1, height, width), u and v (N, 1, (height+1)//2, (width+1)//2), all uint8, in `code_range`; the state is
    `network.initial_state(N, *packed_size(height, width))`, by position.
    """

    def __init__(self, network: StreamNet, height: int, width: int, code_range: Range) -> None:
        super().__init__()
        self.network = network
        self.height, self.width = height, width
        steps = [code_range.luma] * 4 + [code_range.chroma] * 2
        middle = [code_range.black] * 4 + [128.0] * 2
        self.register_buffer("steps", torch.tensor(steps).view(1, CHANNELS, 1, 1))
        self.register_buffer("middle", torch.tensor(middle).view(1, CHANNELS, 1, 1))

    steps: Tensor
    middle: Tensor

    def forward(self, y: Tensor, u: Tensor, v: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        half_height, half_width = packed_size(self.height, self.width)
        dtype = self.steps.dtype
        luma = pad(y.to(dtype), 2 * half_height, 2 * half_width)
        blue, red = (pad(plane.to(dtype), half_height, half_width) for plane in (u, v))
        frame = (pack(luma, blue, red) - self.middle) / self.steps
        derained, *kept = self.network(frame, *state)
        codes = torch.round(derained * self.steps + self.middle).clamp(0, 255).to(torch.uint8)
        y, u, v = unpack(codes)
        chroma = ((self.height + 1) // 2, (self.width + 1) // 2)
        crop = (slice(None), slice(None))
        return (
            y[(*crop, slice(self.height), slice(self.width))],
            u[(*crop, slice(chroma[0]), slice(chroma[1]))],
            v[(*crop, slice(chroma[0]), slice(chroma[1]))],
            *kept,
        )
