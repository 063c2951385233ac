"""A stand-in for `python -m pipeline.live`, for tests of the service: speaks its contract (`pipeline.live_status`,
`pipeline.preview_feed`) and behaves as its source's address says, in a moment and without a network:

    fake://runs                       frames come
    fake://lost                       the source is away
    fake://dies?code=1&after=0.3      ends with a code, after seconds
    fake://usage                      says that the order can't be meant: code 2
    fake://deaf                       does not end on SIGTERM
    fake://slow?drain=2               frames come; takes seconds to end on SIGTERM
    fake://says?file=/tmp/x           frames come, but for what that file says: fields of a status, as JSON
    fake://mute                       never says a word
    fake://child?pid_file=/tmp/x      has a child process of its own, whose number it writes there
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import zmq

from pipeline.frame import Frame, FrameHeader, StreamInfo, frame_bytes
from pipeline.live_status import AGE_BUCKETS_MS, LiveStatus, ResetEntry, pack_status, read_order
from pipeline.preview_feed import PreviewFeed

WIDTH, HEIGHT = 320, 180
BEFORE, AFTER = 60, 200
"""Luma of the pictures before and after; a bright bar moves through both."""
COMMAND = (sys.executable, "-m", "tests.fake_live")


def _frame(luma: int, number: int) -> Frame:
    pixels = np.full(frame_bytes("yuv420p", WIDTH, HEIGHT), 128, np.uint8)
    picture = pixels[: WIDTH * HEIGHT].reshape(HEIGHT, WIDTH)
    picture[:] = luma
    picture[:, (8 * number) % WIDTH :][:, :8] = 235
    header = FrameHeader(index=number, pts=number, width=WIDTH, height=HEIGHT, pixel_format="yuv420p")
    return Frame(header, pixels)


def main() -> int:
    parent = os.getppid()
    order = read_order(sys.stdin.buffer.read())
    address = urlsplit(order.source)
    kind, wishes = address.netloc, {key: values[0] for key, values in parse_qs(address.query).items()}
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda got, _: None if kind == "deaf" else stop.append(got))
    out = zmq.Context.instance().socket(zmq.PUSH)
    out.connect(order.status)
    status = LiveStatus(id=order.id, state="starting", pid=os.getpid(), runtime="fake", width=WIDTH, height=HEIGHT)
    if kind == "usage":
        status.state, status.error = "failed", f"--model {order.model}: choose one of stream, stream-nano"
        out.send(pack_status(status))
        zmq.Context.instance().destroy(linger=500)
        return 2
    if kind == "child":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(wishes["pid_file"]).write_text(str(child.pid))
    feed = PreviewFeed(order.preview, order.preview_width, order.preview_fps) if order.preview else None
    info = StreamInfo(width=WIDTH, height=HEIGHT, pixel_format="yuv420p", time_base=(1, 25), color_range=1)
    began = told = time.monotonic()
    number = 0
    while not stop and os.getppid() == parent:
        time.sleep(0.04)
        number += 1
        now = time.monotonic()
        if feed and (kinds := feed.wanted()):
            feed.show(_frame(BEFORE, number), _frame(AFTER, number), info, kinds, True)
        if kind == "dies" and now - began > float(wishes.get("after", 0.3)):
            print("something broke at rtsp://admin:hunter2@10.0.0.7/live", file=sys.stderr, flush=True)
            os._exit(int(wishes.get("code", 1)))
        if kind != "mute" and (now - told > 0.3 or number == 1):
            told = now
            _fill(status, number, lost=kind == "lost")
            if kind == "says":
                for name, value in json.loads(Path(wishes["file"]).read_text()).items():
                    setattr(status, name, value)
            out.send(pack_status(status))
    time.sleep(float(wishes.get("drain", 0)))
    status.state = "stopped"
    out.send(pack_status(status))
    zmq.Context.instance().destroy(linger=500)
    return 0


def _fill(status: LiveStatus, number: int, *, lost: bool) -> None:
    """What a stream would say after so many frames: every tenth was dropped, the ages are 30 and 90 ms."""
    status.state = "lost" if lost else "running"
    status.away = "rtsp://***@10.0.0.7/live: connection refused" if lost else ""
    status.error = status.away or None
    status.frames_read, status.frames_written = number, number - number // 10
    status.fps_in, status.fps_out = 25.0, 22.5
    status.dropped = {"overload": number // 10}
    status.age_ms_p50, status.age_ms_p99 = 30.0, 90.0
    status.age_buckets = [0 if bound < 40 else number for bound in AGE_BUCKETS_MS]
    status.age_sum_ms = 30.0 * number
    status.resets = {"start": 1}
    status.reset_log = [ResetEntry(1000.0, "start")]
    status.firing_rate, status.queue_bytes = 0.12, 86_400
    status.busy = {"decode": 0.1, "derain": 0.6, "encode": 0.2}
    status.at = time.time()


if __name__ == "__main__":
    sys.exit(main())
