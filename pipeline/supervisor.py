"""The front: starts the three stages of a job, watches them, and cleans up whatever happens.

Stages are processes of their own, so a crash in one cannot take the result of another with it. The front hears from
them over one socket and sees them end; the first true cause it hears of becomes the job's error, not the complaints of
the neighbours of a stage that died.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import IO

import msgspec
import zmq

from pipeline.errors import DerainError
from pipeline.forked import Forked, may_fork
from pipeline.job import Job, JobResult, StageTimes
from pipeline.private_folder import private_folder
from pipeline.sinks.temporary import sweep
from pipeline.stage import NAMES, StageOrder, carry_out
from pipeline.wire import Failure, Message, Progress, Ready, Report, unpack

POLL_MS = 50
GRACE = 4.0
"""Seconds that a stage has to end by itself before it is killed."""
CAUSE_WAIT = 1.0
"""Seconds that a neighbour's complaint waits for the true cause."""

Watcher = Callable[[Message], None]


class Interrupted(Exception):
    """The user asked the job to end."""


class Supervisor:
    """Runs one job. `watch` is called with each message of the stages, for a progress bar."""

    def __init__(self, job: Job, watch: Watcher = lambda _: None) -> None:
        self._job = job
        self._watch = watch
        self._reports: dict[str, Report] = {}
        self._failures: list[Failure] = []
        self._runtime: str | None = None
        self._stages: dict[str, subprocess.Popen[bytes] | Forked] = {}
        self._ended: dict[str, float] = {}
        self._folder = ""

    def run(self, stop: Callable[[], bool] = lambda: False) -> JobResult:
        """Carry the job out. Raises DerainError with the cause where it fails, Interrupted when `stop` says so."""
        began = time.monotonic()
        with private_folder() as folder:
            self._folder = folder
            try:
                self._start(folder)  # before there is a context: its threads would rule out forking
                with zmq.Context() as context, context.socket(zmq.PULL) as front:
                    front.linger = 0
                    front.bind(f"ipc://{folder}/front")
                    self._wait(front, stop)
            finally:
                self._end()
                sweep(self._job.destination)
                if self._job.restore.save_rain:
                    sweep(self._job.restore.save_rain)
        return result_of(self._job, self._reports, self._runtime, time.monotonic() - began)

    def _start(self, folder: str) -> None:
        first, second = f"ipc://{folder}/decoded", f"ipc://{folder}/derained"
        ends = {"decode": ("", first), "derain": (first, second), "encode": (second, "")}
        forks = may_fork()
        if forks:
            _import_ahead()
            forks = may_fork()
        for name in NAMES:
            upstream, downstream = ends[name]
            order = StageOrder(
                job=self._job,
                parent=os.getpid(),
                folder=folder,
                front=f"ipc://{folder}/front",
                upstream=upstream,
                downstream=downstream,
            )
            with open(self._log(name), "wb") as log:
                if forks:
                    title = ["-m", "pipeline.stage", name]
                    work = partial(carry_out, name, order)
                    self._stages[name] = Forked(work, title, log.fileno(), quiet=not _debugging())
                else:
                    self._stages[name] = _spawned(name, order, log)

    def _wait(self, front: zmq.Socket[bytes], stop: Callable[[], bool]) -> None:
        complained: float | None = None
        while len(self._reports) < len(NAMES):
            self._hear(front)
            if stop():
                raise Interrupted
            self._look(front)
            if cause := next((f for f in self._failures if f.kind != "peer"), None):
                raise error_of(cause)
            if self._failures:
                complained = complained or time.monotonic()
                if time.monotonic() - complained > CAUSE_WAIT:
                    raise error_of(self._failures[0])

    def _hear(self, front: zmq.Socket[bytes]) -> None:
        """Take in what the stages say, waiting for it a moment."""
        timeout = POLL_MS
        while front.poll(timeout):
            message = unpack(front.recv())
            match message:
                case Report(stage=name):
                    self._reports[name] = message
                case Failure():
                    self._failures.append(message)
                case Ready(runtime=str() as runtime):
                    self._runtime = runtime
                case _:
                    pass
            self._watch(message)
            timeout = 0

    def _look(self, front: zmq.Socket[bytes]) -> None:
        """Notice a stage that ended without a word."""
        for name, stage in self._stages.items():
            code = stage.poll()
            if code is None or name in self._reports:
                continue
            if code < 0:
                self._hear(front)  # its last words may just have come
            elif time.monotonic() - self._ended.setdefault(name, time.monotonic()) < GRACE:
                continue  # who ended by itself has said why, and that will arrive
            if name in self._reports or any(f.stage == name for f in self._failures):
                continue
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            why = "; the machine may be out of memory" if code == -signal.SIGKILL else ""
            said = f" ({last})" if (last := self._last_line(name)) else ""
            self._failures.append(Failure(name, "failed", f"the {name} stage {how}{why}: nothing was written{said}"))

    def _log(self, name: str) -> str:
        """The file that takes what a stage's libraries print."""
        return os.path.join(self._folder, f"{name}.log")

    def _last_line(self, name: str) -> str:
        with open(self._log(name), errors="replace") as log:
            return next((line.strip() for line in reversed(log.readlines()) if line.strip()), "")

    def _end(self) -> None:
        """Let no stage live on: ask, wait, kill."""
        finished = len(self._reports) == len(NAMES)
        deadline = time.monotonic() + GRACE
        if not finished:
            for stage in self._stages.values():
                if stage.poll() is None:
                    stage.terminate()
        for stage in self._stages.values():
            try:
                stage.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                stage.kill()
                stage.wait(GRACE)


def _import_ahead() -> None:
    """Import once what every stage needs. OpenBLAS, which numpy brings, would start a thread a core."""
    known = os.environ.get("OPENBLAS_NUM_THREADS")
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    try:
        for name in ("numpy", "av", *(f"pipeline.{stage}" for stage in NAMES)):
            import_module(name)
    finally:
        if known is None:
            del os.environ["OPENBLAS_NUM_THREADS"]
        else:
            os.environ["OPENBLAS_NUM_THREADS"] = known
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # see `child_environment`


def _spawned(name: str, order: StageOrder, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """A stage in an interpreter of its own, where this process can't be forked."""
    stage = subprocess.Popen(
        [sys.executable, "-P", "-m", "pipeline.stage", name],  # -P: no module of the user's folder
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=None if _debugging() else log,
        env=child_environment(),
    )
    assert stage.stdin is not None
    try:
        stage.stdin.write(msgspec.json.encode(order))
        stage.stdin.close()
    except BrokenPipeError:
        pass  # it died at once; `_look` says so
    return stage


def result_of(job: Job, reports: dict[str, Report], runtime: str | None, seconds: float) -> JobResult:
    """How a job went, from what its three stages report."""
    frames = reports["encode"].frames
    return JobResult(
        status="done",
        source=job.source,
        destination=job.destination,
        model=job.model,
        runtime=runtime,
        frames_in=reports["decode"].frames,
        frames_out=frames,
        damaged=reports["decode"].damaged,
        lost=reports["decode"].lost,
        resets=reports["derain"].resets,
        fps=frames / seconds,
        seconds=seconds,
        stages={n: StageTimes(busy=r.busy, wait_in=r.wait_in, wait_out=r.wait_out) for n, r in reports.items()},
        warnings=[line for name in NAMES for line in reports[name].warnings],
    )


def error_of(failure: Failure) -> DerainError:
    """What a stage's failure is to the caller. Its traceback is printed with --debug."""
    if failure.trace and _debugging():
        print(failure.trace, file=sys.stderr)
    return failure.error()


def child_environment() -> dict[str, str]:
    """Of a process of ours: our own environment, with our import path.

    OpenMP's threads wait asleep unless the user says otherwise: spinning, they take the cores from the codecs beside
    them (measured on two busy cores: 0.8 fps spinning, 5.6 asleep).
    """
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "PYTHONPATH": path}


def _debugging() -> bool:
    return os.environ.get("DERAIN_DEBUG", "0") not in ("", "0")


__all__ = ["Interrupted", "Progress", "Supervisor"]
