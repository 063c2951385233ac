"""A camera for tests: a TCP server that sends H.264 (and sound) in MPEG-TS, as it is coded, and can be made to fail.

>>> with Camera() as camera:
...     camera.url             # "tcp://127.0.0.1:40123"
...     camera.cut()           # closes the connection; the next one is served again
...     camera.away(True)      # nobody listens
...     camera.stalled = True  # connections stay open and get nothing
...     camera.garbage = True  # they get noise
...     camera.codec = "mpeg2video"  # the connection there is goes on in another codec
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from fractions import Fraction
from typing import Any, Self

import av
import numpy as np

from tests.clips import planes_of


class Camera:
    """Serves one connection at a time; each begins with pts 0 and a keyframe.

    Args:
        width: Pixels; `size` may be changed for the next connection.
        height: Pixels.
        rate: Frames a second.
        sound: Whether there is sound.
    """

    def __init__(self, width: int = 96, height: int = 64, rate: int = 25, sound: bool = False) -> None:
        self.size, self.rate, self.sound = (width, height), rate, sound
        self.stalled = self.garbage = False
        self.codec = "libx264"
        self.connections = 0
        self._stop = threading.Event()
        self._gone = threading.Event()
        self._cut = threading.Event()
        self._listener: socket.socket | None = None
        self._port = 0
        self._listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self._port}"

    def cut(self) -> None:
        """Close the connection there is."""
        self._cut.set()

    def away(self, gone: bool) -> None:
        """Close everything and stop listening, or listen again at the same port."""
        if gone:
            self._gone.set()
            self._cut.set()
        else:
            self._gone.clear()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._cut.set()
        self._thread.join(10)
        self._close()

    def _listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        listener.listen(1)
        listener.settimeout(0.1)
        self._port = listener.getsockname()[1]
        self._listener = listener

    def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _serve(self) -> None:
        while not self._stop.is_set():
            if self._gone.is_set():
                self._close()
                self._stop.wait(0.05)
                continue
            if self._listener is None:
                self._listen()
            assert self._listener is not None
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            self._cut.clear()
            self.connections += 1
            with connection, contextlib.suppress(OSError, av.error.FFmpegError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.settimeout(2.0)
                self._film(connection)

    def _over(self) -> bool:
        return self._cut.is_set() or self._stop.is_set()

    def _film(self, connection: socket.socket) -> None:
        while self.stalled and not self._over() and not _left(connection):
            time.sleep(0.02)
        while self.garbage and not self._over():
            connection.sendall(np.random.default_rng(0).bytes(2000))
            time.sleep(0.02)
        if self._over():
            return
        while not self._over() and not _left(connection):
            self._film_in(self.codec, connection)

    def _film_in(self, codec: str, connection: socket.socket) -> None:
        """Until the camera's codec is another."""
        pipe = _Pipe(connection)
        width, height = self.size
        out: Any = av.open(pipe, "w", format="mpegts", options={"flush_packets": "1"})
        quick = {"preset": "ultrafast", "tune": "zerolatency"} if codec == "libx264" else {}
        video = out.add_stream(codec, rate=self.rate, options=quick | {"g": str(self.rate)})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        sound = out.add_stream("aac", rate=48000) if self.sound else None
        began, index, sample = time.monotonic(), 0, 0
        while not self._over() and codec == self.codec:
            due = began + index / self.rate
            if self.stalled:
                if _left(connection):
                    return
                time.sleep(0.02)
                continue
            time.sleep(max(0.0, due - time.monotonic()))
            y, u, v = planes_of(index % 100, width, height)
            frame = av.VideoFrame(width, height, "yuv420p")
            for plane, rows in zip(frame.planes, (y, u, v), strict=True):
                padded = np.zeros((plane.height, plane.line_size), np.uint8)
                padded[:, : rows.shape[1]] = rows
                plane.update(padded.tobytes())
            frame.pts, frame.time_base = index, Fraction(1, self.rate)
            packets = video.encode(frame)
            if sound is not None:
                while sample < (index + 1) * 48000 // self.rate:
                    tone = np.sin(np.arange(sample, sample + 1024) * (2 * np.pi * 440 / 48000)).astype(np.float32) * 0.5
                    heard = av.AudioFrame.from_ndarray(np.stack([tone, tone]), format="fltp", layout="stereo")
                    heard.sample_rate, heard.pts, heard.time_base = 48000, sample, Fraction(1, 48000)
                    packets += sound.encode(heard)
                    sample += 1024
            for packet in packets:
                out.mux(packet)
            index += 1


def _left(connection: socket.socket) -> bool:
    """Whether the other side has closed the connection."""
    return bool(select.select([connection], [], [], 0)[0]) and connection.recv(1, socket.MSG_PEEK) == b""


class _Pipe:
    """What PyAV needs of a file to write to."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def write(self, data: bytes) -> int:
        self._connection.sendall(data)
        return len(data)
