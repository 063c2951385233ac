"""How many frames of warm-up bring the membranes back: PSNR of a run that began K frames before to an unbroken one.

    python benchmarks/warm_up.py rainy1.mp4 rainy2.mp4 … --model stream --k 0 32 96

For each clip the network runs through once without a break. Then it starts anew K frames before each of some moments,
and the frames from there on are compared with those of the first run. The worst frame counts. 8-bit frames that are
equal have no PSNR; they are told as "equal".
"""

from __future__ import annotations

import argparse
import math
import os
import sys

import numpy as np

from esdnet import Derainer
from pipeline.frame import Frame
from pipeline.sources import open_source

FOLLOWED = 6  # frames behind the break that are compared: the difference only shrinks


def small(frame: Frame, width: int, height: int) -> list[np.ndarray]:
    """The middle of a frame."""
    planes = []
    for plane, scale in zip(frame.planes(), (1, 2, 2), strict=True):
        h, w = min(height // scale, plane.shape[0]), min(width // scale, plane.shape[1])
        top, left = (plane.shape[0] - h) // 2, (plane.shape[1] - w) // 2
        planes.append(np.ascontiguousarray(plane[top : top + h, left : left + w]))
    return planes


def psnr(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    error = sum(float(((x.astype(float) - y) ** 2).sum()) for x, y in zip(a, b, strict=True))
    return math.inf if not error else 10 * math.log10(255**2 * sum(x.size for x in a) / error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--model", default="stream")
    parser.add_argument("--frames", type=int, default=144)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=192)
    parser.add_argument("--k", type=int, nargs="+", default=[0, 4, 8, 16, 24, 32, 48, 64, 96])
    given = parser.parse_args()
    network = Derainer(given.model, threads=1)
    print(f"{given.model}, worst frame of {FOLLOWED} behind each break, dB")
    print("clip".ljust(24), *(f"K={k}".rjust(7) for k in given.k))
    worst = dict.fromkeys(given.k, math.inf)
    for path in given.clips:
        with open_source(path) as source:
            frames = [small(f, given.width, given.height) for f, _ in zip(source, range(given.frames), strict=False)]
        if len(frames) < max(given.k) + FOLLOWED:
            sys.exit(f"{path}: has {len(frames)} frames; it takes {max(given.k) + FOLLOWED}")
        network.reset()
        unbroken = [network(frame) for frame in frames]
        row = dict.fromkeys(given.k, math.inf)
        for start in range(max(given.k), len(frames) - FOLLOWED + 1, 17):
            for k in given.k:
                network.reset()
                again = [network(frame) for frame in frames[start - k : start + FOLLOWED]][k:]
                row[k] = min(row[k], *(psnr(a, b) for a, b in zip(again, unbroken[start:], strict=False)))
        worst = {k: min(worst[k], row[k]) for k in given.k}
        print(os.path.basename(path)[:24].ljust(24), *(_told(row[k]) for k in given.k), flush=True)
    print("worst".ljust(24), *(_told(worst[k]) for k in given.k))


def _told(value: float) -> str:
    return ("equal" if math.isinf(value) else f"{value:.1f}").rjust(7)


if __name__ == "__main__":
    main()
