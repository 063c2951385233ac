"""Where a live stream goes: what a destination's address means, checked before anything starts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, TypeAlias

from pipeline.addresses import split_address
from pipeline.errors import DerainError, UsageError
from pipeline.redact import redact
from pipeline.sinks.containers import FORMATS
from pipeline.sinks.rolling_name import is_template, unknown_field

Kind: TypeAlias = Literal["push", "file", "rolling", "hls", "stdout", "camera"]

SCHEMES = {"rtmp": "flv", "rtmps": "flv", "rtsp": "rtsp", "udp": "mpegts", "tcp": "mpegts", "srt": "mpegts"}
"""Schemes that streams are pushed to, and FFmpeg's muxer for each."""
_PORTS = {"rtmp": 1935, "rtmps": 443, "rtsp": 554}

_TAKES = {
    "flv": ("libx264",),
    "rtsp": ("libx264", "libx265", "libvpx-vp9"),
    "mpegts": ("libx264", "libx265"),
    "hls": ("libx264", "libx265"),
    "mp4": ("libx264", "libx265", "libsvtav1", "libaom-av1", "libvpx-vp9"),
    "mov": ("libx264", "libx265", "prores_ks"),
    "webm": ("libvpx-vp9", "libsvtav1", "libaom-av1"),
    "avi": ("libx264", "ffv1"),
}
"""Encoders that each muxer takes; those not named take all."""
_NO_AAC = ("webm", "avi")


@dataclass(frozen=True)
class LiveDestination:
    """A destination, taken apart."""

    address: str
    kind: Kind
    muxer: str = ""
    host: str = ""  # push over TCP: who has to be there
    port: int = 0

    @property
    def shown(self) -> str:
        return redact(self.address)


def is_live_destination(destination: str) -> bool:
    """Whether what `derain run` is given to write makes the job a live one: `-`, a network address, HLS, a template for
    rolling segments, a virtual camera."""
    scheme = destination.partition("://")[0].lower() if "://" in destination else ""
    rolling = is_template(destination) and os.path.splitext(destination)[1].lower() in FORMATS
    return (
        destination == "-" or scheme in SCHEMES or destination.endswith(".m3u8") or rolling
        or destination.startswith("/dev/video")
    )  # fmt: skip


def live_destination(address: str, *, overwrite: bool, encoder: str, sound: bool) -> LiveDestination:
    """What the address means.

    Args:
        address: rtmp://, rtsp://, udp:// …, NAME.m3u8, a file, a file name with % fields (rolling), /dev/videoN or `-`.
        overwrite: Whether a file that is there may be replaced.
        encoder: FFmpeg's name, to see whether the container takes its packets; "" where that was looked at before.
        sound: Whether sound is wanted.

    Raises:
        UsageError: It can't be meant.
        DerainError: It can't be written, or a part that it needs is not installed.
    """
    made = _kind(address)
    takes = _TAKES.get(made.muxer)
    if takes and encoder and encoder not in takes:
        raise UsageError(f"{made.shown}: {made.muxer} does not take {encoder}; use --codec {takes[0]}")
    if sound and made.muxer in _NO_AAC:
        raise UsageError(
            f"{made.shown}: {made.muxer} can't hold the AAC sound of live streams; add --no-audio or use .mkv"
        )
    if made.kind in ("file", "rolling"):
        folder = os.path.dirname(os.path.abspath(address))
        if not os.path.isdir(folder):
            fields = any(is_template(part) for part in folder.split(os.sep))
            only = "; fields of the time are for the file's name only" if fields else ""
            raise DerainError(f"{address}: there is no folder {folder}; make it first{only}")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise DerainError(f"{address}: no right to write into {folder}; choose another place")
        if made.kind == "file" and os.path.lexists(address) and not overwrite:
            raise DerainError(f"{address}: exists already; choose another name or pass --overwrite")
    if made.kind == "camera":
        _check_camera(address)
    return made


def _kind(address: str) -> LiveDestination:
    scheme = address.partition("://")[0].lower() if "://" in address else ""
    if address == "-":
        return LiveDestination(address, "stdout", "mpegts")
    if scheme:
        if scheme not in SCHEMES:
            raise UsageError(f"{redact(address)}: streams are pushed to {', '.join(SCHEMES)}, not {scheme}")
        parts = split_address(address)
        host, port = parts.hostname or "", parts.port or _PORTS.get(scheme, 0)
        if not host:
            raise UsageError(f"{redact(address)}: names no host")
        if not port:
            raise UsageError(f"{redact(address)}: names no port; write {scheme}://{host}:PORT")
        listening = "listen" in parts.query
        over_tcp = scheme in ("rtmp", "rtmps", "rtsp", "tcp") and not listening
        return LiveDestination(address, "push", SCHEMES[scheme], host if over_tcp else "", port)
    if address.startswith("/dev/video"):
        return LiveDestination(address, "camera")
    ending = os.path.splitext(address)[1].lower()
    if ending == ".m3u8":
        return LiveDestination(address, "hls", "hls")
    if ending not in FORMATS:
        known = ", ".join((*FORMATS, ".m3u8"))
        raise UsageError(f"{address}: cannot tell a container from the ending {ending or '(none)'!r}; use {known}")
    if ending in (".avi", ".mov", ".m4v"):
        raise UsageError(f"{address}: {ending} is not playable when it is cut off; record to .mkv, .ts or .mp4")
    if not is_template(address):
        return LiveDestination(address, "file", FORMATS[ending])
    if field := unknown_field(address):
        raise UsageError(f"{address}: {field} is no field that a name is made of; use %Y %m %d %H %M %S, %% is a %")
    return LiveDestination(address, "rolling", FORMATS[ending])


def _check_camera(address: str) -> None:
    if find_spec("pyvirtualcam") is None:
        raise DerainError(f"{address}: a virtual camera needs pyvirtualcam: pip install 'derain[live]'")
    if not os.path.exists(address):
        raise DerainError(f"{address}: no such device; load it first: modprobe v4l2loopback devices=1")
