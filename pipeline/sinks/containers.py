"""File endings, the containers behind them, and what each can hold."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.stream import Stream

FORMATS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
    ".ts": "mpegts",
    ".m2ts": "mpegts",
    ".mts": "mpegts",
    ".flv": "flv",
    ".nut": "nut",
}
"""File ending -> FFmpeg's name of the muxer."""

ISO = ("mp4", "mov")
"""Containers of the ISO base media family: edit lists, timescales."""

ROTATES = ("mp4", "mov", "matroska", "webm")
"""Containers that can store a display matrix."""

HOLDS_NEGATIVE_TIME = ("mp4", "mov", "matroska", "webm")
"""Containers that keep a stream's start below 0 (priming of AAC, decoding before the first pts); others shift all."""

_STORES_PIXEL_SHAPE = ("mp4", "mov")
"""Containers whose muxer takes the sample aspect ratio from where PyAV can put it."""

_CODES_PIXEL_SHAPE = ("libx264", "libx265", "prores_ks")
"""Encoders that write the sample aspect ratio into the bitstream, so that any container will do. FFV1 would too, but
takes it from the frames, where PyAV cannot put it."""

HAS_CHAPTERS = ("mp4", "mov", "matroska", "webm", "nut")

_AVI = ("ffv1",)
"""AVI stores an order but no timestamps: where a codec reorders frames readers have to guess, and guess differently."""

_REFUSED_BY_MOV = ("vp9", "av1")
"""QuickTime's muxer lists them, and refuses them when it writes its header (FFmpeg, libavformat/movenc.c)."""

_MPEGTS = {
    *("h264", "hevc", "vvc", "mpeg1video", "mpeg2video", "mpeg4"),
    *("aac", "aac_latm", "ac3", "eac3", "dts", "mp2", "mp3", "opus", "truehd", "s302m"),
    *("dvb_subtitle", "dvb_teletext", "scte_35", "timed_id3", "klv", "smpte_klv"),
}
"""FFmpeg's MPEG-TS muxer takes any codec, but readers find only these again; the rest becomes private data."""


def holds_pixel_shape(muxer: str, encoder: str) -> bool:
    """Whether readers of the file will know its sample aspect ratio."""
    return muxer in _STORES_PIXEL_SHAPE or encoder in _CODES_PIXEL_SHAPE


def format_of(path: str) -> str:
    """FFmpeg's name of the container that the file's ending asks for.

    Raises:
        UsageError: The ending is not one we write.
    """
    ending = os.path.splitext(path)[1].lower()
    if ending not in FORMATS:
        known = ", ".join(FORMATS)
        raise UsageError(f"{path}: cannot tell a video container from the ending {ending or '(none)'!r}; use {known}")
    return FORMATS[ending]


def check_codec(path: str, encoder: str) -> None:
    """Refuse an encoder whose output the container cannot hold.

    Raises:
        UsageError: It does not fit; the text names endings that do.
    """
    fitting = [ending for ending in FORMATS if can_hold(ending, encoder)]
    if os.path.splitext(path)[1].lower() not in fitting:
        raise UsageError(f"{path}: this container cannot hold {encoder} video; use {', '.join(fitting)}")


@cache
def can_hold(ending: str, encoder: str) -> bool:
    """Whether a file with that ending (one of `FORMATS`) can hold what the encoder of that name makes."""
    import av
    from av.codec import Codec

    muxer = FORMATS[ending]
    if muxer == "mov" and Codec(encoder, "w").canonical_name in _REFUSED_BY_MOV:
        return False
    if muxer == "mpegts":
        return Codec(encoder, "w").canonical_name in _MPEGTS
    if muxer == "avi":
        return encoder in _AVI
    with av.open(io.BytesIO(), "w", format=muxer) as trial:
        return encoder in trial.supported_codecs


def add_copy(output: OutputContainer, template: Stream) -> Stream:
    """Add a stream for packets that are copied as they are."""
    # `opaque` spares PyAV the search for an encoder, which is not needed and may not exist.
    return output.add_stream_from_template(template, opaque=True)


def refusal(muxer: str, template: Stream) -> str:
    """Why the container cannot hold a copy of this stream; empty if it can.

    Asks the muxer itself, by writing the header of a file in memory with that stream alone.
    """
    import av
    import av.error

    name = getattr(template, "name", None) or "unknown"
    what = f"{muxer} cannot hold {name}"
    if muxer == "mpegts" and template.type != "video" and name not in _MPEGTS:
        return what
    trial = av.open(io.BytesIO(), "w", format=muxer)
    try:
        add_copy(trial, template)
        trial.start_encoding()
    except (ValueError, av.error.FFmpegError):
        return what
    finally:
        with suppress(ValueError, av.error.FFmpegError):  # a header that was refused has no trailer either
            trial.close()
    return ""
