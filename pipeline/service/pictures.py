"""Pictures of the streams for whoever looks: before and after, from the stream's own preview socket.

A stream codes and sends pictures only while somebody is subscribed. Here one subscription for each stream and kind
serves all viewers, and ends some seconds after the last has left. A viewer that is slow misses pictures; it never gets
old ones.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress

import zmq
import zmq.asyncio

from pipeline.errors import DerainError
from pipeline.preview_feed import PreviewKind, PreviewPair, unpack_pair
from pipeline.service.stream import Stream

IDLE = 4.0
"""Seconds without a viewer after which a subscription ends; the small pictures of the page come more often."""
STILL_WAIT = 2.0
_log = logging.getLogger("derain.serve")


class NoPicture(DerainError):
    """There is no picture to be had now."""


class _Feed:
    """One subscription; follows the stream from process to process."""

    def __init__(self, context: zmq.asyncio.Context, stream: Stream, kind: PreviewKind) -> None:
        self.stream, self._context, self._kind = stream, context, kind
        self.pair: PreviewPair | None = None
        self.count = 0
        self.viewers = 0
        self.last_viewed = asyncio.get_running_loop().time()
        self._news = asyncio.Condition()
        self.task = asyncio.create_task(self._read())

    def idle(self) -> bool:
        return not self.viewers and asyncio.get_running_loop().time() - self.last_viewed > IDLE

    async def after(self, count: int) -> None:
        """Wait for a pair with a higher number."""
        async with self._news:
            await self._news.wait_for(lambda: self.count > count)

    async def _read(self) -> None:
        while not self.idle():
            address = self.stream.preview_address
            if address is None:
                self.pair = None
                await asyncio.sleep(0.2)
                continue
            with self._context.socket(zmq.SUB) as socket:
                socket.linger = 0
                socket.set_hwm(2)
                socket.reconnect_ivl = 100
                socket.connect(address)
                socket.subscribe(self._kind.encode())
                while not self.idle() and self.stream.preview_address == address:
                    if await socket.poll(500):
                        await self._take(await socket.recv_multipart())

    async def _take(self, parts: list[bytes]) -> None:
        try:
            self.pair = unpack_pair(parts)
        except DerainError as error:
            _log.error("%s: %s", self.stream.config.id, error)
            return
        async with self._news:
            self.count += 1
            self._news.notify_all()


class Pictures:
    """Where viewers get their pictures."""

    def __init__(self) -> None:
        self._context = zmq.asyncio.Context()
        self._feeds: dict[tuple[str, PreviewKind], _Feed] = {}

    async def still(self, stream: Stream) -> bytes | None:
        """The newest derained picture as JPEG; None where none comes within a moment."""
        feed = self._feed(stream, "jpeg")
        if feed.pair is None:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(feed.after(feed.count), STILL_WAIT)
        return feed.pair.after if feed.pair else None

    async def pairs(self, stream: Stream, kind: PreviewKind) -> AsyncIterator[PreviewPair]:
        """Pairs as they come, the newest always, until the consumer leaves.

        Raises:
            NoPicture: The stream has no preview.
        """
        feed = self._feed(stream, kind)
        feed.viewers += 1
        seen = feed.count
        try:
            while True:
                await feed.after(seen)
                seen = feed.count
                if feed.pair is not None:
                    yield feed.pair
        finally:
            feed.viewers -= 1
            feed.last_viewed = asyncio.get_running_loop().time()

    def check(self, stream: Stream) -> None:
        """Raises NoPicture where the stream has no preview."""
        if not stream.config.preview:
            raise NoPicture(f"{stream.config.id}: preview is false for this stream")

    def _feed(self, stream: Stream, kind: PreviewKind) -> _Feed:
        self.check(stream)
        key = (stream.config.id, kind)
        feed = self._feeds.get(key)
        if feed is None or feed.task.done() or feed.stream is not stream:
            if feed is not None:
                feed.task.cancel()
            feed = self._feeds[key] = _Feed(self._context, stream, kind)
        feed.last_viewed = asyncio.get_running_loop().time()
        return feed

    async def close(self) -> None:
        for feed in self._feeds.values():
            feed.task.cancel()
            with suppress(asyncio.CancelledError):
                await feed.task
        self._context.destroy(linger=0)
