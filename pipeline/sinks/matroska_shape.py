"""The shape of pixels in Matroska and WebM, for codecs whose bitstream does not hold it (VP9, AV1, …).

FFmpeg's muxer takes it from a field that PyAV cannot reach, and writes nothing. So a rotation, which PyAV can set,
keeps a place of 14 bytes in the track's head, and once the file is written the shape is put there instead: DisplayWidth
and DisplayHeight (RFC 9559, 5.1.4.1.28), and the checksum of the tracks made anew.
"""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.video.stream import VideoStream

_HEAD = 1 << 20  # bytes in which the tracks are
_TRACKS, _CHECKSUM = b"\x16\x54\xae\x6b", b"\xbf\x84"
_ROTATION = b"\x76\x70\x8b\x76\x75\x88"  # a Projection that holds a ProjectionPoseRoll, whose 8 bytes follow
_UNKNOWN_UNIT, _PIXELS = b"\x54\xb2\x81\x04", b"\x54\xb2\x81\x00"  # DisplayUnit, before it
_NEAR = 200  # bytes; between them are the colour tags
_MOST = 0xFFFF


def keep_place(stream: VideoStream) -> None:
    """Before the head is written. The stream must not have a rotation of its own."""
    stream.set_display_rotation(90)


def put_shape(path: str, width: int, height: int, shape: tuple[int, int]) -> bool:
    """Put the shape of pixels in the place that was kept. False where that is not found, and the file is as it was.

    Args:
        path: The finished file.
        width: Pixels, as coded.
        height: Pixels, as coded.
        shape: Width of a pixel to its height.
    """
    with open(path, "r+b") as file:
        head = bytearray(file.read(_HEAD))
        tracks = _tracks(head)
        if tracks is None:
            return False
        start, end = tracks
        at = head.find(_ROTATION, start, end)
        if at < 0 or head.find(_ROTATION, at + 1, end) >= 0:
            return False
        across, down = displayed(width, height, shape)
        place = struct.pack(">HBHHBHBB2x", 0x54B0, 0x82, across, 0x54BA, 0x82, down, 0xEC, 0x82)
        head[at : at + len(place)] = place
        if (unit := head.rfind(_UNKNOWN_UNIT, max(start, at - _NEAR), at)) >= 0:
            head[unit : unit + 4] = _PIXELS
        if head[start : start + 2] == _CHECKSUM:
            head[start + 2 : start + 6] = struct.pack("<I", zlib.crc32(head[start + 6 : end]))
        file.seek(0)
        file.write(head[:end])
    return True


def displayed(width: int, height: int, shape: tuple[int, int]) -> tuple[int, int]:
    """A size of exactly the picture's shape (within 16 bits), as near to its own as that goes."""
    ratio = Fraction(width * shape[0], height * shape[1])
    while max(ratio.numerator, ratio.denominator) > _MOST:
        ratio = ratio.limit_denominator(max(1, ratio.denominator // 2))
    times = max(1, min(round(height / ratio.denominator), _MOST // max(ratio.numerator, ratio.denominator)))
    return ratio.numerator * times, ratio.denominator * times


def _tracks(head: bytearray) -> tuple[int, int] | None:
    """Where the content of the Tracks element begins and ends."""
    at = -1
    while (at := head.find(_TRACKS, at + 1)) >= 0:  # the index before names it too
        first = head[at + 4]
        length = 9 - first.bit_length() if first else 9
        if length > 8:
            continue
        start = at + 4 + length
        size = int.from_bytes(head[at + 4 : start], "big") & ((1 << 7 * length) - 1)
        if start + size <= len(head) and head[start] in (0xBF, 0xAE):  # a checksum or a track
            return start, start + size
    return None
