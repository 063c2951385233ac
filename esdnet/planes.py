"""YUV 4:2:0 as the streaming networks see it: luma pixel-unshuffled by 2 beside the two chroma planes.

A packed picture is (N, 6, H/2, W/2): the four luma phases (row 0 column 0, row 0 column 1, row 1 column 0, row 1
column 1), U, V. Values are normalised by the range of the source: luma 0..1 between black and white, chroma centred on
0 in about −0.5..0.5. Nothing is converted between colour spaces.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

CHANNELS = 6


@dataclass(frozen=True)
class Range:
    """Code values of 8-bit samples: luma from `black` over `luma` steps, chroma around 128 over `chroma` steps."""

    black: float
    luma: float
    chroma: float


LIMITED = Range(16.0, 219.0, 224.0)  # ITU-R BT.601, BT.709: "tv", AVCOL_RANGE_MPEG
FULL = Range(0.0, 255.0, 255.0)  # JPEG: "pc", AVCOL_RANGE_JPEG


def code_scale(code_range: Range, like: Tensor) -> tuple[Tensor, Tensor]:
    """(scale, offset), each (1, 6, 1, 1): normalised = (code − offset) / scale."""
    scale = like.new_tensor([code_range.luma] * 4 + [code_range.chroma] * 2, dtype=torch.float32)
    offset = like.new_tensor([code_range.black] * 4 + [128.0] * 2, dtype=torch.float32)
    return scale.view(1, CHANNELS, 1, 1), offset.view(1, CHANNELS, 1, 1)


def pack(y: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Y (N, 1, H, W), U and V (N, 1, H/2, W/2), H and W even, any dtype → (N, 6, H/2, W/2) of the same dtype."""
    return torch.cat([F.pixel_unshuffle(y, 2), u, v], dim=1)


def unpack(packed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The inverse of `pack`."""
    return F.pixel_shuffle(packed[:, :4], 2), packed[:, 4:5], packed[:, 5:6]


def luma(packed: Tensor) -> Tensor:
    """Half-size luma (N, 1, H/2, W/2): the mean of the four phases."""
    return packed[:, :4].mean(dim=1, keepdim=True)
