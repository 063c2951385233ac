"""Frames a second of `derain run` on this machine, beside a bare decode + encode of the same file: `make bench`.

    python benchmarks/run_speed.py --size 640x360 --frames 150 --models identity,stream-nano --json

The bare one is a single process that decodes and encodes with PyAV and nothing between, with the same encoder settings:
what the pipeline costs is `identity` against it. Both are measured in turn, and the best of the rounds counts, since
other work on the machine can only slow a round down.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import av
import cv2
import numpy as np
import typer

CRF, PRESET = "18", "veryfast"


def run_speed(
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the clip.")] = "640x360",
    frames: Annotated[int, typer.Option(min=2, help="Frames of the clip.")] = 150,
    models: Annotated[str, typer.Option(help="For --model, with commas between.")] = "identity,stream-nano,stream",
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON on stdout.")] = False,
) -> None:
    """Measure `derain run` beside a bare decode + encode."""
    width, height = (int(side) for side in size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        clip, out = Path(folder) / "clip.mp4", Path(folder) / "out.mp4"
        _make_clip(clip, width, height, frames)
        best: dict[str, float] = {"bare": 0.0}
        for _ in range(rounds):
            best["bare"] = max(best["bare"], frames / _bare(clip, out))
            for model in models.split(","):
                best[model] = max(best.get(model, 0.0), _derain(clip, out, model, frames))
    result = {"size": size, "frames": frames, "fps": best, "ratio": {k: v / best["bare"] for k, v in best.items()}}
    if as_json:
        print(json.dumps(result))
        return
    print(f"{size}, {frames} frames, H.264 in and out (crf {CRF}, {PRESET}), best of {rounds}")
    for name, fps in best.items():
        print(f"  {name:12} {fps:8.1f} fps  {fps / best['bare']:5.2f} of bare")


def _make_clip(path: Path, width: int, height: int, frames: int) -> None:
    """A clip with detail that moves, and the noise of a camera: H.264 must work for it."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (height // 8 + 64, width // 8 + 64), np.uint8)
    coarse = cv2.resize(small, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    fine = cv2.GaussianBlur(rng.normal(0, 1, coarse.shape).astype(np.float32), (0, 0), 1.5) * 40
    scene = np.clip(coarse * 0.7 + fine + 30, 16, 235).astype(np.uint8)
    chroma = np.full((height // 2, width), 128, np.uint8)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"crf": "18", "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            top, left = index % 64, 2 * index % 128
            seen = scene[top : top + height, left : left + width] + rng.normal(0, 3, (height, width))
            planes = np.vstack([np.clip(seen, 16, 235).astype(np.uint8), chroma])
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _bare(clip: Path, out: Path) -> float:
    """Seconds to decode and encode in one process, opening and closing included."""
    started = time.perf_counter()
    with av.open(str(clip)) as source, av.open(str(out), "w") as sink:
        video = source.streams.video[0]
        video.thread_type = "AUTO"
        stream: Any = sink.add_stream("libx264", rate=25, options={"crf": CRF, "preset": PRESET})
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
        for frame in source.decode(video):
            frame.pict_type = av.video.frame.PictureType.NONE  # or the encoder repeats the source's decisions
            sink.mux(stream.encode(frame))
        sink.mux(stream.encode(None))
    return time.perf_counter() - started


def _derain(clip: Path, out: Path, model: str, frames: int) -> float:
    """Frames a second that `derain run` itself reports."""
    command = [sys.executable, "-m", "pipeline", "run", str(clip), str(out), "--model", model, "--crf", CRF]
    done = subprocess.run(
        [*command, "--preset", PRESET, "--overwrite", "--json"], capture_output=True, text=True, timeout=1800
    )
    if done.returncode:
        raise SystemExit(f"run_speed: derain run --model {model}: {done.stderr.strip()}")
    told = json.loads(done.stdout.splitlines()[-1])
    if told["frames_out"] != frames:
        raise SystemExit(f"run_speed: {model} gave {told['frames_out']} frames of {frames}")
    return float(told["fps"])


if __name__ == "__main__":
    typer.run(run_speed)
