"""What a stream loses and gets back, noticed from one report to the next: its source, its destinations, its stages.

Each change is told once, however often the stream tries again meanwhile. What was away before a process was replaced
is still away after it, until the next one has it.
"""

from __future__ import annotations

import logging

import msgspec

from pipeline.live_status import LiveStatus, destination_away


class Change(msgspec.Struct, frozen=True):
    """One of them."""

    kind: str
    """running, lost, back (the source), died (a stage), destination lost, destination back."""
    text: str


def level_of(kind: str) -> int:
    """Of such a change, in the service's own log."""
    return logging.INFO if kind in ("running", "back", "destination back") else logging.WARNING


def in_words(kind: str) -> str:
    """What the service's own log calls it, which tells of more than sources."""
    return f"source {kind}" if kind in ("lost", "back") else kind


class Outages:
    """Compares reports of one stream."""

    def __init__(self) -> None:
        self._source_away = False
        self._running = False
        self._away: set[str] = set()  # destinations
        self._restarts: dict[str, int] = {}

    def changes(self, status: LiveStatus) -> list[Change]:
        """What is otherwise than in the report before."""
        return [*self._stages(status), *self._source(status), *self._destinations(status)]

    def process_ended(self) -> None:
        """The next report comes from another process, which counts from nothing."""
        self._restarts, self._running = {}, False

    def forget(self) -> None:
        """The stream has ended; when it is started again, nothing is known to be away."""
        self.process_ended()
        self._source_away = False
        self._away.clear()

    def _stages(self, status: LiveStatus) -> list[Change]:
        before, self._restarts = self._restarts, dict(status.restarts)
        return [
            Change("died", f"the {stage} stage; it was replaced")
            for stage, count in status.restarts.items()
            if count > before.get(stage, 0)
        ]

    def _source(self, status: LiveStatus) -> list[Change]:
        if status.away:
            if self._source_away:
                return []
            self._source_away = True
            return [Change("lost", status.away)]
        if status.state != "running" or (self._running and not self._source_away):
            return []
        change = Change("back" if self._source_away else "running", "frames come")
        self._source_away, self._running = False, True
        return [change]

    def _destinations(self, status: LiveStatus) -> list[Change]:
        found = []
        for address, said in status.destinations.items():
            why = destination_away(said)
            if why and address not in self._away:
                self._away.add(address)
                found.append(Change("destination lost", why if address in why else f"{address}: {why}"))
            elif said == "open" and address in self._away:
                self._away.remove(address)
                found.append(Change("destination back", address))
        return found
