"""A worker of a batch: `python -m pipeline.batch_worker ADDRESS NAME`. It does one job after the other and stays warm.

It ends when it is told to, at SIGTERM (giving up its job in an orderly way), and when its front has gone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import zmq

from pipeline.batch_wire import BatchMessage, Done, Going, Idle, Order, pack, unpack
from pipeline.errors import DerainError, NoMemory
from pipeline.job import Job, JobResult, check_job, outcome
from pipeline.offline import run_job
from pipeline.supervisor import Interrupted, Watcher
from pipeline.wire import Message, Progress, Ready

_POLL_MS = 200
_PR_SET_PDEATHSIG = 1


class Worker:
    """Takes orders until there are none."""

    def __init__(self, address: str, name: str) -> None:
        self._parent = os.getppid()
        self._stopped = False
        self._front: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self._front.set_hwm(0)
        self._front.setsockopt(zmq.LINGER, 1000)
        self._front.setsockopt(zmq.IDENTITY, name.encode())
        self._front.connect(address)

    def stop(self, *_: object) -> None:
        self._stopped = True

    def stopped(self) -> bool:
        return self._stopped or os.getppid() != self._parent

    def work(self) -> None:
        while not self.stopped():
            self._say(Idle())
            order = self._hear()
            if not isinstance(order, Order):
                return
            self._say(self._carried_out(order))

    def _hear(self) -> BatchMessage | None:
        while not self.stopped():
            if self._front.poll(_POLL_MS):
                return unpack(self._front.recv())
        return None

    def _say(self, message: BatchMessage) -> None:
        self._front.send(pack(message))

    def _carried_out(self, order: Order) -> Done:
        total: int | None = None
        written, starved = 0, False

        def watch(message: Message) -> None:
            nonlocal total, written
            match message:
                case Ready(stage="decode", info=info) if info is not None:
                    total = info.frames
                case Progress(stage="encode", frames=frames):
                    written = frames
                case _:
                    pass
            self._say(Going(order.number, written, total))  # whatever a stage says, it is a sign of life

        def no_memory() -> None:
            nonlocal starved
            starved = True

        result = carried_out(order.job, watch, self.stopped, restart=order.restart, no_memory=no_memory)
        return Done(order.number, result, starved)


def carried_out(
    job: Job,
    watch: Watcher = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
    *,
    restart: bool = False,
    no_memory: Callable[[], None] = lambda: None,
) -> JobResult:
    """How a job went that was carried out in this process. Raises nothing: what went wrong is in the result.

    `no_memory` is called where it failed for want of memory.
    """
    from pipeline.in_threads import in_threads

    failed = JobResult(status="failed", source=job.source, destination=job.destination, model=job.model)
    try:
        _make_folders(job)
        check_job(job)
        return run_job(job, watch, stop, restart=restart, run=in_threads)
    except Interrupted as stopped:
        failed.status, failed.error = "interrupted", str(stopped) or "interrupted"
    except (DerainError, OSError) as error:
        if isinstance(error, NoMemory):
            no_memory()
        failed.status, failed.error = outcome(error), " ".join(str(error).split())
    except Exception as error:  # one file's bug must not end the night's work
        failed.error = f"internal error: {type(error).__name__}: {error}"
    return failed


def _make_folders(job: Job) -> None:
    for made in filter(None, (job.destination, job.restore.save_rain)):
        folder = os.path.dirname(os.path.abspath(made))
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise DerainError(f"{folder}: cannot be made ({error.strerror})") from error


def main() -> int:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the front decides
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    worker = Worker(*sys.argv[1:3])
    signal.signal(signal.SIGTERM, worker.stop)
    try:
        worker.work()
    finally:
        zmq.Context.instance().destroy(linger=1000)
    if os.getppid() != worker._parent:
        with suppress(OSError):
            folder = Path(sys.argv[1].removeprefix("ipc://")).parent
            from pipeline.private_folder import remove

            remove(str(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
