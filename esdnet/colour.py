"""RGB and grey pictures for networks that see YUV, and the way back for what they remove.

ITU-R BT.601 without range scaling: Y in 0..1, U and V in −0.5..0.5. Both ways are linear, so a rain layer can be
converted by itself, and a layer that is zero stays zero.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from esdnet.planes import pack, unpack

_TO_YUV = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


def _mix(picture: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    return torch.einsum("oc,nchw->nohw", picture.new_tensor(matrix), picture)


def rgb_to_yuv(rgb: Tensor) -> Tensor:
    """(N, 3, H, W) RGB in 0..1 → Y, U, V at full size."""
    return _mix(rgb, _TO_YUV)


def yuv_to_rgb(yuv: Tensor) -> Tensor:
    """The inverse of `rgb_to_yuv`, not clamped."""
    return _mix(yuv, _TO_RGB)


def rgb_to_packed(rgb: Tensor) -> Tensor:
    """(N, 3, H, W) RGB in 0..1, H and W even → packed YUV 4:2:0 (N, 6, H/2, W/2)."""
    yuv = rgb_to_yuv(rgb)
    chroma = F.avg_pool2d(yuv[:, 1:], 2)
    return pack(yuv[:, :1], chroma[:, :1], chroma[:, 1:])


def packed_to_rgb(packed: Tensor) -> Tensor:
    """Packed (N, 6, H/2, W/2) → RGB (N, 3, H, W), chroma upsampled bilinearly, not clamped."""
    y, u, v = unpack(packed)
    chroma = F.interpolate(torch.cat([u, v], dim=1), scale_factor=2.0, mode="bilinear")
    return yuv_to_rgb(torch.cat([y, chroma], dim=1))


def grey_to_packed(grey: Tensor) -> Tensor:
    """(N, 1, H, W) in 0..1, H and W even → packed without colour."""
    none = torch.zeros_like(grey[..., ::2, ::2])
    return pack(grey, none, none)
