"""A long run killed at random moments and run to its end, beside one that was never stopped.

    python benchmarks/killed_runs.py rainy.mp4 --model stream-nano --kills 10 --segment 2

The file is derained once in one go. Then the same command is started again and again and killed with SIGKILL after a
random time, by turns its front alone and all of its processes; the last time it is let go on to the end. What is told:
frames and pts against the source's, the PSNR of the worst frame to the run in one go, and what was left over.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
import psutil


def start(arguments: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pipeline", "run", *arguments, "--quiet"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)


def whole(arguments: list[str]) -> float:
    """Run to the end; the seconds it took."""
    began = time.monotonic()
    if start(arguments).wait():
        sys.exit("derain run failed")
    return time.monotonic() - began


def killed(arguments: list[str], seconds: float, everyone: bool) -> bool:
    """Run for so many seconds at most; False where it was done before."""
    job = start(arguments)
    stages = []
    try:
        job.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        stages = psutil.Process(job.pid).children(recursive=True)
        os.killpg(job.pid, signal.SIGKILL) if everyone else os.kill(job.pid, signal.SIGKILL)
    job.wait()
    psutil.wait_procs(stages, timeout=30)
    return True


def frames(path: Path) -> Iterator[tuple[Fraction, np.ndarray]]:
    with av.open(str(path)) as held:
        for frame in held.decode(video=0):
            yield Fraction(frame.pts * frame.time_base), frame.to_ndarray()


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = float(np.square(a.astype(np.float64) - b).mean())
    return math.inf if not error else 10 * math.log10(255**2 / error)


def segments_of(destination: Path) -> int:
    return len(list((destination.parent / f".{destination.name}.derain").glob("*.segment")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--model", default="stream-nano")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--segment", type=float, default=2.0)
    parser.add_argument("--codec", default="ffv1")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    shared = ["--model", given.model, "--codec", given.codec, "--threads", str(given.threads)]
    with TemporaryDirectory() as folder:
        once, bits = Path(folder) / "once" / "out.mkv", Path(folder) / "bits" / "out.mkv"
        once.parent.mkdir()
        bits.parent.mkdir()
        seconds = whole([str(given.clip), str(once), *shared, "--no-resume"])
        print(f"{given.model}, {given.clip.name}: in one go {seconds:.0f} s", flush=True)
        again = [str(given.clip), str(bits), *shared, "--segment", str(given.segment)]
        for kill in range(given.kills):
            after = rng.uniform(0, 2 * seconds / given.kills)
            if not killed(again, after, everyone=kill % 2 == 1):
                sys.exit(f"done before kill {kill + 1}: a longer clip, fewer kills or another --seed")
            print(f"  kill {kill + 1} after {after:.1f} s: {segments_of(bits)} segments are done", flush=True)
        print(f"  to the end: {whole(again):.0f} s")
        told(given.clip, once, bits)


def told(source: Path, once: Path, bits: Path) -> None:
    count, least, equal, moved = 0, math.inf, 0, 0
    triples = zip(frames(source), frames(once), frames(bits), strict=True)
    for (pts, _), (_, expected), (found_pts, found) in triples:
        count, moved = count + 1, moved + (found_pts != pts)
        value = psnr(found, expected)
        least, equal = min(least, value), equal + math.isinf(value)
    left = [path.name for path in bits.parent.iterdir() if path != bits]
    worst = "all equal" if math.isinf(least) else f"the worst {least:.1f} dB"
    print(f"  {count} frames, {moved} with another pts; {equal} are those of the run in one go, {worst}")
    print(f"  left over: {', '.join(left) or 'nothing'}")


if __name__ == "__main__":
    main()
