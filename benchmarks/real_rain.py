"""How much of real rain goes, where no clean picture is there to compare with.

python benchmarks/real_rain.py [CLIP ...] [--model stream] [--frames 30]

Two figures a clip, both of luma, upright, before and after, and the share that has gone:

* **Transients**: how far a pixel is above both of its neighbours in time, less how far it is below both, mean over the
  picture. Rain makes bright ones only; noise and what moves make as many dark ones. Tells something where little moves.
* **Lines**: mean answer of a filter for thin bright lines in the direction in which there are most, less that in the
  mirrored one, which the scene has as often. Tells something where rain falls aslant.

Neither is a measure of quality: a blurred picture would score well. Look at the pictures too (`--pictures FOLDER`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from esdnet import Derainer
from pipeline.sources import open_source
from pipeline.upright import quarter_turns, turned

CLIPS = sorted(Path("../shared/data/dev/real_clips").glob("*.mp4"))
DIRECTIONS = range(10, 61, 10)
"""Degrees from the vertical, to either side."""
SETTLED = 5
"""Frames left out at the beginning."""
_NOISE = 0.5  # grey levels of a line's answer that are no line

Film = NDArray[np.float32]


def read(path: str, frames: int) -> list[list[NDArray[np.uint8]]]:
    """Y, U, V of the first frames, upright."""
    with open_source(path) as source:
        quarters = quarter_turns(source.info)
        return [turned(frame.planes(), quarters) for _, frame in zip(range(frames), source, strict=False)]


def transients(film: Film) -> float:
    before, now, after = film[:-2], film[1:-1], film[2:]
    bright = np.maximum(0, now - np.maximum(before, after))
    dark = np.maximum(0, np.minimum(before, after) - now)
    return float(bright.mean() - dark.mean())


def line_filter(degrees: float, sigma: float = 1.0, length: float = 7.0) -> NDArray[np.float32]:
    """Second derivative of a Gaussian across a line, a Gaussian along it; positive angles lean to the right below."""
    y, x = np.mgrid[-15:16, -15:16].astype(np.float64)
    turn = np.deg2rad(degrees)
    across, along = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    taps = (1 - (across / sigma) ** 2) * np.exp(-((across / sigma) ** 2 + (along / length) ** 2) / 2)
    taps -= taps.mean()
    return (taps / np.abs(taps).sum()).astype(np.float32)


def lines(film: Film, degrees: float) -> float:
    """Answer to lines in that direction less that in the mirrored one."""
    sides = []
    for direction in (degrees, -degrees):
        taps = line_filter(direction)
        sides.append(np.mean([np.maximum(0, cv2.filter2D(one, -1, taps) - _NOISE).mean() for one in film]))
    return float(sides[0] - sides[1])


def derained(network: Derainer, rainy: list[list[NDArray[np.uint8]]]) -> tuple[Film, Film]:
    """Luma before and after, of the frames after the first few."""
    network.reset()
    dry = np.stack([network(planes)[0].copy() for planes in rainy])[SETTLED:].astype(np.float32)
    return np.stack([planes[0] for planes in rainy])[SETTLED:].astype(np.float32), dry


def streaks(wet: Film, dry: Film) -> tuple[int, float, float]:
    """The direction in which there are most lines, and how many before and after."""
    most = max((side * d for d in DIRECTIONS for side in (-1, 1)), key=lambda d: lines(wet, d))
    return most, lines(wet, most), lines(dry, most)


def gone(before: float, after: float) -> str:
    if before <= 0:
        return "not told: more moves here than rains"
    return f"{before:.3f} -> {after:.3f} ({1 - after / before:.0%} gone)"


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("clips", nargs="*", default=[str(path) for path in CLIPS])
    asked.add_argument("--model", default="stream")
    asked.add_argument("--runtime", default="auto")
    asked.add_argument("--threads", type=int)
    asked.add_argument("--frames", type=int, default=30)
    asked.add_argument("--pictures", help="folder for one frame a clip: before, after, what was removed (times six)")
    options = asked.parse_args()
    network = Derainer(options.model, runtime=options.runtime, threads=options.threads)
    for clip in options.clips:
        rainy = read(clip, options.frames)
        wet, dry = derained(network, rainy)
        before, after = transients(wet), transients(dry)
        most, first, then = streaks(wet, dry)
        print(
            f"{Path(clip).stem}, {options.model} on {network.runtime}: transients {gone(before, after)}; "
            f"lines at {most:+d} degrees {gone(first, then)}",
            flush=True,
        )
        if options.pictures:
            middle = len(wet) // 2
            removed = np.clip(128 + 6 * (wet[middle] - dry[middle]), 0, 255)
            Path(options.pictures).mkdir(parents=True, exist_ok=True)
            shown = np.hstack([wet[middle], dry[middle], removed]).astype(np.uint8)
            cv2.imwrite(str(Path(options.pictures) / f"{Path(clip).stem}.png"), shown)


if __name__ == "__main__":
    main()
