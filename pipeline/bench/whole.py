"""The pipeline as a whole: `derain run` beside a bare decode + encode, a link by itself, and how long starting takes.

The bare one is a single process that decodes and encodes with PyAV and nothing between, with the same encoder settings:
what the pipeline costs is `identity` against it. All are measured in turn, and the best of the rounds counts, since
other work on the machine can only slow a round down.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.bench.network import clip
from pipeline.bench.results import LinkCost, PipelineSpeed, StartUp
from pipeline.errors import DerainError

CRF, PRESET = "18", "veryfast"
LINK_FRAMES = 60


def measure_pipeline(
    width: int, height: int, models: Sequence[str], *, frames: int, rounds: int, threads: int
) -> PipelineSpeed:
    """`derain run` with each model ("identity" among them or not) and the bare one, in turn. DerainError of a run."""
    with tempfile.TemporaryDirectory(prefix="derain-bench-") as folder:
        source, out = Path(folder) / "clip.mp4", Path(folder) / "out.mp4"
        make_clip(source, width, height, frames)
        bare = 0.0
        fps: dict[str, float] = {}
        stages: dict[str, dict[str, float]] = {}
        for _ in range(rounds):
            bare = max(bare, frames / _bare(source, out))
            for model in models:
                told = _derain(source, out, model, threads)
                if told["fps"] > fps.get(model, 0.0):
                    fps[model] = told["fps"]
                    stages[model] = {stage: seconds["busy"] for stage, seconds in told["stages"].items()}
    ratio = {model: value / bare for model, value in fps.items()}
    return PipelineSpeed(
        width=width, height=height, frames=frames, bare_fps=bare, fps=fps, ratio=ratio, stages=stages
    )  # fmt: skip


def measure_link(width: int, height: int) -> LinkCost:
    """Frames through one link of the pipeline, both ends in this process, as time of its processors and of the wall."""
    from pipeline.frame import Frame, FrameHeader, StreamInfo
    from pipeline.link import Receiver, Sender
    from pipeline.private_folder import private_folder

    planes = clip(width, height, 1)[0]
    pixels = np.concatenate([plane.reshape(-1) for plane in planes])
    info = StreamInfo(width=width, height=height, pixel_format="yuv420p", time_base=(1, 25))
    spans: list[float] = []

    def send(url: str) -> None:
        with Sender(url, bind=True, stage="decode", peer="derain") as sender:
            sender.hello(info)
            for index in range(LINK_FRAMES):
                header = FrameHeader(index=index, pts=index, width=width, height=height, pixel_format="yuv420p")
                sender.send(Frame(header, pixels))
            sender.finish(0, 20.0)

    with private_folder() as folder:
        url = f"ipc://{folder}/bench"
        thread = threading.Thread(target=send, args=(url,), daemon=True)
        with Receiver(url, bind=False, stage="derain", peer="decode") as receiver:
            thread.start()
            receiver.accept()
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in receiver.frames():
                pass
            spans = [time.process_time() - cpu, time.perf_counter() - wall]
            receiver.acknowledge()
            thread.join(20.0)
    cpu_ms, wall_ms = (1e3 * span / LINK_FRAMES for span in spans)
    return LinkCost(width=width, height=height, cpu_ms=cpu_ms, wall_ms=wall_ms)


def measure_start_up(model: str, *, threads: int) -> StartUp:
    """Whole processes on a clip of two frames; the graph cache of the first run with a network is its own and empty."""
    with tempfile.TemporaryDirectory(prefix="derain-bench-") as folder:
        source, out = Path(folder) / "clip.mp4", Path(folder) / "out.mp4"
        make_clip(source, 640, 360, 2)
        cache = {"DERAIN_CACHE": str(Path(folder) / "graphs")}
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "pipeline", "--help"], capture_output=True, check=True, env=_env())
        helped = time.perf_counter() - began
        seconds = []
        for each in ("identity", model, model):
            began = time.perf_counter()
            _derain(source, out, each, threads, cache)
            seconds.append(time.perf_counter() - began)
    return StartUp(help=helped, identity=seconds[0], model_first=seconds[1], model=seconds[2])


def make_clip(path: Path, width: int, height: int, frames: int) -> None:
    """A clip with detail that moves, and the noise of a camera: H.264 must work for it."""
    import av
    import cv2

    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (height // 8 + 64, width // 8 + 64), np.uint8)
    coarse = cv2.resize(small, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    grain: Any = rng.standard_normal(coarse.shape, np.float32)
    fine = np.asarray(cv2.GaussianBlur(grain, (0, 0), 1.5)) * 40
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


def _bare(source: Path, out: Path) -> float:
    """Seconds to decode and encode in one process, opening and closing included."""
    import av
    from av.video.frame import PictureType

    started = time.perf_counter()
    with av.open(str(source)) as opened, av.open(str(out), "w") as sink:
        video = opened.streams.video[0]
        video.thread_type = "AUTO"
        stream: Any = sink.add_stream("libx264", rate=25, options={"crf": CRF, "preset": PRESET})
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
        for frame in opened.decode(video):
            frame.pict_type = PictureType.NONE  # or the encoder repeats the source's decisions
            sink.mux(stream.encode(frame))
        sink.mux(stream.encode(None))
    return time.perf_counter() - started


def _derain(source: Path, out: Path, model: str, threads: int, extra: dict[str, str] | None = None) -> dict[str, Any]:
    """What `derain run` tells of itself. DerainError where it fails."""
    command = [sys.executable, "-m", "pipeline", "run", str(source), str(out), "--model", model, "--crf", CRF]
    command += ["--preset", PRESET, "--threads", str(threads), "--overwrite", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, env=_env(extra))
    if done.returncode:
        raise DerainError(f"bench: derain run --model {model}: {done.stderr.strip()}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def _env(extra: dict[str, str] | None = None) -> dict[str, str]:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {**os.environ, "PYTHONPATH": path, **(extra or {})}
