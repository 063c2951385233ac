"""Notices a decoder that has hung. It is inside a library then and cannot be asked to stop, so its process ends."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")

HANG_SECONDS = 60.0
"""A frame takes no longer than this, however large and however busy the machine."""
HUNG = 70  # EX_SOFTWARE
"""Exit code of a process that was ended for this."""
_LOOK = 0.25  # seconds between looks, or fewer for a short limit


class HangWatch:
    """Ends the process where one step of work takes too long. What happened is the last line on stderr, which the
    supervisor makes the job's error; a worker of a batch is started anew.

    Args:
        what: What to say of it; names the file.
        seconds: How long a step may take.
    """

    def __init__(self, what: str, seconds: float = HANG_SECONDS) -> None:
        self._what, self._seconds = what, seconds
        self._began: float | None = None
        self._over = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def __enter__(self) -> HangWatch:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Work that must not take too long."""
        self._began = time.monotonic()
        try:
            yield
        finally:
            self._began = None

    def during(self, work: Callable[[], Item]) -> Item:
        """What the work gives; all of it is one step."""
        with self.step():
            return work()

    def beat(self) -> None:
        """The step that is under way gets on: its time begins anew."""
        if self._began is not None:
            self._began = time.monotonic()

    def each(self, items: Iterator[Item]) -> Iterator[Item]:
        """The same items; getting each is a step, what is done with it is not."""
        while True:
            with self.step():
                item = next(items, None)
            if item is None:
                return
            yield item

    def _watch(self) -> None:
        while not self._over.wait(min(_LOOK, self._seconds / 4)):
            began = self._began
            if began is not None and time.monotonic() - began > self._seconds:
                print(f"{self._what} for {self._seconds:.0f} s: given up", file=sys.stderr, flush=True)
                os._exit(HUNG)
