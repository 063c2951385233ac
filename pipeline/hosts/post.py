"""The derain stage's socket: messages of all stages that are connected, and messages to one of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import zmq

from pipeline.errors import DerainError
from pipeline.hosts.doors import ServerDoor
from pipeline.wire import Message, pack

_AT_ONCE = 2048
"""Messages taken in a row: a full load of streams has fewer on their way, and a flood would keep us from working."""


class Post:
    """Takes in and sends.

    Args:
        door: Where to listen, and who is let in.

    Raises:
        DerainError: It can't listen there.
    """

    def __init__(self, door: ServerDoor) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._door = door
        try:
            self._socket, self._authenticator = door.open(self._context)
        except DerainError:
            self._context.destroy(0)
            raise

    @property
    def url(self) -> str:
        """The address, with the port that ``tcp://*:*`` got."""
        endpoint = self._socket.getsockopt(zmq.LAST_ENDPOINT)
        assert isinstance(endpoint, bytes)
        return endpoint.rstrip(b"\0").decode()

    def come(self, timeout: int) -> Iterator[tuple[bytes, list[zmq.Frame]]]:
        """Who said what, of all that has come, waiting for it `timeout` ms."""
        if not self._socket.poll(timeout):
            return
        for _ in range(_AT_ONCE):
            try:
                sender, *parts = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            yield sender.bytes, parts

    def send(self, peer: bytes | None, message: Message, pixels: memoryview | None = None) -> bool:
        """Whether `peer` is there to get it. One that is not will join again, and be told all anew."""
        if peer is None:
            return False
        try:
            if pixels is None:
                self._socket.send_multipart([peer, pack(message)], zmq.NOBLOCK)
            else:
                self._socket.send_multipart([peer, pack(message), pixels], zmq.NOBLOCK, copy=False, track=False)
        except zmq.ZMQError:  # EHOSTUNREACH
            return False
        return True

    def close(self) -> None:
        """Let out what is queued, for a second at most."""
        self._door.leave()  # first: while we listen nobody else does, and what lies there is ours
        self._socket.close(1000)
        if self._authenticator:
            self._authenticator.stop()
        self._context.term()
