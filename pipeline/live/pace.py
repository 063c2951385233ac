"""Frames of a source that hands out a stretch at once (HLS, a file), each when it is due."""

from __future__ import annotations

import threading
import time

LONGEST_WAIT = 10.0
"""Seconds that a frame may be ahead of its time; more is taken for a jump."""


class Pace:
    """Holds frames of a source that hands out a stretch at once until each is due."""

    def __init__(self) -> None:
        self._start: float | None = None
        self._first = 0.0

    def wait(self, seconds: float | None, stop: threading.Event) -> None:
        """Wait until a frame is due.

        Args:
            seconds: Its timestamp in the source.
            stop: An event that ends the wait.
        """
        if seconds is None:
            return
        now = time.monotonic()
        due = now if self._start is None else self._start + seconds - self._first
        if self._start is None or not -1.0 < due - now < LONGEST_WAIT:
            self._start, self._first = now, seconds  # the first one, a jump, or too late to catch up
        elif due > now:
            stop.wait(due - now)
