"""What is shown of a stream: the object that the API gives and the page draws, with credentials taken out."""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.live_status import LiveStatus
from pipeline.redact import redact
from pipeline.service.stream import Stream

_NOTHING = LiveStatus(id="", state="starting")


def shown(stream: Stream) -> dict[str, Any]:
    """A stream as it is now. Counters are over all its processes, rates those of the present one."""
    config, past, holder = stream.config, stream.past, stream.holder
    status = stream.status or _NOTHING
    counts = past.counts.all()
    age = None
    if status.age_ms_p50 is not None and status.age_ms_p99 is not None:
        age = {"p50": status.age_ms_p50, "p99": status.age_ms_p99}
    return {
        "id": config.id,
        "title": config.title or config.id,
        "source": redact(config.source),
        "destinations": [redact(one) for one in config.destinations],
        "sinks": status.destinations,
        "sink_dropped": [past.sink_dropped.all().get(str(n), 0) for n in range(1, len(config.destinations) + 1)],
        "warnings": status.warnings,
        "size": [status.width, status.height] if status.width else None,
        "model": config.model,
        "runtime": status.runtime or None,
        "origin": stream.origin,
        "state": stream.state,
        "since": stream.since,
        "message": stream.message,
        "next_start": stream.next_start,
        "pid": stream.pid,
        "fps_in": status.fps_in,
        "fps_out": status.fps_out,
        "age_ms": age,
        "frames": {"frames_in": counts.get("frames_in", 0), "frames_out": counts.get("frames_out", 0)},
        "dropped": past.dropped.all(),
        "resets": past.resets.all(),
        "reconnects": counts.get("reconnects", 0),
        "restarts": stream.restarts,
        "stage_restarts": past.stage_restarts.all(),
        "firing_rate": status.firing_rate,
        "queue_bytes": status.queue_bytes,
        "busy": status.busy,
        "preview": config.preview,
        "lease": msgspec.to_builtins(holder) if holder else None,
    }
