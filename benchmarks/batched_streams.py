"""Many streams on one device: one process with a lane a stream beside as many processes with one stream each.

python benchmarks/batched_streams.py [--streams 8] [--size 640x360] [--runtime auto] [--seconds 15]

Both are loaded and warm before they are timed, in turn; frames a second of all streams together. The lanes' frames are
compared with those of single runs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from functools import partial
from typing import Any

import numpy as np

from esdnet import Derainer
from esdnet.batch import BatchDerainer
from pipeline.bench.network import clip

CHECKED = 6


def batched(model: str, runtime: str, streams: int, frames: list[Any], seconds: float) -> tuple[float, str]:
    """Frames a second of all lanes of one process, and the runtime."""
    batch = BatchDerainer(model, runtime=runtime)
    lanes = [batch.open() for _ in range(streams)]
    alone = [Derainer(model, runtime=batch.runtime) for _ in range(2)]
    worst = 0
    for turn in range(CHECKED):  # each stream is at another place of the clip
        shown = [frames[(turn + number) % len(frames)] for number in range(streams)]
        together: list[Any] = batch.run([partial(lane, frame) for lane, frame in zip(lanes, shown, strict=True)])
        for number, single in enumerate(alone):
            expected: Any = single(shown[number])
            differ = [np.abs(a.astype(int) - b).max() for a, b in zip(together[number], expected, strict=True)]
            worst = max(worst, int(max(differ)))
    print(f"lanes against single runs, {CHECKED} frames of two streams: {worst} grey levels apart at most", flush=True)
    del alone
    done, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        batch.run([partial(lane, frames[done % len(frames)]) for lane in lanes])
        done += 1
    batch.close()
    return done * streams / spent, batch.runtime


def _one(model: str, runtime: str, frames: list[Any], seconds: float, ready: Any, go: Any, counted: Any) -> None:
    derainer = Derainer(model, runtime=runtime)
    for frame in frames:
        derainer(frame)
    ready.release()
    go.wait()
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        derainer(frames[done % len(frames)])
        done += 1
    counted.put(done)


def apart(model: str, runtime: str, streams: int, frames: list[Any], seconds: float) -> float:
    """Frames a second of all processes together."""
    context = multiprocessing.get_context("spawn")
    ready, go, counted = context.Semaphore(0), context.Event(), context.Queue()
    given = (model, runtime, frames, seconds, ready, go, counted)
    processes = [context.Process(target=_one, args=given, daemon=True) for _ in range(streams)]
    for process in processes:
        process.start()
    for _ in processes:
        ready.acquire()
    go.set()
    total = sum(counted.get() for _ in processes)
    for process in processes:
        process.join()
    return float(total) / seconds


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--model", default="stream-nano")
    asked.add_argument("--runtime", default="auto")
    asked.add_argument("--streams", type=int, default=8)
    asked.add_argument("--size", default="640x360")
    asked.add_argument("--seconds", type=float, default=15.0)
    asked.add_argument("--rounds", type=int, default=2)
    options = asked.parse_args()
    width, height = map(int, options.size.split("x"))
    frames = clip(width, height, 4)
    for _ in range(options.rounds):
        one, runtime = batched(options.model, options.runtime, options.streams, frames, options.seconds)
        many = apart(options.model, runtime, options.streams, frames, options.seconds)
        print(
            f"{options.model} on {runtime}, {options.size}, {options.streams} streams: one process {one:.1f} frames a "
            f"second, {options.streams} processes {many:.1f}: {one / many:.2f} times as many",
            flush=True,
        )


if __name__ == "__main__":
    main()
