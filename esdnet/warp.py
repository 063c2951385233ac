"""Moves a picture along a flow, and makes flows larger."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

_HANDFUL = 16


class Grow(nn.Module):
    """Flows (N, 2, H, W), x then y, at `factor` times the size, bilinear, borders repeated; values stay as they are.

    Written as a small convolution to the factor² pixels that come of one: interpolating two channels takes compiled
    runtimes on a CPU two to four times as long. (Of a handful of pixels not: PyTorch's convolutions round those of
    several streams otherwise than of one.)
    """

    kernel: Tensor

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        places = (np.arange(factor) + 0.5) / factor - 0.5  # of what a pixel grows to, from its middle
        line = np.maximum(1.0 - np.abs(np.arange(3) - 1.0 - places[:, None]), 0.0)  # (place, tap)
        taps = line[:, None, :, None] * line[None, :, None, :]
        own = np.eye(2).reshape(2, 2, 1, 1)
        kernel = taps.reshape(factor * factor, 1, 1, 3, 3) * own  # (place, to x or y, from, 3, 3)
        # All are dyadic fractions of at most 8 bits, exact in every floating type. (By NumPy: PyTorch would import its
        # compiler to compute them while the network is built without memory.)
        kernel = kernel.reshape(2 * factor * factor, 2, 3, 3).astype(np.float32)
        self.register_buffer("kernel", torch.from_numpy(kernel), persistent=False)

    def forward(self, flow: Tensor) -> Tensor:
        """Channels first in memory too: else what follows is convolved otherwise for one stream than for several."""
        return self.rows(flow).permute(0, 3, 1, 2).contiguous()

    def rows(self, flow: Tensor) -> Tensor:
        """Channels last, (N, H · factor, W · factor, 2), which is what a grid is: one pass over memory."""
        streams, height, width = flow.shape[0], *size_of(flow)
        factor = self.factor
        grown = self.cells(flow).reshape(streams, height, width, factor, 2 * factor)
        return grown.transpose(2, 3).reshape(streams, height * factor, width * factor, 2)

    def cells(self, flow: Tensor) -> Tensor:
        """What each pixel grows to together, row by row, (N, H, W, factor², 2): no pass over memory but the
        convolution's."""
        streams, height, width = flow.shape[0], *size_of(flow)
        factor = self.factor
        if height * width < _HANDFUL:
            grown = F.interpolate(flow, scale_factor=float(factor), mode="bilinear")
            grown = grown.view(streams, 2, height, factor, width, factor).permute(0, 2, 4, 3, 5, 1)
        else:
            grown = F.conv2d(F.pad(flow, (1, 1, 1, 1), mode="replicate"), self.kernel.to(flow.dtype))
            grown = grown.permute(0, 2, 3, 1)
        return grown.reshape(streams, height, width, factor * factor, 2)


def size_of(picture: Tensor) -> tuple[int, int]:
    """Height and width of (…, H, W) as numbers also while a tracer looks on, to which a size is one node more and all
    that is computed from it another."""
    return int(picture.shape[-2]), int(picture.shape[-1])


class Raster:
    """The pixels of a picture like `picture` in the −1..1 of `grid_sample`, x then y: made once, used by many grids."""

    def __init__(self, picture: Tensor) -> None:
        self.height, self.width = height, width = size_of(picture)
        kind: dict[str, Any] = {"device": picture.device, "dtype": picture.dtype}
        xs = (torch.arange(width, **kind) + 0.5) * (2.0 / width) - 1.0
        ys = (torch.arange(height, **kind) + 0.5) * (2.0 / height) - 1.0
        self.places = torch.stack([xs.expand(height, width), ys.unsqueeze(1).expand(height, width)], dim=-1)
        """(H, W, 2)"""
        extent = 2.0 / width + (2.0 / height - 2.0 / width) * torch.arange(2, **kind)
        self.pixel = extent.view(2, 1, 1)

    def cells(self, cell: int) -> Tensor:
        """`places` as (H / cell, W / cell, cell², 2): those of a cell together."""
        rows = self.places.view(self.height // cell, cell, self.width // cell, cell, 2).transpose(1, 2)
        return rows.reshape(self.height // cell, self.width // cell, cell * cell, 2)


def sample(picture: Tensor, grid: Tensor) -> Tensor:
    """`picture` (N, C, H, W) at the places of `grid` (N, H', W', 2), bilinear, borders repeated: (N, C, H', W')."""
    return F.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=False)


class Warp(nn.Module):
    """Pictures moved along flows of cells of `cell` × `cell` pixels, which are grown to a displacement a pixel."""

    def __init__(self, cell: int) -> None:
        super().__init__()
        self.grow = Grow(cell)

    def forward(self, picture: Tensor, flow: Tensor) -> Tensor:
        """`picture` (N, C, H, W) sampled at each pixel + `flow`, (N, 2, ⌈H / cell⌉, ⌈W / cell⌉), x then y."""
        raster = Raster(picture)
        moves = self.grow.rows(flow * raster.pixel)[:, : raster.height, : raster.width]
        return sample(picture, moves + raster.places)


class PackedWarp(nn.Module):
    """Packed YUV 4:2:0 moved along a flow (N, 2, H', W') of cells of `cell` × `cell` packed pixels, in packed pixels.

    Luma is sampled at full size: between the samples of one phase lie those of the others, and without them the edges
    would lose in every frame's warp.
    """

    def __init__(self, cell: int) -> None:
        super().__init__()
        self.luma, self.chroma = Warp(2 * cell), Warp(cell)

    def forward(self, planes: Tensor, flow: Tensor, *lumas: Tensor) -> tuple[Tensor, ...]:
        """The luma and the chroma of `planes` (N, 6, H, W), (N, 4, H, W) and (N, 2, H, W), and further `lumas`."""
        full = torch.cat([F.pixel_shuffle(luma, 2) for luma in (planes[:, :4], *lumas)], dim=1)
        moved = self.luma(full, 2.0 * flow)
        luma, *further = (F.pixel_unshuffle(moved[:, index : index + 1], 2) for index in range(1 + len(lumas)))
        return luma, self.chroma(planes[:, 4:6], flow), *further
