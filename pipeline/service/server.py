"""Runs the service: streams, HTTP and signals in one event loop, from start to the last closed file."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import uvicorn

from pipeline.errors import DerainError
from pipeline.orphans import adopt_orphans
from pipeline.private_folder import private_folder
from pipeline.service.api import Api
from pipeline.service.auth import Auth
from pipeline.service.config import Listen, ServiceConfig, StreamConfig, load_config
from pipeline.service.manager import Manager
from pipeline.service.order import check_streams
from pipeline.service.pictures import Pictures
from pipeline.service.starting import check_start
from pipeline.service.tracing import Tracer
from pipeline.service.webrtc import WebRtcViewers

_log = logging.getLogger("derain.serve")


class _Server(uvicorn.Server):
    """uvicorn without its own hand on the signals: they are ours to drain with."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Service:
    """One `derain serve`."""

    def __init__(
        self,
        path: str,
        command: Sequence[str] = (),
        adjust: Callable[[ServiceConfig], ServiceConfig] = lambda config: config,
        check: Callable[[Sequence[StreamConfig]], None] = check_streams,
    ) -> None:
        """
        Args:
            path: The configuration's file.
            command: The process of a stream; tests put another in its place.
            adjust: What the command line overrules in the file.
            check: What looks at streams that come later; tests, whose streams are not real, put another in its place.

        Raises:
            DerainError: The file can't be read, or something that it needs is missing (`check_start`).
            UsageError: The file says something that can't be meant.
        """
        self._path, self._command, self._adjust, self._check = path, command, adjust, check
        self._config = config = adjust(load_config(path))
        listen = config.listen
        token = check_start(config)
        reading = listen.loopback if listen.open_reading is None else listen.open_reading
        self._auth = Auth(token, open_reading=reading)
        self._tracer = Tracer(config.tracing)
        self._signals = 0

    def run(self) -> int:
        """Serve until a signal; 0 where everything was drained, 130 where a second signal cut that short."""
        return asyncio.run(self._run())

    async def _run(self) -> int:
        adopt_orphans()
        listener = _listen(self._config.listen)
        host, port = listener.getsockname()[:2]
        with listener, private_folder() as folder:
            manager = Manager(
                self._path, self._config, folder=folder, tracer=self._tracer, command=self._command,
                adjust=self._adjust, check=self._check,
            )  # fmt: skip
            pictures = Pictures()
            rtc = self._config.webrtc
            viewers = WebRtcViewers(pictures, rtc.viewers) if rtc.enabled else None
            api = Api(manager, self._auth, pictures, viewers, _names(self._config.listen))
            server = _Server(
                uvicorn.Config(
                    api.app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1,
                    server_header=False, ws="none",
                )
            )  # fmt: skip
            ended = asyncio.Event()
            self._catch_signals(manager, ended)
            watching = asyncio.create_task(manager.run())
            manager.begin()
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            shown = f"[{host}]" if ":" in host else host
            many = len(self._config.streams)
            _log.info("derain serve: %d stream%s, http://%s:%d/", many, "s" * (many != 1), shown, port)
            if not self._auth.can_change:
                _log.info("no token is set: the page and the API can be read, nothing can be changed")
            _notify("READY=1")
            try:
                await asyncio.wait(
                    {asyncio.create_task(ended.wait()), serving, watching}, return_when="FIRST_COMPLETED"
                )
                if not ended.is_set():  # a task has failed: say why, and leave no stream behind
                    await manager.drain()
                    for task in (watching, serving):
                        if task.done():
                            task.result()
                return 0 if self._signals < 2 else 130
            finally:
                manager.kill()
                if viewers is not None:
                    with suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(viewers.close(), 2)
                server.should_exit = True
                await serving
                watching.cancel()
                await pictures.close()
                manager.close()
                self._tracer.close()

    def _catch_signals(self, manager: Manager, ended: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        tasks: set[asyncio.Task[None]] = set()

        def keep(task: asyncio.Task[None]) -> None:
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        async def drain() -> None:
            _notify("STOPPING=1")
            _log.info("draining; a second signal ends at once")
            await manager.drain()
            ended.set()

        async def reload() -> None:
            _notify("RELOADING=1")
            try:
                with suppress(DerainError):  # logged, and shown on the page; everything goes on as it was
                    await manager.reload()
            except Exception:  # ours: it must be seen, and systemd must not wait for ever
                _log.exception("not reloaded: internal error")
            finally:
                _notify("READY=1")

        def on_stop() -> None:
            self._signals += 1
            if self._signals == 1:
                keep(asyncio.create_task(drain()))
            else:
                _log.info("second signal: ending at once")
                manager.kill()
                ended.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, on_stop)
        loop.add_signal_handler(signal.SIGHUP, lambda: keep(asyncio.create_task(reload())))


def _listen(listen: Listen) -> socket.socket:
    """The socket that the page is on. DerainError where it can't be had."""
    host = "127.0.0.1" if listen.host == "localhost" else listen.host
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, listen.port))
        made.listen(128)
    except OSError as error:
        made.close()
        why = error.strerror or error
        raise DerainError(
            f"{listen.host}:{listen.port}: can't listen there ({why}); choose another listen.port"
        ) from error
    made.setblocking(False)
    return made


def _names(listen: Listen) -> list[str]:
    """Host names that are let in: on loopback those of this machine and the given ones; elsewhere the given, or any."""
    if listen.loopback:
        return ["localhost", "127.0.0.1", "::1", listen.host, *listen.names]
    return [*listen.names, listen.host] if listen.names else []


def _notify(text: str) -> None:
    """Tell systemd (sd_notify(3)) where it asked to be told."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, suppress(OSError):
        sender.sendto(text.encode(), "\0" + address[1:] if address.startswith("@") else address)


def set_up_logging(level: str) -> None:
    """Lines with time, level and text on stderr, as journald and `kubectl logs` like them."""
    logging.basicConfig(
        stream=sys.stderr, level=level.upper(), format="%(asctime)s %(levelname)s %(message)s", force=True
    )
    for noisy in ("aiortc", "aioice", "uvicorn.access"):
        logging.getLogger(noisy).setLevel("WARNING")
    logging.getLogger("uvicorn.error").setLevel("WARNING")
