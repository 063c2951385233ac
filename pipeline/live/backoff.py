"""How long to wait before trying again: longer each time, and never all at the same moment."""

from __future__ import annotations

import random


class Backoff:
    """Waits that double from `first` to `longest`, each spread by up to a third.

    The spread (jitter) keeps sixteen cameras behind one switch from knocking all at once when it is back.

    Args:
        first: Seconds.
        longest: Seconds, the spread included.
        spread: Part of the wait that is left to chance, 0..1.
    """

    def __init__(self, first: float = 0.25, longest: float = 4.0, spread: float = 1 / 3) -> None:
        self._first, self._longest, self._spread = first, longest, spread
        self.attempts = 0
        """Waits since the last success."""

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        whole = min(self._longest, self._first * 2.0 ** min(self.attempts, 30))
        self.attempts += 1
        return whole * (1 - self._spread * random.random())

    def reset(self) -> None:
        """It worked: begin anew."""
        self.attempts = 0
