"""The NVIDIA GPU that the GPU runtimes run on, or one line that says what is missing and how to get it."""

from __future__ import annotations

from pathlib import Path

import torch

from esdnet.runtimes.runtime import RuntimeMissing

OLDEST = (7, 0)
"""Compute capability below which half precision is no quicker than single: Volta was the first with tensor cores."""


def require_gpu(runtime: str) -> torch.device:
    """The current CUDA device. RuntimeMissing where PyTorch cannot use one, with advice only where a driver is there:
    on a machine without a GPU nothing that could be installed would help."""
    driver = nvidia_driver()
    if torch.version.cuda is None:
        text = f"runtime {runtime} needs an NVIDIA GPU and a CUDA build of PyTorch; this is PyTorch {torch.__version__}"
        if driver:
            raise RuntimeMissing(text, "install the build for your driver (https://pytorch.org/get-started/locally)")
        raise RuntimeMissing(f"{text}, and no NVIDIA driver is loaded; use --runtime auto")
    if not driver:
        raise RuntimeMissing(
            f"runtime {runtime} needs an NVIDIA GPU, and no NVIDIA driver is loaded (nvidia-smi tells); "
            "use --runtime auto"
        )
    if not torch.cuda.is_available():
        raise RuntimeMissing(
            f"runtime {runtime} needs a GPU that PyTorch {torch.__version__} (CUDA {torch.version.cuda}) can use; "
            f"the driver here is {driver}",
            "update the driver, or install the PyTorch build for it (https://pytorch.org/get-started/locally)",
        )
    device = torch.device("cuda", torch.cuda.current_device())
    capability = torch.cuda.get_device_capability(device)
    if capability < OLDEST:
        name = torch.cuda.get_device_name(device)
        raise RuntimeMissing(
            f"runtime {runtime} needs compute capability {OLDEST[0]}.{OLDEST[1]} or newer; {name} has "
            f"{capability[0]}.{capability[1]}; use --runtime auto"
        )
    return device


def nvidia_driver() -> str:
    """Version of the loaded driver, "unknown" where only its devices show (some containers), empty without one."""
    try:
        words = Path("/proc/driver/nvidia/version").read_text(encoding="ascii", errors="replace").split()
    except OSError:
        return "unknown" if Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists() else ""
    return next((word for word in words if word[:1].isdigit() and "." in word), "unknown")
