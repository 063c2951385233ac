"""Two clocks: encoders count frames, containers hold the source's timestamps."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from pipeline.sinks.timeline import Timeline

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream


class FrameClock:
    """Gives each frame its number as the pts to encode it by, and each packet its frame's real pts afterwards.

    Encoders write their clock into the bitstream as the frame rate; fed with a container's clock they would claim
    90,000 frames a second. Some cannot count so fast at all. Counting frames, each says the average rate.

    Decoding timestamps go the same way. The encoder's are frame numbers too, in rising order and never above the pts
    of the same packet, and frames' real pts rise with their number, so the real dts keep both properties. Those below
    0 (as many as the encoder reorders frames) lie before the first pts, spaced as the first frames are (x264 does so).

    Args:
        source_base: Seconds a tick of the pts given.
        mux_base: Seconds a tick of the pts that packets are muxed with.
        rate: Average frames a second.
    """

    def __init__(self, source_base: Fraction, mux_base: Fraction, rate: Fraction) -> None:
        self.container_base = mux_base
        """Seconds a tick of the container, known once its header is written. Only for counting `inexact`."""
        self.inexact = 0
        """Frames whose pts the container has to round."""
        self._source_base = source_base
        self._mux_base = mux_base
        self._step = max(1, round(1 / (rate * mux_base)))
        self.timeline = Timeline()
        self._placed: dict[int, tuple[int, int]] = {}  # frame number -> pts and duration to mux with
        self._count = 0
        self._before_first: list[int] = []  # dts to mux the encoder's -n … -1 with, latest first
        self._started = False

    @property
    def moved(self) -> int:
        """Frames whose pts had to be changed because it did not rise."""
        return self.timeline.moved

    def enter(self, pts: int, duration: int) -> int:
        """Note the next frame's timestamps (in the source's ticks; duration 0 if unknown), give its number."""
        number = self._count
        self._count += 1
        exact = pts * self._source_base / self._mux_base
        self.inexact += (exact.denominator != 1) or (pts * self._source_base / self.container_base).denominator != 1
        ticks = round(duration * self._source_base / self._mux_base) or self._step
        placed = self.timeline.place(round(exact), ticks)
        self._placed[number] = (placed, ticks)
        return number

    def stamp(self, packet: Packet[VideoStream]) -> None:
        """Replace an encoded packet's frame numbers by real timestamps.

        Every number is looked up once as a pts and at most once as a dts, the dts never before any pts below it; so
        what lies below the dts is forgotten, and as many frames are remembered as the encoder holds back.
        """
        number, decoding = packet.pts, packet.dts
        assert number is not None
        assert decoding is not None
        if not self._started:
            self._started = True
            self._before_first = self._mirror_start(-decoding)
        packet.pts, packet.duration = self._placed[number]
        packet.dts = self._placed[decoding][0] if decoding >= 0 else self._before_first[-decoding - 1]
        packet.time_base = self._mux_base
        self._placed.pop(decoding - 1, None)

    def _mirror_start(self, reordered: int) -> list[int]:
        """Timestamps before the first pts for the dts -1, -2 … of an encoder that reorders this many frames."""
        first, step = self._placed[0][0], self._step
        pts = [self._placed[n][0] if n in self._placed else first + n * step for n in range(reordered + 1)]
        delay = pts[-1] - first
        return [pts[reordered - n] - delay for n in range(1, reordered + 1)]
