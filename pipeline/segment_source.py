"""The frames of one part of a source, with those before it that warm the membranes up.

A file is positioned at a keyframe, and what comes from there is trusted only if its pts are those that were seen when
the frames before were derained. Where they are not (containers that find keyframes by guessing, pts that repeat or are
missing) the source is decoded from its start and the frames are counted: slow, and right whatever the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise

import msgspec

from pipeline.errors import DerainError
from pipeline.frame import Frame
from pipeline.job import Job, Piece
from pipeline.sources import Source
from pipeline.sources.file import FileSource

_MARGINS = (0.0, 10.0)
"""Seconds further back to look for a keyframe, one after the other."""


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


def _from(source: Source, piece: Piece) -> Iterator[Frame]:
    """The frames from the first of the tail on."""
    expected = piece.tail + ([] if piece.first is None else [piece.first])
    if piece.frame == len(piece.tail):
        return iter(source)
    if isinstance(source, FileSource) and expected and _rises(expected):
        for margin in _MARGINS:
            if source.seek(expected[0], margin) and (found := _matched(iter(source), expected)):
                return found
            source.reopen()
    return _counted(source, piece)


def _rises(pts: list[int]) -> bool:
    return all(a < b for a, b in pairwise(pts))


def _matched(frames: Iterator[Frame], expected: list[int]) -> Iterator[Frame] | None:
    """The frames from the one with the first of these pts on, if exactly these come; else None."""
    held: list[Frame] = []
    for frame in frames:
        if not held and frame.header.pts < expected[0]:
            continue
        if frame.header.pts != expected[len(held)]:
            return None
        held.append(frame)
        if len(held) == len(expected):
            return _chained(held, frames)
    return None


def _chained(held: list[Frame], frames: Iterator[Frame]) -> Iterator[Frame]:
    while held:
        yield held.pop(0)  # so that none is kept longer than it is needed
    yield from frames


def _counted(source: Source, piece: Piece) -> Iterator[Frame]:
    frames = iter(source)
    skipped = piece.frame - len(piece.tail)
    last = next(islice(frames, skipped - 1, None), None) if skipped else None
    if skipped and last is None:
        raise DerainError(f"the source ends before frame {piece.frame}, where its next segment begins; pass --restart")
    for pts, frame in zip(piece.tail, frames, strict=False):
        if frame.header.pts != pts:
            raise DerainError(
                f"frame {frame.header.index} of the source has another pts than when the segment before was made; "
                "pass --restart to begin anew"
            )
        yield frame
    yield from frames
