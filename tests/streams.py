"""Rainy frames for a streaming network: packed, made here, the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor


def rainy_frames(count: int, height: int, width: int, seed: int = 0) -> Iterator[Tensor]:
    """`count` packed frames (1, 6, height, width): a smooth picture that moves, streaks on its luma, 8-bit values."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 8 + 1, width // 8 + 1, generator=generator) * 0.5 + 0.2
    still = F.interpolate(coarse, size=(height, width), mode="bilinear")
    for number in range(count):
        moved = still.roll((number, 2 * number), (2, 3))
        drops = (torch.rand(1, 1, height, width, generator=generator) > 0.995).float()
        luma = moved[:, :1].expand(-1, 4, -1, -1) + 0.2 * F.max_pool2d(drops, (9, 1), 1, (4, 0))
        frame = torch.cat([luma, moved[:, 1:] - 0.45], dim=1)
        yield torch.round(frame * 219) / 219
