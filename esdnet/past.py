"""The last frame's pictures where they are now, and how far they may be used."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from esdnet.box import box_plane

_MISFIT = (0.02, 0.04)  # luma 0..1: below it the past fits, above it does not
_MISFIT_WINDOW = 5  # half-size pixels
_BRIGHTER = 0.25  # rain makes the present brighter than the past; a past that does not fit, darker as often


class Past(NamedTuple):
    """Planar, moved to where its content is now."""

    luma: Tensor
    """Of the last clean frame, its four phases, (N, 4, 1, 1, 1, H·W)."""
    chroma: Tensor
    """(N, 2, 1, 1, 1, H·W)"""
    seen: Tensor
    """The luma against which contrast in time is taken: of the last rainy frame, where that is carried."""


def planar(x: Tensor) -> Tensor:
    """(N, C, H, W) → (N, C, 1, 1, 1, H·W), in which element-wise steps are written that a convolution follows.

    OpenVINO does steps of three to five dimensions in the convolution's layout, channels last, and turns each of their
    inputs around for it. With six there is but one layout, and what is turned around is the convolution's input.
    """
    return x.reshape(*x.shape[:2], 1, 1, 1, -1)


@torch.no_grad()
def trust(light: Tensor, past: Tensor) -> Tensor:
    """How far the past may be used, (N, 1, H, W) in 0..1.

    1 where it fits the present around a pixel, 0 where the camera or what it sees moved in a way that the alignment did
    not find.

    `light` is the frame's half-size luma, (N, 1, H, W), `past` the past's, planar. What comes of it multiplies every
    leak and all that the stem sees of the past, so where it is 0 the step is that of a reset.
    """
    change = planar(light) - past.mean(dim=1, keepdim=True)
    misfit = F.relu(-change) + _BRIGHTER * F.relu(change)
    misfit = box_plane(misfit.view(light.shape), _MISFIT_WINDOW)
    low, high = _MISFIT
    return ((high - misfit) * (1.0 / (high - low))).clamp(0.0, 1.0)
