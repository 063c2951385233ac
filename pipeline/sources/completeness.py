"""How long a file says it is. A download or copy that stopped half-way is found before any frame is decoded.

Written from the formats' specifications: ISO/IEC 14496-12 (boxes), RFC 8794 (EBML), RFC 9559 (Matroska) and RIFF.
Formats without a length of their own (MPEG-TS, raw streams, live recordings) cannot be judged: they give 0.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

_BOXES = {
    *(b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"sidx", b"mfra", b"uuid", b"meta"),
    *(b"emsg", b"pdin", b"prft", b"ssix", b"udta", b"pnot"),
}
"""Boxes that stand at the top of an MP4 or QuickTime file. Anything else there is not trusted to be a box."""

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def expected_size(path: str) -> int:
    """Bytes the file should have by its own headers; 0 if they do not tell.

    Args:
        path: A readable file.
    """
    with open(path, "rb") as file:
        start = file.read(12)
        file.seek(0)
        if start[4:8] in _BOXES:
            return _iso(file, os.fstat(file.fileno()).st_size)
        if start[:4] == _EBML:
            return _matroska(file)
        if start[:4] == b"RIFF":
            return _riff(file)
    return 0


def _iso(file: BinaryIO, actual: int) -> int:
    """End of the last top-level box. A box of size 0 goes on to the end of the file, whatever that is."""
    position = 0
    while position + 8 <= actual:
        file.seek(position)
        header = file.read(16)
        size, kind = struct.unpack(">I4s", header[:8])
        if kind not in _BOXES:
            break
        if size == 1 and len(header) == 16:
            size = struct.unpack(">Q", header[8:])[0]
        if size < 8:
            break
        position += size
    return position


def _matroska(file: BinaryIO) -> int:
    """End of the segment, which holds everything. A live recording has a segment of unknown size."""
    file.seek(4)
    header = _ebml_length(file)
    if header is None:
        return 0
    file.seek(header, os.SEEK_CUR)
    if file.read(4) != _SEGMENT:
        return 0
    length = _ebml_length(file)
    return 0 if length is None else file.tell() + length


def _ebml_length(file: BinaryIO) -> int | None:
    """An EBML data size (RFC 8794, section 6): leading zero bits give its width. None if "unknown" or not there."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    width = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(width - 1), "big") & ((1 << 7 * width) - 1)
    return None if value == (1 << 7 * width) - 1 else value


def _riff(file: BinaryIO) -> int:
    """End of the first RIFF chunk; later ones (OpenDML) are not followed. Streamed files have no real size there."""
    size: int = struct.unpack("<I", file.read(8)[4:])[0]
    return 0 if size in (0, 0xFFFFFFFF) else size + 8
