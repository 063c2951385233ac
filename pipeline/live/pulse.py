"""Whether frames go through a stream, as far as its front can tell without asking anybody."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.live.child import LiveChild

_SHORTEST = 1.0
_LATE = 0.5
"""Seconds that the reports of a healthy stage, five a second, may be late on a busy core."""


class Pulse:
    """What keeps frames from going through: a stage that says nothing, or one that has taken another's place and has
    not done anything yet.

    Args:
        stall_timeout: Seconds without a frame after which a stream counts as lost.
    """

    def __init__(self, stall_timeout: float) -> None:
        self._patience = max(_SHORTEST, stall_timeout) + _LATE
        self._written_then: int | None = None

    def replaced(self, written: int) -> None:
        """A stage has died; so many frames were written until then."""
        self._written_then = written

    def trouble(self, stages: Iterable[LiveChild], written: int, now: float) -> str | None:
        """None while frames may go through; else why they don't, where that is worth telling.

        A process that is missing is missed until one more frame than before is written. One that has worked and is
        silent stands still, or has no time at all.
        """
        if self._written_then is not None and written > self._written_then:
            self._written_then = None
        missing = self._written_then is not None
        for child in stages:
            if child.worked and not child.done and now - child.heard > self._patience:
                return f"the {child.name} stage stands still"
            missing = missing or child.process is None
        return "" if missing else None
