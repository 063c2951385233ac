"""What goes out of a live stream: frames and sound of the source, and pictures of ours while it is away, encoded once
for all outputs, on one clock."""

from __future__ import annotations

import time
from collections import deque

import msgspec
import zmq

from pipeline.errors import DerainError
from pipeline.frame import Frame, StreamInfo, fraction
from pipeline.live import notice
from pipeline.live.clock import LEAST_STEP
from pipeline.live.encoder import LiveEncoder, even_size
from pipeline.live.fan import Fan
from pipeline.live.messages import TICKS, Sound, unpack
from pipeline.live.notes import Notes
from pipeline.live.sound import WAITING

FILL_AFTER = 1.0
"""Seconds without a frame after which the last one is shown again, so that receivers don't give up."""
NOTICE_AFTER = 2.0
"""Seconds after which that is told in the picture."""
FILL_RATE = 5
"""Such frames a second."""
_AT_ONCE = 8
"""Messages of sound taken in a row: some more than come in the time of a frame."""


class Screen:
    """The encoder of one stream, opened by its first frame, and what is shown when none come.

    Args:
        stage: Its order and addresses, and where it notes what was done.
    """

    def __init__(self, stage: Notes) -> None:
        import av  # noqa: F401  # loaded before the first frame comes, which would grow old

        self._stage, self._order = stage, stage.order
        self._fan = Fan(stage)
        self._encoder: LiveEncoder | None = None
        self._last: Frame | None = None
        self._last_info: StreamInfo | None = None
        self._last_at = 0.0
        self._filled_at = 0.0
        self._early: deque[tuple[int, bytes]] = deque(maxlen=2 * WAITING)
        self._shift = 0  # ticks by which source frames are moved so that they come after what filled a gap
        self._pts = -1
        self._sound: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PULL)
        self._sound.setsockopt(zmq.RCVHWM, WAITING)
        self._sound.setsockopt(zmq.LINGER, 0)
        self._sound.bind(stage.told.address("sound"))

    def has_outputs(self) -> bool:
        """Whether every output is there."""
        return self._fan.there()

    def show(self, info: StreamInfo, frame: Frame) -> None:
        """Encode a frame of the source."""
        began = time.monotonic()
        pts = frame.header.pts + self._shift
        earliest = self._pts + LEAST_STEP if self._pts >= 0 else 0
        if pts < earliest:
            self._shift += earliest - pts
            pts = earliest
        self._last, self._last_info, self._last_at = notice.at(frame, pts), info, began
        self._encode(self._last, info)
        now = time.monotonic()
        if frame.header.read_at:
            self._stage.ages.append(now - frame.header.read_at)
        self._stage.count("written")
        self._stage.busy(now - began)

    def hear(self) -> None:
        """Take in the sound that has come; not all at once where it has piled up, as pictures wait too."""
        for _ in range(_AT_ONCE):
            try:
                head, samples = self._sound.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            message = unpack(head)
            if not isinstance(message, Sound):
                raise DerainError("the encode stage got something else than sound from the decode stage")
            if self._encoder is None:
                self._early.append((message.pts, samples))
            else:
                self._fan.send(self._encoder.sound(message.pts + self._shift, samples))

    def fill(self) -> None:
        """Show the last frame again, or a slate, where the source has been away for a while."""
        now = time.monotonic()
        away = now - self._last_at
        if self._last is None or self._last_info is None or away < FILL_AFTER or self._order.on_loss == "stop":
            return
        if now - self._filled_at < 1 / FILL_RATE:
            return
        self._filled_at = now
        pts = max(self._pts + LEAST_STEP, self._last.header.pts + round(away * TICKS))
        shown = self._last
        if away >= NOTICE_AFTER:
            slate = self._order.on_loss == "slate"
            shown = notice.slate(shown, away) if slate else notice.frozen(shown, away, noticed=True)
        self._encode(notice.at(shown, pts), self._last_info)
        self._stage.count("filled")

    def close(self) -> None:
        """Flush, and have the outputs close."""
        if self._encoder is not None:
            self._fan.send(self._encoder.flush())
        self._fan.close()
        self._sound.close()

    def _encode(self, frame: Frame, info: StreamInfo) -> None:
        if self._encoder is None:
            told = self._stage.told.info
            began = told or even_size(info)
            self._encoder = LiveEncoder(began, self._order)
            self._stage.info = began
        interval = 1 / float(fraction(info.average_rate or (25, 1)))
        header = msgspec.structs.replace(frame.header, duration=round(interval * TICKS))
        self._fan.send(self._encoder.picture(Frame(header, frame.pixels), info))
        self._pts = frame.header.pts
        while self._early:  # behind the first picture, with which the outputs begin
            self._fan.send(self._encoder.sound(*self._early.popleft()))
        for text in self._encoder.warnings:
            self._stage.warn(text)
