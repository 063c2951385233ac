"""What the machine can do: matrix multiplication and memory bandwidth, measured with PyTorch's own kernels.

Other work on a machine takes its share of both, now more, now less. So the limits are measured in small portions
between those of what is compared with them, and both lose alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from pipeline.bench.results import Limits

_SIDE = 768
_COPIED = 96 * 2**20
"""Bytes of the copy: more than the last cache of most processors, so that memory is measured."""


class LimitMeter:
    """Measures a portion at each call; `limits` is what all portions together gave. `bfloat16`: measure that too."""

    def __init__(self, threads: int, *, bfloat16: bool = False) -> None:
        import torch

        self._threads = threads
        self._factors = [[torch.rand(_SIDE, _SIDE) for _ in range(3)]]
        if bfloat16:
            self._factors.append([factor.bfloat16() for factor in self._factors[0]])
        self._source = torch.rand(_COPIED // 4)
        self._target = torch.empty_like(self._source)
        self._portions, self._multiplying, self._copying = 0, [0.0] * len(self._factors), 0.0
        self()
        self._portions, self._multiplying, self._copying = 0, [0.0] * len(self._factors), 0.0  # memory is touched now

    def __call__(self) -> None:
        """One multiplication in each arithmetic and one copy."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                for number, (a, b, out) in enumerate(self._factors):
                    self._multiplying[number] += _taken(partial(torch.mm, a, b, out=out))
                self._copying += _taken(lambda: self._target.copy_(self._source))
        finally:
            torch.set_num_threads(before)
        self._portions += 1

    @property
    def limits(self) -> Limits:
        """Average rates over the portions."""
        gflops = [2 * _SIDE**3 * self._portions / spent / 1e9 for spent in self._multiplying]
        return Limits(
            gflops=gflops[0],
            bfloat16_gflops=gflops[1] if len(gflops) > 1 else None,
            bandwidth=2 * _COPIED * self._portions / self._copying / 1e9,
        )


def _taken(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
