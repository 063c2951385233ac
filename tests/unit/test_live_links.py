"""Links of a live stream: whoever dies is replaced, and the other end goes on over the same socket."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zmq

from pipeline.frame import Frame, FrameHeader, StreamInfo, frame_bytes
from pipeline.live.links import Downstream, Upstream
from pipeline.wire import End, FrameMsg, Hello, pack

INFO = StreamInfo(width=16, height=16, pixel_format="yuv420p", time_base=(1, 90000))
pytestmark = pytest.mark.timeout(60)


def frame(value: int, index: int = 0) -> Frame:
    header = FrameHeader(index=index, pts=value, width=16, height=16, pixel_format="yuv420p")
    return Frame(header, np.full(frame_bytes("yuv420p", 16, 16), value, np.uint8))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/link"


class Taking(threading.Thread):
    """The stage behind, taking frames until the end or until it is told to leave."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.got: list[int] = []
        self.streams = 0
        self.ended = False
        self._leave = threading.Event()
        self._link = Upstream(url, "encode", "derain", 1, self._leave.is_set)
        self.start()

    def run(self) -> None:
        def prepare(_: StreamInfo) -> None:
            self.streams += 1

        try:
            for _, taken in self._link.frames(prepare):
                self.got.append(taken.header.pts)
            self._link.acknowledge()
            self.ended = True
        except Exception:
            self._link._receiver.close()

    def leave(self) -> None:
        self._leave.set()
        self.join()


def until(true: object, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    assert callable(true)
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


@pytest.fixture
def behind(url: str) -> Iterator[Taking]:
    taking = Taking(url)
    yield taking
    taking.leave()


def test_a_sender_that_takes_anothers_place_at_once(url: str, behind: Taking) -> None:
    """Forked stages are there before the death of the one before is noticed: the stage behind took the second hello
    for a fault and ended the whole stream."""
    for turn in range(5):
        sender = Downstream(url, "derain", "encode", lambda: False)
        sender.send(INFO, frame(turn))
        sender.send(INFO, frame(turn))
        sender.close()
    until(lambda: set(behind.got) >= {4})


def test_both_ends_settle(url: str) -> None:
    """Each end closed its socket when it noticed that the other had, which the other noticed, and so on: a stage that
    was replaced within a fifth of a second left the stream stuttering for good, half of its frames lost."""
    sender = Downstream(url, "derain", "encode", lambda: False)
    first = Taking(url)
    sender.send(INFO, frame(1))
    until(lambda: 1 in first.got)
    first.leave()
    second = Taking(url)
    sent = 1
    deadline = time.monotonic() + 3.0
    while time.monotonic() < deadline:
        sent += 1
        sender.send(INFO, frame(sent % 200))
        time.sleep(0.02)
    assert sender.broken <= 2
    assert second.streams <= 2
    assert sender.finish()
    second.join()
    assert second.ended
    assert sent - len(second.got) < 10


def test_frames_of_a_dead_sender_that_come_after_the_hello_of_the_next(url: str) -> None:
    """libzmq takes turns between what a dead peer has left and what a new one sends: a frame of the first came where
    frame 0 of the second was due, and that ended the stream."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.bind(url)
        taking = Taking(url)
        old, new = frame(7, index=7), frame(9)
        messages = [
            [pack(Hello(1, INFO, epoch=1))],
            [pack(Hello(1, INFO, epoch=2))],
            [pack(FrameMsg(old.header, epoch=1)), old.pixels.tobytes()],
            [pack(End(8, 0, epoch=1))],
            [pack(FrameMsg(new.header, epoch=2)), new.pixels.tobytes()],
            [pack(End(1, 0, epoch=2))],
        ]
        for parts in messages:
            socket.send_multipart(parts)
        until(lambda: taking.ended)
        assert taking.got == [9]
