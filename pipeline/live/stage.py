"""A process of a live stream: born in a nursery, or `python -m pipeline.live.stage decode` with its order on standard
input.

It reports to the front several times a second, from a thread of its own, so that a stage that loads a network or waits
on a server is not taken for dead. It leaves Ctrl-C to the front and does not outlive it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from importlib import import_module
from types import FrameType
from typing import NoReturn

import msgspec
import zmq

from pipeline.errors import DerainError
from pipeline.link import LINGER_MS, Stopped
from pipeline.live.messages import LiveStageOrder, Message, StageReport, pack
from pipeline.live.notes import Notes
from pipeline.orphans import end_with_parent, is_gone
from pipeline.private_folder import remove
from pipeline.redact import scrub
from pipeline.wire import Failure

REPORT_EVERY = 0.2  # seconds
_ORPHANS_LINGER_MS = 200


class LiveStage(Notes):
    """What a stage's work sees of its process: the order, whether to stop, and what it reports.

    Its notes are filled by the work and sent by the reporting thread.
    """

    def __init__(self, name: str, order: LiveStageOrder) -> None:
        super().__init__(order)
        self.name = name
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._front: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUSH)
        self._front.setsockopt(zmq.LINGER, LINGER_MS)
        self._front.connect(order.address("front"))
        self._reporter = threading.Thread(target=self._report_on, daemon=True)

    def stopped(self) -> bool:
        return self.stopping.is_set() or self.orphaned()

    def orphaned(self) -> bool:
        return os.getppid() != self.told.parent

    def report(self, done: bool = False) -> None:
        """Send what there is to tell now."""
        with self._lock:
            ages, self.ages = self.ages, []
            resets, self.resets = self.resets, []
            self._send(
                StageReport(
                    stage=self.name,
                    pid=os.getpid(),
                    counters=dict(self.counters),
                    gauges=dict(self.gauges),
                    texts={key: scrub(text, self.addresses()) for key, text in dict(self.texts).items()},
                    ages=ages,
                    resets=resets,
                    warnings=list(self.warnings),
                    info=self.info,
                    done=done,
                    asked=done and self.stopping.is_set(),
                )
            )

    def fail(self, error: BaseException) -> None:
        failure = Failure.of(self.name, error)
        addresses, foreign = self.addresses(), failure.kind == "internal"
        text = scrub(failure.text, addresses, foreign=foreign)
        shown = msgspec.structs.replace(failure, text=text, trace=scrub(failure.trace, addresses, foreign=True))
        with self._lock:
            self._send(shown)

    def begin(self) -> None:
        self._reporter.start()

    def end(self) -> None:
        self._ended.set()
        if self._reporter.is_alive():
            self._reporter.join(1.0)

    def _send(self, message: Message) -> None:
        if not self._front.closed:
            self._front.send(pack(message), zmq.NOBLOCK)

    def _report_on(self) -> None:
        while not self._ended.wait(REPORT_EVERY):
            self.report()


def main() -> int:
    """Carry out the stage that the command line names."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    return born(sys.argv[1], sys.stdin.buffer.read())


def born(kind: str, order: bytes) -> NoReturn:
    """Be one stage, to the end of the process. Whatever goes wrong is told to the front; nothing is printed.

    Args:
        kind: decode, derain, encode or output.
        order: A `LiveStageOrder` as JSON.
    """
    told = msgspec.json.decode(order, type=LiveStageOrder)
    stage = LiveStage(f"output{told.output}" if kind == "output" else kind, told)

    def on_term(_number: int, _frame: FrameType | None) -> None:
        stage.stopping.set()

    signal.signal(signal.SIGTERM, on_term)
    # derain has nothing to close, and its successor waits for it: no frame of an orphan is worth finishing
    orphans_signal = signal.SIGKILL if kind == "derain" else signal.SIGTERM
    end_with_parent(told.parent, told.folder, stage.stopping.set, orphans_signal)
    stage.begin()
    code = 0
    try:
        import_module(f"pipeline.live.{kind}").run(stage)
        stage.end()
        stage.report(done=True)
    except Stopped:
        stage.end()
    except BaseException as error:
        stage.end()
        stage.fail(error)
        code = 1 if isinstance(error, DerainError) else 70
    orphaned = is_gone(told.parent)
    # or the last words would be lost with the process; but a dead front takes none, and another waits for our end
    zmq.Context.instance().destroy(linger=_ORPHANS_LINGER_MS if orphaned else LINGER_MS)
    if orphaned:
        remove(told.folder)
    sys.stdout.flush()
    os._exit(code)  # threads that hang in a library must not keep the process


if __name__ == "__main__":
    sys.exit(main())
