"""The frames of one part of a source, with those before it that warm the membranes up.

A file is positioned at a keyframe, and what comes from there is trusted only if its pts and checksums are those that
were seen when the frames before were derained. Where they are not (containers that find keyframes by guessing, pts that
repeat or are missing) the source is decoded from its start and the frames are counted: slow, but right.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise

import msgspec

from pipeline.errors import DerainError
from pipeline.frame import Frame
from pipeline.job import Job, Piece
from pipeline.sources import Source
from pipeline.sources.file import FileSource
from pipeline.sources.pictures import PictureSource

_MARGINS = (0.0, 10.0)
"""Seconds further back to look for a keyframe, one after the other."""
_MARKED = 1000
"""About so many bytes of a frame make its checksum."""


def part_of(source: Source, job: Job) -> Iterator[Frame]:
    """The frames of `job.piece`, numbered from 0; those to warm up on come first and are marked `warmup`.

    Args:
        source: Just opened.
        job: With a piece.

    Raises:
        DerainError: The source no longer holds the frames that the piece begins with.
    """
    piece = job.piece
    assert piece is not None
    warmup = len(piece.tail)
    for index, frame in enumerate(_from(source, piece)):
        if piece.end is not None and index >= warmup and frame.header.pts >= piece.end:
            return
        frame.header = msgspec.structs.replace(frame.header, index=index, warmup=index < warmup)
        yield frame


def marked(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The frames with a checksum of some of their pixels, by which a resumed run knows that it decodes the same."""
    for frame in frames:
        frame.header = msgspec.structs.replace(frame.header, mark=_mark(frame))
        yield frame


def _mark(frame: Frame) -> int:
    return zlib.crc32(frame.pixels[:: max(1, frame.pixels.size // _MARKED)].tobytes()) or 1


def _from(source: Source, piece: Piece) -> Iterator[Frame]:
    """The frames from the first of the tail on."""
    if piece.frame == len(piece.tail):
        return iter(source)
    expected = list(zip(piece.tail, piece.marks or [0] * len(piece.tail), strict=True))
    if piece.first is not None:
        expected.append((piece.first, 0))
    if isinstance(source, FileSource) and expected and all(a < b for (a, _), (b, _) in pairwise(expected)):
        for margin in _MARGINS:
            if source.seek(expected[0][0], margin) and (found := _matched(iter(source), expected)):
                return found
            source.reopen()
    return _counted(source, piece.frame - len(piece.tail), expected)


def _is(frame: Frame, expected: tuple[int, int]) -> bool:
    pts, mark = expected
    return frame.header.pts == pts and (not mark or _mark(frame) == mark)


def _matched(frames: Iterator[Frame], expected: list[tuple[int, int]]) -> Iterator[Frame] | None:
    """The frames from the first of the expected ones on, if exactly these come; else None."""
    held: list[Frame] = []
    for frame in frames:
        if not held and frame.header.pts < expected[0][0]:
            continue
        if not _is(frame, expected[len(held)]):
            return None
        held.append(frame)
        if len(held) == len(expected):
            return _chained(held, frames)
    return None


def _chained(held: list[Frame], frames: Iterator[Frame]) -> Iterator[Frame]:
    while held:
        yield held.pop(0)  # so that none is kept longer than it is needed
    yield from frames


def _counted(source: Source, skipped: int, expected: list[tuple[int, int]]) -> Iterator[Frame]:
    if isinstance(source, PictureSource):
        source.skip(skipped)
        skipped = 0
    frames = iter(source)
    if skipped and next(islice(frames, skipped - 1, None), None) is None:
        raise DerainError(f"the source ends before frame {skipped}; pass --restart to begin anew")
    for known, frame in zip(expected, frames, strict=False):
        if not _is(frame, known):
            raise DerainError(
                f"frame {frame.header.index} of the source is not what it was when the segment before was made; "
                "pass --restart to begin anew"
            )
        yield frame
    yield from frames
