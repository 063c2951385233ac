"""Runs `python -m pipeline.live` for tests, as `derain serve` does, and hears what it says."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import av
import zmq

from pipeline.live_status import LiveOrder, LiveStatus, unpack_status, write_order

PATIENCE = 150.0
"""Seconds that a busy test machine may take for something that takes two."""


class LiveRun:
    """One live stream.

    Args:
        folder: Short-lived, for the status socket.
        source: As in `LiveOrder`.
        destinations: As in `LiveOrder`.
        settings: The rest of the order.
    """

    def __init__(self, folder: Path, source: str, destinations: list[str] | None = None, **settings: Any) -> None:
        self.statuses: list[LiveStatus] = []
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.PULL)
        address = f"ipc://{folder}/status"
        self._socket.bind(address)
        settings = {"model": "identity", "preset": "ultrafast"} | settings
        self.order = LiveOrder(id="test", source=source, destinations=destinations or [], status=address, **settings)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.live"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self.process.stdin is not None
        self.process.stdin.write(write_order(self.order))
        self.process.stdin.close()

    @property
    def status(self) -> LiveStatus:
        return self.statuses[-1]

    def hear(self, timeout: float = 0.5) -> None:
        while self._socket.poll(int(timeout * 1000)):
            self.statuses.append(unpack_status(self._socket.recv()))
            timeout = 0

    def wait(self, reached: Callable[[LiveStatus], bool], timeout: float = PATIENCE) -> float:
        """Until a status is so. Returns the seconds it took; fails with the last status where it does not come."""
        began = time.monotonic()
        while time.monotonic() - began < timeout:
            self.hear()
            if self.statuses and reached(self.status):
                return time.monotonic() - began
            if self.process.poll() is not None:
                self.hear()
                if self.statuses and reached(self.status):
                    return time.monotonic() - began
                break
        raise AssertionError(f"never reached; exit code {self.process.poll()}, last {self.statuses[-1:]}")

    def running(self) -> None:
        """Until frames go through."""
        self.wait(lambda status: status.state == "running" and status.frames_written > 5)

    def more(self, frames: int = 10) -> float:
        """Until so many more frames are written."""
        before = self.status.frames_written
        return self.wait(lambda status: status.frames_written >= before + frames)

    def stage(self, name: str) -> int:
        """Process number of a stage."""
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            try:
                line = (entry / "cmdline").read_bytes().split(b"\0")
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if line[-2:-1] == [name.encode()] and b"pipeline.live.stage" in line and int(parent) == self.process.pid:
                return int(entry.name)
        raise AssertionError(f"no {name} stage")

    def has(self, name: str) -> bool:
        """Whether a stage is there."""
        try:
            return bool(self.stage(name))
        except AssertionError:
            return False

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        os.kill(self.stage(name), number)

    def stop(self) -> LiveStatus:
        """SIGTERM; the last status, after all is closed and the exit code was 0."""
        self.process.terminate()
        assert self.process.wait(PATIENCE) == 0, self.errors()
        self.hear()
        return self.status

    def errors(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()
        self._socket.close(0)
        self._context.term()


def pts_of(path: Path, kind: str = "video") -> list[float]:
    """Times of the packets of one stream, in the order of decoding; the file must be readable to its end."""
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        return [float(p.pts * p.time_base) for p in container.demux(stream) if p.pts is not None]


def frames_of(path: Path) -> int:
    """How many frames of a file decode."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def accounted(status: LiveStatus) -> bool:
    """Whether every frame that was read was written or is counted as dropped."""
    return status.frames_read == status.frames_written + sum(status.dropped.values())


def rising(times: list[float]) -> bool:
    """Whether each time is later than the one before."""
    return all(later > earlier for earlier, later in itertools.pairwise(times))


def derain(*arguments: str, **settings: Any) -> subprocess.Popen[bytes]:
    """`derain run` with these arguments."""
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | settings
    return subprocess.Popen([sys.executable, "-m", "pipeline", "run", *arguments], **settings)


def wait_for(reached: Any) -> None:
    """Until it is true; fails after a while."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if reached():
            return
        time.sleep(0.1)
    raise AssertionError("it never came")
