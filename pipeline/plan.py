"""Where a long file is cut so that its parts can be derained apart, on one machine or on many.

The plan is made from the container's packets alone, before anything is decoded, so every machine comes to the same.
Parts begin at keyframes: whoever derains one decodes little that is not its own.
"""

from __future__ import annotations

from bisect import bisect_left
from fractions import Fraction

from pipeline.job import Piece
from pipeline.sources.streams import ignore, main_video, open_container, reading

WHOLE = [Piece(number=0, frame=0, tail=[])]


def plan(path: str, seconds: float, warmup: int, partial: bool = False) -> list[Piece]:
    """The parts of a video file, in order.

    Args:
        path: The file.
        seconds: A part ends at the first keyframe after so long.
        warmup: Frames before a part that the membranes are warmed up on.
        partial: Take a truncated file as far as it goes.

    Returns:
        One part that is the whole where pts are missing or repeated: then packets cannot be told from each other.

    Raises:
        DerainError: It cannot be read.
    """
    with open_container(path, partial) as container:
        video = main_video(container, path)
        for stream in container.streams:
            if stream.index != video.index:
                ignore(stream)
        base = Fraction(video.time_base or 1)
        pts: list[int] = []
        keys: list[int] = []
        with reading(path):
            for packet in container.demux(video):
                if not packet.size or packet.is_discard:
                    continue
                if packet.pts is None:
                    return WHOLE
                pts.append(packet.pts)
                if packet.is_keyframe:
                    keys.append(packet.pts)
    pts.sort()
    if not pts or len(set(pts)) < len(pts):
        return WHOLE
    starts = [pts[0]]
    for key in sorted(keys):
        if float((key - starts[-1]) * base) + 1e-6 >= seconds:
            starts.append(key)
    pieces = []
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], None], strict=True)):
        before = bisect_left(pts, start)
        tail = pts[max(0, before - warmup) : before]
        pieces.append(Piece(number=number, frame=before, tail=tail, first=start if number else None, end=end))
    return pieces
