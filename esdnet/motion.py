"""Where each part of the picture was a frame ago: block matching, coarse to fine, and the warp of a state along it.

A membrane that holds what is no longer there hurts (shared experiments: carrying costs up to 1.1 dB where the camera
moves). So the past is moved to where its content is now before it is used. Nothing here is learnt and no gradient
flows through the search: it is classical hierarchical block matching (as in video coding; e.g. Bierling 1988) with
the sub-pixel step taken by a soft arg-min over the costs (as in GC-Net, ICCV 2017), written as plain tensor
operations so that every runtime can compile it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from esdnet.box import box


class SearchLevel(NamedTuple):
    """One size of the search, finest last. Sizes are of the half-size picture that the network works on; each scale is
    a whole multiple of the next."""

    scale: int  # the pictures are averaged over scale × scale
    radius: int  # displacements -radius..radius in pixels of that scale
    block: int  # absolute differences are averaged over block × block before the window
    window: int  # width of the box (in blocks) over which costs are compared


LEVELS = (SearchLevel(4, 4, 1, 5), SearchLevel(2, 1, 2, 3), SearchLevel(1, 1, 2, 3))
# Measured on dev/video_pairs (docs/experiments.md): reaches ±38 pixels of the full picture; finer windows find more.
STAY_BIAS = 0.002  # cost (luma 0..1) added a pixel of displacement: noise and rain must not move a still picture
TEMPERATURE = 0.004  # of the soft arg-min, luma 0..1


def _search(past: Tensor, present: Tensor, level: SearchLevel) -> Tensor:
    """Displacement (N, H, W, 2) into `past` that explains `present` best, both (N, 1, H, W)."""
    radius, side = level.radius, 2 * level.radius + 1
    pair = torch.cat([past, present], dim=1) if radius == 1 else past
    # One convolution whose kernels hold a single 1 each gives all the shifted pictures: exact, and a few steps of a
    # compiled graph where slices would be hundreds. Small kernels take the present off as well.
    kernels = torch.eye(side * side, device=past.device, dtype=past.dtype).view(side * side, 1, side, side)
    if radius == 1:
        kernels = torch.cat([kernels, -kernels[side * side // 2].expand_as(kernels)], dim=1)
    shifted = F.conv2d(F.pad(pair, (radius, radius, radius, radius), mode="replicate"), kernels)
    cost = (shifted if radius == 1 else shifted - present).abs()
    if level.block > 1:
        cost = F.avg_pool2d(cost, level.block, level.block)
    cost = box(cost, level.window)
    steps = torch.arange(side * side, device=past.device)
    offsets = torch.stack([steps % side - radius, steps // side - radius]).to(past.dtype)  # (2, K): x, y
    cost = cost + STAY_BIAS * offsets.abs().amax(0).view(1, -1, 1, 1)
    share = torch.softmax(cost * (-1.0 / TEMPERATURE), dim=1)
    displacement = F.conv2d(share, offsets.view(2, -1, 1, 1))
    return _grown(displacement.permute(0, 2, 3, 1), level.block)


def _grown(flow: Tensor, factor: int) -> Tensor:
    """`flow` (N, H, W, 2) at `factor` times the size, bilinear, borders repeated; its values stay as they are.

    Twice is written as a small convolution to the four phases: interpolating two channels takes compiled runtimes on a
    CPU two to four times as long.
    """
    if factor == 1:
        return flow
    if factor != 2:
        grown = F.interpolate(flow.permute(0, 3, 1, 2), scale_factor=float(factor), mode="bilinear")
        return grown.permute(0, 2, 3, 1)
    streams, height, width, _ = flow.shape
    taps = torch.arange(3, device=flow.device, dtype=flow.dtype) - 1.0
    places = torch.arange(2, device=flow.device, dtype=flow.dtype) * 0.5 - 0.25
    line = torch.relu(1.0 - (taps.view(1, 3) - places.view(2, 1)).abs())  # (phase, tap): ¼ ¾ 0 and 0 ¾ ¼
    kernel = (line.view(2, 1, 3, 1) * line.view(1, 2, 1, 3)).view(4, 1, 1, 3, 3)
    own = torch.eye(2, device=flow.device, dtype=flow.dtype).view(1, 2, 2, 1, 1)
    weight = (kernel * own).view(8, 2, 3, 3)  # to (row, column, x or y)
    phases = F.conv2d(F.pad(flow.permute(0, 3, 1, 2), (1, 1, 1, 1), mode="replicate"), weight).permute(0, 2, 3, 1)
    rows = phases.reshape(streams, height, width, 2, 4).permute(0, 1, 3, 2, 4)
    return rows.reshape(streams, 2 * height, 2 * width, 2)


def warp(picture: Tensor, flow: Tensor) -> Tensor:
    """`picture` (N, C, H, W) sampled (bilinear, borders repeated) at each pixel + `flow` (N, H, W, 2), x then y."""
    height, width = picture.shape[-2:]
    xs = torch.arange(width, device=flow.device, dtype=flow.dtype).view(1, 1, width) + 0.5
    ys = torch.arange(height, device=flow.device, dtype=flow.dtype).view(1, height, 1) + 0.5
    places = torch.stack([xs.expand(1, height, width), ys.expand(1, height, width)], dim=-1)  # (1, H, W, 2): a constant
    pair = torch.arange(2, device=flow.device, dtype=flow.dtype)
    scale = 2.0 / width + (2.0 / height - 2.0 / width) * pair  # pixels → −1..1, x then y
    grid = (flow + places) * scale - 1.0
    return F.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=False)


@torch.no_grad()
def estimate_motion(past: Tensor, present: Tensor, levels: tuple[SearchLevel, ...] = LEVELS) -> Tensor:
    """Motion of the half-size luma `past` → `present`, both (N, 1, H, W) in 0..1, H and W multiples of 4.

    Returns the flow (N, H, W, 2) in pixels, x then y, to be added to a pixel's place to find where it was.
    """
    flow: Tensor | None = None
    before = 1
    for level in levels:
        old, new = (F.avg_pool2d(p, level.scale) if level.scale > 1 else p for p in (past, present))
        if flow is None:
            flow = _search(old, new, level)
        else:
            ratio = before // level.scale
            flow = _grown(flow, ratio) * ratio
            flow = flow + _search(warp(old, flow), new, level)
        before = level.scale
    assert flow is not None
    return flow
