"""The segments of a rolling recording that are kept, and those that go."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

from pipeline.sinks.rolling_name import names_of


class Ring:
    """The closed segments of one template in its folder, those of earlier runs included.

    Segments that a full disk has cut off, and empty ones, don't count as kept: one every two seconds, they would push
    out all that was recorded before. They go when they are older than what is kept.

    Args:
        address: The template.
        keep: How many closed segments stay; above 0.
    """

    def __init__(self, address: str, keep: int) -> None:
        self._folder = os.path.dirname(os.path.abspath(address))
        self._names, self._keep = names_of(address), keep
        self._wrote: set[str] = set()
        self._cut: set[str] = set()
        self._whole = 0  # bytes of the last one that was not cut off
        self._freed = 0  # bytes that gave way to a full disk last
        self._since = 0  # bytes that were written since

    def add(self, path: str, *, cut_off: bool) -> None:
        """A segment was closed. `cut_off`: because the disk is full."""
        name, size = os.path.basename(path), 0
        with suppress(OSError):
            size = os.stat(path).st_size
        self._wrote.add(name)
        if cut_off:
            self._cut.add(name)
            self._since += size
        else:
            self._cut.discard(name)  # it may have been the name of one that is gone
            self._whole, self._freed, self._since = size, 0, 0

    def trim(self) -> None:
        """Remove the oldest, so that `keep` stay."""
        left = self._keep
        for entry, status in reversed(self._segments()):
            if left <= 0:
                _remove(entry)
            elif status.st_size and entry.name not in self._cut:
                left -= 1

    def make_room(self) -> bool:
        """A segment is about to begin: have the oldest give way where one as large as the last would not fit, or each
        would be cut off before its end. Whether it did."""
        try:
            return shutil.disk_usage(self._folder).free < self._whole and self.give_way()
        except OSError:
            return False

    def give_way(self) -> bool:
        """The disk is full: remove the oldest segment, where another stays. Whether one was.

        Not again where the room it left was not ours to fill: whatever else fills the disk would take all of them.
        """
        segments = [(entry, status.st_size) for entry, status in self._segments() if status.st_size]
        if len(segments) < 2 or self._since * 2 < self._freed:
            return False
        oldest, self._freed = segments[0]
        self._since = 0
        return _remove(oldest)

    def _segments(self) -> list[tuple[os.DirEntry[str], os.stat_result]]:
        """The oldest first."""
        found = []
        with suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(OSError):
                    if self._is_ours(entry.name) and entry.is_file(follow_symlinks=False):
                        found.append((entry, entry.stat(follow_symlinks=False)))
        names = {entry.name for entry, _ in found}
        self._wrote &= names
        self._cut &= names
        return sorted(found, key=lambda one: one[1].st_mtime_ns)

    def _is_ours(self, name: str) -> bool:
        if name in self._wrote:
            return True
        # names are used again as they become free, so ours never have higher numbers: those are another's time of day
        found = self._names.fullmatch(name)
        return found is not None and int(found["number"] or 0) <= self._keep + 2


def _remove(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):
        os.unlink(entry.path)
        return True
    return False
