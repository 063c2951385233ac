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

import torch
import torch.nn.functional as F
from torch import Tensor

from esdnet.warp import grown, warp

LEVELS = 4
"""Of the pyramid, the finest being the half-size picture that the network works on; each halves the one before."""
CELL = 4
"""Pixels of a level to a cell's side."""
STEPS = 2
"""Gauss-Newton steps a level."""
_FLAT = 1e-4
"""Added to a patch's mean squared gradient (luma 0..1 a pixel): where there is nothing to go by, nothing moves."""
_LONGEST = 1.0
"""Pixels of a level that a step may take along each axis."""
_NEIGHBOURS = (1, 3, 5, 7)
"""Above, left, right and below, as places in a 3 × 3 kernel."""
_STAY_SHARE, _STAY = 0.8, 3e-5
"""Of the variance that staying leaves, so much less counts: a displacement can always be found that imitates a little
of the rain, and what stands still shall not tremble."""
_INDIFFERENT = 3e-5
"""Variance (luma² 0..1) by which one displacement must be better than another to be worth more than a third of it."""


def _patch_means(*pictures: Tensor) -> Tensor:
    """Means of each (N, C, H, W) over the cells' patches, (N, all C, H / CELL, W / CELL): cells weighted 1 4 1 along
    each axis. They are put together as cells, not as pictures, which would be most of a compiled search's copying."""
    cells = F.pad(torch.cat([F.avg_pool2d(x, CELL) for x in pictures], dim=1), (1, 1, 1, 1), mode="replicate")
    line = (torch.arange(3, device=cells.device) % 2 * 3 + 1).to(cells.dtype) * (1.0 / 6.0)
    channels = cells.shape[1]
    return F.conv2d(cells, (line.view(3, 1) * line).expand(channels, 1, 3, 3), groups=channels)


def _gradient(x: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences of (N, 1, H, W) along x and y."""
    wide = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]) * 0.5, (wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]) * 0.5


class _Level:
    """One size of the two pictures, (N, 1, H, W), and the search in it. Flows are (N, 2, cells, cells), x then y."""

    def __init__(self, past: Tensor, present: Tensor) -> None:
        self.past, self.present = past, present
        self.gx, self.gy = gx, gy = _gradient(present)
        xx, yy, xy, self.mx, self.my = torch.split(_patch_means(gx * gx, gy * gy, gx * gy, gx, gy), 1, dim=1)
        # In bfloat16 a patch with one gradient throughout has less than no variance, and an edge no determinant.
        xx, yy = F.relu(xx - self.mx * self.mx) + _FLAT, F.relu(yy - self.my * self.my) + _FLAT
        xy = xy - self.mx * self.my
        scale = 1.0 / (xx * yy - xy * xy).clamp_min(_FLAT * _FLAT)
        self.inverse = (yy * scale, xy * scale, xx * scale)

    def left(self, flow: Tensor) -> Tensor:
        """What displacements leave unexplained: (N, K, H, W) of K candidates (N, 2 · K, cells, cells)."""
        streams, _, height, width = self.past.shape
        count = flow.shape[1] // 2
        past = self.past.expand(streams, count, height, width).reshape(-1, 1, height, width)
        moved = warp(past, grown(flow.reshape(-1, 2, *flow.shape[-2:]), CELL))
        return self.present - moved.view(streams, count, height, width)

    def step(self, flow: Tensor) -> Tensor:
        """`flow` after a Gauss-Newton step."""
        left = self.left(flow)
        x, y, mean = torch.split(_patch_means(self.gx * left, self.gy * left, left), 1, dim=1)
        x, y = x - self.mx * mean, y - self.my * mean
        yy, xy, xx = self.inverse
        return flow + torch.cat([yy * x - xy * y, xx * y - xy * x], dim=1).clamp(-_LONGEST, _LONGEST)

    def propagate(self, flow: Tensor) -> Tensor:
        """Each patch's own displacement or a neighbour's, or none: the one that leaves least variance.

        Chosen by a soft arg-min, so that runtimes whose rounding differs agree where two are as good.
        """
        places = (4, *_NEIGHBOURS)  # of a 3 × 3 kernel that holds a single 1 for each candidate
        count = len(places) + 1
        taps = torch.zeros(count, 9, device=flow.device, dtype=flow.dtype)
        for index, place in enumerate(places):
            taps[index, place] = 1.0
        own = torch.eye(2, device=flow.device, dtype=flow.dtype).view(1, 2, 2, 1, 1)
        weight = (taps.view(count, 1, 1, 3, 3) * own).view(2 * count, 2, 3, 3)
        candidates = F.conv2d(F.pad(flow, (1, 1, 1, 1), mode="replicate"), weight)
        left = self.left(candidates)
        squares, means = _patch_means(left * left, left).chunk(2, dim=1)
        variance = squares - means * means
        variance = torch.cat([variance[:, :-1], variance[:, -1:] * _STAY_SHARE - _STAY], dim=1)
        share = torch.softmax(variance * (-1.0 / _INDIFFERENT), dim=1)
        pairs = candidates.view(-1, count, 2, *flow.shape[-2:])
        return (share.unsqueeze(2) * pairs).sum(dim=1)


@torch.no_grad()
def estimate_motion(past: Tensor, present: Tensor) -> Tensor:
    """Motion of the half-size luma `past` → `present`, both (N, 1, H, W) in 0..1.

    Returns the flow (N, 2, ⌈H / CELL⌉, ⌈W / CELL⌉), a cell's in pixels of that size, x then y: what is to be added to
    its place to find where it was.
    """
    height, width = past.shape[-2:]
    whole = CELL << (LEVELS - 1)
    rest = (0, -width % whole, 0, -height % whole)
    sizes = [(F.pad(past, rest, mode="replicate"), F.pad(present, rest, mode="replicate"))]
    for _ in range(LEVELS - 1):
        old, new = sizes[-1]
        sizes.append((F.avg_pool2d(old, 2), F.avg_pool2d(new, 2)))
    flow: Tensor | None = None
    for number, (old, new) in reversed(list(enumerate(sizes))):
        level = _Level(old, new)
        if flow is None:
            flow = torch.zeros_like(F.avg_pool2d(old, CELL)).repeat(1, 2, 1, 1)
        else:
            flow = 2.0 * grown(flow, 2)
            if number:
                flow = level.propagate(flow)
        for _ in range(STEPS):
            flow = level.step(flow)
        if not number:
            flow = level.propagate(flow)
    assert flow is not None
    return flow[..., : -(-height // CELL), : -(-width // CELL)]
