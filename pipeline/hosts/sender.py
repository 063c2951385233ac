"""The decode stage's end: sends the frames of one stream to a derain stage, and again those that did not arrive."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from pipeline.endpoint import SLICE_MS, Stopped, check_turn
from pipeline.errors import DerainError
from pipeline.frame import Frame, StreamInfo
from pipeline.hosts.client import HostClient
from pipeline.wire import PROTOCOL, End, EndAck, FrameMsg, Join, Message, Probe, Resume, Written, pack

LIVE_IN_FLIGHT = 3
"""Frames of a live source on their way at most: one in the network, one behind it and one before it. More would only
grow old."""


class Rewind(Exception):
    """The source must be decoded again from its beginning: what is wanted now is no longer kept.

    `StreamSender.frames` says from which frame on to send.
    """


class StreamSender(HostClient):
    """`join`, then `send` for each frame from number `frames` on, then `finish`. Each of them may raise `Rewind`.

    With `live` nothing is kept and nothing sent twice: `frames` is then only a running number, and a frame that was on
    its way when the connection broke is counted in `lost`.
    """

    role, other = "decode", "encode"
    live = False
    lost = 0

    def __init__(self, *args: Any, live: bool = False, **settings: Any) -> None:
        """As `HostClient`."""
        super().__init__(*args, **settings)
        self.live = live
        self.frames = 0
        """Number of the next frame to send."""
        self._info: StreamInfo | None = None
        self._kept: deque[tuple[Frame, int]] = deque()
        self._kept_bytes = 0
        self._epoch = self._written = self._window = self._window_bytes = 0
        self._end: End | None = None
        self._acknowledged: int | None = None

    def join(self, info: StreamInfo, stop: Callable[[], bool] = lambda: False) -> None:
        """Announce the stream; returns when the derain stage and the stream's encode stage are there. `Stopped` as soon
        as `stop` says so: there is nothing yet to bring to an end."""
        if info == self._info and self._joined:
            return  # decoded again after a `Rewind`
        self._info = info
        self._missing_since = time.monotonic()
        self._post(self._joining())
        while not self._joined:
            if stop():
                raise Stopped
            self._take(SLICE_MS / 1000)

    @property
    def info(self) -> StreamInfo:
        """What the frames must be like: what was announced, or with `live` what the stream began with."""
        assert self._info is not None
        return self._info

    def send(self, frame: Frame) -> None:
        """Send one frame, waiting for its turn first. Its pixels must not be written to afterwards.

        ValueError for pixels that are not what the header says or a frame that is not the next.
        """
        size = self._check(frame)
        while self._take(0):
            pass
        while not self._has_room(size):
            self._take(None)
        self._put(frame, size)

    def try_send(self, frame: Frame) -> bool:
        """Send one frame if it can go now; False, and nothing sent, if it can't. Live sources give its number to the
        next. Raises as `send`."""
        while self._take(0):
            pass
        if frame.header.index != self.frames:
            return False  # numbers have moved since it was made
        size = self._check(frame)
        if not self._has_room(size):
            return False
        self._put(frame, size)
        return True

    def room(self, size: int, timeout: float) -> bool:
        """Whether a frame of so many bytes can go now, for which it waits `timeout` seconds. To be called again and
        again by who sends seldom: what comes meanwhile is taken in here."""
        while self._take(0):
            pass
        if not self._has_room(size):
            self._take(timeout)
        return self._has_room(size)

    def finish(self, damaged: int = 0) -> None:
        """End the stream and wait until the encode stage has closed its file."""
        if self._acknowledged is None:
            self._end = End(self.frames, damaged, self._epoch)
            if self._joined:
                self._post(self._end)
        while self._acknowledged is None:
            self._take(None)
        if self._acknowledged != self.frames:
            raise self._confused(f"an acknowledgement of {self._acknowledged} instead of {self.frames} frames")

    def _joining(self) -> Join:
        return Join(protocol=PROTOCOL, stream=self.stream, role="decode", info=self._info)

    def _check(self, frame: Frame) -> int:
        expected = check_turn(frame, self.frames)
        if expected > self._door.largest:
            raise DerainError(f"a frame of {expected} bytes is above the limit of {self._door.largest} (--largest)")
        return expected

    def _has_room(self, size: int) -> bool:
        in_flight = self.frames - self._written
        fits = self._kept_bytes + size <= self._window_bytes or not self._kept
        return self._joined and (in_flight < self._window) and fits

    def _put(self, frame: Frame, size: int) -> None:
        self._kept.append((frame, size))
        self._kept_bytes += size
        self.frames += 1
        self._transmit(frame)

    def _transmit(self, frame: Frame) -> None:
        head = pack(FrameMsg(frame.header, self._epoch))
        self._deliver([head, frame.pixels.data], copy=False, track=False)

    def _take(self, timeout: float | None) -> bool:
        """Take in one message, if one comes in time."""
        got = self._receive(timeout)
        if got is None:
            return False
        self._heard(got[0])
        return True

    def _heard(self, message: Message) -> None:
        match message:
            case Resume() as resume:
                self._is_joined(resume.protocol)
                self._resume(resume)
            case Written(next=number) if number <= self.frames:
                self._forget(number)
            case EndAck(frames):
                self._acknowledged = frames
            case Probe():
                pass
            case _:
                raise self._confused(f"an unexpected {type(message).__name__}")

    def _resume(self, resume: Resume) -> None:
        """Send again from where we are told; raise `Rewind` where that is not kept."""
        begun = self._epoch > 0
        self._epoch, self._window, self._window_bytes = resume.epoch, resume.frames, resume.bytes
        if self.live:
            self._info = resume.info or self._info
            self._window = min(self._window, LIVE_IN_FLIGHT)
            # an encode stage that begins anew begins with 0, whatever was written before
            self.lost += max(0, self.frames - max(resume.next, self._written)) if begun else 0
            self.frames, self._written = resume.next, resume.written
            self._kept.clear()
            self._kept_bytes = 0
            if self._end:
                self._end = End(self.frames, self._end.damaged, self._epoch)
                self._post(self._end)
            return
        oldest = self._kept[0][0].header.index if self._kept else self.frames
        if not oldest <= resume.next <= self.frames:
            if begun and resume.next > self.frames:
                raise self._confused(f"a call for frame {resume.next}, with {self.frames} sent")
            self.frames, self._written, self._end = resume.next, resume.written, None
            self._kept.clear()
            self._kept_bytes = 0
            if begun:
                raise Rewind
            return
        self._written = resume.written
        self._forget(min(resume.written, resume.next))
        for frame, _ in self._kept:
            if frame.header.index >= resume.next:
                self._transmit(frame)
        if self._end:
            self._end = End(self._end.frames, self._end.damaged, self._epoch)
            self._post(self._end)

    def _forget(self, before: int) -> None:
        """Frames before this one are written."""
        self._written = max(self._written, before)
        while self._kept and self._kept[0][0].header.index < before:
            self._kept_bytes -= self._kept.popleft()[1]
