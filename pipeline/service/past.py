"""What has been of a stream: totals over all its processes, the last minutes for charts, and a log.

A process that is started again counts from nothing; counters that go to Prometheus must not go back.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from pipeline.live_status import AGE_BUCKETS_MS, STATUS_EVERY, LiveStatus
from pipeline.redact import redact
from pipeline.service.outages import Outages

KEPT = 600
"""Points for charts: five minutes at two a second."""
LOG_KEPT = 200


class Entry(msgspec.Struct, frozen=True):
    """One line of a stream's log."""

    number: int
    at: float
    """Seconds since 1970."""
    kind: str
    text: str


class Totals:
    """Sums that survive a restart: what ended processes counted, plus what the present one has counted so far."""

    def __init__(self) -> None:
        self._ended: dict[str, int] = {}
        self._now: dict[str, int] = {}

    def update(self, counts: Mapping[str, int]) -> None:
        """Take in the counts of the present process."""
        self._now = dict(counts)

    def restart(self) -> None:
        """The process has ended; another will count from nothing."""
        self._ended, self._now = self.all(), {}

    def all(self) -> dict[str, int]:
        keys = self._ended.keys() | self._now.keys()
        return {key: self._ended.get(key, 0) + self._now.get(key, 0) for key in sorted(keys)}


class AgeHistogram:
    """Ages of frames at the encoder in buckets, over all processes."""

    def __init__(self) -> None:
        self._ended, self._now = [0] * len(AGE_BUCKETS_MS), [0] * len(AGE_BUCKETS_MS)
        self._ended_sum = self._now_sum = 0.0

    def update(self, buckets: Sequence[int], sum_ms: float) -> None:
        """Take in the buckets of the present process: frames with an age up to each bound, and the sum of all ages."""
        if len(buckets) == len(AGE_BUCKETS_MS):
            self._now, self._now_sum = list(buckets), sum_ms

    def restart(self) -> None:
        self._ended = [a + b for a, b in zip(self._ended, self._now, strict=True)]
        self._ended_sum += self._now_sum
        self._now, self._now_sum = [0] * len(AGE_BUCKETS_MS), 0.0

    def cumulative(self) -> tuple[list[tuple[str, float]], float]:
        """(upper bound in seconds, frames up to it) and the sum of ages in seconds, as Prometheus has them."""
        bounds = ["+Inf" if bound == float("inf") else f"{bound / 1000:g}" for bound in AGE_BUCKETS_MS]
        counts = [float(a + b) for a, b in zip(self._ended, self._now, strict=True)]
        return list(zip(bounds, counts, strict=True)), (self._ended_sum + self._now_sum) / 1000


class Past:
    """Totals, points for charts and log of one stream."""

    def __init__(self) -> None:
        self.dropped, self.resets, self.counts, self.stage_restarts = Totals(), Totals(), Totals(), Totals()
        self.sink_dropped = Totals()
        """By the number of the destination, from 1."""
        self.ages = AgeHistogram()
        self._outages = Outages()
        self._points: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._log: deque[Entry] = deque(maxlen=LOG_KEPT)
        self._number = 0
        self._told: LiveStatus | None = None
        self._last_at = 0.0
        self._last_reset = 0.0

    def note(self, kind: str, text: str, at: float | None = None) -> Entry:
        """Put a line into the log; `at` in seconds since 1970, by default now."""
        self._number += 1
        entry = Entry(self._number, time.time() if at is None else at, kind, redact(text))
        self._log.append(entry)
        return entry

    def log(self, after: int = 0) -> list[Entry]:
        return [entry for entry in self._log if entry.number > after]

    def take(self, status: LiveStatus) -> list[Entry]:
        """Take in what the stream's process says; what was lost or is back, as it stands in the log now."""
        at = status.at or time.time()
        before = self._told
        for entry in status.reset_log:
            if entry.at > self._last_reset:
                self._last_reset = entry.at
                self.note("reset", entry.reason.replace("_", " "), entry.at)
        changes = [self.note(change.kind, change.text) for change in self._outages.changes(status)]
        self.ages.update(status.age_buckets, status.age_sum_ms)
        passed = max(0.1, at - self._last_at) if self._last_at else STATUS_EVERY
        old = before.dropped if before else {}
        drops = {cause: max(0, count - old.get(cause, 0)) / passed for cause, count in status.dropped.items()}
        running = status.state == "running"
        self._points.append(
            {
                "t": at,
                "p50": status.age_ms_p50 if running else None,
                "p99": status.age_ms_p99 if running else None,
                "firing": status.firing_rate,
                "dropped": drops,
            }
        )
        self.dropped.update(status.dropped)
        self.resets.update(status.resets)
        self.stage_restarts.update(status.restarts)
        self.sink_dropped.update({str(n): count for n, count in enumerate(status.sink_dropped.values(), 1)})
        self.counts.update(
            {"frames_in": status.frames_read, "frames_out": status.frames_written, "reconnects": status.reconnects}
        )
        self._told, self._last_at = status, at
        return changes

    def process_ended(self) -> None:
        """The next status comes from another process."""
        for totals in (self.dropped, self.sink_dropped, self.resets, self.counts, self.stage_restarts, self.ages):
            totals.restart()
        self._outages.process_ended()
        self._told, self._last_at = None, 0.0

    def run_ended(self) -> None:
        """The stream is stopped or failed, and nothing of it is away any more."""
        self._outages.forget()

    def history(self, since: float = 0.0) -> dict[str, Any]:
        """The points after `since` (seconds since 1970), one list a series; times in seconds, ages in milliseconds."""
        points = [point for point in self._points if point["t"] > since]
        causes = sorted({cause for point in points for cause in point["dropped"]})
        return {
            **{key: [point[key] for point in points] for key in ("t", "p50", "p99", "firing")},
            "dropped": {cause: [point["dropped"].get(cause, 0.0) for point in points] for cause in causes},
        }
