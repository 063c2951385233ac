"""The decode stage by itself, of a live source: the newest frame to a derain stage elsewhere, whenever it has room."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from pipeline.frame import StreamInfo, frame_bytes
from pipeline.hosts.decode import Decoded
from pipeline.hosts.sender import StreamSender
from pipeline.live.check import check_order, resolve
from pipeline.live.decode import as_frame
from pipeline.live.messages import LiveStageOrder
from pipeline.live.notes import Notes
from pipeline.live.reader import Read, Reader
from pipeline.live_status import LiveOrder
from pipeline.pixels import carried_format

if TYPE_CHECKING:
    from av import VideoFrame

_SLICE = 0.02


class LiveDecoded(Decoded, kw_only=True):
    """The same of a live source: *read = frames + dropped + lost*."""

    live: bool = True
    read: int
    dropped: int  # for newer ones, or before anybody was there to take them
    lost: int  # on their way when a connection broke
    source_reconnects: int


def decode_live(order: LiveOrder, link: StreamSender, stop: Callable[[], bool]) -> LiveDecoded:
    """Send frames until `stop` says so or the source ends (or is lost, where the order's `on_loss` is "stop"); returns
    when the encode stage has closed what it writes.

    All frames are made to be like the stream's first, as players and recordings want one size.

    Raises:
        DerainError: The source can't be read, or another stage has failed.
    """
    order = resolve(order)
    check_order(order, stdio=True)
    notes = Notes(LiveStageOrder(order=order, parent=0, folder="", epoch=time.monotonic(), stdin=0))
    reader = Reader(notes)
    reader.start()
    info: StreamInfo | None = None
    read: Read | None = None
    sent, reset = 0, ""
    try:
        while not stop():
            read = read or reader.box.take(_SLICE)
            if read is None:
                if reader.ended.is_set() or (order.on_loss == "stop" and info is not None and reader.lost):
                    break
                if info is not None:
                    link.room(0, 0.0)  # hears what comes meanwhile
                continue
            if info is None:
                info = msgspec.structs.replace(read.info, live=True, sound=False)
                link.join(info, stop)
                info = link.info
                reset = "restart" if link.frames else ""
            has_room = link.room(frame_bytes(info.pixel_format, info.width, info.height), _SLICE)
            read = reader.box.take(0) or read
            if has_room:
                reset = reader.break_before(read) or reset
                if link.try_send(as_frame(_fitted(read, info), reset, link.frames)):
                    sent, read, reset = sent + 1, None, ""
    finally:
        notes.stopping.set()
        reader.join(reader.limit)  # in the midst of FFmpeg's libraries when the interpreter ends, it would crash there
    if reader.failure is not None and not sent:
        raise reader.failure
    if sent:
        link.finish(notes.counters.get("damaged", 0))
    read_all = notes.counters.get("read", 0)
    return LiveDecoded(
        stream=link.stream,
        frames=sent - link.lost,
        damaged=notes.counters.get("damaged", 0),
        reconnects=link.reconnects,
        rewinds=0,
        warnings=notes.warnings,
        read=read_all,
        dropped=read_all - sent,
        lost=link.lost,
        source_reconnects=notes.counters.get("reconnects", 0),
    )


def _fitted(read: Read, info: StreamInfo) -> Read:
    frame: VideoFrame = read.frame
    carried = carried_format(frame.format.name)
    if (frame.width, frame.height, carried) == (info.width, info.height, info.pixel_format):
        return read
    form = None if carried == info.pixel_format else info.pixel_format
    return Read(frame.reformat(info.width, info.height, form), read.info, read.pts, read.read_at, read.number)
