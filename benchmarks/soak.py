"""A live stream for minutes on end: does anything grow? `make soak MINUTES=30`.

A camera of our own (25 fps, 320×240, with sound) is derained into a rolling recording and HLS, cut off now and then.
Every few seconds the memory (RSS), open files and threads of all processes and the age of frames are noted. At the end
the slope of each over the second half is printed, and whether it is more than noise; exit code 1 if something grows.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.live_camera import Camera
from tests.live_run import LiveRun, accounted

EVERY = 5.0  # seconds between two looks
OUTAGE_EVERY = 60.0  # seconds
LIMITS = {"rss_mb": 2.0, "files": 0.5, "threads": 0.5, "age_ms": 5.0}
"""How much each may rise a minute: RSS over all processes, files and threads likewise, the age's median."""


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--minutes", type=float, default=30.0)
    arguments.add_argument("--model", default="stream-nano")
    arguments.add_argument("--runtime", default="auto")
    arguments.add_argument("--width", type=int, default=320)
    arguments.add_argument("--height", type=int, default=240)
    asked = arguments.parse_args()
    rows: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="soak-") as name, Camera(asked.width, asked.height, sound=True) as camera:
        folder = Path(name)
        to = [str(folder / "part-%Y%m%d-%H%M%S.mkv"), str(folder / "hls" / "cam.m3u8")]
        order = {"model": asked.model, "runtime": asked.runtime, "segment_time": 20.0, "keep_segments": 3}
        with LiveRun(folder, camera.url, to, **order) as run:
            run.running()
            began = time.monotonic()
            outage = began + OUTAGE_EVERY / 2
            while time.monotonic() - began < asked.minutes * 60:
                until = time.monotonic() + EVERY
                while (left := until - time.monotonic()) > 0:
                    run.hear(left)
                rows.append({"minute": (time.monotonic() - began) / 60, **look(run)})
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
                if time.monotonic() > outage:
                    camera.cut()
                    outage += OUTAGE_EVERY
            status = run.stop()
    return judge(rows, status.reconnects, accounted(status))


def look(run: LiveRun) -> dict[str, float]:
    """The processes of the stream, added up, and the median age of the latest frames."""
    pids = [run.process.pid, *children(run.process.pid)]
    held = {"rss_mb": 0.0, "files": 0.0, "threads": 0.0}
    for pid in pids:
        try:
            facts = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            held["rss_mb"] += int(facts["VmRSS"].split()[0]) / 1024
            held["threads"] += int(facts["Threads"])
            held["files"] += len(list(Path(f"/proc/{pid}/fd").iterdir()))
        except (OSError, KeyError):
            continue  # it has just ended
    ages = run.status.recent_ages_ms
    return held | {"age_ms": float(np.median(ages)) if ages else 0.0, "fps_out": run.status.fps_out}


def children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def judge(rows: list[dict[str, float]], reconnects: int, exact: bool) -> int:
    """One line of JSON; 1 where something grows by more than it may, and by more than three of its standard errors."""
    half = rows[len(rows) // 2 :]
    if len(half) < 6:
        print("soak: too short to tell a slope; give it more minutes", file=sys.stderr)
        return 1
    minutes = np.array([row["minute"] for row in half])
    growing, slopes = [], {}
    for name, limit in LIMITS.items():
        values = np.array([row[name] for row in half])
        slope, offset = np.polyfit(minutes, values, 1)
        rest = values - (slope * minutes + offset)
        error = float(np.sqrt((rest**2).sum() / (len(half) - 2) / ((minutes - minutes.mean()) ** 2).sum()))
        slopes[name] = {"a_minute": round(float(slope), 4), "error": round(error, 4), "mean": round(values.mean(), 2)}
        if slope > limit and slope > 3 * error:
            growing.append(name)
    result = {"minutes": round(rows[-1]["minute"], 1), "reconnects": reconnects, "frames_accounted": exact}
    print(json.dumps(result | {"slopes": slopes, "growing": growing}))
    return 1 if growing or not exact else 0


if __name__ == "__main__":
    sys.exit(main())
