"""The encode stage by itself: a stream's frames from a derain stage elsewhere into a file."""

from __future__ import annotations

import msgspec

from pipeline.errors import UsageError
from pipeline.frame import StreamInfo
from pipeline.hosts.receiver import FAREWELL, StreamReceiver
from pipeline.live_status import LiveOrder
from pipeline.picture_names import is_picture
from pipeline.protocols import check_protocol
from pipeline.sinks import open_sink
from pipeline.sinks.containers import check_codec, format_of
from pipeline.sinks.destination import is_folder
from pipeline.sinks.live import is_live_destination, live_destination
from pipeline.sinks.options import EncodeOptions, encoder_settings
from pipeline.sinks.place import check_places
from pipeline.sinks.temporary import check_destination

_ANY_SIZE = (640, 480)


class Encoded(msgspec.Struct, kw_only=True):
    """How it went: the JSON line of `derain stage encode --json`."""

    stage: str = "encode"
    stream: str
    frames: int
    damaged: int
    reconnects: int
    resets: dict[str, int]
    warnings: list[str] = []


class LiveEncoded(Encoded, kw_only=True):
    """The same of a live source."""

    live: bool = True
    filled: int  # frames of ours, shown while none came
    sink_dropped: dict[str, int]  # frames that a destination did not get, by its address without credentials
    restarts: int  # of the processes that write


def check(destinations: list[str], options: EncodeOptions) -> None:
    """What can be known to be wrong before the stream is known, whether that is a file's or a camera's.

    Raises:
        UsageError: A destination can't be meant, or codec, quality and container don't fit each other.
        DerainError: A destination can't be written.
    """
    check_places(destinations)
    for destination in destinations:
        if is_live_destination(destination):
            encoder = encoder_settings(options, "yuv420p", *_ANY_SIZE).codec
            live_destination(destination, overwrite=options.overwrite, encoder=encoder, sound=False)
            check_protocol(destination, output=True)
            continue
        check_destination(destination.rstrip("/") or "/", options.overwrite)
        if not (is_folder(destination) or is_picture(destination)):
            format_of(destination)
            check_codec(destination, encoder_settings(options, "yuv420p", *_ANY_SIZE).codec)


def encode(
    destination: str,
    link: StreamReceiver,
    options: EncodeOptions,
    source: str = "",
    live: LiveOrder | None = None,
) -> Encoded:
    """Write all frames of the link's stream, close the file, then tell the others.

    Args:
        destination: A video file or a folder of pictures; it appears when it is whole.
        link: The stream.
        options: How to encode.
        source: The file the frames come from, where this host can read it: sound, subtitles and the like are copied.
        live: How to write a stream whose source is live, and where to.

    Raises:
        UsageError: Several destinations, or one that can't be meant.
        DerainError: The destination cannot be written, or another stage has failed.
    """
    info = link.join()
    if info.live:
        order = live or LiveOrder(id=link.stream, source="", destinations=[destination], codec=options.codec)
        return _encode_live(order, link, info)
    if live and len(live.destinations) > 1:
        raise UsageError(f"several destinations are for live sources; this one is not: {', '.join(live.destinations)}")
    resets: dict[str, int] = {}
    with open_sink(destination, info, options, source) as sink:
        for frame in link.frames():
            sink.write(frame)
            if reason := frame.header.reset:
                resets[reason] = resets.get(reason, 0) + 1
    warnings = list(sink.warnings)
    warnings += _acknowledged(link)
    return Encoded(
        stream=link.stream,
        frames=link.count,
        damaged=link.end.damaged if link.end else 0,
        reconnects=link.reconnects,
        resets=resets,
        warnings=warnings,
    )


def _encode_live(order: LiveOrder, link: StreamReceiver, info: StreamInfo) -> LiveEncoded:
    from pipeline.hosts.encode_live import write_live

    written = write_live(order, link, info)
    return LiveEncoded(
        stream=link.stream,
        frames=link.count,
        damaged=link.end.damaged if link.end else 0,
        reconnects=link.reconnects,
        resets=written.resets,
        warnings=[*written.warnings, *(_acknowledged(link) if link.end else [])],  # the stream may go on without us
        filled=written.filled,
        sink_dropped=written.sink_dropped,
        restarts=written.restarts,
    )


def _acknowledged(link: StreamReceiver) -> list[str]:
    """Tell the others that all is written; a warning where nobody has heard it."""
    if link.acknowledge():
        return []
    return [f"the file is whole, but no derain stage confirmed within {FAREWELL:g} s that the decode stage knows"]
