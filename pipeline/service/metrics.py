"""What Prometheus reads at `/metrics`: built from the streams each time it asks, so that removed ones are gone at once.

Names follow Prometheus's own rules (base units, `_total` for counters): https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client.core import (
    CollectorRegistry,
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from pipeline.service.manager import Manager
from pipeline.service.stream import Stream

STATES = ("starting", "running", "lost", "silent", "restarting", "failed", "waiting", "stopping", "stopped")
CONTENT_TYPE = CONTENT_TYPE_LATEST


class StreamMetrics(Collector):
    """Turns the streams of a manager into metrics. Labels hold ids and causes, never a URL."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        from importlib.metadata import version

        streams = self._manager.streams()
        yield InfoMetricFamily("derain_service", "The service.", value={"version": version("derain")})
        yield GaugeMetricFamily(
            "derain_service_uptime_seconds", "Since the service began.", value=time.time() - self._manager.began
        )
        yield _states(streams)
        yield from _rates(streams)
        yield from _counters(streams)
        yield from _destinations(streams)
        yield _ages(streams)


def _states(streams: list[Stream]) -> Metric:
    metric = GaugeMetricFamily("derain_stream_state", "1 for the state a stream is in.", labels=["stream", "state"])
    for stream in streams:
        now = stream.state
        for state in STATES:
            metric.add_metric([stream.config.id, state], float(state == now))
    return metric


def _rates(streams: list[Stream]) -> Iterator[Metric]:
    fps = GaugeMetricFamily("derain_stream_fps", "Frames a second.", labels=["stream", "direction"])
    firing = GaugeMetricFamily(
        "derain_stream_firing_ratio",
        "Share of neurons that fire; absent where the runtime can't tell.",
        labels=["stream"],
    )
    queue = GaugeMetricFamily("derain_stream_queue_bytes", "Pixels waiting between stages.", labels=["stream"])
    busy = GaugeMetricFamily("derain_stage_busy_ratio", "Share of time at work.", labels=["stream", "stage"])
    for stream in streams:
        name, status = stream.config.id, stream.status
        alive = status is not None and stream.state in ("running", "lost", "starting")
        fps.add_metric([name, "in"], status.fps_in if alive and status else 0.0)
        fps.add_metric([name, "out"], status.fps_out if alive and status else 0.0)
        queue.add_metric([name], float(status.queue_bytes) if alive and status else 0.0)
        if alive and status:
            if status.firing_rate is not None:
                firing.add_metric([name], status.firing_rate)
            for stage, share in status.busy.items():
                busy.add_metric([name, stage], share)
    yield from (fps, firing, queue, busy)


def _counters(streams: list[Stream]) -> Iterator[Metric]:
    frames = CounterMetricFamily("derain_frames", "Frames read and written.", labels=["stream", "direction"])
    drops = CounterMetricFamily("derain_frames_dropped", "Frames dropped, by cause.", labels=["stream", "cause"])
    resets = CounterMetricFamily("derain_resets", "Resets of the membranes, by reason.", labels=["stream", "reason"])
    reconnects = CounterMetricFamily("derain_reconnects", "Times the source was lost and found.", labels=["stream"])
    restarts = CounterMetricFamily("derain_stream_restarts", "Times the process died and came back.", labels=["stream"])
    stages = CounterMetricFamily("derain_stage_restarts", "Times a stage was replaced.", labels=["stream", "stage"])
    for stream in streams:
        name, past = stream.config.id, stream.past
        counts = past.counts.all()
        frames.add_metric([name, "in"], counts.get("frames_in", 0))
        frames.add_metric([name, "out"], counts.get("frames_out", 0))
        reconnects.add_metric([name], counts.get("reconnects", 0))
        restarts.add_metric([name], stream.restarts)
        for cause, count in past.dropped.all().items():
            drops.add_metric([name, cause], count)
        for stage, count in past.stage_restarts.all().items():
            stages.add_metric([name, stage], count)
        for reason, count in past.resets.all().items():
            resets.add_metric([name, reason], count)
    yield from (frames, drops, resets, reconnects, restarts, stages)


def _destinations(streams: list[Stream]) -> Iterator[Metric]:
    up = GaugeMetricFamily(
        "derain_destination_up", "1 while the destination takes frames.", labels=["stream", "destination"]
    )
    dropped = CounterMetricFamily(
        "derain_destination_frames_dropped",
        "Encoded frames that did not get to the destination.",
        labels=["stream", "destination"],
    )
    for stream in streams:
        said = list(stream.status.destinations.values()) if stream.status and stream.state != "silent" else []
        counts = stream.past.sink_dropped.all()
        for place in range(len(stream.config.destinations)):
            labels = [stream.config.id, str(place + 1)]  # a number: an address may be a secret, and change
            up.add_metric(labels, float(place < len(said) and said[place] == "open"))
            dropped.add_metric(labels, counts.get(labels[1], 0))
    yield from (up, dropped)


def _ages(streams: list[Stream]) -> Metric:
    metric = HistogramMetricFamily(
        "derain_frame_age_seconds", "From the time a frame was read to the encoder.", labels=["stream"]
    )
    for stream in streams:
        buckets, total = stream.past.ages.cumulative()
        metric.add_metric([stream.config.id], buckets=buckets, sum_value=total)
    return metric
