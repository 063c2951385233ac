"""The encode stage by itself: a stream's frames from a derain stage elsewhere into a file."""

from __future__ import annotations

import msgspec

from pipeline.hosts.receiver import FAREWELL, StreamReceiver
from pipeline.live_status import LiveOrder
from pipeline.sinks import open_sink
from pipeline.sinks.options import EncodeOptions


class Encoded(msgspec.Struct, kw_only=True):
    """How it went: the JSON line of `derain stage encode --json`."""

    stage: str = "encode"
    stream: str
    frames: int
    damaged: int
    reconnects: int
    resets: dict[str, int]
    warnings: list[str] = []


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
        live: How to write a stream whose source is live.

    Raises:
        DerainError: The destination cannot be written, or another stage has failed.
    """
    resets: dict[str, int] = {}
    info = link.join()
    if info.live:
        from pipeline.hosts.encode_live import write_live

        order = live or LiveOrder(id=link.stream, source="", destinations=[destination], codec=options.codec)
        warnings = write_live(order, link, info, resets)
    else:
        with open_sink(destination, info, options, source) as sink:
            for frame in link.frames():
                sink.write(frame)
                if reason := frame.header.reset:
                    resets[reason] = resets.get(reason, 0) + 1
        warnings = list(sink.warnings)
    if not link.acknowledge():
        warnings.append(
            f"the file is whole, but no derain stage confirmed within {FAREWELL:g} s that the decode stage knows"
        )
    damaged = link.end.damaged if link.end else 0
    return Encoded(
        stream=link.stream,
        frames=link.count,
        damaged=damaged,
        reconnects=link.reconnects,
        resets=resets,
        warnings=warnings,
    )
