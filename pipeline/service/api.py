"""The HTTP side of the service: the page, the streams as JSON, events, pictures, probes and metrics.

Errors are JSON: `{"error": "one line"}`, with 400 for what can't be meant (a wrong file included), 401 for a missing or
wrong token, 403 where no token is set so that nobody may, 404 for a stream that is not there, 503 for what can't be had
now.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from pipeline.errors import DerainError, UsageError
from pipeline.redact import redact
from pipeline.service.auth import COOKIE, Auth
from pipeline.service.body import json_of
from pipeline.service.guard import Guard
from pipeline.service.manager import Manager, NoSuchStream, NotNow
from pipeline.service.metrics import CONTENT_TYPE, StreamMetrics
from pipeline.service.pictures import NoPicture, Pictures
from pipeline.service.shown import shown
from pipeline.service.webrtc import TooManyViewers, WebRtcViewers

PAGE = Path(__file__).parent.parent / "preview"
EVENTS_EVERY = 0.5
_BOUNDARY = "derain-frame"
_log = logging.getLogger("derain.serve")
Handler = Callable[[Request], Awaitable[Response]]


class _Refused(Exception):
    """A request that is not allowed."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Api:
    """The application and what it needs."""

    def __init__(
        self, manager: Manager, auth: Auth, pictures: Pictures, viewers: WebRtcViewers | None, names: list[str]
    ):
        """
        Args:
            manager: The streams.
            auth: Who may.
            pictures: Where pictures come from.
            viewers: Pictures over WebRTC; None where it is off.
            names: Host names by which it may be called; empty: any.
        """
        self._manager, self._auth, self._pictures, self._viewers = manager, auth, pictures, viewers
        self._metrics = StreamMetrics(manager)
        read, change = self._reading, self._changing
        self.app = Starlette(
            routes=[
                Route("/", self._page),
                Mount("/static", StaticFiles(directory=PAGE)),
                Route("/healthz", self._healthz),
                Route("/readyz", self._readyz),
                Route("/metrics", read(self._get_metrics)),
                Route("/api/login", change(self._login), methods=["POST"]),
                Route("/api/events", read(self._events)),
                Route("/api/reload", change(self._reload), methods=["POST"]),
                Route("/api/streams", read(self._list), methods=["GET"]),
                Route("/api/streams", change(self._add), methods=["POST"]),
                Route("/api/streams/{name}", read(self._get), methods=["GET"]),
                Route("/api/streams/{name}", change(self._remove), methods=["DELETE"]),
                Route("/api/streams/{name}/start", change(self._start), methods=["POST"]),
                Route("/api/streams/{name}/stop", change(self._stop), methods=["POST"]),
                Route("/api/streams/{name}/restart", change(self._restart), methods=["POST"]),
                Route("/api/streams/{name}/still.jpg", read(self._still)),
                Route("/api/streams/{name}/pair.mjpeg", read(self._mjpeg)),
                Route("/api/streams/{name}/webrtc", read(self._webrtc), methods=["POST"]),
            ],
            middleware=[Middleware(Guard, names=names)],
        )

    # ---- who may, and how errors are told

    def _reading(self, handler: Handler) -> Handler:
        return self._checked(handler, changes=False)

    def _changing(self, handler: Handler) -> Handler:
        return self._checked(handler, changes=True)

    def _checked(self, handler: Handler, *, changes: bool) -> Handler:
        async def checked(request: Request) -> Response:
            try:
                if changes:
                    self._must_change(request)
                elif not self._auth.may_read(request):
                    raise _Refused(401, "reading needs the token: Authorization: Bearer TOKEN")
                return await handler(request)
            except _Refused as error:
                headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
                return _error(error.status, str(error), headers)
            except NoSuchStream as error:
                return _error(404, str(error))
            except UsageError as error:
                return _error(400, str(error))
            except (NoPicture, NotNow, TooManyViewers) as error:
                return _error(503, str(error))
            except DerainError as error:
                return _error(500, str(error))

        return checked

    def _must_change(self, request: Request) -> None:
        if not self._auth.can_change:
            raise _Refused(403, "changes are off: no token is set (listen.token_file or DERAIN_TOKEN)")
        if not self._auth.may_change(request):
            raise _Refused(401, "changing anything needs the token: Authorization: Bearer TOKEN")
        _log.info("%s %s from %s", request.method, request.url.path, request.client.host if request.client else "?")

    # ---- page, probes, metrics

    async def _page(self, _request: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    async def _healthz(self, _request: Request) -> Response:
        return _json({"status": "ok"})

    async def _readyz(self, _request: Request) -> Response:
        ready = self._manager.ready()
        return _json({"ready": ready, "draining": self._manager.draining}, 200 if ready else 503)

    async def _get_metrics(self, _request: Request) -> Response:
        return Response(self._metrics.text(), media_type=CONTENT_TYPE)

    async def _login(self, request: Request) -> Response:
        """The token was right: let this browser read pictures and events."""
        answer = _json({"status": "ok"})
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, self._auth.reader_cookie(), httponly=True, samesite="strict", secure=secure)
        return answer

    # ---- streams

    def _snapshot(self) -> dict[str, Any]:
        return self._manager.snapshot() | {"can_change": self._auth.can_change}

    async def _list(self, _request: Request) -> Response:
        return _json(self._snapshot())

    async def _events(self, request: Request) -> Response:
        async def events() -> AsyncIterator[bytes]:
            while True:
                yield b"data: " + msgspec.json.encode(self._snapshot()) + b"\n\n"
                await asyncio.sleep(EVENTS_EVERY)

        return StreamingResponse(events(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    async def _get(self, request: Request) -> Response:
        stream = self._manager.get(request.path_params["name"])
        since, after = _number(request, "since"), int(_number(request, "log"))
        return _json(
            shown(stream) | {"history": stream.past.history(since), "log": msgspec.to_builtins(stream.past.log(after))}
        )

    async def _add(self, request: Request) -> Response:
        stream = await self._manager.add(await json_of(request))
        return _json(shown(stream), 201)

    async def _remove(self, request: Request) -> Response:
        await self._manager.remove(request.path_params["name"])
        return _json({"status": "removed"})

    async def _start(self, request: Request) -> Response:
        stream = self._manager.to_change(request.path_params["name"])
        stream.start()
        return _json(shown(stream))

    async def _stop(self, request: Request) -> Response:
        stream = self._manager.to_change(request.path_params["name"])
        await stream.stop()
        return _json(shown(stream))

    async def _restart(self, request: Request) -> Response:
        stream = self._manager.to_change(request.path_params["name"])
        await stream.restart()
        return _json(shown(stream))

    async def _reload(self, _request: Request) -> Response:
        try:
            return _json(await self._manager.reload())
        except DerainError as error:  # the file is wrong, not the service
            raise UsageError(str(error)) from error

    # ---- pictures

    async def _still(self, request: Request) -> Response:
        """The newest derained picture; without one within a moment, 204."""
        stream = self._manager.get(request.path_params["name"])
        jpeg = await self._pictures.still(stream)
        return Response(status_code=204) if jpeg is None else Response(jpeg, media_type="image/jpeg")

    async def _mjpeg(self, request: Request) -> Response:
        """Pairs as they come; a slow reader gets fewer, never older. Each part is the JPEG after, which is what a plain
        viewer shows, and behind it the JPEG before, beginning at the byte that X-Before says."""
        stream = self._manager.get(request.path_params["name"])
        self._pictures.check(stream)

        async def parts() -> AsyncIterator[bytes]:
            async for pair in self._pictures.pairs(stream, "jpeg"):
                head = (
                    f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nX-Before: {len(pair.after)}\r\n"
                    f"X-Number: {pair.header.number}\r\nContent-Length: {len(pair.after) + len(pair.before)}\r\n\r\n"
                )
                yield head.encode() + pair.after + pair.before + b"\r\n"

        return StreamingResponse(parts(), media_type=f"multipart/x-mixed-replace; boundary={_BOUNDARY}")

    async def _webrtc(self, request: Request) -> Response:
        """Answer a browser's offer. Changes nothing of the service, so whoever may read may ask."""
        if self._viewers is None:
            raise NoPicture("WebRTC is off (webrtc.enabled); use pair.mjpeg")
        stream = self._manager.get(request.path_params["name"])
        return _json(await self._viewers.answer(stream, await json_of(request)))


def _json(content: Any, status: int = 200) -> Response:
    return Response(
        msgspec.json.encode(content), status, media_type="application/json", headers={"Cache-Control": "no-store"}
    )


def _error(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    answer = _json({"error": redact(text)}, status)
    answer.headers.update(headers or {})
    return answer


def _number(request: Request, key: str) -> float:
    try:
        value = float(request.query_params.get(key, 0))
    except ValueError as error:
        raise UsageError(f"{key}: a number is expected") from error
    if not math.isfinite(value):
        raise UsageError(f"{key}: a number is expected")
    return value
