"""Timestamps a muxer will take: each above the one before."""

from __future__ import annotations


class Timeline:
    """Passes rising timestamps through as they are, and moves those that do not rise as little as it can.

    A timestamp that repeats or falls back by less than a frame is put one tick after the one before. One that falls
    back further (a clock that was set back, two recordings joined) and all after it are shifted so that the stream
    goes on without a gap.

    Args:
        strict: Whether equal timestamps are refused too, as muxers do for audio and video but not for subtitles.
    """

    def __init__(self, strict: bool = True) -> None:
        self.moved = 0
        """How many timestamps were changed."""
        self._least_step = 1 if strict else 0
        self.shift = 0
        self.last: int | None = None
        self.last_duration = 1

    def place(self, timestamp: int, duration: int) -> int:
        """Where a frame or packet comes to lie; both numbers in ticks."""
        placed = timestamp + self.shift
        if self.last is not None and placed < self.last + self._least_step:
            if self.last - placed <= self.last_duration:
                placed = self.last + self._least_step
            else:
                self.shift = self.last + self.last_duration - timestamp
                placed = timestamp + self.shift
        self.moved += placed != timestamp
        self.last = placed
        self.last_duration = max(duration, 1)
        return placed
