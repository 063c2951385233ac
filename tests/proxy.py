"""A wire between two ends of TCP that can be bad: slow, stalled, cut in the middle of a message."""

from __future__ import annotations

import contextlib
import socket
import threading
import time


class Proxy(threading.Thread):
    """Takes connections at `url` and passes their bytes on to `target`; new ones go through again after a `cut`.

    >>> wire.delay = 0.2       # seconds that each piece is held back, in both directions
    >>> wire.stalled = True    # connections stay, nothing goes through
    >>> wire.truncate(1000)    # after so many more bytes from the target the connection is closed
    >>> wire.cut()             # now

    Args:
        target: tcp://HOST:PORT
    """

    def __init__(self, target: str) -> None:
        super().__init__(daemon=True)
        host, port = target.removeprefix("tcp://").split(":")
        self._target = (host, int(port))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp://127.0.0.1:{self._listening.getsockname()[1]}"
        self.delay = 0.0
        self.stalled = False
        self.connections = 0
        self._left: int | None = None
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self.start()

    def run(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target)
            except OSError:  # nobody is there: the one who called is told by the end of the connection
                near.close()
                continue
            self.connections += 1
            self._pairs.append((near, far))
            for one, other, counted in ((near, far, False), (far, near, True)):
                threading.Thread(target=self._pump, args=(one, other, counted), daemon=True).start()

    def cut(self) -> None:
        while self._pairs:
            for end in self._pairs.pop():
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def truncate(self, size: int) -> None:
        self._left = size

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()

    def _pump(self, one: socket.socket, other: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(3000):  # less than a frame: cuts fall within messages
                time.sleep(self.delay)
                while self.stalled:
                    time.sleep(0.02)
                if counted and self._left is not None:
                    data, self._left = data[: self._left], self._left - len(data)
                    if self._left <= 0:
                        self._left = None
                        other.sendall(data)
                        break
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
