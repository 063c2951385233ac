"""What the front of a live stream knows of one of its processes."""

from __future__ import annotations

import time
from collections import deque

from pipeline.live.nursery import Process

DEATHS = 8
"""So many are remembered."""
SILENCE = 10.0
"""Seconds without a report after which a process is taken for hung, killed and replaced."""
START_SILENCE = 120.0
"""The same until its first work is done: libraries hold Python's lock while they load and compile."""
_ENDS_TOGETHER = 3.0
"""Seconds within which all have said that they are done, where a source is at its end."""


class LiveChild:
    """One process, and what is known of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.process: Process | None = None
        self.number = 0  # deaths so far
        self.asked = False  # for one to be born
        self.heard = 0.0
        self.worked = False
        self.done = False
        self.done_at = 0.0
        self.asked_to_end = False  # it is done because of a SIGTERM, whoever sent it
        self.due = 0.0  # when to start it
        self.deaths: deque[float] = deque(maxlen=DEATHS)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def gone(self, now: float) -> bool:
        """Whether its process has ended; one that hangs is killed for it."""
        if self.process is not None and self.alive and now - self.heard > (SILENCE if self.worked else START_SILENCE):
            self.process.kill()
            self.process.wait()
        return not self.alive

    def ended(self, asked: bool) -> None:
        """It has said that it is done; `asked`: because it was asked to be."""
        if not self.done:
            self.done, self.done_at, self.asked_to_end = True, time.monotonic(), asked

    def untimely(self, now: float) -> bool:
        """Whether it should not be done, while the stream goes on: somebody has sent SIGTERM to it, or to one before
        it."""
        return self.done and (self.asked_to_end or now - self.done_at > _ENDS_TOGETHER)

    def begin(self, process: Process) -> None:
        """It has been born."""
        self.process, self.asked = process, False
        self.done = self.asked_to_end = False
        self.heard, self.worked = time.monotonic(), False
