"""The encode stage's end: takes the frames of one stream from a derain stage, each once and in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import zmq

from pipeline.endpoint import bytes_of
from pipeline.frame import Frame, StreamInfo
from pipeline.hosts.client import HostClient
from pipeline.link import BYTES_IN_FLIGHT, FRAMES_IN_FLIGHT
from pipeline.wire import PROTOCOL, End, EndAck, Farewell, FrameMsg, Hello, Join, Probe, Written

FAREWELL = 30.0
"""Seconds that a finished encode stage waits to hear that its acknowledgement has been passed on."""


class StreamReceiver(HostClient):
    """`join`, then iterate over `frames`, then `acknowledge` when the file is closed."""

    role, other = "encode", "decode"

    def __init__(self, *args: Any, **settings: Any) -> None:
        """As `HostClient`."""
        super().__init__(*args, **settings)
        self.count = 0
        """How many frames have come."""
        self.end: End | None = None
        """What the decode stage said at the end, once `frames` has run out."""
        self._info: StreamInfo | None = None
        self._closed = False

    def join(self) -> StreamInfo:
        """Wait for the derain stage and the stream's decode stage, and hear what is sent."""
        self._missing_since = time.monotonic()
        self._post(self._joining())
        while self._info is None:
            match self._receive(None):
                case None:
                    pass
                case (Hello() as hello, None):
                    self._greeted(hello)
                case (Probe(), None):
                    pass
                case message, _:
                    raise self._confused(f"a {type(message).__name__} instead of a hello")
        return self._info

    def frames(self, every: float | None = None, idle: Callable[[], None] = lambda: None) -> Iterator[Frame]:
        """The frames in order. Asking for the next says that the one before is written.

        Args:
            every: Seconds.
            idle: Called whenever none has come for so long.
        """
        while True:
            match self._receive(every):
                case None:
                    idle()
                case Probe(), None:
                    pass
                case Hello() as hello, None:
                    self._greeted(hello)
                case FrameMsg(header), zmq.Frame() as part:
                    if header.index != self.count:
                        raise self._confused(f"frame {header.index} where {self.count} was due")
                    pixels = np.frombuffer(part.buffer, np.uint8)  # keeps the part alive
                    if pixels.nbytes != bytes_of(header):
                        raise self._confused(f"{pixels.nbytes} bytes of pixels with {header}")
                    yield Frame(header, pixels)
                    self.count += 1
                    self._post(Written(self.count))
                case End() as end, None:
                    if end.frames != self.count:
                        raise self._confused(f"the end after {end.frames} frames, with {self.count} of them here")
                    self.end = end
                    return
                case message, _:
                    raise self._confused(f"an unexpected {type(message).__name__}")

    def acknowledge(self) -> bool:
        """Tell the decode stage that all its frames are where they belong, and wait until the derain stage has passed
        that on; False where it did not say so in time."""
        if self.end is None:
            raise RuntimeError("acknowledge() before the end of the stream")
        self._closed = True
        self._patience = 0.0  # our work is done whether or not anybody is there to hear it
        self._post(EndAck(self.count))
        deadline = time.monotonic() + FAREWELL
        while (left := deadline - time.monotonic()) > 0:
            match self._receive(left):
                case Farewell(), None:
                    return True
                case _:
                    pass
        return False

    def _joining(self) -> Join:
        return Join(
            protocol=PROTOCOL,
            stream=self.stream,
            role="encode",
            next=self.count,
            frames=FRAMES_IN_FLIGHT,
            bytes=BYTES_IN_FLIGHT,
            done=self._closed,
        )

    def _greeted(self, hello: Hello) -> None:
        self._is_joined(hello.protocol)
        if self._info is not None and hello.info != self._info:
            raise self._confused("another video than before")
        self._info = hello.info
