"""Means over square windows, at the borders over what there is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_PHASES = 8
"""Neighbours in a row that `box_plane` takes as channels: a vector of AVX2."""


def box(x: Tensor, window: int) -> Tensor:
    """Means of (N, C, H, W) over windows of `window` × `window`, an odd number; same shape."""
    x = F.avg_pool2d(x, (window, 1), 1, (window // 2, 0), count_include_pad=False)
    return F.avg_pool2d(x, (1, window), 1, (0, window // 2), count_include_pad=False)


def box_plane(x: Tensor, window: int) -> Tensor:
    """`box` of a single channel, (N, 1, H, W), for windows below 16: the same to rounding.

    Runtimes on a CPU pool many channels at a time, or one at an eighth of the speed. So each eight pixels of a row are
    taken as the channels of one: the memory is that of a channels-last picture as it stands. Along the rows
    a window is then a small convolution from eight channels to eight; along the columns it is pooled.
    """
    streams, _, height, width = x.shape
    reach = window // 2
    if width % _PHASES or reach > _PHASES or x.requires_grad:
        return box(x, window)
    lines = x.reshape(streams, height, width // _PHASES, _PHASES).permute(0, 3, 1, 2)
    phase = torch.arange(_PHASES, device=x.device)
    step = torch.arange(-1, 2, device=x.device) * _PHASES
    away = phase.view(1, -1, 1) + step.view(1, 1, -1) - phase.view(-1, 1, 1)  # (to, from, tap), pixels
    weight = (away.abs() <= reach).to(x.dtype).view(_PHASES, _PHASES, 1, 3)
    lines = F.avg_pool2d(F.conv2d(lines, weight, padding=(0, 1)), (window, 1), 1, (reach, 0), count_include_pad=False)
    column = torch.arange(width, device=x.device)
    seen = 1 + column.clamp(max=reach) + (width - 1 - column).clamp(max=reach)
    return lines.permute(0, 2, 3, 1).reshape(x.shape) * (1.0 / seen.to(x.dtype))
