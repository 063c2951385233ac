"""For tests of runtimes: a clip of planes, and how far two results are apart."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from esdnet import MembraneState
from esdnet.planes import LIMITED, code_scale, pack

Plane = NDArray[np.uint8]


def frames_of(height: int, width: int, count: int) -> list[list[Plane]]:
    """A texture that pans, with camera noise and a streak that comes and goes."""
    rng = np.random.default_rng(4)
    coarse = rng.integers(60, 180, (height // 6 + 4, width // 6 + count // 6 + 4)).astype(np.uint8)
    scene = cv2.resize(coarse, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)
    frames = []
    for index in range(count):
        luma = scene[4 : 4 + height, index : index + width] + rng.normal(0, 2, (height, width))
        luma[3 : height // 2, (7 * index) % width] += 50
        chroma = [np.full((height // 2, width // 2), 120 + 10 * k, np.uint8) for k in (0, 1)]
        frames.append([np.clip(luma, 16, 235).astype(np.uint8), *chroma])
    return frames


def packed(planes: list[Plane]) -> torch.Tensor:
    codes = pack(*(torch.from_numpy(plane)[None, None] for plane in planes)).float()
    scale, offset = code_scale(LIMITED, codes)
    return (codes - offset) / scale


def psnr(a: Any, b: Any, peak: float) -> float:
    mse = float(np.mean((np.asarray(a, np.float64) - np.asarray(b, np.float64)) ** 2))
    return 200.0 if mse == 0 else 10 * float(np.log10(peak**2 / mse))


def mean_difference(a: MembraneState, b: MembraneState) -> float:
    """How far potentials are apart on average: a finer spike moves more of them over a bound, each by less."""
    return float(torch.cat([(a[name] - b[name]).abs().flatten() for name in b]).mean())


def share_that_differs(a: MembraneState, b: MembraneState) -> float:
    """Of all potentials, those that are not the same to within rounding: one spike more or less moves a few."""
    return float(torch.cat([((a[name] - b[name]).abs() > 1e-3).flatten() for name in b]).float().mean())
