"""Peak memory of a process that derains a few frames, a pixel: what `esdnet/memory.py` is made from.

python benchmarks/memory.py MODEL WIDTH HEIGHT [RUNTIME]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from esdnet import Derainer

_FRAMES = 5
"""Two are not enough: the heap still grows with the third."""


def peak() -> int:
    """Bytes of this process at its largest, from the kernel, which counts in KiB (ru_maxrss survives exec)."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024


def main(model: str, width: int, height: int, runtime: str = "eager") -> None:
    derainer = Derainer(model, runtime=runtime, threads=1)
    before = peak()
    rng = np.random.default_rng(0)
    small = (height // 2, width // 2)
    frame = [rng.integers(16, 235, (height, width), np.uint8), *(rng.integers(16, 240, small, np.uint8) for _ in "uv")]
    for _ in range(_FRAMES):
        derainer(frame)
    state = derainer.state
    held = sum(tensor.numel() * tensor.element_size() for tensor in state.tensors()) if state else 0
    pixels = width * height
    told = (
        f"{model} on {derainer.runtime}, {width}x{height}: {before / 1e6:.0f} MB before, {peak() / 1e6:.0f} MB at most"
    )
    print(f"{told}: {(peak() - before) / pixels:.0f} bytes a pixel, {held / pixels:.0f} of them state")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
