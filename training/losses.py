"""What training minimises: Charbonnier beside the paper's 1 − SSIM, on packed YUV 4:2:0.

Sparse rain gives SSIM a weak gradient (shared experiments), so Charbonnier ("Two deterministic half-quadratic
regularization algorithms", Charbonnier et al. 1994) carries the weight; 1 − SSIM (Wang et al. 2004) is ESDNet's loss.
The logarithm of the squared error of each picture (HINet, CVPRW 2021, and NAFNet, ECCV 2022, train with it) is what
PSNR averages: where a streak is in doubt, a squared error asks for its likely part, a Charbonnier for all or nothing.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from training.run_config import LossConfig

EPSILON = 1e-3
_PSNR_FLOOR = 2e-5
"""Added to a picture's mean squared error (47 dB), or one that is all but right would have all of the gradient."""
_C1, _C2 = 0.01**2, 0.03**2
_REACH = 5
"""Pixels to each side of the middle of the window."""


def charbonnier(error: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean of sqrt(e² + ε²) − ε: 0 where there is no error. `weights` broadcast against `error`."""
    cost = torch.sqrt(error * error + EPSILON * EPSILON) - EPSILON
    return (cost if weights is None else cost * weights).mean()


def evening_weights(rainy: Tensor, clean: Tensor, scale: float) -> Tensor | None:
    """Weight (T, N, 1, 1, 1) of each picture so that faint rain counts beside a downpour; None where `scale` is 0.

    A downpour's error is ten times a drizzle's and would have nearly all of the gradient, while people look at (and
    PSNR is averaged over) pictures, not errors.
    """
    if not scale:
        return None
    error = (rainy - clean)[:, :, :4].abs().mean(dim=(2, 3, 4), keepdim=True)
    return scale / (error + scale)


def log_squared_error(error: Tensor) -> Tensor:
    """Mean over pictures of ln(MSE + floor) − ln(floor): 0 where there is no error. `error` is (T, N, C, H, W)."""
    squared = (error * error).mean(dim=(2, 3, 4))
    return torch.log1p(squared / _PSNR_FLOOR).mean()


def _gaussian(pictures: Tensor) -> Tensor:
    """Gaussian means of (N, 1, H, W), the inner (N, 1, H - 10, W - 10).

    As a product with a banded matrix from either side: the same sums as two convolutions with one channel, which on a
    processor took two thirds of a training step.
    """
    height, width = pictures.shape[-2:]
    return _band(height, pictures) @ pictures @ _band(width, pictures).T


def _band(length: int, like: Tensor) -> Tensor:
    """(length - 10, length): row i has the taps of the window that begins at i."""
    inner = length - 2 * _REACH
    if inner < 1:
        raise ValueError(f"SSIM needs pictures of at least {2 * _REACH + 1} pixels a side, not {length}")
    away = torch.arange(length, device=like.device) - torch.arange(inner, device=like.device)[:, None] - _REACH
    taps = torch.exp(-(away.to(like.dtype) ** 2) / (2 * 1.5**2)) * (away.abs() <= _REACH)
    return taps / taps.sum(1, keepdim=True)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean SSIM of luma (N, 1, H, W) in 0..1, Gaussian window σ 1.5, 11 taps, inner part only."""
    n = a.shape[0]
    stacked = _gaussian(torch.cat([a, b, a * a, b * b, a * b]))
    ma, mb, aa, bb, ab = stacked.split(n)
    va, vb, cov = aa - ma * ma, bb - mb * mb, ab - ma * mb
    score = (2 * ma * mb + _C1) * (2 * cov + _C2) / ((ma * ma + mb * mb + _C1) * (va + vb + _C2))
    return score.mean()


def deraining_loss(
    derained: Tensor, clean: Tensor, rainy: Tensor, config: LossConfig
) -> tuple[Tensor, dict[str, float]]:
    """Loss of a window, all (T, N, 6, h, w) normalised, and its parts for the log."""
    error = derained - clean
    even = evening_weights(rainy, clean, config.evenly)
    parts = {"luma": charbonnier(error[:, :, :4], even), "chroma": charbonnier(error[:, :, 4:], even)}
    if config.psnr:
        parts["psnr"] = log_squared_error(error[:, :, :4])
    if config.ssim:
        lumas = [F.pixel_shuffle(x[:, :, :4].flatten(0, 1), 2) for x in (derained, clean)]
        parts["ssim"] = 1 - ssim(lumas[0], lumas[1])
    if config.flicker and derained.shape[0] > 1:
        parts["flicker"] = charbonnier(error[1:, :, :4] - error[:-1, :, :4])
    weights = config.model_dump()
    total = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
    return total, {name: float(part.detach()) for name, part in parts.items()}
