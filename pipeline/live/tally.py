"""What all processes of a live stream report, added up: `LiveStatus`, whatever was replaced in between."""

from __future__ import annotations

import os
import time
from collections import deque

from pipeline.frame import StreamInfo, fraction
from pipeline.live.messages import StageReport
from pipeline.live_status import AGE_BUCKETS_MS, NOT_BEGUN, RECENT_AGES, LiveOrder, LiveState, LiveStatus, ResetEntry
from pipeline.redact import redact, redact_each

WINDOW = 4.0
"""Seconds over which rates and shares are taken."""
AGES_KEPT = 1800
"""Ages of which the percentiles are taken: a minute of 30 frames a second."""
_LOG = 50


class Tally:
    """Adds reports up. Counters of a process that has died stay in the sums.

    Args:
        order: The stream.
    """

    def __init__(self, order: LiveOrder) -> None:
        self._order = order
        self._destinations = redact_each(order.destinations)
        self._began = time.monotonic()
        self._now: dict[str, StageReport] = {}
        self._before: dict[tuple[str, str], int] = {}  # stage and counter -> sum of those that were replaced
        self._ages: deque[float] = deque(maxlen=AGES_KEPT)
        self._buckets = [0] * len(AGE_BUCKETS_MS)
        self._age_sum = 0.0
        self._log: deque[ResetEntry] = deque(maxlen=_LOG)
        self._history: deque[tuple[float, dict[str, float]]] = deque()
        self._source: StreamInfo | None = None
        self._warnings: list[str] = []
        self._away = self._old_error = ""
        self.output: StreamInfo | None = None
        """What the encoder was opened for."""
        self.restarts: dict[str, int] = {}
        self.error: str | None = None

    def take(self, report: StageReport) -> None:
        """Take in a report."""
        last = self._now.get(report.stage)
        if last is not None and last.pid != report.pid:
            for name, value in last.counters.items():
                key = (report.stage, name)
                self._before[key] = self._before.get(key, 0) + value
        self._now[report.stage] = report
        for age in report.ages:
            self._age(age * 1000)
        self._log.extend(ResetEntry(at, reason) for at, reason in report.resets)
        if report.stage == "decode":
            self._source = report.info or self._source
            self._look_for_source(report.texts)
        if report.stage == "encode" and report.info is not None:
            self.output = report.info
        if error := report.texts.get("error"):
            self.error = error
        for text in report.warnings:
            if text not in self._warnings:
                self._warnings.append(text)

    def _look_for_source(self, said: dict[str, str]) -> None:
        """Why the source is away, in the words of its error, unless that is of the last time."""
        lost, error = said.get("lost", ""), said.get("error", "")
        if not lost:
            self._away, self._old_error = "", error
        else:
            reason = f"{redact(self._order.source)}: {lost.replace('_', ' ')}"
            self._away = error if error and error != self._old_error else reason

    def total(self, stage: str, counter: str) -> int:
        """A counter over all processes of a stage."""
        now = self._now.get(stage)
        return self._before.get((stage, counter), 0) + (now.counters.get(counter, 0) if now else 0)

    def now(self, stage: str, counter: str) -> int:
        """The same of the last process alone."""
        now = self._now.get(stage)
        return now.counters.get(counter, 0) if now else 0

    def text(self, stage: str, name: str) -> str:
        now = self._now.get(stage)
        return now.texts.get(name, "") if now else ""

    def pid(self, stage: str) -> int:
        now = self._now.get(stage)
        return now.pid if now else 0

    def status(self, state: LiveState, final: bool = False) -> LiveStatus:
        """The whole. `final`: no frame is on its way any more, so that what is missing is lost."""
        order = self._order
        now = time.monotonic()
        read, written = self.total("decode", "read"), self.total("encode", "written")
        rates = self._rates(now, read, written)
        dropped = {
            "start": self.total("decode", "dropped_start"),
            "overload": self.total("decode", "dropped_overload"),
            "stop": self.total("decode", "dropped_stop"),
        }
        missing = read - written - sum(dropped.values())
        dropped["stage_restart"] = max(0, missing) if final else 0
        ages = sorted(self._ages)
        source = self._source
        names = sorted({name for name in self._counters("derain") if name.startswith("reset_")})
        return LiveStatus(
            id=order.id,
            state=state,
            pid=os.getpid(),
            at=time.time(),
            uptime=now - self._began,
            source=redact(order.source),
            destinations={
                shown: self.text(f"output{number}", "output") or NOT_BEGUN[0]
                for number, shown in enumerate(self._destinations)
            },
            width=source.width if source else 0,
            height=source.height if source else 0,
            source_fps=float(fraction(source.average_rate)) if source and source.average_rate else None,
            model=order.model,
            runtime=self.text("derain", "runtime"),
            fps_in=rates.get("read", 0.0),
            fps_out=rates.get("written", 0.0),
            frames_read=read,
            frames_written=written,
            frames_passed=self.total("derain", "passed"),
            frames_filled=self.total("encode", "filled"),
            dropped={cause: number for cause, number in dropped.items() if number},
            sink_dropped={
                shown: self.total("encode", f"sink_dropped_{number}") + self.total(f"output{number}", "dropped")
                for number, shown in enumerate(self._destinations)
            },
            age_ms_p50=_percentile(ages, 0.5),
            age_ms_p99=_percentile(ages, 0.99),
            recent_ages_ms=[round(age, 1) for age in list(self._ages)[-RECENT_AGES:]],
            age_buckets=list(self._buckets),
            age_sum_ms=self._age_sum,
            resets={name.removeprefix("reset_"): self.total("derain", name) for name in names},
            reset_log=list(self._log),
            reconnects=self.total("decode", "reconnects"),
            restarts=dict(self.restarts),
            firing_rate=self._gauge("derain", "firing_rate"),
            removed=self._gauge("derain", "removed"),
            scale=self._gauge("derain", "scale") or 1.0,
            queue_bytes=int(self._gauge("decode", "queue_bytes") or 0),
            busy={name: rates[f"busy {name}"] for name in ("decode", "derain", "encode") if f"busy {name}" in rates},
            error=self.error,
            away=self._away,
            warnings=list(self._warnings),
        )

    def _age(self, age: float) -> None:
        self._ages.append(age)
        self._age_sum += age
        for number, bound in enumerate(AGE_BUCKETS_MS):
            self._buckets[number] += age <= bound

    def _counters(self, stage: str) -> set[str]:
        now = self._now.get(stage)
        return {name for held, name in self._before if held == stage} | set(now.counters if now else ())

    def _gauge(self, stage: str, name: str) -> float | None:
        now = self._now.get(stage)
        return now.gauges.get(name) if now else None

    def _rates(self, now: float, read: int, written: int) -> dict[str, float]:
        """Change a second over the window; of busy time the share."""
        point: dict[str, float] = {"read": float(read), "written": float(written)}
        point |= {f"busy {name}": self._gauge(name, "busy") or 0.0 for name in ("decode", "derain", "encode")}
        self._history.append((now, point))
        while len(self._history) > 2 and now - self._history[1][0] > WINDOW:
            self._history.popleft()
        before, first = self._history[0]
        passed = now - before
        if passed <= 0:
            return {}
        found = {name: max(0.0, (point[name] - first[name]) / passed) for name in point}
        return {name: min(1.0, value) if name.startswith("busy") else value for name, value in found.items()}


def _percentile(ordered: list[float], part: float) -> float | None:
    """Nearest rank; None of nothing."""
    if not ordered:
        return None
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * part))], 2)
