"""The downstream end of a link (`pipeline.link`)."""

from __future__ import annotations

from collections.abc import Iterator

import zmq

from pipeline.endpoint import Endpoint, bytes_of
from pipeline.errors import DerainError
from pipeline.frame import Frame, FrameHeader, StreamInfo
from pipeline.wire import PROTOCOL, Credit, End, EndAck, FrameMsg, Hello, Welcome

FRAMES_IN_FLIGHT = 8
CREDIT_EVERY = 4
BYTES_IN_FLIGHT = 64 << 20
"""Five 4K frames of 4:2:0. A single larger frame may still travel, alone."""


class Receiver(Endpoint):
    """The downstream end: `accept`, then iterate over `frames`, then `acknowledge` when all is done with."""

    end: End | None = None
    """What the sender said at the end, once `frames` has run out."""
    count = 0
    """How many frames have come."""

    def accept(self, timeout: float | None = None) -> StreamInfo:
        """Wait for a sender and hear what it sends. DerainError after `timeout` seconds."""
        match self._receive(timeout):
            case None:
                raise DerainError(f"the {self.stage} stage heard nothing of the {self.peer} stage for {timeout:g} s")
            case Hello(protocol, info), None:
                self._same_protocol(protocol)
                return info
            case message, _:
                raise self._confused(f"a {type(message).__name__} instead of a hello")

    def frames(self, in_flight: int = FRAMES_IN_FLIGHT, bytes_in_flight: int = BYTES_IN_FLIGHT) -> Iterator[Frame]:
        """The frames in order, each until the next is asked for: only then may its credit be given back.

        It goes back for `CREDIT_EVERY` frames together, or sooner where half of the bytes are used up, as each message
        wakes both ends: a sender that waits for it has sent more than can be held back here.
        """
        self._post(Welcome(PROTOCOL, in_flight, bytes_in_flight))
        done = size = 0
        while True:
            match self._receive(None):
                case FrameMsg(header), zmq.Frame() as part:
                    frame = self._taken(header, part)
                    yield frame
                    done, size = done + 1, size + frame.pixels.nbytes
                    if done >= min(CREDIT_EVERY, in_flight) or 2 * size >= bytes_in_flight:
                        self._post(Credit(done, size))
                        done = size = 0
                case End() as end, None:
                    self._ended(end)
                    return
                case message, _:
                    raise self._confused(f"an unexpected {type(message).__name__}")

    def _taken(self, header: FrameHeader, part: zmq.Frame) -> Frame:
        """The frame that has come, if it is the one that was due."""
        import numpy as np

        if header.index != self.count:
            raise self._confused(f"frame {header.index} where {self.count} was due")
        pixels = np.frombuffer(part.buffer, np.uint8)  # keeps the part alive
        if pixels.nbytes != bytes_of(header):
            raise self._confused(f"{pixels.nbytes} bytes of pixels with {header}")
        self.count += 1
        return Frame(header, pixels)

    def _ended(self, end: End) -> None:
        if end.frames != self.count:
            raise self._confused(f"the end after {end.frames} frames, with {self.count} of them here")
        self.end = end

    def acknowledge(self) -> None:
        """Tell the sender that all its frames are where they belong. Only after `frames` has run out."""
        if self.end is None:
            raise RuntimeError("acknowledge() before the end of the stream")
        self._post(EndAck(self.count))
