"""A camera on a real RTSP server into a recording and onto a real RTMP server: how old frames get, what is lost.

    python benchmarks/live_servers.py --size 640x360 --rate 25 --seconds 60 --outage 20

Servers are GStreamer's and nginx's (`tests/live_servers.py` says which packages). The camera's film is encoded before
anything starts, as a camera would have done, so that its server only sends. Ages are from the moment a frame was read
until it is encoded. With `--outage` the RTSP server is killed for so many seconds, as often as `--rounds` says.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.live_run import LiveRun, accounted, pts_of
from tests.live_servers import RtmpServer, RtspServer, why_no_rtmp_server, why_no_rtsp_server

WARM_UP = 10.0
START = 60.0
"""Seconds that everything may take to begin, the warm-up included."""


def watch(run: LiveRun, seconds: float) -> dict[str, float | int | bool | str]:
    """Ages and losses over a stretch of time."""
    before, ages, busy = run.status, list[float](), list[float]()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        seen = len(run.statuses)
        run.hear()
        for earlier, status in itertools.pairwise(run.statuses[seen - 1 :]):
            new = status.frames_written - earlier.frames_written
            ages += status.recent_ages_ms[-new:] if new else []
            if status.fps_out:
                busy.append(1000 * status.busy.get("derain", 0.0) / status.fps_out)
    read = run.status.frames_read - before.frames_read
    interval = 1000 * seconds / read
    derain, p99 = float(np.median(busy)), float(np.percentile(ages, 99))
    return {
        "runtime": run.status.runtime,
        "frames_read": read,
        "frames_written": run.status.frames_written - before.frames_written,
        "dropped_overload": run.status.dropped.get("overload", 0) - before.dropped.get("overload", 0),
        "interval_ms": round(interval, 1),
        "derain_ms": round(derain, 1),
        "age_p50_ms": round(float(np.median(ages)), 1),
        "age_p99_ms": round(p99, 1),
        "age_max_ms": round(max(ages), 1),
        "within_two_intervals_and_derain": p99 <= 2 * interval + derain,
    }


def outage(run: LiveRun, server: RtspServer, seconds: float) -> dict[str, float]:
    """Kill the server; seconds from its return (it listens) until frames are written again."""
    server.kill()
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        run.hear(0.1)
    server.start()
    began, reconnects = time.monotonic(), run.status.reconnects
    run.wait(lambda status: status.state == "running" and status.reconnects > reconnects)
    run.more(1)
    return {"back_s": round(time.monotonic() - began, 2)}


def film_of(folder: Path, size: str, rate: int, seconds: float) -> Path:
    """A moving test picture with some noise, H.264, a keyframe each second, as cameras send it; its length is not told,
    or it would be taken for a recording."""
    film = folder / "camera.mkv"
    picture = f"testsrc2=size={size}:rate={rate}:duration={seconds},noise=alls=6:allf=t"
    coder = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", str(rate), "-pix_fmt", "yuv420p"]
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", picture, *coder, "-live", "1", str(film)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return film


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--rate", type=int, default=25)
    parser.add_argument("--model", default="stream-nano")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--threads", type=int, default=0, help="of the network; 0: one a core")
    parser.add_argument("--on-overload", default="skip")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--outage", type=float, default=0.0)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    if why := why_no_rtsp_server() or why_no_rtmp_server():
        sys.exit(why)
    with tempfile.TemporaryDirectory(prefix="servers-") as name:
        folder, film = Path(name), Path(name) / "film.mkv"
        shown = film_of(folder, asked.size, asked.rate, asked.seconds + START + 30 * bool(asked.outage))
        with RtspServer(folder, asked.size, asked.rate, shown) as camera, RtmpServer(folder) as rtmp:
            to = [str(film), rtmp.url("cam")]
            network = {"model": asked.model, "runtime": asked.runtime, "threads": asked.threads}
            with LiveRun(folder, camera.url("film"), to, **network, on_overload=asked.on_overload) as run:
                run.running()
                until = time.monotonic() + WARM_UP
                while time.monotonic() < until:
                    run.hear()
                print(json.dumps(watch(run, asked.seconds)), flush=True)
                for _ in range(asked.rounds if asked.outage else 0):
                    print(json.dumps(outage(run, camera, asked.outage)), flush=True)
                    run.more(3)
                status = run.stop()
        times = pts_of(film)
        print(
            json.dumps(
                {
                    "frames_accounted": accounted(status),
                    "pts_rise": all(later > earlier for earlier, later in itertools.pairwise(times)),
                    "resets": status.resets,
                    "reconnects": status.reconnects,
                    "dropped": status.dropped,
                    "sink_dropped": list(status.sink_dropped.values()),
                    "largest_step_s": round(max(np.diff(times)), 3),
                }
            )
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
