"""A one-way link between two stages over ZeroMQ: every frame arrives once, in order, or the link fails.

Flow control is by credit, as in chapter 7 of the ZeroMQ Guide: the receiver says how many frames and bytes may be in
flight and gives back what it is done with; the sender waits when it has spent them. So a slow stage slows those
before it, and memory is bounded whatever the frame size. ZeroMQ's own high-water marks are off: they count messages,
and their default of 1000 would be 12 GB of 4K frames.

The end of the stream is a message with the number of frames before it. The receiver acknowledges it only when its own
work is finished, which for the last stage means the file is closed; stages in between pass the acknowledgement on.

Pixels are the second part of a frame's message and are not copied by us on either side (libzmq copies messages below
64 KiB, where that is quicker). The sender must not write to an array it has sent; the receiver's array belongs to it.

Both ends are DEALER sockets; either may bind. ``ipc://`` and ``tcp://`` notice that the peer is gone (tcp by ZMTP
heartbeats, within 5 s); ``inproc://`` can't, so give time-outs there. An endpoint belongs to one thread.
Used as a context manager it passes the error that ends it on to the peer.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import NoReturn, Self

import numpy as np
import zmq
from zmq.utils.monitor import recv_monitor_message

from pipeline.errors import DerainError
from pipeline.frame import Frame, FrameHeader, StreamInfo, frame_bytes
from pipeline.wire import (
    PROTOCOL,
    Credit,
    End,
    EndAck,
    Failure,
    FrameMsg,
    Hello,
    Message,
    StageFailed,
    Welcome,
    pack,
    unpack,
)

FRAMES_IN_FLIGHT = 4
BYTES_IN_FLIGHT = 64 << 20
"""Five 4K frames of 4:2:0. A single larger frame may still travel, alone."""

END_TIMEOUT = 3600.0
"""Seconds to wait for the acknowledgement of the end, while slow encoders flush their look-ahead: a last resort
against a file system that hangs. A stage that dies is noticed at once."""

LINGER_MS = 1000  # how long close() lets the last message (an acknowledgement, a failure) out
SLICE_MS = 100  # how often a wait looks whether it was asked to stop
LAST_WORDS_MS = 200  # libzmq may report a disconnect just before it hands over the peer's last messages
HEARTBEAT_MS = 1000
HEARTBEAT_TIMEOUT_MS = 3000


class Stopped(Exception):
    """A wait was given up because `stop` said so."""


class Endpoint:
    """What both ends share: the socket, waiting on it, and noticing that the peer has failed or gone."""

    def __init__(
        self,
        url: str,
        *,
        bind: bool,
        stage: str,
        peer: str,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """`stage` and `peer` name the two ends in errors. DerainError if `url` can't be bound or is no ZeroMQ URL."""
        self.stage = stage
        self.peer = peer
        self.waited = 0.0
        """Seconds spent waiting for the peer."""
        self._stop = stop
        self._lost_at: float | None = None
        self._socket = (context or zmq.Context.instance()).socket(zmq.DEALER)
        self._socket.set_hwm(0)
        self._socket.linger = LINGER_MS
        self._socket.reconnect_ivl = 20
        if url.startswith("tcp://"):
            self._socket.heartbeat_ivl = HEARTBEAT_MS
            self._socket.heartbeat_timeout = HEARTBEAT_TIMEOUT_MS
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        try:
            if bind:
                self._socket.bind(url)
            else:
                self._socket.connect(url)
        except zmq.ZMQError as error:
            self.close()
            raise DerainError(f"the {stage} stage can't {'bind' if bind else 'connect'} {url}: {error}") from error

    @property
    def url(self) -> str:
        """The address bound or connected to, with the port that ``tcp://*:*`` got."""
        endpoint = self._socket.getsockopt(zmq.LAST_ENDPOINT)
        assert isinstance(endpoint, bytes)
        return endpoint.rstrip(b"\0").decode()

    def fail(self, failure: Failure) -> None:
        """Tell the peer, if it still listens, that the stream ends here and why."""
        self._post(failure)

    def close(self) -> None:
        """Let out what is still queued, for a second at most, and free the socket. May be called twice."""
        if not self._socket.closed:
            self._socket.disable_monitor()
            self._monitor.close(0)
            self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leaving on an error tells the peer why, before the socket closes."""
        if isinstance(value, Exception) and not isinstance(value, Stopped):
            self.fail(Failure.of(self.stage, value))
        self.close()

    def _post(self, message: Message) -> None:
        """Queue a message. A peer that has gone gets none, and the next `_receive` finds out why it went."""
        with contextlib.suppress(zmq.Again):
            self._socket.send(pack(message), zmq.NOBLOCK)

    def _receive(self, timeout: float | None) -> tuple[Message, zmq.Frame | None] | None:
        """The next message and its second part, or None after `timeout` seconds (None: wait for ever).

        Raises StageFailed with the peer's Failure, or with one of kind "peer" when it has gone without a word;
        Stopped when asked to stop; DerainError for bytes that are no message.
        """
        started = time.monotonic()
        deadline = None if timeout is None else started + timeout
        try:
            while True:
                if self._stop():
                    raise Stopped
                with contextlib.suppress(zmq.Again):
                    return self._open(self._socket.recv_multipart(zmq.NOBLOCK, copy=False))
                now = time.monotonic()
                if self._lost_at is not None and now >= self._lost_at + LAST_WORDS_MS / 1000:
                    self._peer_is_gone()
                if deadline is not None and now >= deadline:
                    return None
                left = SLICE_MS if deadline is None else min(SLICE_MS, max(1, int((deadline - now) * 1000)))
                if any(socket is self._monitor for socket, _ in self._poller.poll(left)):
                    recv_monitor_message(self._monitor)
                    self._lost_at = self._lost_at or time.monotonic()
        finally:
            self.waited += time.monotonic() - started

    def _open(self, parts: list[zmq.Frame]) -> tuple[Message, zmq.Frame | None]:
        message = unpack(parts[0].buffer)
        if isinstance(message, Failure):
            raise StageFailed(message)
        if len(parts) != (2 if isinstance(message, FrameMsg) else 1):
            raise self._confused(f"a {type(message).__name__} in {len(parts)} parts")
        return message, parts[1] if len(parts) == 2 else None

    def _peer_is_gone(self) -> NoReturn:
        raise StageFailed(Failure(self.stage, "peer", f"the {self.stage} stage lost the {self.peer} stage"))

    def _confused(self, what: str) -> DerainError:
        return DerainError(f"the {self.stage} stage got {what} from the {self.peer} stage: frames are lost, giving up")

    def _same_protocol(self, theirs: int) -> None:
        if theirs != PROTOCOL:
            raise DerainError(
                f"the {self.peer} stage speaks link protocol {theirs}, the {self.stage} stage {PROTOCOL}: "
                "install the same version of derain at both ends"
            )


class Sender(Endpoint):
    """The upstream end: `hello`, then `send` for each frame, then `finish`."""

    frames = 0
    """How many were sent."""

    def hello(self, info: StreamInfo, timeout: float | None = None) -> None:
        """Announce the stream and wait until the receiver is ready for it. DerainError after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._socket.poll(SLICE_MS, zmq.POLLOUT):  # a bound end without a peer has nowhere to send to
            if self._stop():
                raise Stopped
            if deadline is not None and time.monotonic() >= deadline:
                raise self._no_answer(timeout)
        self._post(Hello(PROTOCOL, info))
        match self._receive(_left(deadline)):
            case None:
                raise self._no_answer(timeout)
            case Welcome(protocol, frames, size), None:
                self._same_protocol(protocol)
                self._frames_left, self._bytes_left = frames, size
                self._outstanding = 0
            case message, _:
                raise self._confused(f"a {type(message).__name__} instead of a welcome")

    def send(self, frame: Frame) -> None:
        """Send one frame, waiting for credit first. Its pixels must not be written to afterwards.

        ValueError for pixels that are not what the header says or frames out of order, see also `Endpoint`.
        """
        expected = self._check(frame)
        while self._take(0):  # credit that has come meanwhile, or a failure
            pass
        while not self._has_credit(expected):
            self._take(None)
        self._put(frame, expected)

    def try_send(self, frame: Frame) -> bool:
        """Send one frame if there is credit for it now; False, and nothing sent, where there is none. Never waits.

        The live mode's way: a frame that finds no credit may be given up for a newer one, which then takes its index.
        Raises as `send`.
        """
        expected = self._check(frame)
        while self._take(0):
            pass
        if not self._has_credit(expected):
            return False
        self._put(frame, expected)
        return True

    def _check(self, frame: Frame) -> int:
        """Bytes of its pixels. ValueError where the frame is not what its header says, or not the next one."""
        header, pixels = frame.header, frame.pixels
        expected = _bytes_of(header)
        if pixels.nbytes != expected or not pixels.flags.c_contiguous:
            raise ValueError(f"frame {header.index}: pixels must be {expected} contiguous bytes, not {pixels.nbytes}")
        if header.index != self.frames:
            raise ValueError(f"frame {header.index} sent where {self.frames} was due")
        return expected

    def _has_credit(self, size: int) -> bool:
        return not self._outstanding or (self._frames_left >= 1 and self._bytes_left >= size)

    def _put(self, frame: Frame, size: int) -> None:
        self._socket.send_multipart([pack(FrameMsg(frame.header)), frame.pixels.data], copy=False, track=False)
        self.frames += 1
        self._frames_left -= 1
        self._bytes_left -= size
        self._outstanding += 1

    def finish(self, damaged: int = 0, timeout: float | None = None) -> None:
        """End the stream and wait until the last stage has closed its file. DerainError after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._post(End(self.frames, damaged))
        while True:
            match self._receive(_left(deadline)):
                case None:
                    raise DerainError(
                        f"the {self.peer} stage did not confirm the end of the stream within {timeout:g} s: "
                        "the last frames may not be in the result"
                    )
                case Credit(), None:
                    pass
                case EndAck(frames), None:
                    if frames != self.frames:
                        raise self._confused(f"an acknowledgement of {frames} instead of {self.frames} frames")
                    return
                case message, _:
                    raise self._confused(f"a {type(message).__name__} instead of an acknowledgement")

    def _no_answer(self, timeout: float | None) -> DerainError:
        return DerainError(f"the {self.peer} stage did not answer the {self.stage} stage within {timeout:g} s")

    def _take(self, timeout: float | None) -> bool:
        """Take in one credit message, if one comes in time."""
        match self._receive(timeout):
            case None:
                return False
            case Credit(frames, size), None if 0 < frames <= self._outstanding:
                self._frames_left += frames
                self._bytes_left += size
                self._outstanding -= frames
                return True
            case message, _:
                raise self._confused(f"an unexpected {message}")


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
        """The frames in order, each until the next is asked for: only then is its credit given back."""
        self._post(Welcome(PROTOCOL, in_flight, bytes_in_flight))
        while True:
            match self._receive(None):
                case FrameMsg(header), zmq.Frame() as part:
                    if header.index != self.count:
                        raise self._confused(f"frame {header.index} where {self.count} was due")
                    pixels = np.frombuffer(part.buffer, np.uint8)  # keeps the part alive
                    if pixels.nbytes != _bytes_of(header):
                        raise self._confused(f"{pixels.nbytes} bytes of pixels with {header}")
                    self.count += 1
                    yield Frame(header, pixels)
                    self._post(Credit(1, pixels.nbytes))
                case End() as end, None:
                    if end.frames != self.count:
                        raise self._confused(f"the end after {end.frames} frames, with {self.count} of them here")
                    self.end = end
                    return
                case message, _:
                    raise self._confused(f"an unexpected {type(message).__name__}")

    def acknowledge(self) -> None:
        """Tell the sender that all its frames are where they belong. Only after `frames` has run out."""
        if self.end is None:
            raise RuntimeError("acknowledge() before the end of the stream")
        self._post(EndAck(self.count))


def _bytes_of(header: FrameHeader) -> int:
    """How many bytes of pixels belong to `header`; -1 where it describes no frame."""
    try:
        return frame_bytes(header.pixel_format, header.width, header.height)
    except ValueError:
        return -1


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
