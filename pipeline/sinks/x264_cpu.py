"""Which instructions x264 may use, so that the same frames always give the same bits.

x264 165 (in PyAV 18) reads memory it has not written where it weighs macroblocks (mbtree) with AVX-512: on such a
processor two encoders in one process gave other bits for the same frames (320x180, 25 runs: 7 results; without AVX-512,
or without mbtree, 1). At 1080p AVX2 was no slower (1.9 s of the processor for 40 frames either way, Zen 4).
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache

WITHOUT_AVX512 = "avx2,fma3,bmi2,lzcnt"
"""In x264's own words. Every processor with AVX-512 has them."""


@cache
def instructions() -> str:
    """The value of x264's option `asm`; "" where it may choose, as it never chooses AVX-512 there."""
    with suppress(OSError), open("/proc/cpuinfo") as told:
        for line in told:
            if line.startswith("flags"):
                return WITHOUT_AVX512 if "avx512bw" in line.split() else ""
    return ""
