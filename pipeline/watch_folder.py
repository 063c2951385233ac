"""Files that appear while we look: taken once nobody writes to them any more.

Looks by listing, not by inotify: that works on network file systems and for what other machines copy, and a file that
is still growing has to be waited for anyway.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from pipeline.batch_files import BatchFile

_Seen = tuple[int, int]  # size and time of change


class WatchFolder:
    """Gives each file once, and again only if it has changed since.

    Args:
        gather: Lists the files there are now.
        stable: Seconds for which neither size nor time of change may move.
    """

    def __init__(self, gather: Callable[[], list[BatchFile]], stable: float) -> None:
        self._gather, self._stable = gather, stable
        self._seen: dict[str, tuple[_Seen, float]] = {}
        self._given: dict[str, _Seen] = {}

    def ready(self) -> list[BatchFile]:
        """The files that have come and are whole."""
        now = time.monotonic()
        found = []
        for file in self._gather():
            try:
                status = os.stat(file.source)
            except FileNotFoundError:
                continue  # moved away meanwhile
            state = (status.st_size, status.st_mtime_ns)
            before, since = self._seen.get(file.source, (None, now))
            if state != before:
                self._seen[file.source] = (state, now)
                since = now
            if status.st_size and now - since >= self._stable and self._given.get(file.source) != state:
                self._given[file.source] = state
                found.append(file)
        return found
