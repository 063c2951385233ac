"""LPIPS, a learnt distance of pictures (Zhang et al., CVPR 2018), where the `lpips` extra is installed.

TorchMetrics computes it on AlexNet. The extra brings the code; AlexNet's weights are TorchVision's and are fetched once
into PyTorch's cache, so the first use needs the network.
"""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import numpy as np
import torch

from training.errors import TrainingError
from training.metrics import RGB, Perceptual


def installed() -> bool:
    """Whether the extra is there; nothing is imported."""
    return all(importlib.util.find_spec(name) for name in ("torchmetrics", "torchvision"))


def lpips() -> Perceptual:
    """A function of two (H, W, 3) uint8 pictures. TrainingError where the extra or AlexNet's weights can't be had."""
    if not installed():
        raise TrainingError("LPIPS needs the lpips extra: pip install 'derain[lpips]', or leave --lpips out")
    try:
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
    except (ImportError, RuntimeError, OSError) as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        raise TrainingError(
            f"LPIPS: the lpips extra cannot be used ({reason}); install the torchvision that was built for this "
            "PyTorch, or pass --no-lpips"
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torchvision's, about names of its own
            metric: Any = LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True).eval()
    except (OSError, RuntimeError, ValueError) as error:
        raise TrainingError(
            f"LPIPS needs AlexNet's weights, which could not be fetched ({type(error).__name__}); put TorchVision's "
            "alexnet-owt-7be5be79.pth into ~/.cache/torch/hub/checkpoints, or pass --no-lpips"
        ) from error

    @torch.inference_mode()
    def distance(image: RGB, reference: RGB) -> float:
        pictures = [
            torch.from_numpy(np.ascontiguousarray(p.transpose(2, 0, 1)))[None] / 255 for p in (image, reference)
        ]
        return float(metric(*pictures))

    return distance
