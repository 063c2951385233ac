"""Moves a picture along a flow, and makes flows larger."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_HANDFUL = 16


def grown(flow: Tensor, factor: int) -> Tensor:
    """`flow` (N, 2, H, W) at `factor` times the size, bilinear, borders repeated; its values stay as they are.

    Written as a small convolution to the factor² phases of a pixel: interpolating two channels takes compiled runtimes
    on a CPU two to four times as long. (Of a handful of pixels not: PyTorch's convolutions round those of several
    streams otherwise than of one.)
    """
    if flow.shape[-2] * flow.shape[-1] < _HANDFUL:
        return F.interpolate(flow, scale_factor=float(factor), mode="bilinear")
    phases = torch.arange(factor, device=flow.device, dtype=flow.dtype)
    places = (phases + 0.5) / factor - 0.5  # of the phases, from the middle of a pixel
    taps = torch.arange(3, device=flow.device, dtype=flow.dtype) - 1.0
    line = torch.relu(1.0 - (taps.view(1, 3) - places.view(factor, 1)).abs())  # (phase, tap)
    kernel = (line.view(factor, 1, 3, 1) * line.view(1, factor, 1, 3)).view(factor * factor, 1, 3, 3)
    own = torch.eye(2, device=flow.device, dtype=flow.dtype).view(2, 1, 2, 1, 1)
    weight = (own * kernel).view(2 * factor * factor, 2, 3, 3)  # (x or y, phase) from x and y
    return F.pixel_shuffle(F.conv2d(F.pad(flow, (1, 1, 1, 1), mode="replicate"), weight), factor)


def warp(picture: Tensor, flow: Tensor) -> Tensor:
    """`picture` (N, C, H, W) sampled (bilinear, borders repeated) at each pixel + `flow` (N, 2, H, W), x then y."""
    height, width = picture.shape[-2:]
    xs = torch.arange(width, device=flow.device, dtype=flow.dtype).view(1, 1, width) + 0.5
    ys = torch.arange(height, device=flow.device, dtype=flow.dtype).view(1, height, 1) + 0.5
    places = torch.stack([xs.expand(1, height, width), ys.expand(1, height, width)], dim=-1)  # (1, H, W, 2): a constant
    pair = torch.arange(2, device=flow.device, dtype=flow.dtype)
    scale = 2.0 / width + (2.0 / height - 2.0 / width) * pair  # pixels → −1..1, x then y
    grid = (flow.permute(0, 2, 3, 1) + places) * scale - 1.0
    return F.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=False)


def warp_packed(planes: Tensor, flow: Tensor, cell: int) -> Tensor:
    """Packed YUV 4:2:0 (N, 6, H, W), or with further luma (N, 10, H, W), moved along a flow (N, 2, H', W') of cells of
    `cell` × `cell` packed pixels, in packed pixels.

    Luma is sampled at full size: between the samples of one phase lie those of the others, and without them the edges
    would lose in every frame's warp.
    """
    height, width = planes.shape[-2:]
    lumas = [planes[:, :4]] + ([planes[:, 6:]] if planes.shape[1] > 6 else [])
    full = torch.cat([F.pixel_shuffle(luma, 2) for luma in lumas], dim=1)
    moved = warp(full, 2.0 * grown(flow, 2 * cell)[..., : 2 * height, : 2 * width])
    phases = [F.pixel_unshuffle(moved[:, index : index + 1], 2) for index in range(len(lumas))]
    chroma = warp(planes[:, 4:6], grown(flow, cell)[..., :height, :width])
    return torch.cat([phases[0], chroma, *phases[1:]], dim=1)
