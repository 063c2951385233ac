"""A segment on the disk: the encoded packets of a stretch of video with their exact timestamps, and nothing else.

Containers round timestamps to their own clock, shift them to start at 0 or rebuild the decoding order from them.
Segments are only ever read by us, so they keep each packet as the encoder gave it: a head, packets, a foot, each a
MessagePack value behind its length (little-endian uint32), and at the end the offset of the foot (uint64). A segment
gets its name when its foot is on the disk; what has no foot does not exist.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from pipeline.errors import DerainError
from pipeline.job import Piece
from pipeline.sinks.temporary import sync

_MAGIC = b"derain segment 1\n"
_LENGTH, _OFFSET = struct.Struct("<I"), struct.Struct("<Q")


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """How the packets are to be understood."""

    number: int
    codec: str  # FFmpeg's name of the encoder
    extradata: bytes  # of the encoder: has to be the same in all segments
    time_base: tuple[int, int]  # seconds a tick of the packets' timestamps


class StoredPacket(msgspec.Struct, frozen=True, array_like=True):
    """One encoded packet, in the order of decoding."""

    pts: int
    dts: int
    duration: int
    keyframe: bool
    data: bytes


class Foot(msgspec.Struct, frozen=True, kw_only=True):
    """What is known at the end of a segment."""

    frames: int
    checksum: int  # CRC-32 of all packets' data
    last: bool  # nothing follows
    next: Piece  # where the next segment goes on
    inexact: int  # frames whose pts the container has to round
    moved: int  # frames whose pts did not rise
    warnings: list[str]


class SegmentWriter:
    """Writes one segment; it has its name only after `finish`."""

    def __init__(self, path: str, head: Head) -> None:
        """OSError where it cannot be written."""
        self.path = path
        self._part = f"{path}.part"
        self._file: BinaryIO = open(self._part, "wb")  # noqa: SIM115  # closed by finish or abort
        self._checksum = 0
        self._file.write(_MAGIC)
        self._write(msgspec.msgpack.encode(head))

    def add(self, packet: StoredPacket) -> None:
        self._checksum = zlib.crc32(packet.data, self._checksum)
        self._write(msgspec.msgpack.encode(packet))

    def finish(self, foot: Foot) -> None:
        """Write the end, wait until all is on the disk, and only then give it its name."""
        offset = self._file.tell()
        self._write(msgspec.msgpack.encode(msgspec.structs.replace(foot, checksum=self._checksum)))
        self._file.write(_OFFSET.pack(offset))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._part, self.path)
        sync(os.path.dirname(self.path))

    def abort(self) -> None:
        self._file.close()
        if os.path.exists(self._part):
            os.unlink(self._part)

    def _write(self, data: bytes) -> None:
        self._file.write(_LENGTH.pack(len(data)))
        self._file.write(data)


def read_foot(path: str) -> Foot:
    """The foot of a finished segment. DerainError for a file that is none."""
    try:
        with open(path, "rb") as file:
            file.seek(-_OFFSET.size, os.SEEK_END)
            file.seek(_OFFSET.unpack(file.read(_OFFSET.size))[0])
            return msgspec.msgpack.decode(_value(file), type=Foot)
    except (OSError, OverflowError, struct.error, msgspec.MsgspecError) as error:
        raise DerainError(f"{path}: is no whole segment; pass --restart to begin anew") from error


def read_head(path: str) -> Head:
    """The head of a finished segment. DerainError for a file that is none."""
    try:
        with open(path, "rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise DerainError(f"{path}: is no segment of this version; pass --restart to begin anew")
            return msgspec.msgpack.decode(_value(file), type=Head)
    except (OSError, struct.error, msgspec.MsgspecError) as error:
        raise DerainError(f"{path}: is no whole segment; pass --restart to begin anew") from error


def packets(path: str) -> Iterator[StoredPacket]:
    """The packets of a finished segment in order. DerainError where they are not what was written."""
    foot = read_foot(path)
    checksum = 0
    decoder = msgspec.msgpack.Decoder(StoredPacket)
    try:
        with open(path, "rb") as file:
            file.seek(-_OFFSET.size, os.SEEK_END)
            end = _OFFSET.unpack(file.read(_OFFSET.size))[0]
            file.seek(len(_MAGIC))
            _value(file)
            while file.tell() < end:
                packet = decoder.decode(_value(file))
                checksum = zlib.crc32(packet.data, checksum)
                yield packet
    except (OSError, struct.error, msgspec.MsgspecError) as error:
        raise DerainError(f"{path}: cannot be read; pass --restart to begin anew") from error
    if checksum != foot.checksum:
        raise DerainError(f"{path}: has changed since it was written; pass --restart to begin anew")


def _value(file: BinaryIO) -> bytes:
    return file.read(_LENGTH.unpack(file.read(_LENGTH.size))[0])
