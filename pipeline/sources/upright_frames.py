"""Live frames as a viewer sees them: turned as their display matrix asks, once and for all.

A file keeps the matrix (`pipeline.upright`), but one encoder makes a live stream for all its destinations, and RTMP,
RTSP, MPEG-TS and HLS have no place for a matrix.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, cast

from pipeline.sources.deinterlace import is_top_first, one_filter

if TYPE_CHECKING:
    from av import VideoFrame
    from av.filter import Graph


class UprightFrames:
    """Turns the frames of one stream by quarters, and mirrors them.

    Args:
        matrix: Nine numbers of a display matrix, row by row; None for frames that are upright.
    """

    def __init__(self, matrix: tuple[int, ...] | None) -> None:
        a, b, _, c, d = (matrix or (1, 0, 0, 0, 1))[:5]
        self.on_side = abs(b) + abs(c) > abs(a) + abs(d)
        """Whether rows become columns."""
        across, down = (c, b) if self.on_side else (a, d)
        self._skewed = min(abs(a) + abs(d), abs(b) + abs(c)) * 50 > abs(across) + abs(down)  # by 1 degree or more
        self._mirrored = (across < 0, down < 0)
        self._steps: list[tuple[str, str]] = []
        # FFmpeg's `transpose` is a swap of rows and columns, and then what of it is mirrored. `hflip` and `vflip` would
        # do for the rest, but hand on planes that are stored from the bottom up.
        if self.on_side or any(self._mirrored):
            self._steps = [("transpose", f"dir={self._mirrored[0] + 2 * self._mirrored[1]}")]
            if not self.on_side:
                self._steps.insert(0, ("transpose", "dir=0"))
        self._graphs: list[Graph] = []
        self._made_for: tuple[int, int, str] | None = None

    def lost(self, frame: VideoFrame) -> list[str]:
        """What the first frame loses, one sentence each."""
        told = []
        if self._skewed:
            told.append(f"is turned by {frame.rotation} degrees, of which only whole quarters are done")
        if self.on_side and frame.interlaced_frame:
            told.append("is interlaced and lies on its side; turned upright it is told as progressive")
        return told

    def turned(self, frame: VideoFrame) -> VideoFrame:
        """The frame upright, with its pts; the same one where nothing is to do."""
        if not self._steps:
            return frame
        kind = (frame.width, frame.height, frame.format.name)
        if kind != self._made_for:
            self._graphs, self._made_for = [], kind
        fields = self._fields(frame)
        for number, (name, arguments) in enumerate([*self._steps, *fields]):
            if number >= len(self._graphs):
                self._graphs.append(one_filter(frame, frame.time_base or Fraction(1, 1000), name, arguments))
            self._graphs[number].push(frame)
            frame = cast("VideoFrame", self._graphs[number].pull())
        return frame

    def _fields(self, frame: VideoFrame) -> list[tuple[str, str]]:
        """Fields that lie across are none any more; where a picture is upside down the other one becomes the top."""
        if not frame.interlaced_frame or not (self.on_side or self._mirrored[1]):
            return []
        mode = "prog" if self.on_side else "bff" if is_top_first(frame) else "tff"
        return [("setfield", f"mode={mode}")]
