"""How near a derained frame is to the clean one: PSNR and SSIM on luma and on RGB, flicker, LPIPS where installed.

As the paper (ESDNet, IJCAI 2024) and the deraining literature measure: luma is BT.601's 16..235 from 8-bit RGB; PSNR
against a peak of 255; SSIM (Wang et al., "Image quality assessment", 2004) with a Gaussian window of sigma 1.5 cut off
at 3.5 sigma, population covariances, K1 = 0.01, K2 = 0.03, and the mean over all pixels but a border of 5. Agrees with
scikit-image's `structural_similarity` of these settings. SSIM on RGB is the mean over the three colours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

RGB = NDArray[np.uint8]
Luma = NDArray[np.float64]
Perceptual = Callable[[RGB, RGB], float]
"""A distance of two pictures as people see it (`training.perceptual`)."""

_WEIGHTS = np.array([65.481, 128.553, 24.966]) / 255.0
_SIGMA, _RADIUS = 1.5, 5
SMALLEST = 2 * _RADIUS + 1
"""Pixels a side that SSIM needs."""


def luma(rgb: RGB) -> Luma:
    """BT.601 luma 16..235 of (H, W, 3) 8-bit RGB, not rounded."""
    return np.asarray(rgb @ _WEIGHTS + 16)


def psnr(image: NDArray, reference: NDArray) -> float:
    """Decibels against a peak of 255; 148.13 for equal pictures (a mean squared error of 1e-10)."""
    difference = np.asarray(image, np.float64) - np.asarray(reference, np.float64)
    return float(10 * np.log10(255**2 / max(float(np.mean(np.square(difference))), 1e-10)))


def ssim(image: Luma, reference: Luma) -> float:
    """Mean structural similarity of two (H, W) pictures in 0..255."""
    if min(image.shape) < SMALLEST:
        raise ValueError(f"SSIM needs pictures of at least {SMALLEST}×{SMALLEST} pixels, not {_size(image)}")
    # Only pixels whose whole window lies inside the picture count, so that how the filter pads does not matter.
    x, y = np.asarray(image, np.float64), np.asarray(reference, np.float64)
    mean_x, mean_y = _window(x), _window(y)
    var_x = _window(x * x) - mean_x**2
    var_y = _window(y * y) - mean_y**2
    covariance = _window(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    bottom = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    inside = slice(_RADIUS, -_RADIUS)
    return float(np.mean((top / bottom)[inside, inside]))


def _window(plane: Luma) -> Luma:
    size = 2 * _RADIUS + 1
    return np.asarray(cv2.GaussianBlur(plane, (size, size), _SIGMA, borderType=cv2.BORDER_REFLECT))


@dataclass
class Scores:
    """Means over the frames given to `add`, in order. `flicker` is None until there are two frames.

    Flicker is the mean over frames of mean |(o_t − o_{t−1}) − (g_t − g_{t−1})| on luma, o the picture, g the truth:
    what changes from frame to frame in the picture and not in the truth, in 8-bit steps.
    """

    psnr_y: list[float] = field(default_factory=list)
    ssim_y: list[float] = field(default_factory=list)
    psnr_rgb: list[float] = field(default_factory=list)
    ssim_rgb: list[float] = field(default_factory=list)
    flicker: list[float] = field(default_factory=list)
    lpips: list[float] = field(default_factory=list)
    perceptual: Perceptual | None = None
    _before: Luma | None = None

    def add(self, image: RGB, reference: RGB) -> None:
        """Score a frame (H, W, 3) against the clean one of the same size; ValueError if they differ in size."""
        if image.shape != reference.shape:
            raise ValueError(f"{_size(image)} against {_size(reference)}")
        image_y, reference_y = luma(image), luma(reference)
        self.psnr_y.append(psnr(image_y, reference_y))
        self.ssim_y.append(ssim(image_y, reference_y))
        self.psnr_rgb.append(psnr(image, reference))
        colours = [(image[..., c].astype(np.float64), reference[..., c].astype(np.float64)) for c in range(3)]
        self.ssim_rgb.append(float(np.mean([ssim(a, b) for a, b in colours])))
        if self.perceptual is not None:
            self.lpips.append(self.perceptual(image, reference))
        error = image_y - reference_y
        if self._before is not None:
            self.flicker.append(float(np.mean(np.abs(error - self._before))))
        self._before = error

    def means(self) -> dict[str, float | None]:
        """Averages over the frames by name (None where there is none); ValueError where there was no frame."""
        if not self.psnr_y:
            raise ValueError("no frame was scored")
        return {
            "psnr_y": float(np.mean(self.psnr_y)),
            "ssim_y": float(np.mean(self.ssim_y)),
            "psnr_rgb": float(np.mean(self.psnr_rgb)),
            "ssim_rgb": float(np.mean(self.ssim_rgb)),
            "flicker": float(np.mean(self.flicker)) if self.flicker else None,
            "lpips": float(np.mean(self.lpips)) if self.lpips else None,
        }


def _size(image: NDArray) -> str:
    return f"{image.shape[1]}×{image.shape[0]}"
