"""Middleware around every answer: whose name the service may be called by, and what a browser may do with the page.

A loopback service must not be reachable under another site's name (DNS rebinding: a page at evil.example whose name
suddenly points to 127.0.0.1 could read the cameras), so the Host header is compared with the known names. The content
security policy lets the page load from this service alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' blob:; connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """ASGI middleware; `names` empty lets any Host through."""

    def __init__(self, app: ASGIApp, names: Sequence[str] = ()) -> None:
        self._app, self._names = app, {name.lower() for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host = _name(Headers(scope=scope).get("host", ""))
        if self._names and host not in self._names:
            await Response("unknown host name: add it to listen.names\n", 421)(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if scope["path"] == "/" or scope["path"].startswith("/static"):
                    headers["Cache-Control"] = "no-cache"  # asks each time, so a new version is a new page at once
            await send(message)

        await self._app(scope, receive, with_headers)


def _name(host: str) -> str:
    """A Host header without its port."""
    if host.startswith("["):
        return host[1 : host.find("]")].lower()
    return host.partition(":")[0].lower()
