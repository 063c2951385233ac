"""Where one process of a stream says how it does: a PULL socket for each, so that the last words of one that was
replaced are not taken for those of the next."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

import zmq
import zmq.asyncio

from pipeline.errors import DerainError
from pipeline.live_status import LiveStatus, unpack_status

_log = logging.getLogger("derain.serve")


class Inbox:
    """Calls `take` with every status until it is closed."""

    def __init__(self, context: zmq.asyncio.Context, address: str, take: Callable[[LiveStatus], None]) -> None:
        self._take, self._address = take, address
        self._socket = context.socket(zmq.PULL)
        self._socket.linger = 0
        self._socket.bind(address)
        self._task = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Take in what has come, then listen no more."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        while await self._socket.poll(0):
            self._read(await self._socket.recv())
        self._socket.close()

    async def _listen(self) -> None:
        while True:
            if await self._socket.poll(1000):  # a receive that is cancelled could lose a message; a poll can't
                self._read(await self._socket.recv())

    def _read(self, message: bytes) -> None:
        try:
            self._take(unpack_status(message))
        except DerainError as error:
            _log.error("%s: %s", self._address, error)
