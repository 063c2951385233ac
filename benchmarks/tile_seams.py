"""What tiles cost: PSNR of frames derained in overlapping tiles to those derained whole, the worst frame of a clip.

python benchmarks/tile_seams.py --model stream-nano rainy1.mp4 rainy2.mp4 …
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from esdnet import Derainer
from esdnet.tiles import LEAST, TiledDerainer, plan_tiles
from pipeline.sources import open_source

OVERLAPS = (128, 96, 64)


def psnr(a: list[NDArray[np.uint8]], b: list[NDArray[np.uint8]]) -> float:
    error = sum(float(((x.astype(float) - y) ** 2).sum()) for x, y in zip(a, b, strict=True))
    return math.inf if not error else 10 * math.log10(255**2 * sum(x.size for x in a) / error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--model", default="stream-nano")
    parser.add_argument("--runtime", default="eager")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--most-pixels", type=int, default=0, help="of a tile; 0: half of the frame's")
    given = parser.parse_args()
    network = Derainer(given.model, runtime=given.runtime, threads=1)
    print(
        f"{given.model} on {network.runtime}, worst of {given.frames} frames, dB: overlap "
        + ", ".join(map(str, OVERLAPS))
    )
    for path in given.clips:
        with open_source(str(path)) as source:
            frames = [[p.copy() for p in f.planes()] for f, _ in zip(source, range(given.frames), strict=False)]
        height, width = frames[0][0].shape
        most = given.most_pixels or max(LEAST * LEAST, height * width // 2)
        network.reset()
        whole = [list(network(frame)) for frame in frames]
        told = []
        for overlap in OVERLAPS:
            tiled = TiledDerainer(network, most, overlap)
            least = min(psnr(list(tiled(frame)), expected) for frame, expected in zip(frames, whole, strict=True))
            tiles = plan_tiles(height, width, most, overlap).count
            told.append(f"{'equal' if math.isinf(least) else f'{least:.1f}'} ({tiles} tiles)")
        print(f"  {path.name}, {width}x{height}: " + ", ".join(told), flush=True)


if __name__ == "__main__":
    main()
