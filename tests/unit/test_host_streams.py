"""What a derain stage knows of one stream: numbers that must follow from each other, and bounds nobody may pass."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.frame import Frame, FrameHeader, frame_bytes
from pipeline.hosts.streams import BYTES_IN_FLIGHT, FRAMES_IN_FLIGHT, OutOfStep, Stream
from pipeline.wire import End


def frame(index: int, width: int = 4, height: int = 4) -> Frame:
    header = FrameHeader(index=index, pts=index, width=width, height=height, pixel_format="gray")
    return Frame(header, np.zeros(frame_bytes("gray", width, height), np.uint8))


def test_frames_come_go_and_are_written_in_step() -> None:
    stream = Stream("cam")
    for index in range(3):
        stream.come(frame(index), 0)
    for _ in range(2):
        stream.went(stream.queue.popleft())
    stream.wrote(1)
    assert (stream.arrived, stream.sent, stream.written, stream.unwritten_bytes) == (3, 2, 1, 16)
    stream.ends(End(3, 0))
    assert not stream.finished
    stream.went(stream.queue.popleft())
    assert stream.finished
    stream.rewind(1)
    assert (stream.arrived, stream.sent, stream.written, stream.unwritten_bytes, stream.end) == (1, 1, 1, 0, None)


def test_what_does_not_follow_is_an_error_and_what_is_old_is_nothing() -> None:
    stream = Stream("cam", epoch=2)
    stream.come(frame(5), 1)
    stream.ends(End(9, 0, 1))
    assert (stream.arrived, stream.end) == (0, None), "of an earlier epoch"
    stream.come(frame(0), 2)
    for wrong, text in (
        (lambda: stream.come(frame(2), 2), "frame 2 where 1 was due"),
        (lambda: stream.come(Frame(frame(1).header, np.zeros(3, np.uint8)), 2), "3 bytes of pixels"),
        (lambda: stream.ends(End(4, 0, 2)), "the end after 4 frames, with 1 of them here"),
        (lambda: stream.wrote(1), "frames before 1 written, with 0 sent"),
    ):
        with pytest.raises(OutOfStep, match=text):
            wrong()


def test_nobody_may_have_more_on_the_way_than_agreed() -> None:
    stream = Stream("cam")
    for index in range(FRAMES_IN_FLIGHT):
        stream.come(frame(index), 0)
    with pytest.raises(OutOfStep, match=f"more than the {FRAMES_IN_FLIGHT} frames"):
        stream.come(frame(FRAMES_IN_FLIGHT), 0)
    large, side = Stream("large"), 8192
    for index in range(2 * BYTES_IN_FLIGHT // side**2):
        large.come(frame(index, side, side), 0)
    with pytest.raises(OutOfStep, match=r"more than the 128 MiB"):
        large.come(frame(large.arrived, side, side), 0)
    one = Stream("one")
    one.come(frame(0, 2 * side, 5 * side), 0)  # a single frame of any size may travel, alone
    assert one.arrived == 1
