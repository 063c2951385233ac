"""A function in a thread, for tests of what waits."""

from __future__ import annotations

import threading
from collections.abc import Callable

WAIT = 20.0  # seconds after which a test gives up


class Running(threading.Thread):
    """A function in a thread, with its result or error at hand."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.work, self.error, self.result = work, None, None
        self.start()

    def run(self) -> None:
        try:
            self.result = self.work()
        except Exception as error:
            self.error = error

    def outcome(self) -> object:
        self.join(WAIT)
        assert not self.is_alive(), "still waiting"
        if self.error:
            raise self.error
        return self.result
