"""Decode of a live stream: the newest frame of the source to the next stage, as soon as that has room for one
(`pipeline.live.newest` has an exception).

A thread reads (`pipeline.live.reader`); this is the main thread, which sends, and watches the other. Where reading
hangs in a library that can't be interrupted (a camera's driver, a pipe) the process ends with `HUNG`, and the front
starts another.
"""

from __future__ import annotations

import os
import time

from pipeline.frame import Frame, FrameHeader
from pipeline.live.links import Downstream
from pipeline.live.newest import Newest
from pipeline.live.reader import Read, Reader
from pipeline.live.stage import LiveStage
from pipeline.pixels import carried_format, pack

HUNG = 75
"""Exit code of a decode stage whose reading hangs."""
_SLICE = 0.05


def run(stage: LiveStage) -> None:
    """Read until asked to stop, or until a source that has an end is at it.

    Raises:
        DerainError: The source can't be read, and nobody wants to wait for it.
    """
    reader = Reader(stage)
    next_stage = Downstream(stage.told.address("decoded"), "decode", "derain", stage.orphaned)
    reader.start()
    newest, keeps_all = Newest(reader.box), stage.order.on_overload == "passthrough"
    waiting: Read | None = None
    while not stage.stopping.is_set():
        if waiting is None:
            waiting = reader.box.take(_SLICE)
        if waiting is not None and next_stage.room(waiting.info, _SLICE):
            waiting = waiting if keeps_all else newest.choose(waiting)
            stage.counters["dropped_newer"] = newest.dropped
            if not next_stage.sent:
                stage.counters["dropped_start"] = _dropped(reader, stage)
            _send(next_stage, waiting, reader.break_before(waiting), stage)
            waiting = None
            reader.wanted.set()
        stage.counters["dropped_overload"] = _dropped(reader, stage) if next_stage.sent else 0
        if reader.ended.is_set() and waiting is None and not len(reader.box):
            break
        _watch(reader, stage)
    if reader.failure is not None:
        raise reader.failure
    left = ([waiting] if waiting else []) + _rest(reader)
    stage.count("dropped_stop", len(left))
    stage.texts["state"] = "ending"
    stage.counters["dropped_overload"] = _dropped(reader, stage)
    next_stage.finish()


def _dropped(reader: Reader, stage: LiveStage) -> int:
    """Frames given up for newer ones since the next stage was there for the first time."""
    all_dropped = reader.box.dropped + stage.counters.get("dropped_newer", 0)
    return all_dropped - stage.counters.get("dropped_start", 0)


def _rest(reader: Reader) -> list[Read]:
    left = []
    while (read := reader.box.take(0)) is not None:
        left.append(read)
    return left


def as_frame(read: Read, reset: str, index: int = 0) -> Frame:
    """What goes to the next stage; a link of a live stream counts for itself."""
    frame = read.frame
    header = FrameHeader(
        index=index,
        pts=read.pts,
        width=frame.width,
        height=frame.height,
        pixel_format=carried_format(frame.format.name),
        interlaced=frame.interlaced_frame,
        reset=reset,
        read_at=read.read_at,
    )
    return Frame(header, pack(frame, read.info.color_range == 2))


def _send(next_stage: Downstream, read: Read, reset: str, stage: LiveStage) -> None:
    began = time.monotonic()
    frame = as_frame(read, reset)
    stage.busy(time.monotonic() - began)
    next_stage.send(read.info, frame)
    stage.count("sent")
    stage.gauges["queue_bytes"] = float(frame.pixels.nbytes)


def _watch(reader: Reader, stage: LiveStage) -> None:
    if not reader.is_alive() or not reader.still:
        return
    stage.texts["lost"] = stage.texts.get("lost") or "stalled"
    if time.monotonic() - reader.seen > reader.limit:
        stage.texts["error"] = "reading hangs; the process that reads is replaced"
        stage.end()
        stage.report()
        time.sleep(0.1)  # the report goes out in another thread
        os._exit(HUNG)
