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
from pipeline.service.claim import Claim
from pipeline.service.config import Restart, StreamConfig
from pipeline.service.inbox import Inbox
from pipeline.service.lease import Holder, Lease
from pipeline.service.order import make_order
from pipeline.service.outages import in_words, level_of
from pipeline.service.pacing import Pacing
from pipeline.service.past import Past
from pipeline.service.process import StreamProcess, cause_of_death
from pipeline.service.state import State
from pipeline.service.tracing import Tracer
from pipeline.service.turns import Turns

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
        self._births, self._tracer = births, tracer or Tracer()
        self._state = State(self.past)
        self._claim = Claim(lease, room, self._state)
        self._next_start = self._died = 0.0
        self._launches = 0
        self._process: StreamProcess | None = None
        self._turns = Turns(self._keep_alive)
        self._why_killed = ""
        self.retired = False
        """Whether it is taken out of the service, and will not start again."""

    # ---- what others see

    @property
    def state(self) -> str:
        """What is shown: a word of `metrics.STATES`."""
        return self._state.shown

    @property
    def wanted(self) -> bool:
        """Whether it is meant to run."""
        return self._turns.wanted

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
        return self._claim.holder

    # ---- what others do

    def start(self) -> None:
        """Have it run from now on; where it still stops, as soon as it has. Nothing where it runs or is retired."""
        if self.wanted or self.retired:
            return
        self._pacing.forget()
        if self._turns.ended:
            self._state.set("starting")
        else:
            self._state.set("stopping", "It starts again when it has stopped.")
        self._turns.start()

    async def stop(self) -> None:
        """Have it drain and end; returns when its process is gone."""
        self._ask_to_stop()
        await self._turns.end()

    async def restart(self) -> None:
        """Have it drain, end and start again; returns when its process is gone."""
        self._ask_to_stop()
        gone = self._turns.end()
        self.start()  # now, not when it is gone: a stop that comes meanwhile was asked for later
        await gone

    async def retire(self) -> None:
        """Stop it for good."""
        self.retired = True
        await self.stop()

    def kill(self) -> None:
        """End its process at once, as for the end of the service."""
        self._turns.ask_to_stop()
        if self._process:
            self._process.kill()

    def _ask_to_stop(self) -> None:
        self._turns.ask_to_stop()
        if not self._turns.ended:
            self._state.set("stopping")

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
        if self._process is None:
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

    async def _keep_alive(self, stop: asyncio.Event) -> None:
        try:
            while await self._claim.take(stop):
                ended = await self._live(stop)
                if stop.is_set() or not await self._bury(stop, *ended):
                    break
        except DerainError as error:
            self._fail(str(error))
        except Exception as error:  # ours: it must not take the other streams along, nor go unseen
            _log.exception("%s: internal error", self.config.id)
            self._fail(f"internal error: {type(error).__name__}: {error}")
        finally:
            if stop.is_set():
                self._state.set("starting" if self.wanted else "stopped")
                self.past.note("stopped", "on request")
            self._claim.drop()
            self._state.status = None
            self.past.run_ended()

    async def _live(self, stop: asyncio.Event) -> tuple[int, str]:
        """One process, from its start to its end: its exit code and why it ended."""
        self._launches += 1
        self._why_killed = ""
        self._state.launched()
        address = f"{self._address}-{self._launches}"
        order = make_order(self.config, status=address, preview=f"{address}p" if self.config.preview else "")
        inbox = Inbox(self._context, address, self._take)
        with self._tracer.span("stream", {"stream": self.config.id, "launch": self._launches}) as span:
            try:
                self._process = process = await StreamProcess.launch(
                    self._births, order, self.config.model, self._print, self._claim.descriptor
                )
                code, drained = await process.until_end(stop, lambda: self.drain_seconds)
                if not drained:
                    self.past.note("killed", f"it had not drained after {self.drain_seconds:g} s")
                self._died = time.monotonic()
                if code not in (0, 2) and not stop.is_set():
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

    async def _bury(self, stop: asyncio.Event, code: int, cause: str) -> bool:
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
        await _pause(stop, max(0.0, self._next_start - time.monotonic()))
        return not stop.is_set()

    def _take(self, status: LiveStatus) -> None:
        self._state.take(status)
        for change in self.past.take(status):
            _log.log(level_of(change.kind), "%s: %s: %s", self.config.id, in_words(change.kind), change.text)

    def _print(self, line: str) -> None:
        _log.info("%s: %s", self.config.id, redact(line))


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


def _sentence(cause: str) -> str:
    """What a process died of, with a capital where it begins with a word and not with a path or an address."""
    begun = cause[:1].upper() + cause[1:] if cause.partition(" ")[0].isalpha() else cause
    return begun.rstrip(".")
