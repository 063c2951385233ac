"""Luma as packed frames have it: four phases of each 2 × 2 pixels, upper left and right, lower left and right."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)


def phases(plane: NDArray[Number]) -> NDArray[Number]:
    """(4, H/2, W/2) of a plane (H, W) of even size."""
    return np.stack([plane[0::2, 0::2], plane[0::2, 1::2], plane[1::2, 0::2], plane[1::2, 1::2]])


def whole(four: NDArray[Number]) -> NDArray[Number]:
    """The plane (H, W) of its phases (4, H/2, W/2)."""
    plane = np.empty((four.shape[1] * 2, four.shape[2] * 2), four.dtype)
    plane[0::2, 0::2], plane[0::2, 1::2], plane[1::2, 0::2], plane[1::2, 1::2] = four
    return plane
