"""All streams of the service: taken from the configuration, changed through the API, reloaded, stopped."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import zmq.asyncio

from pipeline.errors import DerainError, UsageError
from pipeline.redact import redact
from pipeline.service.births import Births
from pipeline.service.config import ServiceConfig, StreamConfig, load_config, parse_stream, taken
from pipeline.service.lease import Lease
from pipeline.service.order import check_streams
from pipeline.service.shown import shown
from pipeline.service.stream import Stream
from pipeline.service.tracing import Tracer
from pipeline.sinks.place import place

_CHECK_EVERY = 0.25
_log = logging.getLogger("derain.serve")


class NoSuchStream(DerainError):
    """A stream that is not there was named."""


class NotNow(DerainError):
    """What is asked for can't be done at this moment."""


class Manager:
    """Holds the streams. Belongs to one event loop; `run` must be running in it."""

    def __init__(
        self,
        path: str,
        config: ServiceConfig,
        *,
        folder: str,
        tracer: Tracer | None = None,
        command: Sequence[str] = (),
        adjust: Callable[[ServiceConfig], ServiceConfig] = lambda config: config,
        check: Callable[[Sequence[StreamConfig]], None] = check_streams,
    ) -> None:
        """
        Args:
            path: The file, for reloads.
            config: What was read from it.
            folder: For sockets.
            tracer: For spans.
            command: The process of a stream; tests put another in its place.
            adjust: What the command line overrules in the file, for reloads.
            check: What is to look at streams before they take the place of others.
        """
        self._path, self._folder, self._adjust, self._check = path, folder, adjust, check
        self._births = Births(command)
        self.config = self._began_with = config
        self._tracer = tracer or Tracer()
        self._context = zmq.asyncio.Context()
        self._streams: dict[str, Stream] = {}
        self._numbered = 0
        self._changing = asyncio.Lock()
        """Held while streams are added and taken out: each finds what the one before has left."""
        self.reload_error: str | None = None
        self.draining = False
        self.began = time.time()
        self._was_ready = False

    # ---- what others see

    def streams(self) -> list[Stream]:
        return list(self._streams.values())

    def get(self, name: str) -> Stream:
        """Raises NoSuchStream."""
        if name not in self._streams:
            raise NoSuchStream(f"there is no stream {name!r}")
        return self._streams[name]

    def snapshot(self) -> dict[str, Any]:
        return {
            "now": time.time(),
            "draining": self.draining,
            "reload_error": self.reload_error,
            "webrtc": self._began_with.webrtc.enabled,
            "streams": [shown(stream) for stream in self._streams.values()],
        }

    def ready(self) -> bool:
        """Whether every stream that is to run has begun once, and the service is not ending."""
        if not self._was_ready:
            self._was_ready = all(stream.begun for stream in self._streams.values())
        return self._was_ready and not self.draining

    # ---- what others do

    async def run(self) -> None:
        """Watch over the streams until cancelled."""
        while True:
            for stream in self.streams():
                stream.check()
            self._births.look()
            await asyncio.sleep(_CHECK_EVERY)

    def begin(self) -> None:
        """Start the streams of the configuration."""
        for stream in self.config.streams:
            self._add(stream, "file")

    async def reload(self) -> dict[str, list[str]]:
        """Read the file again and do what has changed; streams that did not are not touched.

        Returns:
            Names of streams `added`, `removed`, `changed` and `kept`; settings that need a `restart` of the service.

        Raises:
            DerainError: The file is wrong; everything goes on as it was.
        """
        async with self._changing:
            with self._tracer.span("reload", {"file": self._path}):
                try:
                    config = self._adjust(load_config(self._path, self._added()))
                    await self._must_be_meant([one for one in config.streams if not self._has(one)], f"{self._path}: ")
                except DerainError as error:
                    self.reload_error = redact(str(error))
                    _log.error("not reloaded: %s", self.reload_error)
                    raise
                result = await self._apply(config)
                self.reload_error = None
                _log.info("reloaded: %s", ", ".join(f"{len(names)} {what}" for what, names in result.items()))
                return result

    def _has(self, config: StreamConfig) -> bool:
        return config.id in self._streams and self._streams[config.id].config == config

    async def _must_be_meant(self, streams: list[StreamConfig], where: str = "") -> None:
        """UsageError for what their processes would die of: none is stopped for one that can't run."""
        try:
            await asyncio.to_thread(self._check, streams)
        except DerainError as error:
            raise UsageError(f"{where}{error}") from error

    def _added(self) -> list[StreamConfig]:
        """The streams that were added through the API."""
        return [stream.config for stream in self._streams.values() if stream.origin == "api"]

    async def _apply(self, config: ServiceConfig) -> dict[str, list[str]]:
        self.config = config
        fixed = ("listen", "tracing", "lease_folder", "webrtc")
        result: dict[str, list[str]] = {
            "added": [], "removed": [], "changed": [], "kept": [],
            "restart": [name for name in fixed if getattr(self._began_with, name) != getattr(config, name)],
        }  # fmt: skip
        wanted = {stream.id: stream for stream in config.streams}
        going = []
        for name, stream in list(self._streams.items()):
            if name in wanted and wanted[name] == stream.config:
                stream.origin = "file"
                stream.set_restart(config.restart, config.drain_seconds)
                result["kept"].append(name)
            elif name in wanted:
                going.append(stream)
                result["changed"].append(name)
            elif stream.origin == "file":
                going.append(stream)
                result["removed"].append(name)
        await asyncio.gather(*(stream.retire() for stream in going))
        for stream in going:
            del self._streams[stream.config.id]
        for name, one in wanted.items():
            if name not in self._streams:
                self._add(one, "file")
                if name not in result["changed"]:
                    result["added"].append(name)
        order = [*wanted, *(name for name in self._streams if name not in wanted)]
        self._streams = {name: self._streams[name] for name in order}
        return result

    async def add(self, content: Any) -> Stream:
        """Add a stream as the API gets it; it lives until the service ends.

        Raises:
            UsageError: What is wrong with it.
            NotNow: The service is ending.
        """
        async with self._changing:
            self._must_not_end()
            config = parse_stream(content, self.config.defaults)
            if config.id in self._streams:
                raise UsageError(f"there is a stream {config.id!r} already")
            for other in self._streams.values():
                places = {place(one) for one in other.config.destinations}
                for destination in config.destinations:
                    if place(destination) in places:
                        raise UsageError(taken(destination, other.config.id))
            await self._must_be_meant([config])
            self._must_not_end()
            return self._add(config, "api")

    def _add(self, config: StreamConfig, origin: str) -> Stream:
        self._numbered += 1
        folder = self._began_with.lease_folder  # another one needs a restart of the service
        lease = Lease(folder, config.id) if folder else None
        stream = Stream(
            config,
            self.config.restart,
            address=f"ipc://{self._folder}/{self._numbered}",
            context=self._context,
            births=self._births,
            lease=lease,
            room=self._room,
            tracer=self._tracer,
            origin=origin,
        )
        stream.set_restart(self.config.restart, self.config.drain_seconds)
        self._streams[config.id] = stream
        if config.autostart and not self.draining:
            stream.start()
        return stream

    def _room(self) -> bool:
        most = self.config.max_streams
        return most is None or sum(stream.occupies for stream in self._streams.values()) < most

    async def remove(self, name: str) -> None:
        """Stop a stream and forget it. Raises NoSuchStream."""
        async with self._changing:
            stream = self.get(name)
            await stream.retire()
            del self._streams[name]

    def to_change(self, name: str) -> Stream:
        """A stream that is to be started or stopped.

        Raises:
            NoSuchStream: There is none of this name.
            NotNow: It is about to be gone, or the service is.
        """
        self._must_not_end()
        stream = self.get(name)
        if stream.retired:
            raise NotNow(f"the stream {name!r} is being taken out or replaced; ask again in a moment")
        return stream

    def _must_not_end(self) -> None:
        if self.draining:
            raise NotNow("the service is ending")

    async def drain(self) -> None:
        """Stop all streams at once and wait until their files are closed."""
        self.draining = True
        await asyncio.gather(*(stream.stop() for stream in self._streams.values()))

    def kill(self) -> None:
        """End all processes at once."""
        self.draining = True
        for stream in self._streams.values():
            stream.kill()

    def close(self) -> None:
        self._births.close()
        self._context.destroy(linger=0)
