"""One stage as a process: forked from the front, or `python -m pipeline.stage decode` with its order on standard input.

The front (`pipeline.supervisor`) starts three of these. A stage reports to it over a socket of its own, ends when it is
asked to (SIGTERM), leaves Ctrl-C and a closed terminal to the front, and does not outlive it: a stage whose front was
killed gives up, which removes its half file, and clears away the sockets.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from importlib import import_module
from types import FrameType

import msgspec
import zmq

from pipeline.job import Job
from pipeline.link import LINGER_MS, Stopped
from pipeline.orphans import end_with_parent, is_gone
from pipeline.private_folder import remove
from pipeline.wire import Failure, Message, Progress, Ready, Report, pack

NAMES = ("decode", "derain", "encode")
_PROGRESS_EVERY = 0.2  # seconds


class StageOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage is told: the job, who asks for it, and the addresses of its links and of the front."""

    job: Job
    parent: int
    """Process number of the front."""
    folder: str
    """Where the sockets are."""
    front: str
    upstream: str = ""
    downstream: str = ""


class Stage:
    """What a stage's work sees of its process: the order, whether to stop, and where to report."""

    def __init__(self, name: str, order: StageOrder) -> None:
        self.name, self.order, self.job = name, order, order.job
        self._stopped = False
        self._told = 0.0
        self.began = time.monotonic()
        self._front: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUSH)
        self._front.connect(order.front)

    def stop(self, *_: object) -> None:
        self._stopped = True

    def stopped(self) -> bool:
        """Whether the stage should give up: it was told to, or its front has gone."""
        return self._stopped or self.orphaned()

    def orphaned(self) -> bool:
        return os.getppid() != self.order.parent

    def ready(self, message: Ready) -> None:
        """Tell the front that work begins."""
        self.begin()
        self.tell(message)

    def begin(self) -> None:
        """From now on time is measured."""
        self.began = time.monotonic()

    def progress(self, frames: int) -> None:
        now = time.monotonic()
        if now - self._told >= _PROGRESS_EVERY:
            self._told = now
            self.tell(Progress(self.name, frames))

    def report(self, report: Report) -> None:
        self.tell(report)

    def tell(self, message: Message) -> None:
        self._front.send(pack(message))

    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def check(self) -> None:
        """Raise Stopped where the stage should give up; for work that does not wait on a link."""
        if self.stopped():
            raise Stopped


def main() -> int:
    """Carry out the stage that the command line names."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    return carry_out(sys.argv[1], msgspec.json.decode(sys.stdin.buffer.read(), type=StageOrder))


def carry_out(name: str, order: StageOrder) -> int:
    """Be one stage. Whatever goes wrong is told to the front; nothing is printed. Returns the exit code."""
    stage = Stage(name, order)

    def on_term(_number: int, _frame: FrameType | None) -> None:
        stage.stop()

    signal.signal(signal.SIGTERM, on_term)
    end_with_parent(order.parent, order.folder)
    work: Callable[[Stage], None] = import_module(f"pipeline.{name}").run
    try:
        work(stage)
        return 0
    except Stopped:
        return 0
    except BaseException as error:
        stage.tell(Failure.of(name, error))
        return 1
    finally:
        zmq.Context.instance().destroy(linger=LINGER_MS)  # or the last words would be lost with the process
        if is_gone(order.parent):
            remove(order.folder)


if __name__ == "__main__":
    sys.exit(main())
