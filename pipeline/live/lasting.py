"""The two ends of a link of a live stream, which outlast each other.

Both keep their sockets for good: libzmq connects again by itself, and who closed and opened would be taken for dead by
the other, who would then do the same, without end. A sender that has lost its receiver says hello again to whoever is
there. A receiver begins anew at each hello, and knows by its number (`Hello.epoch`) which frames belong to it: those of
a dead sender may still be queued, and come in between.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import zmq

from pipeline.endpoint import Endpoint, left
from pipeline.frame import Frame, StreamInfo
from pipeline.link import Receiver, Sender
from pipeline.receiver import BYTES_IN_FLIGHT, FRAMES_IN_FLIGHT
from pipeline.socket_events import next_event
from pipeline.wire import PROTOCOL, Credit, End, FrameMsg, Hello, Message, StageFailed, Welcome


class _Lasting(Endpoint):
    def _forget_loss(self) -> None:
        """What was noticed so far was of the peer before. Only a later loss counts."""
        while self._monitor.poll(0):
            next_event(self._monitor)
        self._lost_at = None


class LastingSender(Sender, _Lasting):
    """A sender that may say hello again, to a receiver that has taken another's place; and can be asked for room before
    there is a frame, so that the frame sent is the newest."""

    _greeted = False

    def hello(self, info: StreamInfo, timeout: float | None = None) -> None:
        """Announce the stream and wait until a receiver is ready for it. Raises as `Sender.hello`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._forget_loss()
        self._greeted = False
        self._wait_for_peer(deadline, timeout)
        self.frames, self.epoch = 0, random.getrandbits(31)
        self._post(Hello(PROTOCOL, info, self.epoch))
        while True:
            match self._receive(left(deadline)):
                case None:
                    raise self._no_answer(timeout)
                case Welcome(protocol, frames, size), None:
                    self._same_protocol(protocol)
                    self._frames_left, self._bytes_left, self._outstanding = frames, size, 0
                    self._greeted = True
                    return
                case _:
                    pass  # of a receiver that is no more

    def room(self, timeout: float) -> bool:
        """Whether the receiver would take a frame, for which it waits `timeout` seconds."""
        if self._has_credit(0):
            while self._take(0):
                pass
            return True
        return self._take(timeout) and self._has_credit(0)

    def _receive(self, timeout: float | None) -> tuple[Message, zmq.Frame | None] | None:
        """As the other's. A welcome to an earlier hello, of a receiver that got both, says nothing new."""
        heard = super()._receive(timeout)
        while self._greeted and heard is not None and isinstance(heard[0], Welcome):
            heard = super()._receive(timeout)
        return heard


class LastingReceiver(Receiver, _Lasting):
    """A receiver that hears one sender after the other: `accept`, and iterate over `frames`, which raises `StageFailed`
    where that sender is gone or another has taken its place; then `accept` again."""

    _hello: Hello | None = None

    def accept(self, timeout: float | None = None) -> StreamInfo:
        """Wait for a sender, as long as it takes, and hear what it sends."""
        hello, self._hello = self._hello, None
        while hello is None:
            try:
                heard = self._receive(None)
            except StageFailed:  # the one before
                self._forget_loss()
                continue
            if heard is not None and isinstance(heard[0], Hello):
                hello = heard[0]
        self._same_protocol(hello.protocol)
        self._forget_loss()
        self._epoch, self.count, self.end = hello.epoch, 0, None
        return hello.info

    def frames(self, in_flight: int = FRAMES_IN_FLIGHT, bytes_in_flight: int = BYTES_IN_FLIGHT) -> Iterator[Frame]:
        """As `Receiver.frames`, of one sender."""
        self._post(Welcome(PROTOCOL, in_flight, bytes_in_flight))
        while True:
            match self._receive(None):
                case FrameMsg(header, epoch), zmq.Frame() as part if epoch == self._epoch:
                    frame = self._taken(header, part)
                    yield frame
                    self._post(Credit(1, frame.pixels.nbytes))
                case End(_, _, epoch) as end, None if epoch == self._epoch:
                    self._ended(end)
                    return
                case Hello() as hello, None:
                    self._hello = hello
                    self._peer_is_gone()
                case ((FrameMsg() | End()), _):
                    pass  # of a sender that is no more
                case message, _:
                    raise self._confused(f"an unexpected {type(message).__name__}")
