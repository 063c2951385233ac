"""Frames a second of a model: the derain stage's own work, through the front door of esdnet."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.bench.limits import LimitMeter
from pipeline.bench.results import NetworkSpeed
from pipeline.errors import UsageError

MINIMUM = 5
"""Frames measured at least, however slow."""
BURST = 5
"""Frames in a row: in the pipeline, too, a frame finds in the cache what the one before left there."""


def measure_networks(
    model: str, width: int, height: int, runtimes: Sequence[str], *, threads: int, seconds: float
) -> list[NetworkSpeed]:
    """One model at one size on several runtimes and the limits of the machine in turn, `seconds` for each runtime.

    UsageError for a model without membranes; ModelError where a model or runtime cannot be used.
    """
    from esdnet import Derainer
    from esdnet.complexity import complexity
    from esdnet.models import load
    from esdnet.streaming import StreamNet
    from esdnet.traffic import bytes_per_frame, state_bytes

    network = load(model)
    if not isinstance(network, StreamNet):
        raise UsageError(f"--model {model}: is a network for pictures; bench measures the ones for video")
    cost = complexity(network)
    macs = cost.kmacs_per_pixel * 1000 * width * height
    frames = clip(width, height, 4)
    derainers, first = {}, {}
    for runtime in runtimes:
        derainers[runtime] = Derainer(model, runtime=runtime, threads=threads)
        began = time.perf_counter()
        derainers[runtime](frames[0])
        first[runtime] = time.perf_counter() - began
        derainers[runtime](frames[1])
    times: dict[str, list[float]] = {runtime: [] for runtime in runtimes}
    lower = {runtime for runtime, derainer in derainers.items() if derainer.runtime.endswith("_bf16")}
    meter = LimitMeter(threads, bfloat16=bool(lower))
    while min(map(sum, times.values())) < seconds or min(map(len, times.values())) < MINIMUM:
        for runtime, derainer in derainers.items():
            for _ in range(BURST):
                began = time.perf_counter()
                derainer(frames[len(times[runtime]) % len(frames)])
                times[runtime].append(time.perf_counter() - began)
                if sum(times[runtime][-BURST:]) > seconds:
                    break
        meter()
    limits = meter.limits
    speeds = []
    for runtime, taken in times.items():
        fps = len(taken) / sum(taken)
        gflops = (limits.bfloat16_gflops if runtime in lower else None) or limits.gflops
        value_bytes = 2 if runtime in lower else 4
        moved = bytes_per_frame(network, height, width, value_bytes)
        speeds.append(
            NetworkSpeed(
                model=model,
                width=width,
                height=height,
                runtime=derainers[runtime].runtime,
                frames=len(taken),
                fps=fps,
                p50_ms=float(np.percentile(taken, 50)) * 1e3,
                p99_ms=float(np.percentile(taken, 99)) * 1e3,
                gmacs=macs / 1e9,
                state_mb=state_bytes(network, height, width, value_bytes) / 1e6,
                limits=limits,
                arithmetic="bfloat16" if runtime in lower else "float32",
                share_of_gflops=2 * macs * fps / 1e9 / gflops,
                share_of_bandwidth=moved * fps / 1e9 / limits.bandwidth,
                roofline_fps=1e9 * min(gflops / (2 * macs), limits.bandwidth / moved),
                first_frame_s=first[runtime],
            )
        )
    return speeds


def clip(width: int, height: int, count: int) -> list[list[NDArray[np.uint8]]]:
    """Planes of 8-bit 4:2:0: a texture that pans under noise, so that neurons fire and the search has work."""
    import cv2

    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 200, (height // 8 + 4, width // 8 + 4), np.uint8)
    scene = cv2.resize(coarse, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)
    noise = rng.integers(-6, 7, (height, width), np.int16)
    frames = []
    for index in range(count):
        seen = scene[index : index + height, 2 * index : 2 * index + width] + np.roll(noise, 7 * index, 1)
        chroma = [np.full(((height + 1) // 2, (width + 1) // 2), 120 + 12 * k, np.uint8) for k in (0, 1)]
        frames.append([np.clip(seen, 16, 235).astype(np.uint8), *chroma])
    return frames
