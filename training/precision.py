"""Convolutions in 16 bits where the device has them; everything else stays in float32.

Not autocast over the whole network: a membrane potential that is rounded to 8 bits of mantissa at every frame leaks
where it should not, and the search for motion computes coordinates, which bfloat16 cannot tell apart above 256. The
convolutions are where the time goes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from training.errors import TrainingError


def lower_convolutions(network: nn.Module, precision: str, device: torch.device) -> None:
    """Makes every 2-D convolution of `network` compute in `precision` (float32, bfloat16, float16) and give float32.

    Weights stay float32. TrainingError where the device has no such arithmetic.
    """
    if precision == "float32":
        return
    dtype = {"bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
    _check(dtype, precision, device)

    def lowered(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def inner(x: Tensor) -> Tensor:
            with torch.autocast(device.type, dtype=dtype):
                y = forward(x)
            return y.float()

        return inner

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.forward = lowered(module.forward)  # type: ignore[method-assign, assignment]


def gradient_scaler(precision: str, device: torch.device) -> Any:
    """Keeps float16 gradients from vanishing (Micikevicius et al., "Mixed Precision Training", ICLR 2018); does nothing
    for the other types, whose exponents reach as far as float32's."""
    return torch.amp.GradScaler(device.type, enabled=precision == "float16")


def _check(dtype: torch.dtype, precision: str, device: torch.device) -> None:
    if device.type == "cuda":
        if dtype == torch.bfloat16 and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise TrainingError("precision: this GPU has no bfloat16; take float16 or float32")
        return
    if dtype == torch.float16:
        raise TrainingError("precision: float16 is for GPUs; on a processor take bfloat16 or float32")
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        raise TrainingError("precision: this processor has no bfloat16 (AVX512-BF16 or AMX); take float32")
