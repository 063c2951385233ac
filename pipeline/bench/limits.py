"""What the machine can do: matrix multiplication and memory bandwidth, measured with PyTorch's own kernels."""

from __future__ import annotations

import time

from pipeline.bench.results import Limits


def measure_limits(threads: int, seconds: float = 2.0) -> Limits:
    """The best of the repetitions that fit into `seconds` for each: other work can only slow one down."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            side = 1024
            a, b, out = (torch.rand(side, side) for _ in range(3))
            product = _best(lambda: torch.mm(a, b, out=out), seconds)
            source = torch.rand(48 * 2**20 // 4 * 4)  # 192 MiB: far more than the last cache
            target = torch.empty_like(source)
            copy = _best(lambda: target.copy_(source), seconds)
    finally:
        torch.set_num_threads(before)
    return Limits(gflops=2 * side**3 / product / 1e9, bandwidth=2 * source.numel() * 4 / copy / 1e9)


def _best(work: object, seconds: float) -> float:
    assert callable(work)
    work()
    best, ends = float("inf"), time.perf_counter() + seconds
    while True:
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
        if time.perf_counter() > ends:
            return best
