"""What the front of a live stream knows of one of its processes."""

from __future__ import annotations

import time
from collections import deque

from pipeline.live.nursery import Process

DEATHS = 8
"""So many are remembered."""


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
        self.due = 0.0  # when to start it
        self.deaths: deque[float] = deque(maxlen=DEATHS)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def begin(self, process: Process) -> None:
        """It has been born."""
        self.process, self.asked = process, False
        self.heard, self.worked = time.monotonic(), False
