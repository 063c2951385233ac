"""How soon a stream that died is started again, and when to give up."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable


class Pacing:
    """Back-off that doubles with each death, with jitter, and forgets deaths older than a window.

    The first restart comes at once after `first` seconds: one death is an accident. Many in a short time are not, and
    a stream that can't live must not keep the machine busy starting it.
    """

    def __init__(self, first: float, longest: float, limit: int, window: float) -> None:
        """
        Args:
            first: Seconds before the first restart.
            longest: Most seconds between two.
            limit: Deaths within `window` after which `delay` gives up; 0 never does.
            window: Seconds.
        """
        self._first, self._longest, self._limit, self._window = first, longest, limit, window
        self._deaths: deque[float] = deque()

    def delay(self, now: float, jitter: Callable[[], float] = random.random) -> float | None:
        """Count a death at `now` (monotonic seconds); how long to wait, or None where it is time to give up."""
        self._deaths.append(now)
        while self._deaths and now - self._deaths[0] > self._window:
            self._deaths.popleft()
        deaths = len(self._deaths)
        if self._limit and deaths >= self._limit:
            return None
        wait = min(self._longest, self._first * 2.0 ** min(deaths - 1, 30))
        return wait * (1.0 if deaths == 1 else 0.75 + 0.5 * jitter())

    def deaths(self) -> int:
        """Deaths that still count."""
        return len(self._deaths)

    def forget(self) -> None:
        """Begin anew: somebody started the stream by hand."""
        self._deaths.clear()
