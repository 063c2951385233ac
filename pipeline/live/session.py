"""The front of a live stream: starts its processes, replaces those that die or hang, stops them in order.

Whatever happens to one process, the others go on: a frame on its way through a process that dies is lost, and that is
all. Only what can't get better by trying again ends the stream: an order that can't be carried out, or a process that
keeps dying.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec
import zmq

from pipeline.errors import DerainError, UsageError
from pipeline.job import IDENTITY
from pipeline.live.births import Birth
from pipeline.live.child import DEATHS, LiveChild
from pipeline.live.decode import HUNG
from pipeline.live.messages import LiveStageOrder, StageReport, unpack
from pipeline.live.nursery import Nursery
from pipeline.live.pulse import Pulse
from pipeline.live.tally import Tally
from pipeline.live_status import STATUS_EVERY, LiveOrder, LiveState, LiveStatus
from pipeline.private_folder import private_folder
from pipeline.redact import scrub
from pipeline.wire import Failure

STAGES = ("decode", "derain", "encode")
_SLICE_MS = 50
_SOON_MS = 5
DEATHS_WITHIN = 60.0
"""`DEATHS` of one process in so many seconds, and the stream has failed."""
DRAIN = 6.0
"""Seconds that frames on their way have at the end, before the encoder is asked to close."""
CLOSE = 6.0
"""Seconds that the encoder, and then the outputs, have to close."""

Listener = Callable[[LiveStatus], None]


class LiveSession:
    """Runs one live stream until it is stopped, ends, or fails.

    Args:
        order: The stream.
        nursery: Where its processes come from.
        listen: Called with each status.
        stdin: File descriptor for the source "-".
        stdout: File descriptor for the destination "-".
    """

    def __init__(
        self,
        order: LiveOrder,
        nursery: Nursery,
        listen: Listener = lambda _: None,
        *,
        stdin: int = -1,
        stdout: int = -1,
    ) -> None:
        self._order, self._nursery, self._listen = order, nursery, listen
        self._stdin, self._stdout = stdin, stdout
        self._tally, self._pulse = Tally(order), Pulse(order.stall_timeout)
        self._children = {name: LiveChild(name) for name in self._names()}
        self._epoch = time.monotonic()
        self._folder = ""
        self._failure: Failure | None = None
        self._first_frame: float | None = None
        self._told = 0.0
        self._state: LiveState = "starting"
        self._reason = ""  # why the next decode stage begins anew

    def _names(self) -> list[str]:
        return [*STAGES, *(f"output{n}" for n in range(len(self._order.destinations)))]

    def run(self, stop: Callable[[], bool]) -> LiveStatus:
        """Carry on until `stop` says so.

        Returns:
            The last status, of state "stopped".

        Raises:
            DerainError: It failed; the last status was given to `listen`.
        """
        with private_folder() as folder, zmq.Context() as context, context.socket(zmq.PULL) as front:
            self._folder = folder
            front.setsockopt(zmq.LINGER, 0)
            front.bind(f"ipc://{folder}/front")
            try:
                while not self._over(stop):
                    self._start_due()
                    self._hear(front)
                    self._look()
                    self._tell()
                self._drain(front)
            finally:
                self._kill()
        final = self._tally.status("failed" if self._failure else "stopped", final=True)
        final.error = self._failure.text if self._failure else final.error
        self._listen(final)
        if self._failure:
            raise _error(self._failure)
        return final

    def _over(self, stop: Callable[[], bool]) -> bool:
        duration = self._order.duration
        timed_out = (
            duration is not None and self._first_frame is not None and time.monotonic() - self._first_frame >= duration
        )
        gone = self._order.on_loss == "stop" and self._first_frame is not None and bool(self._lost())
        decode = self._children["decode"]
        at_end = decode.done and not decode.asked_to_end
        return bool(self._failure or stop() or timed_out or gone or at_end)

    def _lost(self) -> str:
        return self._tally.text("decode", "lost")

    def _start_due(self) -> None:
        now = time.monotonic()
        # derain first: a network takes longest to begin
        for child in sorted(self._children.values(), key=lambda child: child.name != "derain"):
            if child.process is None and not child.asked and not child.done and now >= child.due:
                self._start(child)

    def _start(self, child: LiveChild) -> None:
        kind = "output" if child.name.startswith("output") else child.name
        told = LiveStageOrder(
            order=self._order,
            parent=os.getpid(),
            folder=self._folder,
            epoch=self._epoch,
            number=child.number,
            info=self._tally.output if kind == "encode" else None,
            output=int(child.name.removeprefix("output")) if kind == "output" else 0,
            stdin=self._stdin,
            stdout=self._stdout,
            reason=self._reason if kind == "decode" else "",
            connected=kind == "decode" and self._first_frame is not None,
        )
        birth = Birth(
            name=child.name,
            kind="stage",
            stage=kind,
            order=msgspec.json.encode(told),
            parent=os.getpid(),
            model=self._order.model if kind == "derain" and self._order.model != IDENTITY else "",
            kept=[fd for fd in (self._stdin, self._stdout) if fd >= 0],
        )
        with open(self._log(child), "wb") as log:
            self._nursery.ask(birth, log.fileno())
        child.asked = True

    def _hear(self, front: zmq.Socket[bytes]) -> None:
        self._take_born()
        timeout = _SLICE_MS if not any(child.asked for child in self._children.values()) else _SOON_MS
        while front.poll(timeout):
            timeout = 0
            message = unpack(front.recv())
            if isinstance(message, StageReport):
                self._report(message)
            elif isinstance(message, Failure):
                self._failed(message)

    def _take_born(self) -> None:
        for name, process in self._nursery.born():
            self._children[name].begin(process)

    def _report(self, report: StageReport) -> None:
        self._tally.take(report)
        child = self._children.get(report.stage)
        if child is not None:
            child.heard = time.monotonic()
            child.worked = child.worked or bool(report.counters)
            if report.done:
                child.ended(report.asked)
        if self._first_frame is None and self._tally.total("encode", "written"):
            self._first_frame = time.monotonic()

    def _failed(self, failure: Failure) -> None:
        """A stage says that it can't go on. An order that can't be carried out ends all; a bug only its process."""
        text = scrub(failure.text, self._addresses())
        self._tally.error = text
        if failure.kind in ("usage", "failed", "memory") and not failure.stage.startswith("output"):
            self._failure = msgspec.structs.replace(failure, text=text)

    def _look(self) -> None:
        """Notice who died or hangs, and arrange for another."""
        now = time.monotonic()
        for child in self._children.values():
            if child.process is None or (child.done and not child.untimely(now)):
                continue
            if child.gone(now):
                self._replace(child, now)

    def _replace(self, child: LiveChild, now: float) -> None:
        assert child.process is not None
        code = child.process.poll() or 0
        child.process, child.done = None, False
        child.number += 1
        child.deaths.append(now)
        self._tally.restarts[child.name] = self._tally.restarts.get(child.name, 0) + 1
        if child.name in STAGES:
            self._pulse.replaced(self._tally.total("encode", "written"))
        if child.name == "decode":
            self._reason = (self._lost() or "stalled") if code == HUNG else "restart"
        recent = [at for at in child.deaths if now - at < DEATHS_WITHIN]
        if code != HUNG and len(recent) >= DEATHS:
            how = signal.Signals(-code).name if code < 0 else f"code {code}"
            last = self._last_line(child)
            self._failure = Failure(
                child.name, "failed",
                f"the {child.name} stage died {DEATHS} times within {DEATHS_WITHIN:.0f} s, the last time with {how}"
                + (f" ({last})" if last else ""),
            )  # fmt: skip
            return
        child.due = now + min(4.0, 0.25 * 2 ** (len(recent) - 1)) * (len(recent) > 1)

    def _tell(self) -> None:
        now = time.monotonic()
        state: LiveState = "starting"
        if self._first_frame is not None:
            stages = [self._children[name] for name in STAGES]
            trouble = self._pulse.trouble(stages, self._tally.total("encode", "written"), now)
            state = "running" if trouble is None and not self._lost() else "lost"
            self._tally.error = trouble or self._tally.error
        if state != self._state or now - self._told >= STATUS_EVERY:
            self._state, self._told = state, now
            self._listen(self._tally.status(state))

    def _drain(self, front: zmq.Socket[bytes]) -> None:
        """Stop in order: no more frames, those on their way to the end, then the outputs close."""
        if self._failure is None:
            until = time.monotonic() + DRAIN
            self._ask("decode")
            self._await(front, ["decode"], DRAIN)
            if not self._tally.now("decode", "sent"):  # then there is no link over which the others hear of the end
                self._ask("derain")
                self._ask("encode")
            self._await(front, ["derain", "encode"], until - time.monotonic())
        if not self._children["encode"].done:
            self._ask("encode")
            self._await(front, ["encode"], CLOSE)
        outputs = [name for name in self._children if name.startswith("output")]
        if not self._children["encode"].done:
            for name in outputs:
                self._ask(name)
        self._await(front, outputs, CLOSE)

    def _ask(self, name: str) -> None:
        child = self._children[name]
        if child.process is not None and child.process.poll() is None:
            child.process.terminate()

    def _await(self, front: zmq.Socket[bytes], names: list[str], seconds: float) -> None:
        """Wait until those have said that they are done, or are gone."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._hear(front)
            self._tell()
            if all(self._children[name].done or not self._children[name].alive for name in names):
                self._hear(front)
                return

    def _kill(self) -> None:
        self._take_born()
        for child in self._children.values():
            if child.process is not None and child.process.poll() is None:
                try:
                    child.process.wait(0.5 if child.done else 0.0)
                except subprocess.TimeoutExpired:
                    child.process.kill()
                    child.process.wait()

    def _log(self, child: LiveChild) -> str:
        return os.path.join(self._folder, f"{child.name}.log")

    def _last_line(self, child: LiveChild) -> str:
        with open(self._log(child), errors="replace") as log:
            last = next((line.strip() for line in reversed(log.readlines()) if line.strip()), "")
        return scrub(last, self._addresses(), foreign=True)

    def _addresses(self) -> list[str]:
        return [self._order.source, *self._order.destinations]


def _error(failure: Failure) -> DerainError:
    if failure.trace and os.environ.get("DERAIN_DEBUG", "0") not in ("", "0"):
        print(failure.trace, file=sys.stderr)
    return UsageError(failure.text) if failure.kind == "usage" else DerainError(failure.text)
