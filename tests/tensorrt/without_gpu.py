"""Lets Torch-TensorRT be imported where there is no GPU, for the part of it that needs none: lowering and building.

Importing it asks CUDA for the device's number and compute capability, and takes more than ImportError with it where
there is none. Nothing here is used by derain itself.
"""

from __future__ import annotations

from typing import Any

CAPABILITY = (8, 9)
"""Of the GPU that engines are built for: Ada (RTX 40). Nothing but names depends on it in the lowering."""


def pretend() -> None:
    """Answer the questions asked at import; does nothing where PyTorch has a GPU."""
    import torch

    if torch.cuda.is_available():
        return
    cuda: Any = torch.cuda
    cuda.get_device_capability = lambda *_: CAPABILITY
    cuda.current_device = lambda: 0
    if not hasattr(torch._C, "_CudaDeviceProperties"):  # a build without CUDA; used in an annotation only
        torch._C._CudaDeviceProperties = type("_CudaDeviceProperties", (), {})  # type: ignore[attr-defined]
