"""What a live stream is told, and what it tells: the contract between `python -m pipeline.live` and whoever runs it.

The runner (`derain serve`) starts one process a stream, writes a `LiveOrder` as JSON to its standard input, closes it.
The process connects a ZeroMQ PUSH socket to `LiveOrder.status` and sends a `LiveStatus` (`pack_status`) at every change
of state, and at least every `STATUS_EVERY` seconds while it lives. SIGTERM drains: files are closed, then it ends with
code 0. It does not outlive the process that started it.

Addresses of sources and destinations may hold passwords. They are in orders, which go over pipes; in a `LiveStatus`
they are redacted (`pipeline.redact`).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from pipeline.errors import DerainError

STATUS_EVERY = 0.5
"""Seconds between two reports."""
RECENT_AGES = 60
"""How many of the youngest ages a report has."""

LiveState: TypeAlias = Literal["starting", "running", "lost", "stopped", "failed"]
"""starting: no frame has come yet. running: frames go through. lost: the source is away, or a stage stands still or is
being replaced. stopped: ended as asked, everything is closed. failed: ended by what `LiveStatus.error` says."""

OnOverload: TypeAlias = Literal["skip", "downscale", "passthrough"]
OnLoss: TypeAlias = Literal["freeze", "slate", "stop"]
RtspTransport: TypeAlias = Literal["tcp", "udp"]


class LiveOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One live stream: where it comes from, where it goes, and how. The words are those of `derain run`'s options."""

    id: str  # names the stream in reports
    source: str  # rtsp://, rtmp://, http://, udp://, srt://, /dev/videoN, lavfi:GRAPH, or a file, read at its own pace
    destinations: list[str] = []  # none: only the preview shows it
    parent: int = 0  # process number of who orders it, and is not outlived; 0: of who started it
    status: str = ""  # ipc:// address that reports are pushed to; "": nobody listens
    preview: str = ""  # ipc:// address to bind the preview to (`pipeline.preview_feed`); "": no preview
    preview_width: int = 960  # pixels; the preview is scaled down to it
    preview_fps: float = 12.5  # pairs a second at most
    model: str = "stream-nano"
    runtime: str = "auto"
    threads: int = 0  # of the network; 0: one a core
    scene_cuts: bool = True  # whether a cut resets the membranes
    codec: str = "libx264"
    crf: float | None = None
    preset: str | None = None
    gop: float = 2.0  # seconds between keyframes
    audio: bool = True  # whether sound goes along
    on_overload: OnOverload = "skip"
    on_loss: OnLoss = "freeze"
    stall_timeout: float = 5.0  # seconds without a frame after which the source counts as lost
    open_timeout: float = 10.0  # seconds that a connection may take
    rtsp_transport: RtspTransport = "tcp"
    wait_for_source: bool = True  # keep trying where the source can't be reached at the very start; else that is failed
    duration: float | None = None  # seconds after the first frame to stop by itself
    segment_time: float = 60.0  # seconds of a rolling segment
    keep_segments: int = 0  # how many rolling segments to keep; 0: all
    overwrite: bool = False  # replace files that are there


class LiveStatus(msgspec.Struct, kw_only=True):
    """How a stream is doing. Counters count from the start of the process and only rise, whatever restarts in it."""

    id: str
    state: LiveState
    pid: int = 0
    at: float = 0.0  # seconds since the epoch when this was said
    uptime: float = 0.0  # seconds since the process began
    source: str = ""  # redacted
    destinations: dict[str, str] = {}  # redacted address -> "open", "waiting: why", "failed: why" or "closed"
    width: int = 0  # of the source now
    height: int = 0
    source_fps: float | None = None  # as the source announces it
    model: str = ""
    runtime: str = ""
    fps_in: float = 0.0  # over the last seconds
    fps_out: float = 0.0
    frames_read: int = 0  # of the source, decoded
    frames_written: int = 0  # of those the ones that reached the encoder; what fills a loss is in `frames_filled`
    frames_passed: int = 0  # of the written the ones passed on with their rain (on_overload: passthrough)
    frames_filled: int = 0  # frozen frames or slates shown while the source was away
    dropped: dict[str, int] = {}  # cause -> frames: start (before all is ready), overload, stage_restart, stop
    sink_dropped: dict[str, int] = {}  # redacted address -> encoded frames it had to leave out
    age_ms_p50: float | None = None  # age of frames at the encoder: since they were read; over the last minute
    age_ms_p99: float | None = None
    recent_ages_ms: list[float] = []  # the youngest RECENT_AGES, oldest first
    age_buckets: list[int] = []  # frames since the start with an age up to AGE_BUCKETS_MS[n]; the last: all
    age_sum_ms: float = 0.0  # of all frames since the start
    resets: dict[str, int] = {}  # reason -> times
    reset_log: list[ResetEntry] = []  # the latest, oldest first
    reconnects: int = 0
    restarts: dict[str, int] = {}  # stage -> times it died and was replaced
    firing_rate: float | None = None  # share of the neurons that fired, 0..1; None: the runtime can't tell
    removed: float | None = None  # how much the network takes away: mean share of the range of luma, 0..1
    scale: float = 1.0  # of the picture the network sees (on_overload: downscale)
    queue_bytes: int = 0  # of frames and packets that wait
    busy: dict[str, float] = {}  # stage -> share of the last seconds it worked, 0..1
    error: str | None = None  # the last one, redacted; it stays when what it tells of is over
    away: str = ""  # why the source is away, redacted, while it is; "" while it is there
    warnings: list[str] = []


class ResetEntry(msgspec.Struct, frozen=True):
    """One time the membranes were zeroed."""

    at: float  # seconds since the epoch
    reason: str


AGE_BUCKETS_MS = (10.0, 20.0, 40.0, 60.0, 80.0, 120.0, 160.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, float("inf"))
"""Upper bounds of the age histogram."""

NOT_BEGUN = ("waiting: not started", "waiting: no picture yet")
"""What is said of a destination before anything could be written there."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(LiveStatus)


def destination_away(said: str) -> str:
    """Why a destination takes no frames, from what `LiveStatus.destinations` says of it; "" where it does, or nothing
    was to be written yet, or any more."""
    kind, _, why = said.partition(": ")
    return "" if said in NOT_BEGUN or kind not in ("waiting", "failed") else why


def read_order(data: bytes) -> LiveOrder:
    """DerainError for bytes that are no order."""
    try:
        return msgspec.json.decode(data, type=LiveOrder)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise DerainError(f"the order of the live stream can't be read: {error}") from error


def write_order(order: LiveOrder) -> bytes:
    """JSON for the standard input of `python -m pipeline.live`."""
    return msgspec.json.encode(order)


def pack_status(status: LiveStatus) -> bytes:
    return _encoder.encode(status)


def unpack_status(data: bytes | memoryview) -> LiveStatus:
    """DerainError for bytes that are no status."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise DerainError(f"a live stream's report can't be read ({error}); run one version of derain") from error
