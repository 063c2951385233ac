"""What training minimises: Charbonnier beside the paper's 1 − SSIM, on packed YUV 4:2:0.

Sparse rain gives SSIM a weak gradient (shared experiments), so Charbonnier ("Two deterministic half-quadratic
regularization algorithms", Charbonnier et al. 1994) carries the weight; 1 − SSIM (Wang et al. 2004) is ESDNet's loss.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from training.run_config import LossConfig

EPSILON = 1e-3
_C1, _C2 = 0.01**2, 0.03**2


def charbonnier(error: Tensor) -> Tensor:
    """Mean of sqrt(e² + ε²) − ε: 0 where there is no error."""
    return (torch.sqrt(error * error + EPSILON * EPSILON) - EPSILON).mean()


def _gaussian(pictures: Tensor) -> Tensor:
    ramp = torch.arange(-5, 6, device=pictures.device, dtype=pictures.dtype)
    taps = torch.exp(-(ramp**2) / (2 * 1.5**2))
    taps = taps / taps.sum()
    return F.conv2d(F.conv2d(pictures, taps.view(1, 1, 11, 1)), taps.view(1, 1, 1, 11))


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean SSIM of luma (N, 1, H, W) in 0..1, Gaussian window σ 1.5, 11 taps, inner part only."""
    n = a.shape[0]
    stacked = _gaussian(torch.cat([a, b, a * a, b * b, a * b]))
    ma, mb, aa, bb, ab = stacked.split(n)
    va, vb, cov = aa - ma * ma, bb - mb * mb, ab - ma * mb
    score = (2 * ma * mb + _C1) * (2 * cov + _C2) / ((ma * ma + mb * mb + _C1) * (va + vb + _C2))
    return score.mean()


def deraining_loss(derained: Tensor, clean: Tensor, config: LossConfig) -> tuple[Tensor, dict[str, float]]:
    """Loss of a window, both (T, N, 6, h, w) normalised, and its parts for the log."""
    error = derained - clean
    parts = {"luma": charbonnier(error[:, :, :4]), "chroma": charbonnier(error[:, :, 4:])}
    if config.ssim:
        lumas = [F.pixel_shuffle(x[:, :, :4].flatten(0, 1), 2) for x in (derained, clean)]
        parts["ssim"] = 1 - ssim(lumas[0], lumas[1])
    if config.flicker and derained.shape[0] > 1:
        parts["flicker"] = charbonnier(error[1:, :, :4] - error[:-1, :, :4])
    weights = config.model_dump()
    total = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
    return total, {name: float(part.detach()) for name, part in parts.items()}
