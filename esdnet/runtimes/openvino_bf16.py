"""OpenVINO on processors that compute in bfloat16 (AVX512-BF16, AMX): convolutions at up to twice float32's rate.

Spikes are small integers, which bfloat16 holds exactly, so only weights, currents and, between two steps of a stream of
planes, membranes are rounded (`membrane_bits.py`). What comes after the last convolution, the read-out among it, and
the pictures that are carried are float32. What that costs in quality and gains in speed: `docs/benchmarks.md`.
"""

from __future__ import annotations

from esdnet.runtimes.openvino import OpenvinoRuntime, plugins_own_precision
from esdnet.runtimes.runtime import RuntimeMissing
from esdnet.streaming import StreamNet


class OpenvinoBf16Runtime(OpenvinoRuntime):
    """As its parent. RuntimeMissing, too, where the processor has no bfloat16 arithmetic of its own."""

    name = "openvino_bf16"
    precision = "bf16"
    membranes_as_bits = True

    def __init__(self, network: StreamNet, *, threads: int | None = None) -> None:
        if plugins_own_precision() != "bf16":
            raise RuntimeMissing("this processor has no bfloat16 (AVX512-BF16 or AMX); take openvino")
        super().__init__(network, threads=threads)
