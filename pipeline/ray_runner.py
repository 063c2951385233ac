"""Parts of files on a Ray cluster. Tasks carry paths and ranges, never pixels: machines share the storage.

Ray starts a task anew on another node when its own dies, at most `retries` times; what was finished lies on the disk
and is not lost. A worker process that stays keeps its network warm for the next task.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import msgspec
import ray
import ray.exceptions

from pipeline.batch import Stop, Watcher
from pipeline.errors import DerainError, UsageError
from pipeline.job import Job, JobResult

_cluster: Any = ray  # half of it has types
_WAIT = 0.2  # seconds
_START = "start one with: ray start --head"
_AHEAD = 2
"""Tasks given to Ray for each that can run, so that no node waits for the front."""


def derain_part(order: bytes, stall: float = 0.0) -> bytes:
    """The task: a packed `Job` in, a packed `JobResult` out. Runs in a worker process of Ray, which ends itself where
    there is no progress for `stall` seconds; Ray then starts the task anew, on another node perhaps."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is loaded, see `pipeline.supervisor`
    from pipeline.batch_worker import carried_out
    from pipeline.hang import HangWatch

    job = msgspec.msgpack.decode(order, type=Job)
    with HangWatch(f"{job.source}: no progress", stall or math.inf) as hang:
        return msgspec.msgpack.encode(hang.during(lambda: carried_out(job, lambda _: hang.beat())))


class RayRunner:
    """A context around a connection to a cluster.

    Args:
        address: Of the cluster (``auto``, ``HOST:PORT`` or ``ray://HOST:PORT``); ``local`` starts one here.
        retries: How often a task is tried again whose node or worker died.
        stall: Seconds without any progress after which a worker ends itself; 0: never.
    """

    def __init__(self, address: str, *, retries: int = 1, stall: float = 0.0) -> None:
        self._address, self._retries, self._stall = address, retries, stall

    def __enter__(self) -> Self:
        """DerainError where the cluster does not answer."""
        if not self._address:
            raise UsageError("--ray: give the address of a cluster, or local")
        settings: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, "namespace": "derain"}
        if self._address == "local":  # its processes inherit our environment
            os.environ["PYTHONPATH"] = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
            settings |= {"include_dashboard": False}
        else:
            _reachable(self._address)
        try:
            ray.init(address=self._address, **settings)
        except Exception as error:  # Ray raises many kinds, and bare Exception where its own processes start slowly
            why = " ".join(str(error).split())[:200]
            if self._address == "local":
                raise DerainError(f"--ray local: Ray did not start on this machine ({why}); try again") from error
            raise DerainError(f"--ray {self._address}: no cluster answers ({why}); {_START}") from error
        self._task: Any = ray.remote(max_retries=self._retries)(derain_part)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ray.shutdown()

    def run(self, jobs: Iterator[Job | None], watch: Watcher, stop: Stop = lambda: False) -> list[JobResult]:
        """Carry all jobs out; the results in the order in which they end."""
        running: dict[Any, Job] = {}
        results: list[JobResult] = []
        left = True
        while left or running:
            if stop():
                for task in running:
                    ray.cancel(task, force=True)
                left = False
            room = _AHEAD * max(1, int(_cluster.cluster_resources().get("CPU", 1)))
            while left and len(running) < room:
                try:
                    job = next(jobs)
                except StopIteration:
                    left = False
                    break
                if job is None:
                    break  # until a task has ended
                task = self._task.options(num_cpus=max(1, job.threads))
                running[task.remote(msgspec.msgpack.encode(job), self._stall)] = job
            ended, _ = ray.wait(list(running), timeout=_WAIT) if running else ([], [])
            for task in ended:
                result = _result(task, running.pop(task), self._retries)
                watch.done(result)
                results.append(result)
        return results


def _reachable(address: str) -> None:
    """DerainError at once where nobody listens; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return  # auto
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise DerainError(f"--ray {address}: no cluster answers ({error}); {_START}") from error


def _result(task: Any, job: Job, retries: int) -> JobResult:
    failed = JobResult(status="failed", source=job.source, destination=job.destination, model=job.model)
    try:
        return msgspec.msgpack.decode(ray.get(task), type=JobResult)
    except ray.exceptions.TaskCancelledError:
        failed.status, failed.error = "interrupted", "interrupted"
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError) as error:
        failed.error = f"a worker died {retries + 1} times over it ({type(error).__name__})"
    except ray.exceptions.RayError as error:
        failed.error = f"Ray: {str(error).strip().splitlines()[-1]}"
    return failed
