"""Where each part of the picture was a frame ago: dense inverse search in patches, coarse to fine.

A membrane that holds what is no longer there hurts (shared experiments: carrying costs up to 1.1 dB where the camera
moves). So the past is moved to where its content is now before it is used (`warp.py`). Nothing here is learnt and no
gradient flows through the search. It is DIS optical flow (Kroeger et al., "Fast Optical Flow using Dense Inverse
Search", ECCV 2016) written as plain tensor operations, so that every runtime can compile it:

* Each level of a pyramid is divided into cells; a patch is a cell and what is around it, weighted by nearness. A patch
  has one displacement, found by Gauss-Newton steps on its squared differences with the gradient of the *present*
  (inverse compositional: Baker & Matthews, IJCV 2004), which is computed once.
* A patch's mean difference does not count: rain brightens what it falls on.
* From level to level, each patch may take over what its neighbours have found where that explains it better
  (propagation, as in PatchMatch, Barnes et al., SIGGRAPH 2009), or stay where it is; so it does once more at the end.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esdnet.warp import Grow, Raster, sample, size_of

LEVELS = 4
"""Of the pyramid, the finest being the half-size picture that the network works on; each halves the one before."""
CELL = 4
"""Pixels of a level to a cell's side."""
STEPS = (1, 2, 2, 2)
"""Gauss-Newton steps at each level, the finest first."""
_FLAT = 1e-4
"""Added to a patch's mean squared gradient (luma 0..1 a pixel): where there is nothing to go by, nothing moves."""
_LONGEST = 1.0
"""Pixels of a level that a step may take along each axis."""
_CANDIDATES = (4, 1, 3, 5, 7, None)
"""Whose displacement a patch may have, as places in a 3 × 3 kernel: its own, those above, left, right and below; none
at all, last."""
_STAY_SHARE, _STAY = 0.8, 3e-5
"""Of the variance that staying leaves, so much less counts: a displacement can always be found that imitates a little
of the rain, and what stands still shall not tremble."""
_INDIFFERENT = 3e-5
"""Variance (luma² 0..1) by which one displacement must be better than another to be worth more than a third of it."""


class MotionSearch(nn.Module):
    """Motion of the half-size luma `past` → `present`, both (N, 1, H, W) in 0..1.

    Returns the flow (N, 2, ⌈H / CELL⌉, ⌈W / CELL⌉), a cell's in pixels of that size, x then y: what is to be added to
    its place to find where it was. Its buffers are what it is made of, not weights: they are in no checkpoint.
    """

    near: Tensor
    taps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.places, self.grow = Grow(CELL), Grow(2)
        line = np.array([1.0, 4.0, 1.0], np.float32)
        near = (line[:, None] * line).reshape(1, 1, 3, 3)
        self.register_buffer("near", torch.from_numpy(near), persistent=False)
        taps = np.zeros((len(_CANDIDATES), 2, 2, 9), np.float32)  # a 3 × 3 kernel that holds a single 1 for each
        for index, place in enumerate(_CANDIDATES):
            if place is not None:
                taps[index, :, :, place] = np.eye(2)
        self.register_buffer("taps", torch.from_numpy(taps.reshape(-1, 2, 3, 3)), persistent=False)

    @torch.no_grad()
    def forward(self, past: Tensor, present: Tensor) -> Tensor:
        height, width = size_of(past)
        whole = CELL << (LEVELS - 1)
        rest = (0, -width % whole, 0, -height % whole)
        sizes = [(F.pad(past, rest, mode="replicate"), F.pad(present, rest, mode="replicate"))]
        for _ in range(LEVELS - 1):
            old, new = sizes[-1]
            sizes.append((F.avg_pool2d(old, 2), F.avg_pool2d(new, 2)))
        flow: Tensor | None = None
        for number, (old, new) in reversed(list(enumerate(sizes))):
            level = _Level(self, old, new)
            if flow is None:
                flow = torch.zeros_like(F.avg_pool2d(old, CELL)).repeat(1, 2, 1, 1)
            else:
                flow = 2.0 * self.grow(flow)
                if number:
                    flow = level.propagate(flow)
            for _ in range(STEPS[number]):
                flow = level.step(flow)
            if not number:
                flow = level.propagate(flow)
        assert flow is not None
        return flow[..., : -(-height // CELL), : -(-width // CELL)]

    def means(self, *pictures: Tensor) -> Tensor:
        """Means of each, (N, C, H / CELL, W / CELL, pixels of a cell), over the cells' patches, (N, all C, H / CELL,
        W / CELL): cells weighted 1 4 1 along each axis."""
        cells = F.pad(torch.cat([x.mean(dim=-1) for x in pictures], dim=1), (1, 1, 1, 1), mode="replicate")
        channels = int(cells.shape[1])
        weight = (self.near.to(cells.dtype) * (1.0 / 36.0)).expand(channels, 1, 3, 3)
        return F.conv2d(cells, weight, groups=channels)


def _in_cells(x: Tensor) -> Tensor:
    """(N, 1, H, W) → (N, 1, H / CELL, W / CELL, CELL²): what belongs to a patch lies together, so that no picture is
    turned around, nor pooled, while displacements are tried."""
    height, width = size_of(x)
    rows = x.view(-1, 1, height // CELL, CELL, width // CELL, CELL)
    return rows.transpose(3, 4).reshape(-1, 1, height // CELL, width // CELL, CELL * CELL)


def _gradient(x: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences of (N, 1, H, W) along x and y."""
    wide = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]) * 0.5, (wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]) * 0.5


class _Level:
    """One size of the two pictures, (N, 1, H, W), and the search in it. Flows are (N, 2, cells, cells), x then y."""

    def __init__(self, search: MotionSearch, past: Tensor, present: Tensor) -> None:
        self.search, self.past, self.present = search, past, _in_cells(present)
        self.raster = Raster(past)
        self.places = self.raster.cells(CELL)
        gx, gy = (_in_cells(gradient) for gradient in _gradient(present))
        self.gx, self.gy = gx, gy
        xx, yy, xy, self.mx, self.my = torch.split(search.means(gx * gx, gy * gy, gx * gy, gx, gy), 1, dim=1)
        # In bfloat16 a patch with one gradient throughout has less than no variance, and an edge no determinant.
        xx, yy = F.relu(xx - self.mx * self.mx) + _FLAT, F.relu(yy - self.my * self.my) + _FLAT
        xy = xy - self.mx * self.my
        scale = 1.0 / (xx * yy - xy * xy).clamp_min(_FLAT * _FLAT)
        self.inverse = (yy * scale, xy * scale, xx * scale)

    def left(self, flow: Tensor) -> Tensor:
        """What K candidates (N, 2 · K, cells, cells) leave unexplained, (N, K, cells, cells, CELL²)."""
        (high, wide), streams, count = size_of(flow), self.past.shape[0], int(flow.shape[1]) // 2
        moves = self.search.places.cells(flow.reshape(-1, 2, high, wide) * self.raster.pixel)
        grid = (moves + self.places).reshape(streams, count * high, wide * CELL * CELL, 2)
        return self.present - sample(self.past, grid).view(streams, count, high, wide, CELL * CELL)

    def step(self, flow: Tensor) -> Tensor:
        """`flow` after a Gauss-Newton step."""
        left = self.left(flow)
        x, y, mean = torch.split(self.search.means(self.gx * left, self.gy * left, left), 1, dim=1)
        x, y = x - self.mx * mean, y - self.my * mean
        yy, xy, xx = self.inverse
        return flow + torch.cat([yy * x - xy * y, xx * y - xy * x], dim=1).clamp(-_LONGEST, _LONGEST)

    def propagate(self, flow: Tensor) -> Tensor:
        """Each patch's own displacement or a neighbour's, or none: the one that leaves least variance.

        Chosen by a soft arg-min, so that runtimes whose rounding differs agree where two are as good.
        """
        candidates = F.conv2d(F.pad(flow, (1, 1, 1, 1), mode="replicate"), self.search.taps.to(flow.dtype))
        left = self.left(candidates)
        squares, means = self.search.means(left * left, left).chunk(2, dim=1)
        variance = squares - means * means
        variance = torch.cat([variance[:, :-1], variance[:, -1:] * _STAY_SHARE - _STAY], dim=1)
        # Not `torch.softmax`: where threads share out 16 places it rounds otherwise for one stream than for several.
        worth = torch.exp((variance.amin(dim=1, keepdim=True) - variance) * (1.0 / _INDIFFERENT))
        share = worth / worth.sum(dim=1, keepdim=True)
        pairs = candidates.view(-1, len(_CANDIDATES), 2, *size_of(flow))
        return (share.unsqueeze(2) * pairs).sum(dim=1)
