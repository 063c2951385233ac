"""What both ends of a link share: a socket, waiting on it, and noticing that the peer has failed or gone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from types import TracebackType
from typing import NoReturn, Self

import zmq

from pipeline.errors import DerainError
from pipeline.frame import Frame, FrameHeader, frame_bytes
from pipeline.socket_events import next_event
from pipeline.wire import PROTOCOL, Failure, FrameMsg, Message, StageFailed, pack, unpack

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
                    next_event(self._monitor)
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


def bytes_of(header: FrameHeader) -> int:
    """How many bytes of pixels belong to `header`; -1 where it describes no frame."""
    try:
        return frame_bytes(header.pixel_format, header.width, header.height)
    except ValueError:
        return -1


def check_turn(frame: Frame, due: int) -> int:
    """Bytes of a frame's pixels. ValueError where it is not what its header says, or not number `due`."""
    header, pixels = frame.header, frame.pixels
    expected = bytes_of(header)
    if pixels.nbytes != expected or not pixels.flags.c_contiguous:
        raise ValueError(f"frame {header.index}: pixels must be {expected} contiguous bytes, not {pixels.nbytes}")
    if header.index != due:
        raise ValueError(f"frame {header.index} sent where {due} was due")
    return expected


def left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
