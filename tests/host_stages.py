"""Stages on several hosts, in threads: what the tests of `pipeline.hosts` share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from pipeline.batcher import Batcher
from pipeline.frame import Frame, FrameHeader, StreamInfo, frame_bytes
from pipeline.hosts.doors import ClientDoor, ServerDoor
from pipeline.hosts.receiver import StreamReceiver
from pipeline.hosts.sender import Rewind, StreamSender
from pipeline.hosts.server import DerainServer
from pipeline.job import Job
from tests.running import Running

INFO = StreamInfo(width=64, height=48, pixel_format="yuv420p", time_base=(1, 25))
WAIT = 30.0


def frame(index: int) -> Frame:
    header = FrameHeader(index=index, pts=index * 2, duration=2, width=64, height=48, pixel_format="yuv420p")
    pixels = np.random.default_rng(index).integers(0, 256, frame_bytes("yuv420p", 64, 48), np.uint8)
    return Frame(header, pixels)


class Server:
    """A derain stage in a thread, that can be taken away and put back at the same address."""

    def __init__(self, door: ServerDoor, model: str = "identity", **settings: object) -> None:
        self.said: list[str] = []
        self._server = DerainServer(
            door,
            Batcher(Job(source="", destination="", model=model, runtime="auto" if model == "identity" else "eager")),
            say=self.said.append,
            **settings,
        )
        self.url = self._server.url
        self.served = self._server.served
        self._asked = threading.Event()
        self._running = Running(lambda: self._server.run(self._asked.is_set))

    def stop(self) -> None:
        self._asked.set()
        self._running.outcome()
        self._server.close()


def decode(door: ClientDoor, stream: str, count: int, **settings: object) -> StreamSender:
    """A decode stage whose source has `count` frames and can be read again."""
    with StreamSender(door, stream, patience=WAIT, **settings) as link:  # type: ignore[arg-type]
        while True:
            try:
                link.join(INFO)
                for index in range(count):
                    if index >= link.frames:
                        link.send(frame(index))
                link.finish()
                return link
            except Rewind:
                continue


class Encode:
    """An encode stage that holds its file in memory; `leave_after` frames it is gone as if killed."""

    def __init__(self, door: ClientDoor, stream: str, leave_after: int | None = None, pause: float = 0.0) -> None:
        self.frames: list[Frame] = []
        self.done = False
        with StreamReceiver(door, stream, patience=WAIT) as link:
            link.join()
            for got in link.frames():
                self.frames.append(Frame(got.header, got.pixels.copy()))
                if len(self.frames) == leave_after:
                    return
                time.sleep(pause)
            self.done = link.acknowledge()
            self.reconnects = link.reconnects


def check(frames: list[Frame], count: int) -> None:
    assert [f.header.index for f in frames] == list(range(count))
    for got in frames:
        assert np.array_equal(got.pixels, frame(got.header.index).pixels)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)
