"""Lets Torch-TensorRT be imported where there is no GPU, for the part of it that needs none: lowering and building.

Importing it asks CUDA for the device's number and compute capability, and takes more than ImportError with it where
there is none. Nothing here is used by derain itself.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
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


def prepare() -> None:
    """After installation: where PyTorch is built without CUDA, remove the libraries that are linked against its CUDA
    part. Torch-TensorRT loads them if they are there, and does without its C++ runtime if they are not."""
    import torch

    spec = find_spec("torch_tensorrt")
    if torch.version.cuda is not None or spec is None:
        return
    for folder in spec.submodule_search_locations or []:
        for name in ("libtorchtrt.so", "libtorchtrt_runtime.so"):
            (Path(folder) / "lib" / name).unlink(missing_ok=True)


if __name__ == "__main__":
    prepare()
