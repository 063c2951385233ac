"""A process of a live stream: `python -m pipeline.live.stage decode`, told what to do on standard input.

It reports to the front several times a second, from a thread of its own, so that a stage that loads a network or waits
on a server is not taken for dead. It leaves Ctrl-C to the front and does not outlive it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from importlib import import_module
from types import FrameType

import msgspec
import zmq

from pipeline.errors import DerainError
from pipeline.frame import StreamInfo
from pipeline.link import LINGER_MS, Stopped
from pipeline.live.messages import LiveStageOrder, Message, StageReport, pack
from pipeline.redact import scrub
from pipeline.wire import Failure

REPORT_EVERY = 0.2  # seconds
_ORPHAN_GRACE = 5.0
_PR_SET_PDEATHSIG = 1


class LiveStage:
    """What a stage's work sees of its process: the order, whether to stop, and what it reports.

    `counters`, `gauges`, `texts` and `warnings` are filled by the work and sent by the reporting thread.
    """

    def __init__(self, name: str, order: LiveStageOrder) -> None:
        self.name, self.told, self.order = name, order, order.order
        self.counters: dict[str, int] = {}
        self.gauges: dict[str, float] = {}
        self.texts: dict[str, str] = {}
        self.ages: list[float] = []
        self.resets: list[tuple[float, str]] = []
        self.warnings: list[str] = []
        self.info: StreamInfo | None = None
        self.stopping = threading.Event()
        """Set when the stage is asked to end."""
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

    def count(self, what: str, number: int = 1) -> None:
        self.counters[what] = self.counters.get(what, 0) + number

    def busy(self, seconds: float) -> None:
        """Add to the time spent at the stage's own work."""
        self.gauges["busy"] = self.gauges.get("busy", 0.0) + seconds

    def warn(self, text: str) -> None:
        if text not in self.warnings and len(self.warnings) < 50:
            self.warnings.append(scrub(text, self._addresses()))

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
                    texts={key: scrub(text, self._addresses()) for key, text in dict(self.texts).items()},
                    ages=ages,
                    resets=resets,
                    warnings=list(self.warnings),
                    info=self.info,
                    done=done,
                )
            )

    def fail(self, error: BaseException) -> None:
        failure = Failure.of(self.name, error)
        shown = msgspec.structs.replace(
            failure, text=scrub(failure.text, self._addresses()), trace=scrub(failure.trace, self._addresses())
        )
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

    def _addresses(self) -> list[str]:
        return [self.order.source, *self.order.destinations]


def _die_with_parent(stage: LiveStage) -> None:
    """Have Linux say at once (SIGTERM) when the front dies; a stage that hangs then is ended the hard way."""

    def watch() -> None:
        while not stage.orphaned():
            time.sleep(1)
        stage.stopping.set()
        time.sleep(_ORPHAN_GRACE)
        os._exit(1)

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    threading.Thread(target=watch, daemon=True).start()


def main() -> int:
    """Carry out one stage. Whatever goes wrong is told to the front; nothing is printed."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    kind = sys.argv[1]
    told = msgspec.json.decode(sys.stdin.buffer.read(), type=LiveStageOrder)
    stage = LiveStage(f"output{told.output}" if kind == "output" else kind, told)

    def on_term(_number: int, _frame: FrameType | None) -> None:
        stage.stopping.set()

    signal.signal(signal.SIGTERM, on_term)
    _die_with_parent(stage)
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
    zmq.Context.instance().destroy(linger=LINGER_MS)  # or the last words would be lost with the process
    sys.stdout.flush()
    os._exit(code)  # threads that hang in a library must not keep the process


if __name__ == "__main__":
    sys.exit(main())
