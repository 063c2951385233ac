"""Links between the stages of a live stream: what a stage sees of its neighbours, whoever takes their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from pipeline.errors import DerainError
from pipeline.frame import Frame, StreamInfo
from pipeline.live.lasting import LastingReceiver, LastingSender
from pipeline.wire import StageFailed

END_TIMEOUT = 8.0
"""Seconds that the stages behind may take to finish when the stream ends."""


class Downstream:
    """The way to the next stage.

    Args:
        url: To bind.
        stage: Name of this stage.
        peer: Of the next.
        stop: Whether to give up waiting.
    """

    def __init__(self, url: str, stage: str, peer: str, stop: Callable[[], bool]) -> None:
        self._url, self._stage, self._peer, self._stop = url, stage, peer, stop
        self._sender: LastingSender | None = None
        self._info: StreamInfo | None = None
        self.sent = 0
        """Frames, over all links."""
        self.broken = 0
        """How often the next stage went away."""

    def room(self, info: StreamInfo, timeout: float) -> bool:
        """Whether a frame would be taken. Connects first, and again where the stream's colours have changed."""
        try:
            return self._link(info).room(timeout)
        except StageFailed:
            self._drop()
            return False

    def connect(self, info: StreamInfo) -> None:
        """Wait until the next stage is there."""
        while True:
            try:
                self._link(info)
                return
            except StageFailed:
                self._drop()

    def send(self, info: StreamInfo, frame: Frame) -> None:
        """Send a frame, waiting for room; over a new link where the one there breaks."""
        while True:
            try:
                link = self._link(info)
                link.send(Frame(msgspec.structs.replace(frame.header, index=link.frames), frame.pixels))
                self.sent += 1
                return
            except StageFailed:
                self._drop()

    def finish(self) -> bool:
        """End the stream; whether all behind have said that they are done."""
        if self._sender is None or self._info is None:
            return False
        try:
            self._sender.finish(timeout=END_TIMEOUT)
            return True
        except DerainError:  # gone, or silent for too long
            return False
        finally:
            self.close()

    def close(self) -> None:
        if self._sender is not None:
            self._sender.close()
            self._sender = None

    def _link(self, info: StreamInfo) -> LastingSender:
        if self._sender is None:
            self._sender = LastingSender(self._url, bind=True, stage=self._stage, peer=self._peer, stop=self._stop)
        if self._info is None or not same_colours(info, self._info):
            self._sender.hello(info)
            self._info = info
        return self._sender

    def _drop(self) -> None:
        self.broken += 1
        self._info = None


class Upstream:
    """The way from the stage before.

    Args:
        url: To connect to.
        stage: Name of this stage.
        peer: Of the one before.
        in_flight: Frames that may be on their way.
        stop: Whether to give up waiting.
    """

    def __init__(self, url: str, stage: str, peer: str, in_flight: int, stop: Callable[[], bool]) -> None:
        self._in_flight = in_flight
        self._receiver = LastingReceiver(url, bind=False, stage=stage, peer=peer, stop=stop)

    def frames(self, prepare: Callable[[StreamInfo], None]) -> Iterator[tuple[StreamInfo, Frame]]:
        """Frames with their stream, from as many senders as it takes, until one ends as it should.

        `prepare` is called with the stream before its first frame may come: what takes long is done there, so that
        no frame grows old in the meantime.
        """
        while True:
            info = self._receiver.accept()
            try:
                prepare(info)
                for frame in self._receiver.frames(self._in_flight):
                    yield info, frame
                return
            except StageFailed:  # another follows
                continue

    def acknowledge(self) -> None:
        """After `frames` has run out: all of them are where they belong."""
        self._receiver.acknowledge()
        self._receiver.close()


def same_colours(one: StreamInfo, other: StreamInfo) -> bool:
    """Whether frames of both can go over one link: what a frame's own header does not say is the same."""
    return all(
        getattr(one, name) == getattr(other, name)
        for name in ("color_range", "color_primaries", "color_trc", "colorspace", "sample_aspect_ratio", "sound")
    )
