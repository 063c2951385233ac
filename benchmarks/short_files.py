"""Many short files in one batch: what a file costs beyond its decoding and encoding, and whether memory stays flat.

    python benchmarks/short_files.py --files 2000 --frames 8 --width 160 --height 96 --model stream-nano

Makes the files (H.264, sound, `--frames` frames), runs `derain batch` on all of them with one worker, and before and
after it decodes, derains and encodes some of the same files with bare PyAV and the bare network, one after the other in
one process, with the same encoder settings. Memory and open files are those of the front and its workers together.
The processor's seconds tell more than those of the clock on a machine that does other things too.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import psutil

if TYPE_CHECKING:
    from esdnet import Derainer

_BARE = 25
"""Files that are done barely before the batch, and again after it."""


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


def bare(source: Path, destination: Path, network: Derainer | None) -> None:
    """Decode, derain and encode without the pipeline: sound is copied."""
    if network:
        network.reset()
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
                out.mux(video.encode(derained(frame, network) if network else frame))
        out.mux(video.encode(None))


def derained(frame: av.VideoFrame, network: Derainer) -> av.VideoFrame:
    pixels, height = frame.to_ndarray(), frame.height
    chroma = pixels[height:].reshape(2, height // 2, frame.width // 2)
    dry = network((pixels[:height], chroma[0], chroma[1]), False)
    rows = [plane.reshape(-1, frame.width) for plane in dry]
    made = av.VideoFrame.from_ndarray(np.concatenate(rows), "yuv420p")
    made.pts, made.time_base = frame.pts, frame.time_base
    return made


@dataclass
class Seen:
    """The processes of the batch at one moment."""

    moment: float
    done: int
    held: int
    """Bytes of all of them."""
    files: int
    """Open files of all of them."""
    processes: int


def seen_now(batch: psutil.Process, done: int) -> Seen:
    held = files = processes = 0
    for process in [batch, *batch.children(recursive=True)]:
        try:
            held, files = held + process.memory_info().rss, files + process.num_fds()
            processes += 1
        except psutil.Error:
            continue
    return Seen(time.monotonic(), done, held, files, processes)


def run_batch(folder: Path, model: str, threads: int) -> tuple[float, list[Seen], dict[str, Any]]:
    """Seconds, what was seen every half second, and the report."""
    preset = folder / "preset.yaml"
    preset.write_text("codec: libx264\ncrf: 20\npreset: veryfast\n")
    command = [
        *(sys.executable, "-m", "pipeline", "batch", str(folder / "in"), str(folder / "out"), "--quiet"),
        *("--model", model, "--threads", str(threads), "--preset", str(preset)),
        *("--report", str(folder / "report.json")),
    ]
    began = time.monotonic()
    job = psutil.Popen(command)
    seen = []
    while job.poll() is None:
        time.sleep(0.5)
        seen.append(seen_now(job, len(list((folder / "out").glob("*.mp4"))) if (folder / "out").exists() else 0))
    return time.monotonic() - began, seen, json.loads((folder / "report.json").read_text())


def _of_children() -> float:
    """Processor seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds of the clock and of the processor."""
    began, began_processor = time.monotonic(), time.process_time()
    work()
    return time.monotonic() - began, time.process_time() - began_processor


def tell(seen: list[Seen], files: int) -> None:
    """Memory, open files and pace of the warm batch: from a tenth of the files on, all before being start-up."""
    warm = [one for one in seen if files // 10 <= one.done < files and one.processes > 1]
    if len(warm) < 3:
        print("  too few files to tell how memory goes")
        return
    pace = (warm[-1].moment - warm[0].moment) / (warm[-1].done - warm[0].done)
    slope = np.polyfit([one.done for one in warm], [one.held for one in warm], 1)[0]
    print(f"  once warm {pace:.3f} s a file")
    print(f"  {max(one.processes for one in warm)} processes, {min(one.held for one in warm) / 1e6:.1f} to ", end="")
    print(f"{max(one.held for one in warm) / 1e6:.1f} MB, slope {slope / 1e3:+.3f} kB a file (least squares)")
    print(f"  open files {min(one.files for one in warm)} to {max(one.files for one in warm)}")
    steps = warm[:: max(1, len(warm) // 8)]
    print("  " + ", ".join(f"{one.held / 1e6:.1f} MB at {one.done}" for one in steps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--frames", type=int, default=25)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=180)
    parser.add_argument("--model", default="identity")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    network = None
    if given.model != "identity":
        from esdnet import Derainer

        network = Derainer(given.model, runtime="auto", threads=given.threads)
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        make(folder / "one.mp4", given.frames, given.width, given.height)
        for number in range(given.files):
            shutil.copy(folder / "one.mp4", folder / "in" / f"{number:05d}.mp4")

        def some() -> None:
            for number in range(_BARE):
                bare(folder / "in" / f"{number % given.files:05d}.mp4", folder / "bare.mp4", network)

        some()  # compiles the network
        first = _timed(some)
        before = _of_children()
        seconds, seen, report = run_batch(folder, given.model, given.threads)
        done = report["totals"]["done"]
        processor = (_of_children() - before) / done
        second = _timed(some)
        alone, alone_processor = ((a + b) / (2 * _BARE) for a, b in zip(first, second, strict=True))
        each = seconds / done
        size = f"{given.frames} frames, {given.width}x{given.height}"
        print(f"{given.model}, {given.files} files of {size}: {report['totals']}")
        print(f"  {each:.3f} s a file, start of the batch included; bare {alone:.3f} s; beyond {each - alone:.3f} s")
        print(f"  of the processor {processor:.3f} s a file, bare {alone_processor:.3f} s")
        tell(seen, given.files)


if __name__ == "__main__":
    main()
