"""The encode stage by itself, of a live stream: what can be watched while it is written, and goes on over restarts."""

from __future__ import annotations

import os
import time
from fractions import Fraction

import msgspec

from pipeline.frame import Frame, StreamInfo
from pipeline.hosts.receiver import StreamReceiver
from pipeline.live.clock import LEAST_STEP
from pipeline.live.encoder import LiveEncoder, Made, even_size
from pipeline.live.messages import TICKS, LiveStageOrder
from pipeline.live.notes import Notes
from pipeline.live.output import Output
from pipeline.live_status import LiveOrder


class LiveWriter:
    """One destination of a live stream (docs/live.md) in this process: where it hangs, the stream waits, and the
    decode stage leaves frames out.

    Args:
        order: Destination, codec and the like.
        info: The stream at its start.
    """

    def __init__(self, order: LiveOrder, info: StreamInfo) -> None:
        info = even_size(msgspec.structs.replace(info, sound=False))
        self._encoder = LiveEncoder(info, order)
        self._interval = round(TICKS / Fraction(*(info.average_rate or (25, 1))))
        told = LiveStageOrder(order=order, parent=os.getpid(), folder="", epoch=time.monotonic(), stdout=1)
        self._notes = Notes(told)
        self._output = Output(self._notes)
        self._pts, self._shift = -1, 0

    @property
    def warnings(self) -> list[str]:
        missed = self._notes.counters.get("dropped", 0)
        why = self._notes.texts.get("error", "")
        left_out = [f"{missed} frames were left out: {why}"] if missed and why else []
        return [*self._encoder.warnings, *self._notes.warnings, *left_out]

    def write(self, frame: Frame, info: StreamInfo) -> None:
        """Encode a frame; one of a decode stage that was started again, whose clock begins anew, follows the others."""
        pts = frame.header.pts + self._shift
        earliest = self._pts + LEAST_STEP if self._pts >= 0 else 0
        if pts < earliest:
            self._shift += earliest - pts
            pts = earliest
        self._pts = pts
        header = msgspec.structs.replace(frame.header, pts=pts, duration=self._interval)
        self._put(self._encoder.picture(Frame(header, frame.pixels), info))

    def close(self) -> None:
        self._put(self._encoder.flush())
        self._output.close()

    def _put(self, made: list[Made]) -> None:
        for coded, data, codecs in made:
            self._output.take(coded, data, codecs)


def write_live(order: LiveOrder, link: StreamReceiver, info: StreamInfo, resets: dict[str, int]) -> list[str]:
    """Write the link's frames until they end; whatever ends them, what was written is closed. Returns warnings."""
    writer = LiveWriter(order, info)
    try:
        for frame in link.frames():
            writer.write(frame, info)
            if reason := frame.header.reset:
                resets[reason] = resets.get(reason, 0) + 1
    finally:
        writer.close()
    return writer.warnings
