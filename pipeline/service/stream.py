"""One stream of the service: its process, what the process says, and what is done when it dies."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

import zmq.asyncio

from pipeline.errors import DerainError
from pipeline.live_status import LiveStatus
from pipeline.redact import redact
from pipeline.service.births import Births
from pipeline.service.config import Restart, StreamConfig
from pipeline.service.inbox import Inbox
from pipeline.service.lease import Holder, Lease
from pipeline.service.order import make_order
from pipeline.service.pacing import Pacing
from pipeline.service.past import Past
from pipeline.service.process import StreamProcess, cause_of_death
from pipeline.service.state import State
from pipeline.service.tracing import Tracer

_LEASE_RETRY = 2.0
_log = logging.getLogger("derain.serve")


class Stream:
    """Keeps one stream alive between `start` and `stop`. Belongs to one event loop."""

    def __init__(
        self,
        config: StreamConfig,
        restart: Restart,
        *,
        address: str,
        context: zmq.asyncio.Context,
        births: Births,
        lease: Lease | None = None,
        room: Callable[[], bool] = lambda: True,
        tracer: Tracer | None = None,
        origin: str = "file",
    ) -> None:
        """
        Args:
            config: The stream.
            restart: How it is started again.
            address: Beginning of the ipc addresses of its sockets; a number is added for each process.
            context: For its sockets.
            births: Where its processes come from.
            lease: What makes it this worker's; none where there is only one worker.
            room: Whether this worker may run one more stream.
            tracer: For spans.
            origin: "file" or "api".
        """
        self.config, self.origin = config, origin
        self.past = Past()
        self.restarts = 0
        self.drain_seconds = 10.0
        self._restart = restart
        self._pacing = Pacing(restart.first_delay, restart.longest_delay, restart.limit, restart.window)
        self._address, self._context = address, context
        self._births, self._lease, self._room, self._tracer = births, lease, room, tracer or Tracer()
        self._state = State(self.past)
        self._next_start = self._died = 0.0
        self._launches = 0
        self._process: StreamProcess | None = None
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._why_killed = ""

    # ---- what others see

    @property
    def state(self) -> str:
        """What is shown: a word of `metrics.STATES`."""
        return self._state.shown

    @property
    def wanted(self) -> bool:
        """Whether it is meant to run."""
        return self._task is not None and not self._stop.is_set()

    @property
    def occupies(self) -> bool:
        """Whether it takes one of this worker's places."""
        return self._state.known not in ("stopped", "failed", "waiting")

    @property
    def preview_address(self) -> str | None:
        """Where the pictures of the present process are."""
        return f"{self._address}-{self._launches}p" if self.config.preview and self._process else None

    @property
    def status(self) -> LiveStatus | None:
        """What the present process said last."""
        return self._state.status

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def begun(self) -> bool:
        """Whether its process has spoken, or there is none."""
        return self._state.known != "starting"

    @property
    def since(self) -> float:
        """When it came into its state, in seconds since 1970."""
        return self._state.since

    @property
    def message(self) -> str:
        """Why it is in its state, without credentials."""
        return self._state.message

    @property
    def next_start(self) -> float | None:
        """Seconds until it is started again; None where it is not waiting for that."""
        return max(0.0, self._next_start - time.monotonic()) if self._state.known == "restarting" else None

    @property
    def holder(self) -> Holder | None:
        """Who has its lease, where another does."""
        return self._lease.holder() if self._lease and self._state.known == "waiting" else None

    # ---- what others do

    def start(self) -> None:
        """Have it run from now on; nothing where it does."""
        if self.wanted:
            return
        self._pacing.forget()
        before = self._task
        self._stop = asyncio.Event()
        self._state.set("starting")
        self._task = asyncio.create_task(self._keep_alive(before))

    async def stop(self) -> None:
        """Have it drain and end; returns when its process is gone."""
        if self._task is None:
            return
        self._stop.set()
        if self._state.known not in ("stopped", "failed"):
            self._state.set("stopping")
        await asyncio.shield(self._task)

    def kill(self) -> None:
        """End its process at once, as for the end of the service."""
        self._stop.set()
        if self._process:
            self._process.kill()

    def set_restart(self, restart: Restart, drain_seconds: float) -> None:
        """Take over how it is restarted and how long it may drain; the process is not touched."""
        if restart != self._restart:
            self._restart = restart
            self._pacing = Pacing(restart.first_delay, restart.longest_delay, restart.limit, restart.window)
        self.drain_seconds = drain_seconds

    def check(self) -> None:
        """To be called several times a second: kills a process that hangs, notes what changed."""
        self._state.note()
        silence = self._state.silence
        if self._process is None or self._stop.is_set():
            return
        if self._state.known == "live" and silence > self._restart.hang_timeout:
            self._end_hung(f"it had said nothing for {silence:.0f} s and was killed")
        elif self._state.known == "starting" and silence > self._restart.start_timeout:
            self._end_hung(f"it had not begun after {silence:.0f} s and was killed")

    def _end_hung(self, why: str) -> None:
        if not self._why_killed:
            self._why_killed = why
            assert self._process is not None
            self._process.kill()

    # ---- its life

    def _fail(self, text: str) -> None:
        self._state.set("failed", text)
        self.past.note("failed", text)
        _log.error("%s failed: %s", self.config.id, redact(text))

    async def _keep_alive(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await before
        try:
            while await self._take_lease():
                ended = await self._live()
                if self._stop.is_set() or not await self._bury(*ended):
                    break
        except DerainError as error:
            self._fail(str(error))
        except Exception as error:  # ours: it must not take the other streams along, nor go unseen
            _log.exception("%s: internal error", self.config.id)
            self._fail(f"internal error: {type(error).__name__}: {error}")
        finally:
            if self._stop.is_set():
                self._state.set("stopped")
                self.past.note("stopped", "on request")
            if self._lease:
                self._lease.drop()
            self._state.status = None
            self._stop.set()

    async def _take_lease(self) -> bool:
        """Wait until the stream is ours; False where it is to stop before."""
        if self._lease is None or self._lease.descriptor is not None:
            return not self._stop.is_set()
        while not self._stop.is_set():
            self._state.set("waiting", "This worker has as many streams as it may.")
            try:
                if self._room():
                    if self._lease.take():
                        return True
                    holder = self._lease.holder()
                    self._state.set("waiting", f"{holder.host} has it." if holder else "Another worker has it.")
            except DerainError as error:  # a shared folder may be away for a while
                self._state.set("waiting", str(error))
            await self._pause(_LEASE_RETRY)
        return False

    async def _live(self) -> tuple[int, str]:
        """One process, from its start to its end: its exit code and why it ended."""
        self._launches += 1
        self._why_killed = ""
        self._state.launched()
        address = f"{self._address}-{self._launches}"
        order = make_order(self.config, status=address, preview=f"{address}p" if self.config.preview else "")
        lease = self._lease.descriptor if self._lease else None
        inbox = Inbox(self._context, address, self._take)
        with self._tracer.span("stream", {"stream": self.config.id, "launch": self._launches}) as span:
            try:
                self._process = process = await StreamProcess.launch(
                    self._births, order, self.config.model, self._print, lease
                )
                code, drained = await process.until_end(self._stop, lambda: self.drain_seconds)
                if not drained:
                    self.past.note("killed", f"it had not drained after {self.drain_seconds:g} s")
                self._died = time.monotonic()
                if code not in (0, 2) and not self._stop.is_set():
                    self._next_start = self._died
                    self._state.set("restarting", "The process has ended.")
                await process.clear()
                await inbox.close()
                cause = self._why_killed or cause_of_death(code, self._state.status, process.last_line())
            except OSError as error:  # no memory or no descriptors left for it: that may pass
                self._died = time.monotonic()
                code, cause = 1, f"the process can't be started ({error.strerror})"
                await inbox.close()
            finally:
                self._process = None
            span.set_attribute("exit_code", code)
            span.set_attribute("cause", redact(cause))
        self.past.process_ended()
        return code, cause

    async def _bury(self, code: int, cause: str) -> bool:
        """A process has ended by itself: wait and say True to start another, False to leave it."""
        if code == 0:
            self._state.set("stopped", cause or "The source ended.")
            self.past.note("ended", cause or "the source ended")
            return False
        if code == 2:  # what was asked for can't be meant; asking again changes nothing
            self._fail(cause)
            return False
        delay = self._pacing.delay(time.monotonic())
        self.past.note("died", cause)
        if delay is None:
            self._fail(f"It died {self._pacing.deaths()} times within {self._restart.window:g} s: {cause}")
            return False
        _log.warning("%s died: %s; starting again in %.1f s", self.config.id, redact(cause), delay)
        self.restarts += 1
        self._next_start = self._died + delay  # what clearing away took is part of the pause
        self._state.set("restarting", f"{_sentence(cause)}.")
        await self._pause(max(0.0, self._next_start - time.monotonic()))
        return not self._stop.is_set()

    async def _pause(self, seconds: float) -> None:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    def _take(self, status: LiveStatus) -> None:
        self._state.take(status)
        self.past.take(status)

    def _print(self, line: str) -> None:
        _log.info("%s: %s", self.config.id, redact(line))


def _sentence(cause: str) -> str:
    """What a process died of, with a capital where it begins with a word and not with a path or an address."""
    begun = cause[:1].upper() + cause[1:] if cause.partition(" ")[0].isalpha() else cause
    return begun.rstrip(".")
