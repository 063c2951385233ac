"""What the processes of a live stream say to each other beside the frames: orders, reports, sound and coded packets."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from pipeline.errors import DerainError
from pipeline.frame import StreamInfo
from pipeline.live_status import LiveOrder
from pipeline.wire import Failure

TICKS = 90_000
"""Ticks a second of the output clock: MPEG's, in which common frame rates are whole numbers."""


class LiveStageOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What one process of a live stream is told."""

    order: LiveOrder
    parent: int  # process number of the front
    folder: str  # where the sockets are
    epoch: float  # monotonic seconds that are 0 on the output clock
    number: int = 0  # how many of this stage died before
    info: StreamInfo | None = None  # encode: what the first one was opened for; the output keeps its size
    output: int = 0  # output: which of the destinations
    stdin: int = -1  # file descriptor of the front's standard input, for the source "-"
    stdout: int = -1  # of its standard output, for the destination "-"
    reason: str = ""  # decode: why the one before was replaced, which is why the membranes will be reset
    connected: bool = False  # decode: whether the source could be read before

    def address(self, name: str) -> str:
        return f"ipc://{self.folder}/{name}"


class StageReport(msgspec.Struct, tag=True, kw_only=True):
    """How a process is doing, several times a second. Counters count from its start."""

    stage: str  # decode, derain, encode, output0 …
    pid: int
    counters: dict[str, int] = {}
    gauges: dict[str, float] = {}
    texts: dict[str, str] = {}
    ages: list[float] = []  # encode: seconds, of the frames since the report before
    resets: list[tuple[float, str]] = []  # derain: those since the report before, with the time of day
    warnings: list[str] = []  # all so far
    info: StreamInfo | None = None  # decode: the source; encode: what it was opened for
    done: bool = False  # its work is finished, everything is closed
    asked: bool = False  # done: because of a SIGTERM, whoever sent it


class Sound(msgspec.Struct, frozen=True, tag=True):
    """Decoded sound; the samples are the second part: 16-bit, interleaved stereo, little-endian."""

    pts: int  # of the first sample, on the output clock
    rate: int  # samples a second


class Coded(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A coded packet for an output; its bytes are the second part. A keyframe of the video has a third: a small NUT
    file that tells the codecs of all streams, so that an output can begin there."""

    stream: int  # 0 video, 1 sound
    pts: int  # on the output clock
    dts: int
    duration: int
    key: bool
    codecs: int = 0  # number that changes with the codecs' settings


class Close(msgspec.Struct, frozen=True, tag=True):
    """To an output: no packet follows, close what is open."""


Message: TypeAlias = StageReport | Sound | Coded | Close | Failure

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def pack(message: Message) -> bytes:
    return _encoder.encode(message)


def unpack(data: bytes | memoryview) -> Message:
    """DerainError for bytes that are none of these messages."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise DerainError(f"a message within the live stream can't be read: {error}") from error
