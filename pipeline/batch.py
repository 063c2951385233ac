"""Many files, one after the other or several at a time, by workers that stay warm.

A worker is a process that keeps its libraries and its network and carries jobs out in threads (`pipeline.in_threads`).
A file that breaks its worker costs that file alone: a new worker goes on with the rest. One for which there is not
enough memory beside others waits until all is done that can be, and then has the machine to itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

import zmq

from pipeline.batch_wire import BatchMessage, Done, Going, Idle, Order, Quit, pack, unpack
from pipeline.hang import HANG_SECONDS, HUNG
from pipeline.job import Job, JobResult
from pipeline.private_folder import private_folder
from pipeline.sinks.temporary import sweep
from pipeline.supervisor import child_environment

_POLL_MS = 100
_GRACE = 20.0
"""Seconds that a worker has to give up its job before it is killed."""

Stop = Callable[[], bool]


class Watcher:
    """What a batch tells while it runs; does nothing by itself."""

    def started(self, job: Job) -> None:
        """A worker has begun."""

    def going(self, job: Job, frames: int, total: int | None) -> None:
        """So many frames are written, of about so many."""

    def done(self, result: JobResult) -> None:
        """It has ended, one way or another."""


class _Process:
    """One worker and what it is doing."""

    def __init__(self, address: str, name: str) -> None:
        self.name = name
        self.order: Order | None = None
        self.idle = False
        self.heard = time.monotonic()
        """When it was given its order, or last said that it gets on."""
        self.stalled = False
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pipeline.batch_worker", address, name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # only libraries print
            stderr=None if os.environ.get("DERAIN_DEBUG", "0") not in ("", "0") else subprocess.DEVNULL,
            env=child_environment(),
        )


class Batch:
    """A context around the workers, which are started when there is something to do and kept until the end.

    Args:
        workers: How many at a time.
        retries: How often a job whose worker died is tried again.
        restart: Throw away what runs that were cut off have left.
        stall: Seconds without any progress after which a job has failed; 0: never. Its worker is killed, since whoever
            hangs (in a codec, on storage that has gone) cannot be asked to stop, and the job is not tried again.
    """

    def __init__(self, workers: int = 1, *, retries: int = 1, restart: bool = False, stall: float = 0.0) -> None:
        self._most, self._retries, self._restart, self._stall = workers, retries, restart, stall
        self._workers: dict[str, _Process] = {}
        self._started = 0
        self._starved: deque[Order] = deque()
        """Wait for the machine to themselves."""
        self._alone: Order | None = None
        """The one that has it."""
        self._folder = private_folder()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()

    def __enter__(self) -> Self:
        self._address = f"ipc://{self._folder.__enter__()}/batch"
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        self._socket.set_hwm(0)
        self._socket.linger = 0
        self._socket.bind(self._address)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._send_home()
        self._socket.close()
        self._context.term()
        self._folder.__exit__(None, None, None)

    def _send_home(self) -> None:
        """End all workers."""
        for worker in self._workers.values():
            with suppress(zmq.ZMQError):
                self._socket.send_multipart([worker.name.encode(), pack(Quit())])
            worker.process.terminate()
        for worker in self._workers.values():
            try:
                worker.process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
        self._workers.clear()

    def run(self, jobs: Iterable[Job | None], watch: Watcher, stop: Stop = lambda: False) -> list[JobResult]:
        """Carry all jobs out; the results in the order in which they end. Where `stop` says so the rest is not begun.

        Jobs that were not begun have no result. None among them: the next is known only when another has ended.
        """
        orders = (Order(number, job, self._restart) if job else None for number, job in enumerate(jobs))
        queue = _Queue(orders, self._retries)
        results: list[JobResult] = []
        asked = False
        while queue or self._busy() or self._starved or not queue.over:
            if stop() and not asked:
                asked = True
                queue.close()
                self._starved.clear()
                for worker in self._workers.values():
                    worker.process.terminate()  # it gives its job up and says so
            self._hand_out(queue, watch)
            self._look_for_stalls()
            for result in [*self._hear(watch), *self._mourn(queue, asked)]:
                watch.done(result)
                results.append(result)
        return results

    def _busy(self) -> list[_Process]:
        return [worker for worker in self._workers.values() if worker.order]

    def _hand_out(self, queue: _Queue, watch: Watcher) -> None:
        if self._starved and not queue and not self._busy():
            self._send_home()  # they keep their networks
            self._alone = self._starved.popleft()
            queue.put_back(self._alone)
        idle = [worker for worker in self._workers.values() if worker.idle]
        coming = len(self._workers) - len(self._busy())
        if queue and not coming and len(self._workers) < (1 if self._alone else self._most):
            name = f"worker-{self._started}"
            self._started += 1
            self._workers[name] = _Process(self._address, name)
        for worker in idle:
            if order := queue.take():
                worker.idle, worker.order, worker.heard = False, order, time.monotonic()
                watch.started(order.job)
                self._socket.send_multipart([worker.name.encode(), pack(order)])

    def _hear(self, watch: Watcher) -> list[JobResult]:
        """Take in what the workers say, waiting for it a moment."""
        ended = []
        timeout = _POLL_MS
        while self._socket.poll(timeout):
            name, data = self._socket.recv_multipart()
            timeout = 0
            worker = self._workers.get(name.decode())
            if worker is None:
                continue
            message: BatchMessage = unpack(data)
            match message:
                case Idle():
                    worker.idle = True
                case Going(frames=frames, total=total) if worker.order:
                    worker.heard = time.monotonic()
                    watch.going(worker.order.job, frames, total)
                case Done(result=result, starved=starved) if worker.order:
                    order, worker.order = worker.order, None
                    if starved and len(self._workers) > 1:
                        self._starved.append(order)
                    else:
                        ended.append(self._over(order, result))
                case _:
                    pass
        return ended

    def _look_for_stalls(self) -> None:
        for worker in self._busy():
            if self._stall and not worker.stalled and time.monotonic() - worker.heard > self._stall:
                worker.stalled = True
                worker.process.kill()

    def _mourn(self, queue: _Queue, asked: bool) -> list[JobResult]:
        """Workers that have died: their job is tried again, or has failed."""
        ended = []
        for worker in [w for w in self._workers.values() if w.process.poll() is not None]:
            if self._socket.poll(0):
                break  # its last words come first
            del self._workers[worker.name]
            order = worker.order
            if order is None:
                continue
            for film in filter(None, (order.job.destination, order.job.restore.save_rain)):
                sweep(film)
            if not asked and not worker.stalled and queue.again(order):
                continue
            code, tries = worker.process.returncode, queue.tries(order)
            job = order.job
            result = JobResult(
                status="interrupted" if asked else "failed",
                source=job.source,
                destination=job.destination,
                model=job.model,
                error=f"no progress for {self._stall:g} s: given up" if worker.stalled else _how(code, tries),
            )
            ended.append(self._over(order, result))
        return ended

    def _over(self, order: Order, result: JobResult) -> JobResult:
        if order is self._alone:
            self._alone = None
        return result


class _Queue:
    """Orders that wait for a worker. They are asked for one by one, as a file may have to be looked into first."""

    def __init__(self, orders: Iterator[Order | None], retries: int) -> None:
        self._orders, self._retries = orders, retries
        self._next: deque[Order] = deque()
        self._tries: dict[int, int] = {}
        self.over = False
        """Whether no more will come."""

    def __bool__(self) -> bool:
        """Whether there is one now."""
        if not self._next and not self.over:
            try:
                self._next.extend(filter(None, (next(self._orders),)))
            except StopIteration:
                self.over = True
        return bool(self._next)

    def take(self) -> Order | None:
        return self._next.popleft() if self else None

    def again(self, order: Order) -> bool:
        """Put an order back whose worker died, if it may be tried again."""
        self._tries[order.number] = self.tries(order) + 1
        if self._tries[order.number] > self._retries:
            return False
        self.put_back(order)
        return True

    def put_back(self, order: Order) -> None:
        """To be the next."""
        self._next.appendleft(order)

    def tries(self, order: Order) -> int:
        return self._tries.get(order.number, 0)

    def close(self) -> None:
        self._next.clear()
        self.over = True


def _how(code: int, tries: int) -> str:
    if code == HUNG:
        return f"its decoder gave no frame for {HANG_SECONDS:.0f} s: given up"
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    why = "; the machine may be out of memory" if code == -signal.SIGKILL else ""
    return f"its worker {how}{why}" + (f" ({tries} tries)" if tries > 1 else "")
