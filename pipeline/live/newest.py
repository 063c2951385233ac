"""Which frame goes to the network next: the newest, or where the machine keeps up the one that came before it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from pipeline.live.mailbox import Mailbox

T = TypeVar("T")

CALM = 2.0
"""Seconds without a dropped frame after which one may be late again."""


class Newest(Generic[T]):
    """Chooses among the frame that has waited for room and those that came after it.

    The newest wins. But a frame that comes while the one before still waits is often no sign of too much work: the
    network was late once, by less than an interval, and makes up for it with the next ones. So the older one goes
    first, and nothing is dropped, unless there are more than these two, or frames were dropped a short while ago. A
    frame so waits two intervals at most, and where the network can't keep up the skipped ones lie evenly.

    Args:
        box: Where the frames come from, with room for one.
        clock: Monotonic seconds.
    """

    def __init__(self, box: Mailbox[T], clock: Callable[[], float] = time.monotonic) -> None:
        self._box, self._clock = box, clock
        self._seen = 0
        self._late_at: float | None = None
        self.dropped = 0
        """How many were given up here; the box counts those thrown out there."""

    def choose(self, waiting: T) -> T:
        """What to send now.

        Args:
            waiting: The oldest there is, taken from the box when it came.
        """
        if self._box.dropped != self._seen:
            self._seen, self._late_at = self._box.dropped, self._clock()
        if self._late_at is None or self._clock() - self._late_at > CALM:
            return waiting
        while (newer := self._box.take(0)) is not None:
            waiting = newer
            self.dropped += 1
            self._late_at = self._clock()
        return waiting
