"""The three stages of a job as threads of this process, for workers that do one short file after the other.

Libraries stay imported, the network stays loaded and no process is started for a file. The stages and their links are
the very same as in processes (`pipeline.supervisor`), only over ``inproc://``; decoding, the network and encoding all
run without Python's lock.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from importlib import import_module
from queue import Empty, SimpleQueue

from pipeline.errors import DerainError
from pipeline.job import Job, JobResult
from pipeline.link import Stopped
from pipeline.sinks.temporary import sweep
from pipeline.stage import NAMES, Stage, StageOrder
from pipeline.supervisor import Interrupted, Watcher, error_of, result_of
from pipeline.wire import Failure, Message, Ready, Report

_POLL = 0.05  # seconds


class _Over:
    """The last word of a stage, good or bad: waiting for it takes no longer than the stage does."""


class _ThreadStage(Stage):
    """A stage that reports to a queue and is stopped by a flag."""

    def __init__(self, name: str, order: StageOrder, messages: SimpleQueue[Message | _Over]) -> None:
        self.name, self.order, self.job = name, order, order.job
        self.began = time.monotonic()
        self._told = 0.0
        self._stopped = False
        self._messages = messages

    def stopped(self) -> bool:
        return self._stopped

    def orphaned(self) -> bool:
        return False

    def tell(self, message: Message) -> None:
        self._messages.put(message)

    def carry_out(self) -> None:
        """The work of this stage. What goes wrong is told, as `pipeline.stage.main` does."""
        try:
            work: Callable[[Stage], None] = import_module(f"pipeline.{self.name}").run
            work(self)
        except Stopped:
            pass
        except BaseException as error:
            self.tell(Failure.of(self.name, error))
        finally:
            self._messages.put(_Over())


def in_threads(job: Job, watch: Watcher = lambda _: None, stop: Callable[[], bool] = lambda: False) -> JobResult:
    """Carry a job out in threads of this process. The network is kept for the next job.

    Raises:
        DerainError: The job failed.
        Interrupted: `stop` said so.
    """
    began = time.monotonic()
    for film in filter(None, (job.destination, job.restore.save_rain)):
        sweep(film)
    mark = secrets.token_hex(8)
    first, second = f"inproc://{mark}-decoded", f"inproc://{mark}-derained"
    ends = {"decode": ("", first), "derain": (first, second), "encode": (second, "")}
    messages: SimpleQueue[Message | _Over] = SimpleQueue()
    stages = [
        _ThreadStage(
            name,
            StageOrder(job=job, parent=0, folder="", front="", upstream=ends[name][0], downstream=ends[name][1]),
            messages,
        )
        for name in NAMES
    ]
    threads = [threading.Thread(target=stage.carry_out, name=stage.name, daemon=True) for stage in stages]
    for thread in threads:
        thread.start()
    heard = _Heard()
    at_work = len(threads)
    try:
        while at_work:
            if stop():
                raise Interrupted
            try:
                message = messages.get(timeout=_POLL)
            except Empty:
                continue
            if isinstance(message, _Over):
                at_work -= 1
                continue
            heard.take(message)
            watch(message)
            if heard.failures:
                break
    finally:
        for stage in stages:
            stage.stop()
        for thread in threads:
            thread.join()
    while not messages.empty():
        if not isinstance(message := messages.get(), _Over):
            heard.take(message)
    heard.check()
    return result_of(job, heard.reports, heard.runtime, time.monotonic() - began)


class _Heard:
    """What the stages have said so far."""

    def __init__(self) -> None:
        self.reports: dict[str, Report] = {}
        self.failures: list[Failure] = []
        self.runtime: str | None = None

    def take(self, message: Message) -> None:
        match message:
            case Report(stage=name):
                self.reports[name] = message
            case Failure():
                self.failures.append(message)
            case Ready(runtime=str() as runtime):
                self.runtime = runtime
            case _:
                pass

    def check(self) -> None:
        """DerainError with the first true cause, if anything went wrong."""
        if self.failures:
            raise error_of(next((f for f in self.failures if f.kind != "peer"), self.failures[0]))
        if missing := [name for name in NAMES if name not in self.reports]:
            raise DerainError(f"the {missing[0]} stage ended without a word: nothing was written")
