"""Many short files in one batch: what a file costs beyond its decoding and encoding, and whether memory stays flat.

    python benchmarks/short_files.py --files 300 --model identity

Makes the files (H.264, sound, `--frames` frames), runs `derain batch` on all of them with one worker, and beside it
decodes and encodes the same files with bare PyAV, one after the other in one process, with the same encoder settings.
The processor's seconds tell more than those of the clock on a machine that does other things too.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import sys
import time
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np
import psutil


def make(path: Path, frames: int, width: int, height: int) -> None:
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        sound = out.add_stream("aac", rate=48000, layout="mono")
        y, x = np.mgrid[0 : height * 3 // 2, 0:width]
        for index in range(frames):
            picture = (60 + (x * 2 + y + 7 * index) % 120).astype(np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, "yuv420p")))
        for start in range(0, 48000 * frames // 25, 1024):
            tone = np.sin(np.arange(start, start + 1024) / 20).astype(np.float32)[None] / 4
            frame = av.AudioFrame.from_ndarray(tone, "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
            out.mux(sound.encode(frame))
        out.mux(video.encode(None))
        out.mux(sound.encode(None))


def bare(source: Path, destination: Path) -> None:
    """Decode and encode with PyAV alone, as the pipeline does: sound is copied."""
    with av.open(str(source)) as held, av.open(str(destination), "w") as out:
        from_video, from_sound = held.streams.video[0], held.streams.audio[0]
        video = out.add_stream("libx264", rate=25, options={"preset": "veryfast", "crf": "20"})
        video.width, video.height, video.pix_fmt = from_video.width, from_video.height, "yuv420p"
        sound = out.add_stream_from_template(from_sound)
        for packet in held.demux(from_video, from_sound):
            if packet.stream is from_sound:
                if packet.dts is not None:
                    packet.stream = sound
                    out.mux(packet)
                continue
            for frame in packet.decode():
                out.mux(video.encode(frame))
        out.mux(video.encode(None))


def workers_memory(batch: psutil.Process) -> int:
    """Bytes of the batch's workers together."""
    total = 0
    for process in batch.children():
        try:
            if "pipeline.batch_worker" in process.cmdline():
                total += process.memory_info().rss
        except psutil.Error:
            continue
    return total


def run_batch(
    folder: Path, model: str, threads: int, files: int
) -> tuple[float, list[tuple[int, int]], dict[str, Any]]:
    """Seconds, (files done, bytes of the worker) from time to time, and the report."""
    preset = folder / "preset.yaml"
    preset.write_text("codec: libx264\ncrf: 20\npreset: veryfast\n")
    command = [
        *(sys.executable, "-m", "pipeline", "batch", str(folder / "in"), str(folder / "out"), "--quiet"),
        *(
            "--model",
            model,
            "--threads",
            str(threads),
            "--preset",
            str(preset),
            "--report",
            str(folder / "report.json"),
        ),
    ]
    began = time.monotonic()
    job = psutil.Popen(command)
    seen = []
    while job.poll() is None:
        time.sleep(0.5)
        done = len(list((folder / "out").glob("*.mp4"))) if (folder / "out").exists() else 0
        if (held := workers_memory(job)) and done * 10 // files > len(seen) - 1:
            seen.append((done, held))
    seconds = time.monotonic() - began
    return seconds, seen, json.loads((folder / "report.json").read_text())


def _of_children() -> float:
    """Processor seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--frames", type=int, default=25)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=180)
    parser.add_argument("--model", default="identity")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        make(folder / "one.mp4", given.frames, given.width, given.height)
        for number in range(given.files):
            shutil.copy(folder / "one.mp4", folder / "in" / f"{number:05d}.mp4")
        began, began_processor, some = time.monotonic(), time.process_time(), min(given.files, 50)
        for number in range(some):
            bare(folder / "in" / f"{number:05d}.mp4", folder / "bare.mp4")
        alone, alone_processor = (time.monotonic() - began) / some, (time.process_time() - began_processor) / some
        before = _of_children()
        seconds, seen, report = run_batch(folder, given.model, given.threads, given.files)
        each = seconds / given.files
        processor = (_of_children() - before) / given.files
        network = sum(file["stages"]["derain"]["busy"] for file in report["files"]) / given.files
        size = f"{given.frames} frames, {given.width}x{given.height}"
        print(f"{given.model}, {given.files} files of {size}: {report['totals']}")
        print(f"  {each:.3f} s a file, start of the batch included; bare decode + encode {alone:.3f} s")
        print(f"  the network {network:.3f} s; beyond all that {each - alone - network:.3f} s a file")
        middle = statistics.median(file["seconds"] for file in report["files"])
        print(f"  the middle one of the files {middle:.3f} s")
        print(f"  of the processor {processor:.3f} s a file, bare {alone_processor:.3f} s")
        print("  memory of the worker: " + ", ".join(f"{held / 1e6:.0f} MB at {done}" for done, held in seen))


if __name__ == "__main__":
    main()
