"""8-bit Y, U, V samples to levels of light and back, by the range they are in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.clips import Planes

FloatPlanes = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


def normalise(planes: Planes, full_range: bool) -> FloatPlanes:
    """Y 0 (black) .. 1 (white), U and V -0.5..0.5, by the range's nominal levels (16..235 and 16..240 if limited)."""
    black, luma, chroma = (0, 255, 255) if full_range else (16, 219, 224)
    y, u, v = (plane.astype(np.float32) for plane in planes)
    return (y - black) / np.float32(luma), (u - 128) / np.float32(chroma), (v - 128) / np.float32(chroma)


def quantise(planes: FloatPlanes, full_range: bool) -> Planes:
    """Back from `normalise` to 8 bits, rounded to nearest and cut off at 0 and 255."""
    black, luma, chroma = (0, 255, 255) if full_range else (16, 219, 224)
    levels = (planes[0] * luma + black, planes[1] * chroma + 128, planes[2] * chroma + 128)
    y, u, v = (np.clip(np.rint(plane), 0, 255).astype(np.uint8) for plane in levels)
    return y, u, v
