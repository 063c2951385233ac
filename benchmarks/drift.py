"""Whether carrying membranes for thousands of frames wears the picture down: PSNR early on and at the end of a run.

    python benchmarks/drift.py --rainy A.rainy.mp4 --clean A.clean.mp4 [--model stream] [--frames 3000]

Frames 0 to 25 of the clip are shown forwards and backwards in turn, so every fifty frames are the same pictures again
and whatever differs between two fifties is what the membranes have gathered.
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from esdnet import Derainer
from pipeline.sources import open_source

TURN = 25
PERIOD = 2 * TURN
AFTER = 100  # frames of warm-up that do not count
COMPARED = 500


def read(path: str) -> list[list[np.ndarray]]:
    """The planes of the first frames. ValueError where there are too few."""
    with open_source(path) as source:
        frames = [frame.planes() for frame, _ in zip(source, range(TURN + 1), strict=False)]
    if len(frames) <= TURN:
        raise ValueError(f"{path}: has {len(frames)} frames, {TURN + 1} are needed")
    return frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rainy", required=True)
    parser.add_argument("--clean", required=True)
    parser.add_argument("--model", default="stream")
    parser.add_argument("--frames", type=int, default=3000)
    given = parser.parse_args()
    if given.frames < AFTER + 2 * COMPARED:
        parser.error(f"--frames: at least {AFTER + 2 * COMPARED}")
    rainy, clean = (read(path) for path in (given.rainy, given.clean))
    network = Derainer(given.model, threads=1)
    found = np.empty(given.frames)
    for index in range(given.frames):
        at = index % PERIOD
        at = at if at <= TURN else PERIOD - at
        luma = network(rainy[at])[0].astype(float)
        found[index] = 10 * np.log10(255**2 / max(np.mean((luma - clean[at][0]) ** 2), 1e-3))
    first, last = found[AFTER : AFTER + COMPARED].mean(), found[-COMPARED:].mean()
    fifties = [round(float(found[begin : begin + PERIOD].mean()), 3) for begin in range(0, given.frames, PERIOD)]
    print(json.dumps({"first_500": round(first, 3), "last_500": round(last, 3), "fifties": fifties}))


if __name__ == "__main__":
    main()
