"""Where the newest frame waits: a thread puts frames in, another takes them out, and the oldest unread makes room."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A queue that never makes its writer wait.

    Args:
        room: How many may wait.
    """

    def __init__(self, room: int = 1) -> None:
        self.dropped = 0
        """How many were thrown out unread."""
        self._room = room
        self._held: deque[T] = deque()
        self._changed = threading.Condition()

    def put(self, item: T) -> None:
        """Add the newest; the oldest goes where there is no room."""
        with self._changed:
            if len(self._held) >= self._room:
                self._held.popleft()
                self.dropped += 1
            self._held.append(item)
            self._changed.notify()

    def take(self, timeout: float) -> T | None:
        """The oldest of those that wait, for which it waits `timeout` seconds; else None."""
        with self._changed:
            if not self._held:
                self._changed.wait(timeout)
            return self._held.popleft() if self._held else None

    def __len__(self) -> int:
        return len(self._held)
