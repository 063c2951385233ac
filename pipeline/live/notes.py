"""What the work of a stage is told, and what it notes of itself on the way, whoever reads that."""

from __future__ import annotations

import threading

from pipeline.frame import StreamInfo
from pipeline.live.messages import LiveStageOrder
from pipeline.redact import scrub


class Notes:
    """Counters, gauges and words of one stage of a live stream; and whether it is to stop."""

    def __init__(self, told: LiveStageOrder) -> None:
        self.told, self.order = told, told.order
        self.counters: dict[str, int] = {}
        self.gauges: dict[str, float] = {}
        self.texts: dict[str, str] = {}
        self.ages: list[float] = []
        self.resets: list[tuple[float, str]] = []
        self.warnings: list[str] = []
        self.info: StreamInfo | None = None
        self.stopping = threading.Event()
        """Set when the stage is asked to end."""

    def count(self, what: str, number: int = 1) -> None:
        self.counters[what] = self.counters.get(what, 0) + number

    def busy(self, seconds: float) -> None:
        """Add to the time spent at the stage's own work."""
        self.gauges["busy"] = self.gauges.get("busy", 0.0) + seconds

    def warn(self, text: str) -> None:
        if text not in self.warnings and len(self.warnings) < 50:
            self.warnings.append(scrub(text, self.addresses()))

    def addresses(self) -> list[str]:
        """Those of the order, which may hold passwords."""
        return [self.order.source, *self.order.destinations]
