"""What the decode and the encode stage share: a connection to the derain stage that is made again when it is lost.

A lost connection gets a new socket. The old one may hold messages for a derain stage that is no more, and libzmq would
deliver them to the next.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

import msgspec
import zmq

from pipeline.endpoint import SLICE_MS, Stopped
from pipeline.errors import DerainError
from pipeline.hosts.doors import ClientDoor
from pipeline.socket_events import next_event
from pipeline.wire import PROTOCOL, Failure, FrameMsg, Join, Message, StageFailed, pack, unpack

PATIENCE = 300.0
"""Seconds that a stage waits for one that has gone, or has not come yet."""
_TELL_AFTER = 5.0
"""Seconds after which it is said for whom we wait."""
_LAST_WORDS = 1.0
"""Seconds that a stage which has not joined yet, and fails, gives its connection to come about, to say so."""
_BROKEN_HANDSHAKES = 4
"""In a row: a derain stage that dies in one breaks it too."""
_EVENTS = (
    zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)


class HostClient:
    """One stage's connection. Subclasses say what to join with and what messages mean.

    Args:
        door: The derain stage.
        stream: Name of the stream, the same at its decode and its encode stage.
        patience: Seconds to wait for a stage that is not there, 0: for ever.
        stop: Asked several times a second whether to give up (`Stopped`).
        say: Told in a line when the connection is lost and when it is back.
    """

    role = ""
    other = ""

    def __init__(
        self,
        door: ClientDoor,
        stream: str,
        *,
        patience: float = PATIENCE,
        stop: Callable[[], bool] = lambda: False,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.stream, self.reconnects, self.waited = stream, 0, 0.0
        """How often the connection was made again; seconds spent waiting."""
        self._door, self._patience, self._stop, self._say = door, patience, stop, say
        self._context: zmq.Context[Any] = zmq.Context()
        self._joined = False
        """Whether the derain stage has answered our latest `Join`."""
        self._connected = self._spoken = self._told = False
        self._broken = 0
        self._missing_since: float | None = time.monotonic()
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, value: BaseException | None, _trace: object) -> None:
        """Leaving on an error of our own tells the others, whose stream ends too."""
        if isinstance(value, Exception) and not isinstance(value, Stopped | StageFailed):
            failure = msgspec.structs.replace(Failure.of(self.role, value), stream=self.stream)
            deadline = time.monotonic() + _LAST_WORDS
            with suppress(zmq.Again, DerainError):  # where we were refused there is nobody to send to, nor will be
                while not (self._spoken or self._connected) and time.monotonic() < deadline:
                    if self._monitor.poll(SLICE_MS):
                        self._lost()
                self._socket.send(pack(failure), zmq.NOBLOCK)
        self.close()

    def close(self) -> None:
        """Let out what is queued, for a second at most."""
        if not self._context.closed:
            self._shut(1000)
            self._context.term()

    def _joining(self) -> Join:
        raise NotImplementedError

    def _open(self) -> None:
        # before it connects: a loss is one only of a connection that we have seen come about
        self._socket = self._door.open(self._context, self._watch)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        self._joined = self._connected = False

    def _watch(self, socket: zmq.Socket[bytes]) -> None:
        self._monitor = socket.get_monitor_socket(_EVENTS)

    def _shut(self, linger: int) -> None:
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(linger if self._connected else 0)

    def _post(self, message: Message) -> None:
        self._spoken = True
        self._deliver([pack(message)])

    def _deliver(self, parts: list[Any], **how: bool) -> None:
        """Send. Where libzmq has given the connection up a send would wait for ever: while it can't, look about as
        `_receive` does, and raise what that raises. Where we connect anew meanwhile, the message is of no use any more.
        """
        while True:
            try:
                self._socket.send_multipart(parts, zmq.NOBLOCK, **how)
                return
            except zmq.Again:
                if self._stop():
                    raise Stopped from None
                self._check_patience(time.monotonic())
            if self._monitor.poll(SLICE_MS) and self._lost():
                self._connect_again()
                return

    def _rejoin(self) -> None:
        """Connect anew and say who we are."""
        self._shut(0)
        self._open()
        self.reconnects += 1
        self._missing_since = self._missing_since or time.monotonic()
        self._post(self._joining())

    def _connect_again(self) -> None:
        self._say(f"stream {self.stream}: lost the derain stage at {self._door.url}, connecting again")
        self._rejoin()

    def _receive(self, timeout: float | None) -> tuple[Message, zmq.Frame | None] | None:
        """The next message and its second part; None after `timeout` seconds, or where the connection was made again.

        Raises StageFailed with the failure of another stage; DerainError where we are not let in, nobody answers, or
        what comes is no message; Stopped.
        """
        started = time.monotonic()
        deadline = None if timeout is None else started + timeout
        try:
            while True:
                if self._stop():
                    raise Stopped
                try:
                    return self._read(self._socket.recv_multipart(zmq.NOBLOCK, copy=False))
                except zmq.Again:
                    pass
                now = time.monotonic()
                self._check_patience(now)
                left = SLICE_MS / 1000 if deadline is None else min(SLICE_MS / 1000, max(0.0, deadline - now))
                ready = self._poller.poll(math.ceil(left * 1000))
                if any(socket is self._monitor for socket, _ in ready) and self._lost():
                    self._connect_again()
                    return None
                if not ready and deadline is not None and now >= deadline:
                    return None
        finally:
            self.waited += time.monotonic() - started

    def _read(self, parts: list[zmq.Frame]) -> tuple[Message, zmq.Frame | None]:
        message = unpack(parts[0].buffer)
        if isinstance(message, Failure):
            raise StageFailed(self._theirs(message))
        if len(parts) != (2 if isinstance(message, FrameMsg) else 1):
            raise self._confused(f"a {type(message).__name__} in {len(parts)} parts")
        return message, parts[1] if len(parts) == 2 else None

    def _theirs(self, failure: Failure) -> Failure:
        """What has failed elsewhere, in words for who reads it here, where the options are others."""
        if failure.stage != self.other:
            return failure
        kind = "failed" if failure.kind == "usage" else failure.kind
        return msgspec.structs.replace(failure, kind=kind, text=f"the {failure.stage} stage: {failure.text}")

    def _lost(self) -> bool:
        """Take in what the monitor says; whether a connection that stood has gone."""
        kind = next_event(self._monitor)
        if kind == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._connected, self._broken = True, 0
        elif kind == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            key = self._door.key.public.decode() if self._door.key else "(none)"
            raise DerainError(
                f"the derain stage at {self._door.url} does not know our key: put the line of our .public file "
                f"({key}) on its --allow list"
            )
        elif kind in (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL):
            self._broken += 1
            if (
                self._broken >= _BROKEN_HANDSHAKES or kind == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            ):  # then libzmq gives up
                raise DerainError(
                    f"the derain stage at {self._door.url} breaks off the handshake: --server-key is not its key, "
                    "one end has keys and the other none, or something else listens there"
                )
        elif kind == zmq.EVENT_DISCONNECTED:
            return self._connected
        return False

    def _check_patience(self, now: float) -> None:
        if self._missing_since is None:
            return
        away = now - self._missing_since
        if away >= _TELL_AFTER and not self._told:
            self._told = True
            whom = f"the {self.other} stage" if self._connected else f"{self._door.url} to answer"
            self._say(f"stream {self.stream}: waiting for {whom}")
        if not self._patience or away < self._patience:
            return
        if self._connected:
            raise DerainError(
                f"stream {self.stream}: the derain stage at {self._door.url} is there, but no {self.other} stage has "
                f"joined the stream within {self._patience:g} s (--patience)"
            )
        raise DerainError(
            f"stream {self.stream}: no answer from {self._door.url} within {self._patience:g} s (--patience); does a "
            "derain stage listen there?"
        )

    def _is_joined(self, theirs: int) -> None:
        """The derain stage has answered, and speaks protocol `theirs`."""
        if theirs != PROTOCOL:
            raise DerainError(
                f"the derain stage at {self._door.url} speaks link protocol {theirs}, we speak {PROTOCOL}: install the "
                "same version of derain at both ends"
            )
        if self.reconnects and not self._joined:
            self._say(f"stream {self.stream}: connected again")
        self._joined, self._missing_since, self._told = True, None, False

    def _confused(self, what: str) -> DerainError:
        return DerainError(f"stream {self.stream}: got {what} from the derain stage: frames are lost, giving up")
