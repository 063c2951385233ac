"""What is a live source, and how FFmpeg opens it: cameras, servers, standard input; and files at their own pace."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.addresses import split_address
from pipeline.errors import UsageError
from pipeline.redact import redact

SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "rtp", "tcp", "srt")
_PROBE = {"analyzeduration": "2000000", "probesize": "1000000"}
"""FFmpeg looks at a stream for up to 5 s before it gives out the first frame; 2 s find sound that starts late."""
_RTSP_PROBE = _PROBE | {"analyzeduration": "500000"}
"""RTSP's description names all streams beforehand: half a second tells the frame rate, and a camera is back sooner."""
RTSP_SETTLES = 12.0
HLS_SILENCE = 20.0
"""Seconds without a packet that are usual between two segments of HLS."""


@dataclass(frozen=True)
class LiveAddress:
    """How FFmpeg opens a source."""

    url: str
    format: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    paced: bool = False  # frames come faster than they are due
    ends: bool = False  # its end is meant, not a loss
    silence: float = 0.0  # seconds without a packet that are usual, where that is more than the user allows
    settles: float = 0.0  # seconds in which the timestamps may be set anew (`pipeline.live.clock`)
    timed: bool = True  # whether FFmpeg gives up waiting when asked to; devices and pipes do not


def is_live_source(source: str) -> bool:
    """Whether what `derain run` is given to read is live by itself: a network address, a camera, `-`, `lavfi:…`."""
    scheme = source.partition("://")[0].lower() if "://" in source else ""
    return source == "-" or scheme in SCHEMES or source.startswith(("/dev/video", "lavfi:"))


def live_address(
    source: str, *, rtsp_transport: str = "tcp", stall_timeout: float = 5.0, stdin: int = 0
) -> LiveAddress:
    """How to open a source.

    Args:
        source: As the user names it.
        rtsp_transport: "tcp" or "udp".
        stall_timeout: Seconds after which a silent socket is given up.
        stdin: File descriptor for "-".

    Raises:
        UsageError: It looks like a network address and is none, or of a kind we don't read.
    """
    scheme = source.partition("://")[0].lower() if "://" in source else ""
    silence = str(int(stall_timeout * 1_000_000))  # microseconds
    if scheme:
        split_address(source)
    if source == "-":
        return LiveAddress(f"pipe:{stdin}", options=_PROBE, ends=True, timed=False)
    if source.startswith("lavfi:"):
        return LiveAddress(source[len("lavfi:") :], "lavfi", paced=True, ends=True)
    if source.startswith("/dev/video"):
        return LiveAddress(source, "v4l2", timed=False)
    if scheme in ("rtsp", "rtsps"):
        options = {**_RTSP_PROBE, "rtsp_transport": rtsp_transport, "timeout": silence}
        return LiveAddress(source, "rtsp", options, settles=RTSP_SETTLES)
    if scheme in ("rtmp", "rtmps"):
        return LiveAddress(source, options={**_PROBE, "rw_timeout": silence, "rtmp_live": "live"})
    if scheme in ("http", "https"):
        playlist = source.partition("?")[0].endswith((".m3u8", ".mpd"))
        return LiveAddress(source, options={**_PROBE, "rw_timeout": silence}, silence=HLS_SILENCE if playlist else 0.0)
    if scheme == "udp":
        return LiveAddress(source, "mpegts", {**_PROBE, "overrun_nonfatal": "1", "fifo_size": "50000"})
    if scheme in ("tcp", "srt"):
        return LiveAddress(source, "mpegts", {**_PROBE, "timeout": silence})
    if scheme == "rtp":
        return LiveAddress(source, "rtp", _PROBE)
    if scheme:
        raise UsageError(f"{redact(source)}: sources can be {', '.join(SCHEMES)}, not {scheme}")
    return LiveAddress(f"file:{source}", paced=True, ends=True)
