"""An HTTP server for tests whose answers have no end: each request gets the bytes that a generator makes, as they come.

>>> with HttpSource("video/mp2t", lambda: iter([b"..."])) as source:
...     source.url                 # "http://127.0.0.1:40123/live"
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Self


class HttpSource:
    """Serves one request at a time.

    Args:
        kind: The answers' Content-Type.
        answer: Makes the body of an answer, and waits itself for the time to go by.
    """

    def __init__(self, kind: str, answer: Callable[[], Iterator[bytes]]) -> None:
        self._head = f"HTTP/1.0 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode()
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/live"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)
        self._listener.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(OSError):
                connection, _ = self._listener.accept()
                with connection:
                    connection.settimeout(5.0)
                    connection.recv(4096)
                    connection.sendall(self._head)
                    for piece in self._answer():
                        connection.sendall(piece)
                        if self._stop.is_set():
                            break
